"""Every network by name: a table of configurations, and the functions that build from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch

from crsdun.errors import InputError
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.mstpp import Mstpp, MstppConfig
from crsdun.networks.network import Network
from crsdun.networks.rcump import Rcump, RcumpConfig
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.networks.ssr import Ssr, SsrConfig
from crsdun.networks.two_stage import TwoStageConfig, TwoStageNetwork
from crsdun.optics import Estimate
from crsdun.solvers import SOLVERS, by_name


def _joined(config: TwoStageConfig) -> TwoStageNetwork:
    """Both parts with fresh weights; a solver is its own configuration."""
    part = config.reconstruction
    reconstruction = part if config.method in SOLVERS else KINDS[config.method][1](part)
    return TwoStageNetwork(config, reconstruction, Segmenter(config.segmenter))


# Kind of network → its configuration and what makes the network of it; the kind is what a weights file stores.
KINDS: dict[str, tuple[type, Callable[[Any], Network]]] = {
    "crsdun": (CrsdunConfig, Crsdun),
    "mstpp": (MstppConfig, Mstpp),
    "ssr": (SsrConfig, Ssr),
    "rcump": (RcumpConfig, Rcump),
    "seg": (SegConfig, Segmenter),
    "joined": (TwoStageConfig, _joined),
}

# The ablations of CRSDUN, behind its name (``crsdun_3stg_baseline1``): two branches apart, what lets them cooperate
# one by one, and cross-aggregation in no branch or one. In both it is CRSDUN itself.
_APART = {"cross_cube": False, "cross_class": False}
ABLATIONS: dict[str, dict[str, bool]] = {
    "baseline1": {**_APART, "cube_in_class_input": True, "theta_in_gradient": False, "lista": False},
    "theta": {**_APART, "cube_in_class_input": True, "lista": False},  # + Eq. 13
    "lista": {**_APART, "cube_in_class_input": True},  # + LISTA
    "cross_none": _APART,
    "cross_cube": {"cross_class": False},
    "cross_class": {"cross_cube": False},
}

# Names a person types: pattern → kind and settings; a number in the name is the number of stages.
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "crsdun_{K}stg": ("crsdun", {}),
    "crsdun_tiny": ("crsdun", {"stages": 2, "width": 14}),  # for ordinary machines: 0.75 M parameters
    **{f"crsdun_{{K}}stg_{name}": ("crsdun", settings) for name, settings in ABLATIONS.items()},
    "mstpp": ("mstpp", {}),
    "ssr_{K}stg": ("ssr", {}),
    "rcump_{K}stg": ("rcump", {}),
    "seg_{K}stg": ("seg", {}),
}
# Behind any of them but the segmenter, or behind gap_tv or admm_tv: joined with the segmenter.
JOINED = "+seg"
# Of the segmenter behind a method that has none, as in the paper's row of MST++.
STAGES = 3


def create(name: str, bands: int, classes: int | None = None, **overrides: Any) -> Network:
    """A network with fresh weights, in channels-last memory, on the CPU.

    Args:
        name: a row of ``NAMES``, such as ``crsdun_3stg`` or ``ssr_9stg``, with any number of stages; with ``+seg``
            behind it a two-stage system (``ssr_9stg+seg``, ``gap_tv+seg``), whose segmenter has as many stages.
        bands: C.
        classes: N, background included; a network that does not segment takes no notice.
        **overrides: fields of the configuration (of crsdun: ``CrsdunConfig``), such as ``width=12`` or an ablation
            switch; of a two-stage system those of its parts, as ``reconstruction={"width": 12}`` and ``segmenter``.

    Raises:
        InputError: unknown name, or a setting that the configuration does not have or accept.
    """
    if not name.endswith(JOINED):
        kind, settings = _look_up(name, bands, classes)
        return build(kind, settings | overrides)

    method = name.removesuffix(JOINED).replace("_tv", "-tv")
    kind, settings = (method, {}) if method in SOLVERS else _look_up(method, bands, classes)
    if kind == "seg":
        raise InputError(f"{method} takes a cube in and makes none: join a network that reconstructs, or gap_tv")
    settings = settings | overrides.pop("reconstruction", {})
    segmenter = {"bands": bands, "classes": classes, "stages": settings.get("stages", STAGES)}
    segmenter |= overrides.pop("segmenter", {})
    return build("joined", {"method": kind, "reconstruction": settings, "segmenter": segmenter, **overrides})


def join(reconstruction: Callable[..., Estimate], segmenter: Segmenter) -> TwoStageNetwork:
    """A two-stage system of parts that exist already, such as weights that were trained one after the other.

    Args:
        reconstruction: a network, or a training-free solver.
        segmenter: for as many bands.

    Raises:
        InputError: the parts are no such things, or for different bands.
    """
    if not isinstance(segmenter, Segmenter) or isinstance(reconstruction, Segmenter | TwoStageNetwork):
        raise InputError("join takes a method that reconstructs and a segmenter (seg_{K}stg), in this order")
    if isinstance(reconstruction, Network):
        config = TwoStageConfig(kind_of(reconstruction), reconstruction.config, segmenter.config)
        return TwoStageNetwork(config, reconstruction, segmenter)
    for name, solver in SOLVERS.items():
        if isinstance(reconstruction, solver):
            return TwoStageNetwork(TwoStageConfig(name, reconstruction, segmenter.config), reconstruction, segmenter)
    raise InputError(f"only a network or a solver of crsdun can be joined, not {type(reconstruction).__name__}")


def build(kind: str, settings: dict[str, Any]) -> Network:
    """A network of a kind from its settings; an InputError names settings that do not exist."""
    config = config_from(kind, settings)
    built = KINDS[kind][1](config)
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def config_from(kind: str, settings: dict[str, Any]) -> Any:
    """The configuration of a kind of network from its settings, as ``build``."""
    if kind not in KINDS:
        raise InputError(f"unknown kind of network {kind!r}", f"this version of crsdun knows {', '.join(KINDS)}")
    config, _ = KINDS[kind]
    known = [field.name for field in fields(config)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise InputError(f"{kind} has no setting {', '.join(unknown)}", f"its settings are {', '.join(known)}")
    if config is TwoStageConfig:
        method, part = settings["method"], settings["reconstruction"]
        return TwoStageConfig(
            method,
            by_name(method, **part) if method in SOLVERS else config_from(method, part),
            config_from("seg", settings["segmenter"]),
        )
    return config(**settings)


def kind_of(network: Network) -> str:
    """The kind under which a network is listed in ``KINDS``."""
    return next(kind for kind, (config, _) in KINDS.items() if isinstance(network.config, config))


def _look_up(name: str, bands: int, classes: int | None) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a row of ``NAMES``."""
    for pattern, (kind, settings) in NAMES.items():
        match = re.fullmatch(pattern.replace("{K}", r"(\d+)"), name)
        if match:
            stages = {"stages": int(match[1])} if match.groups() else {}
            known = {field.name for field in fields(KINDS[kind][0])}
            counts = {"bands": bands, "classes": classes} if "classes" in known else {"bands": bands}
            return kind, {**counts, **stages, **settings}
    raise InputError(
        f"there is no network called {name!r}",
        f"there are {', '.join(NAMES)} (K: number of stages), and with {JOINED} "
        "behind a name, gap_tv or admm_tv a two-stage system",
    )
