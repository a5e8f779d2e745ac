"""The weights of one network as the beginning of another, which may have other bands and other classes.

Layers are taken over where names and shapes agree. Where shapes differ because the number of bands or of classes
does, or where the classes are others, a tensor is taken over piece by piece:

    bands      interpolated between the wavelengths of both cards; what a layer takes in is interpolated the other way
    classes    by name; what belongs to a class that is new stays fresh

Which sizes of a tensor count bands or classes is found by building the network with one more of each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.checkpoint import read_header
from crsdun.networks.network import Network
from crsdun.networks.pretrained import find_weights
from crsdun.networks.start import resampling
from crsdun.networks.two_stage import TwoStageConfig
from crsdun.networks.zoo import KINDS, config_from, kind_of
from crsdun.solvers import Solver
from crsdun.tensor_file import read_tensors

Names = Sequence[str] | None
Wavelengths = Sequence[float] | None


@dataclass(frozen=True)
class Transfer:
    """What a network has of another's weights.

    Attributes:
        fresh: names of the network's tensors that were left as they are.
        partly: of those that were taken over in part, for the classes that both know.
        resampled: of those that were interpolated to other bands.
        new_classes: classes that the other network does not know; empty where their names are not known.
    """

    fresh: list[str]
    partly: list[str]
    resampled: list[str]
    new_classes: list[str]


def take_over(
    network: Network, path: str | os.PathLike, wavelengths: Wavelengths = None, class_names: Names = None
) -> Transfer:
    """Copy the weights of a file, or of shipped weights by name, into a network, as far as they fit.

    Args:
        wavelengths: of the network's bands, in nm; None if unknown: layers of another number of bands stay fresh.
        class_names: of the network's classes; None if unknown: layers of another number of classes stay fresh.

    Raises:
        InputError: as ``read_header``, or they are those of another kind of network.
    """
    header = read_header(path)
    kind = kind_of(network)
    if header.kind != kind:
        raise InputError(f"{path} holds weights of {header.kind}, not of {kind}", "name others")
    _, stored = read_tensors(find_weights(path))
    own, card, stored_config = network.state_dict(), header.card, config_from(kind, header.config)
    bands = _Bands.between(card.wavelengths, wavelengths, stored_config.bands, network.config.bands)
    classes = _classes(card.class_names, class_names, stored_config.classes, network.class_count)
    parts = _parts(kind, network.config)
    transfer = Transfer([], [], [], _new(card.class_names, class_names))
    for name, fresh in own.items():
        value = stored.get(name)
        taken = None if value is None else _taken(value, fresh, parts.get(name), bands, classes)
        if taken is None:
            transfer.fresh.append(name)
            continue
        own[name], whole, resampled = taken
        if not whole:
            transfer.partly.append(name)
        if resampled:
            transfer.resampled.append(name)
    network.load_state_dict(own)
    return transfer


@dataclass(frozen=True)
class _Bands:
    """From old bands to new ones: ``there`` for what a layer gives, (new,old), and ``back`` for what it takes."""

    there: Tensor
    back: Tensor

    @classmethod
    def between(cls, old: Wavelengths, new: Wavelengths, old_count: Any, new_count: int) -> _Bands | None:
        """None where nothing tells which bands correspond.

        As many bands as before are taken for the same, wherever they lie: a network is told no wavelengths.
        """
        if old_count == new_count:
            same = torch.eye(new_count, dtype=torch.float64)
            return cls(same, same)
        if old is None or new is None:
            return None
        like = torch.zeros((), dtype=torch.float64)
        there, back = resampling(tuple(old), tuple(new), like), resampling(tuple(new), tuple(old), like)
        return None if there is None or back is None else cls(there, back)


def _classes(old: Names, new: Names, old_count: Any, new_count: int) -> Tensor | None:
    """Which old class each new one is, (new,old) of 0 and 1; None where nothing tells."""
    if old is None or new is None:
        return torch.eye(new_count, dtype=torch.float64) if old_count == new_count else None
    return torch.tensor([[float(a == b) for b in old] for a in new], dtype=torch.float64).view(len(new), len(old))


def _new(old: Names, new: Names) -> list[str]:
    return [] if old is None or new is None else [name for name in new if name not in old]


def _parts(kind: str, config: Any) -> dict[str, list[tuple[int, int, int]]]:
    """For every tensor of a network how many times each of its sizes counts the bands, the classes, and the rest.

    Empty for what has neither setting. Networks without a width count no bands: their widths may follow from them, so
    that bands cannot be told from features.
    """
    if isinstance(config, TwoStageConfig):
        both = {"reconstruction": (config.method, config.reconstruction), "segmenter": ("seg", config.segmenter)}
        return {f"{part}.{name}": each for part, of in both.items() for name, each in _parts(*of).items()}
    known = {field.name for field in fields(config)}
    counts_bands, counts_classes = {"bands", "width"} <= known, "classes" in known
    if isinstance(config, Solver) or not (counts_bands or counts_classes):
        return {}
    if counts_bands and config.width is None:
        config = replace(config, width=config.base)
    if "class_bands" in known:
        config = replace(config, class_bands=None)
    bands = replace(config, bands=config.bands + 1) if counts_bands else config
    classes = replace(config, classes=config.classes + 1) if counts_classes else config
    with torch.device("meta"):
        here, more_bands, more_classes = (
            {name: each.shape for name, each in KINDS[kind].build(other).state_dict().items()}
            for other in (config, bands, classes)
        )
    parts = {}
    for name, shape in here.items():
        of_bands = [more - size for more, size in zip(more_bands[name], shape, strict=True)]
        of_classes = [more - size for more, size in zip(more_classes[name], shape, strict=True)]
        rest = [
            size - b * config.bands - c * config.classes
            for size, b, c in zip(shape, of_bands, of_classes, strict=True)
        ]
        parts[name] = list(zip(of_bands, of_classes, rest, strict=True))
    return parts


def _taken(
    value: Tensor,
    fresh: Tensor,
    parts: list[tuple[int, int, int]] | None,
    bands: _Bands | None,
    classes: Tensor | None,
) -> tuple[Tensor, bool, bool] | None:
    """A tensor as the new network has it, whether nothing of it is fresh, and whether it was interpolated.

    None where it does not fit. In a size that several things share, bands come first, then classes, then the rest.
    """
    if not any(b or c for b, c, _ in parts or []):
        return (value, True, False) if value.shape == fresh.shape else None
    result, known = value.double(), torch.ones(fresh.shape, dtype=torch.bool)
    resampled = False
    for place, (b, c, rest) in enumerate(parts or []):
        if (b and bands is None) or (c and classes is None):
            return None
        blocks = [torch.eye(rest, dtype=torch.float64)] if rest > 0 else []
        if c and classes is not None:
            blocks = [classes] * c + blocks
        if b and bands is not None:
            blocks = [bands.there if place == 0 else bands.back.T] * b + blocks
            resampled = resampled or bands.there.shape[0] != bands.there.shape[1]
        matrix = torch.block_diag(*blocks)
        if matrix.shape != (fresh.shape[place], result.shape[place]):
            return None
        result = torch.tensordot(matrix, result, dims=([1], [place])).movedim(0, place)
        line = [1] * fresh.ndim
        line[place] = -1
        known = known & matrix.any(1).view(line)
    return torch.where(known, result.to(fresh), fresh), bool(known.all()), resampled
