"""The phases of a run: one for most networks, two for a two-stage system whose parts learn one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from crsdun.errors import InputError
from crsdun.networks import Network
from crsdun.training.config import TrainConfig
from crsdun.training.losses import LossConfig


@dataclass(frozen=True)
class Phase:
    """Steps of a run in which the same weights learn from the same loss.

    Attributes:
        first: step, counted from 0.
        steps: how many; the schedule of the optimiser runs over them.
        learns: which part of a two-stage system, or ``all`` of any network.
        loss: that is minimised.
        clean: the segmenter is given the true cube.
        detached: no gradient of the segmenter reaches the reconstruction.
    """

    first: int
    steps: int
    learns: Literal["all", "reconstruction", "segmenter"]
    loss: LossConfig
    clean: bool = False
    detached: bool = False

    @property
    def description(self) -> str:
        """Which part learns, and from what."""
        source = "the true cubes" if self.clean else "what the frozen reconstruction makes of the measurements"
        return f"the segmenter learns from {source}" if self.learns == "segmenter" else f"{self.learns} learns"


def phases_of(config: TrainConfig, network: Network) -> list[Phase]:
    """The phases of a run, first to last.

    Raises:
        InputError: an order is set but the network does not have two parts, or a phase is too short.
    """
    order = config.two_stage.order
    if order == "joint":
        return [Phase(0, config.steps, "all", config.loss)]
    if not network.parts:
        raise InputError(
            f"two_stage.order={order} is for two-stage systems such as ssr_9stg+seg",
            f"{config.network.name} is trained as a whole: omit two_stage.order",
        )
    if order == "detached":
        return [Phase(0, config.steps, "all", config.loss, detached=True)]
    first = 0
    if "reconstruction" in network.parts:
        first = round(config.two_stage.reconstruction_share * config.steps)
    phases = [
        Phase(0, first, "reconstruction", config.loss),
        Phase(
            first,
            config.steps - first,
            "segmenter",
            replace(config.loss, cube="none", cross_entropy_weight=1.0),
            clean=order == "clean",
        ),
    ]
    phases = phases if first else phases[1:]
    for phase in phases:
        if phase.steps <= config.optimiser.warm_up:
            raise InputError(
                f"steps={config.steps} and optimiser.warm_up={config.optimiser.warm_up} leave the {phase.learns} "
                f"{phase.steps} steps",
                "each part needs more steps than its warm-up",
            )
    return phases


def phase_at(step: int, phases: Sequence[Phase]) -> Phase:
    """The phase of a step, counted from 0; the last phase after the last step."""
    return next(phase for phase in reversed(phases) if phase.first <= step)
