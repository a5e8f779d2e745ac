"""Every network by name: a table of configurations, and the one function that builds from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch

from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.network import Network
from crsdun.optics import InputError

# Kind of network → its configuration and its class; the kind is what a weights file stores.
KINDS: dict[str, tuple[type, Callable[[Any], Network]]] = {"crsdun": (CrsdunConfig, Crsdun)}

# Names a person types: pattern → kind and settings; a number in the name is the number of stages.
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "crsdun_{K}stg": ("crsdun", {}),
    "crsdun_tiny": ("crsdun", {"stages": 2, "width": 14}),  # for ordinary machines: 0.75 M parameters
}


def create(name: str, bands: int, classes: int, **overrides: Any) -> Network:
    """A network with fresh weights, in channels-last memory, on the CPU.

    Args:
        name: ``crsdun_3stg``, ``crsdun_5stg`` or any other number of stages; ``crsdun_tiny``.
        bands: C.
        classes: N, background included.
        **overrides: fields of the configuration (``CrsdunConfig``), such as ``width=12`` or an ablation switch.

    Raises:
        InputError: unknown name, or a setting that the configuration does not have or accept.
    """
    for pattern, (kind, settings) in NAMES.items():
        match = re.fullmatch(pattern.replace("{K}", r"(\d+)"), name)
        if match:
            stages = {"stages": int(match[1])} if match.groups() else {}
            return build(kind, {"bands": bands, "classes": classes, **stages, **settings, **overrides})
    raise InputError(f"there is no network called {name!r}; there are {', '.join(NAMES)} (K: number of stages)")


def build(kind: str, settings: dict[str, Any]) -> Network:
    """A network of a kind from its settings; an InputError names settings that do not exist."""
    config = config_from(kind, settings)
    built = KINDS[kind][1](config)
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def config_from(kind: str, settings: dict[str, Any]) -> Any:
    """The configuration of a kind of network from its settings, as ``build``."""
    if kind not in KINDS:
        raise InputError(f"unknown kind of network {kind!r}; this version of crsdun knows {', '.join(KINDS)}")
    config, _ = KINDS[kind]
    known = [field.name for field in fields(config)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise InputError(f"{kind} has no setting {', '.join(unknown)}; its settings are {', '.join(known)}")
    return config(**settings)


def kind_of(network: Network) -> str:
    """The kind under which a network is listed in ``KINDS``."""
    return next(kind for kind, (config, _) in KINDS.items() if isinstance(network.config, config))
