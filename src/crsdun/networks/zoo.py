"""Every network by name: a table of configurations, and the functions that build networks from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict, cast

import torch

from crsdun.budget import check_budget, memory_budget
from crsdun.errors import InputError
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.mstpp import Mstpp, MstppConfig
from crsdun.networks.network import Network
from crsdun.networks.pretrained import earlier_weights, pretrained_weights
from crsdun.networks.rcump import Rcump, RcumpConfig
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.networks.ssr import Ssr, SsrConfig
from crsdun.networks.two_stage import TwoStageConfig, TwoStageNetwork
from crsdun.registry import Registry
from crsdun.solvers import SOLVERS, Solver, create_solver
from crsdun.typed import typed


class TwoStageSettings(TypedDict):
    """The settings of a two-stage system as plain values."""

    method: str
    reconstruction: dict[str, Any]
    segmenter: dict[str, Any]


@dataclass(frozen=True)
class NetworkKind:
    """How networks of a kind are built.

    Attributes:
        config: dataclass of the settings.
        build: makes the network with fresh weights from a configuration.
    """

    config: type[Any]
    build: Callable[[Any], Network]


# Kind of network → how it is built; the kind is what a weights file stores.
KINDS: Registry[NetworkKind] = Registry("kind of network")
# Names that users type: pattern → kind and settings; {K} in a pattern is the number of stages.
NAMES: Registry[tuple[str, dict[str, Any]]] = Registry("network")
# No network of the package has weights of more bytes, per stage and square of its widest channels plus 8.
MOST_BYTES = 7000
# Suffix of a method without classes: joined with the segmenter.
JOINED = "+seg"
# Stages of the segmenter after a method that has none itself, as in the paper's row of MST++.
STAGES = 3


def register_network(
    kind: str,
    config: type[Any],
    build: Callable[[Any], Network],
    names: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Make a kind of network known to ``create``, to weights files and to every command.

    Args:
        kind: what its weights files store.
        config: frozen dataclass of its settings, a ``NetworkConfig`` where the network segments, otherwise a
            ``ReconstructionConfig``; of this kind alone.
        build: makes the network of a configuration; usually its class.
        names: pattern → settings, as in ``NAMES``; None for the kind itself with the default settings.

    Raises:
        InputError: the kind, its configuration or a name is taken; then nothing is registered.
    """
    row = NetworkKind(config, build)
    rows = {name: (kind, settings) for name, settings in ({kind: {}} if names is None else names).items()}
    KINDS.check_free(kind, row)
    for name, named in rows.items():
        NAMES.check_free(name, named)
    for other, known in KINDS.so_far().items():
        if known.config is config and other != kind:
            raise InputError(
                f"{config.__name__} is already the configuration of {other}",
                f"give {kind} one of its own, which may inherit from it",
            )
    KINDS.put(kind, row)
    for name, named in rows.items():
        NAMES.put(name, named)


# The ablations of CRSDUN, as suffixes of its name (``crsdun_3stg_baseline1``): first two separate branches, then
# their ways of cooperating added one by one, then cross-aggregation in neither branch or one. With both it is CRSDUN.
_SEPARATE = {"cross_cube": False, "cross_class": False}
ABLATIONS: dict[str, dict[str, bool]] = {
    "baseline1": {**_SEPARATE, "cube_in_class_input": True, "theta_in_gradient": False, "lista": False},
    "theta": {**_SEPARATE, "cube_in_class_input": True, "lista": False},  # + Eq. 13
    "lista": {**_SEPARATE, "cube_in_class_input": True},  # + LISTA
    "cross_none": _SEPARATE,
    "cross_cube": {"cross_class": False},
    "cross_class": {"cross_cube": False},
}
# What may improve it, one upon the other, as suffixes too.
_SCALE = {"own_scale": True}
_SOLVER = {**_SCALE, "start": "lr-tv"}
_QUIET = {**_SOLVER, "quiet": True}
IMPROVEMENTS: dict[str, dict[str, Any]] = {
    "affinity": {"affinity_gradient": True},
    "scale": _SCALE,  # any exposure is the same to it
    "solver": _SOLVER,  # + x⁰ of LR-TV
    "quiet": _QUIET,  # + proximal networks that begin as the identity
    "warm": {**_QUIET, "start_classes": True},  # + θ⁰ of the spectra of x⁰
}


