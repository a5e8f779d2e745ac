"""What networks cost, beside what is published of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from crsdun.evaluation import ProblemSize, Published, multiply_adds, parameters, published
from crsdun.experiments.bench import Timing, time_network
from crsdun.networks import Network, create, load, read_header

COUNTS = ("parameters", "multiply_adds")


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a network, by its name or file of weights, and what is published for the same problem."""

    network: str
    problem: ProblemSize
    parameters: int
    multiply_adds: int
    published: Published | None
    timing: Timing | None

    def difference(self, count: str) -> float | None:
        """How much a count exceeds the published one, in percent."""
        return 100 * (getattr(self, count) / getattr(self.published, count) - 1) if self.published else None

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {"network": self.network, **self.problem._asdict()}
        values |= {count: getattr(self, count) for count in COUNTS} | {"published": None}
        if self.published:
            values["published"] = {name: getattr(self.published, name) for name in (*COUNTS, "source")}
            values["difference_percent"] = {count: self.difference(count) for count in COUNTS}
        return values | (asdict(self.timing) if self.timing else {})


def network_cost(name: str, problem: ProblemSize, measure: bool = False) -> NetworkCost:
    """Count the cost of a network.

    Args:
        name: in the zoo, or a ``.safetensors`` file, whose bands and classes replace those of ``problem``.
        problem: bands, classes, size of the scene and dispersion.
        measure: time it too, and take its peak of memory.

    Raises:
        InputError: there is no such network or file.
    """
    open_network: Callable[[], Network]
    if name.endswith(".safetensors"):
        config = read_header(name).config
        config = config.get("segmenter", config)
        problem = problem._replace(**{count: config[count] for count in ("bands", "classes") if count in config})
        open_network = partial(load, name)
    else:
        open_network = partial(create, name, problem.bands, problem.classes)
    network = open_network()
    known = published(name, problem)
    known = known if known and known.parameters else None
    products = multiply_adds(network, problem.height, problem.width, problem.step)
    timing = time_network(open_network, problem) if measure else None
    return NetworkCost(name, problem, parameters(network), products, known, timing)