def create(name: str, bands: int, classes: int | None = None, **overrides: Any) -> Network:
    """A network with fresh weights, in channels-last memory, on the CPU.

    Args:
        name: a row of ``NAMES``, such as ``crsdun_3stg`` or ``ssr_9stg``, with any number of stages; with the
            suffix ``+seg`` a two-stage system (``ssr_9stg+seg``, ``gap_tv+seg``), whose segmenter has as many stages.
        bands: C.
        classes: N, background included; ignored by a network that does not segment.
        **overrides: fields of the configuration (of crsdun: ``CrsdunConfig``), such as ``width=12`` or an ablation
            switch; of a two-stage system those of its parts, as ``reconstruction={"width": 12}`` and ``segmenter``.

    Raises:
        InputError: unknown name, or a setting that the configuration does not have or accept.
    """
    if name.endswith(JOINED):
        kind, settings = "joined", _parts(name.removesuffix(JOINED), bands, classes, overrides)
    else:
        kind, settings = _look_up(name, bands, classes)
        settings |= overrides
    network = build(kind, settings)
    network.name = name
    return network


def _parts(name: str, bands: int, classes: int | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """The settings of a two-stage system whose first part has this name."""
    method = name.replace("_tv", "-tv")
    kind, settings = (method, {}) if method in SOLVERS else _look_up(method, bands, classes)
    if kind == "seg":
        raise InputError(f"{method} takes a cube in and makes none: join a network that reconstructs, or gap_tv")
    settings = settings | overrides.get("reconstruction", {})
    segmenter = {"bands": bands, "classes": classes, "stages": settings.get("stages", STAGES)}
    segmenter |= overrides.get("segmenter", {})
    return {"method": kind, **overrides, "reconstruction": settings, "segmenter": segmenter}


def join(reconstruction: Network | Solver, segmenter: Segmenter) -> TwoStageNetwork:
    """A two-stage system of existing parts, such as weights that were trained one after the other.

    Args:
        reconstruction: a network, or a training-free solver.
        segmenter: for as many bands.

    Raises:
        InputError: the parts are not such methods, or are for different bands.
    """
    if not isinstance(segmenter, Segmenter) or isinstance(reconstruction, Segmenter | TwoStageNetwork):
        raise InputError("join takes a method that reconstructs and a segmenter (seg_{K}stg), in this order")
    if isinstance(reconstruction, Network):
        try:
            method = kind_of(reconstruction)
        except InputError:  # one that no file can bring back, which matters when it is saved
            method = reconstruction.name
        config = TwoStageConfig(method, reconstruction.config, segmenter.config)
    elif isinstance(reconstruction, Solver):
        config = TwoStageConfig(reconstruction.name, reconstruction, segmenter.config)
    else:
        raise InputError(f"only a network or a solver can be joined, not {type(reconstruction).__name__}")
    network = TwoStageNetwork(config, reconstruction, segmenter)
    network.name = f"{reconstruction.name}{JOINED}"
    return network


def build(kind: str, settings: dict[str, Any]) -> Network:
    """A network of a kind from its settings; an InputError names settings that do not exist."""
    config = config_from(kind, settings)
    budget = memory_budget()
    if budget is not None and _at_most(config) > budget:
        with torch.device("meta"):
            ghost = KINDS[kind].build(config)
        size = sum(weights.numel() * weights.element_size() for weights in ghost.parameters())
        what = f"a {kind} network (bands {config.bands}, stages {config.stages}, width {config.base})"
        check_budget(size, what)
    built = KINDS[kind].build(config)
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def _at_most(config: Any) -> int:
    """Bytes that the weights of a network of the package do not exceed; counting takes as long as building."""
    if isinstance(config, TwoStageConfig):
        return _at_most(config.reconstruction) + _at_most(config.segmenter)
    if isinstance(config, Solver):
        return 0
    widest, repeated = max(config.base, config.bands, config.classes), config.stages * getattr(config, "bodies", 1)
    return MOST_BYTES * (widest + 8) ** 2 * repeated


def config_from(kind: str, settings: dict[str, Any]) -> Any:
    """The configuration of a kind of network from its settings, as ``build``."""
    config = KINDS.find(kind).config
    known = [field.name for field in fields(config)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise InputError(f"{kind} has no setting {', '.join(unknown)}", f"its settings are {', '.join(known)}")
    if config is TwoStageConfig:
        settings = typed(TwoStageSettings, settings, f"a {kind} network")
        method, part = settings["method"], settings["reconstruction"]
        return TwoStageConfig(
            method,
            _solver(method, part) if method in SOLVERS else config_from(method, part),
            config_from("seg", settings["segmenter"]),
        )
    return typed(config, settings, kind)


def _solver(name: str, settings: dict[str, Any]) -> Solver:
    """The solver of a two-stage system, as ``create_solver``, but without what ``Solver.settings`` leaves out."""
    solver = create_solver(name, **settings)
    for field in fields(cast(Any, solver)):
        if field.name not in solver.settings and getattr(solver, field.name) != field.default:
            raise InputError(f"{name} takes no {field.name} in a two-stage system")
    return solver


def kind_of(network: Network) -> str:
    """The kind under which a network is listed in ``KINDS``.

    Raises:
        InputError: networks of its class, or a solver in it, are not registered, so that no file brings them back.
    """
    part = getattr(network.config, "reconstruction", None)
    if isinstance(part, Solver) and SOLVERS.get(part.name) is not type(part):
        raise InputError(f"{type(part).__name__} is not a registered solver", "register it with register_solver")
    for kind, row in KINDS.items():
        if type(network.config) is row.config and (type(network) is row.build or not isinstance(row.build, type)):
            return kind
    raise InputError(
        f"{type(network).__name__} is not a registered network",
        "register it with register_network, and with a configuration of its own",
    )


def _look_up(name: str, bands: int, classes: int | None) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a row of ``NAMES``."""
    for pattern, (kind, settings) in NAMES.items():
        match = _match(pattern, name)
        if match:
            stages = {"stages": int(match[1])} if match.groups() else {}
            known = {field.name for field in fields(KINDS[kind].config)}
            counts = {"bands": bands, "classes": classes} if "classes" in known else {"bands": bands}
            return kind, {**counts, **stages, **settings}
    raise InputError(
        f"there is no network called {name!r}",
        f"there are {', '.join(NAMES)} (K: number of stages), and with {JOINED} "
        "behind a name, gap_tv, admm_tv or lr_tv a two-stage system",
    )


def _match(pattern: str, name: str) -> re.Match[str] | None:
    """The match of a name, or of all of a pattern, with a pattern of ``NAMES``."""
    return re.fullmatch(re.escape(pattern).replace(r"\{K\}", r"(\d+)"), name.replace("{K}", "1"))


def _meaning(name: str) -> str:
    """What a name, or a pattern, already means as a method; empty if nothing."""
    if name.endswith(JOINED):
        return "two-stage system"
    if name in {**earlier_weights(), **pretrained_weights()}:
        return "file of weights"
    if name.replace("_tv", "-tv") in SOLVERS:
        return "solver"
    return "network" if any(_match(known, name) or _match(name, known) for known in NAMES) else ""


def _joined(config: TwoStageConfig) -> TwoStageNetwork:
    """A two-stage system with fresh weights; a solver is its own configuration."""
    part = config.reconstruction
    reconstruction = part if isinstance(part, Solver) else KINDS[config.method].build(part)
    return TwoStageNetwork(config, reconstruction, Segmenter(config.segmenter))


register_network(
    "crsdun",
    CrsdunConfig,
    Crsdun,
    {
        "crsdun_{K}stg": {},
        "crsdun_tiny": {"stages": 2, "width": 14},  # for ordinary machines: 0.75 M parameters
        # With a solver before it: 1.5 M parameters.
        "crsdun_small": {"stages": 2, "width": 20, **IMPROVEMENTS["warm"], "noise_aware": True},
        **{f"crsdun_{{K}}stg_{name}": dict(settings) for name, settings in (ABLATIONS | IMPROVEMENTS).items()},
    },
)
register_network("mstpp", MstppConfig, Mstpp)
register_network("ssr", SsrConfig, Ssr, {"ssr_{K}stg": {}})
register_network("rcump", RcumpConfig, Rcump, {"rcump_{K}stg": {}})
register_network("seg", SegConfig, Segmenter, {"seg_{K}stg": {}})
register_network("joined", TwoStageConfig, _joined, {})

# Users name weights, solvers and networks in one place; of the built-in ones some may have the same name.
NAMES.reserve(_meaning)
SOLVERS.reserve(_meaning)
