"""Several data sets in one run: which set, and which of its scenes, every sample of the run comes from."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes import Scene
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet


class Mixture(SceneSet):
    """A main set and others as one, whose indices run on from set to set.

    The samples of a run are numbered, and number n comes from a set with share p if ⌊(n+1)p⌋ > ⌊np⌋: of any samples
    in a row, as many as the share says, to within one. A second other set takes its part of what the first one leaves
    in the same way, to within two, and so on; the main set is left with the rest.

    Args:
        main: the set whose epochs count.
        others: each with its share of the samples; together less than 1.
    """

    def __init__(self, main: SceneSet, others: Sequence[tuple[SceneSet, float]] = ()):
        self.sets = (main, *(scenes for scenes, _ in others))
        self.name, self.split = main.name, main.split
        self.wavelengths, self.class_names, self.colours = main.wavelengths, main.class_names, main.colours
        self.names = tuple(name for scenes in self.sets for name in scenes.names)
        self.starts = [0, *accumulate(map(len, self.sets))]
        shares = [exact(share) for _, share in others]
        self.main_share = 1 - sum(shares, Fraction(0))
        left = list(accumulate(shares, lambda rest, share: rest - share, initial=Fraction(1)))
        self.parts = [share / before for share, before in zip(shares, left, strict=False)]

    @property
    def bands(self) -> int:
        return self.sets[0].bands

    def size(self, index: int) -> tuple[int, int]:
        place = self.place(index)
        return self.sets[place].size(index - self.starts[place])

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        """A part of a scene; one of another set without class names has no classes."""
        place = self.place(index)
        scenes = self.sets[place]
        scene = scenes.crop(index - self.starts[place], top, left, height, width)
        return replace(scene, classes=None, class_names=None) if place and scenes.class_names is None else scene

    def on_grid(self, wavelengths: tuple[float, ...]) -> Mixture:
        other = copy.copy(self)
        other.sets = tuple(scenes.on_grid(wavelengths) for scenes in self.sets)
        other.wavelengths = wavelengths
        return other

    def hashes(self) -> dict[str, str]:
        """Of all sets."""
        return {f"{scenes.name}/{name}": each for scenes in self.sets for name, each in scenes.hashes().items()}

    def place(self, index: int) -> int:
        """The place in ``sets`` of the set that holds a scene."""
        return bisect_right(self.starts, index) - 1

    def neighbours(self, index: int) -> range:
        """The indices of all scenes of the set that holds a scene."""
        place = self.place(index)
        return range(self.starts[place], self.starts[place + 1])

    def drawn(self, number: int, entropy: Sequence[int]) -> int:
        """The index of the scene of a sample; every set shows all of its scenes once before any of them again.

        Args:
            number: of the sample in the run, counted from 0.
            entropy: seeds the orders of the epochs.
        """
        for place, part in enumerate(self.parts, start=1):
            before = number * part // 1
            if (number + 1) * part // 1 > before:
                return self.ordered(place, int(before), entropy)
            number -= int(before)
        return self.ordered(0, number, entropy)

    def ordered(self, place: int, count: int, entropy: Sequence[int]) -> int:
        """The index of the scene that a set shows after ``count`` others."""
        epoch, at = divmod(count, len(self.sets[place]))
        # The place is left out for the main set, whose order does not depend on there being others.
        order = np.random.default_rng([*entropy, epoch, *([place] if place else [])])
        return self.starts[place] + int(order.permutation(len(self.sets[place]))[at])


def exact(share: float) -> Fraction:
    """A share as it is written: 0.1 is one in ten for ever, and ten of them are all."""
    return Fraction(str(share))


def open_others(main: SceneSet, shares: Mapping[str, float]) -> list[tuple[SceneSet, float]]:
    """The other sets of a run, on the wavelengths of the main one, with their shares.

    Args:
        main: that they are mixed with.
        shares: by source, as for ``open_set``.

    Raises:
        InputError: as ``open_set``, or bands, wavelengths or class names do not fit those of the main set.
    """
    others = [(_fitting(main, open_set(source, "train")), shares[source]) for source in sorted(shares)]
    names = [main.name, *(scenes.name for scenes, _ in others)]
    for name in names:
        if names.count(name) > 1:  # their hashes are recorded by name
            raise InputError(
                f"data.mix holds two sets called {name}, or one that is the main set", "rename one of them"
            )
    return others


def _fitting(main: SceneSet, other: SceneSet) -> SceneSet:
    """The other set on the wavelengths of the main one."""
    if len(other) == 0:
        raise InputError(f"{other.name} holds no scenes")
    if other.class_names not in (None, main.class_names):
        raise InputError(
            f"{main.name} and {other.name} differ in their class names",
            "mix sets with the same classes, or with none",
        )
    if other.wavelengths is not None and main.wavelengths is not None and other.wavelengths != main.wavelengths:
        other = other.on_grid(main.wavelengths)
    for what in ("bands", "wavelengths"):
        if getattr(main, what) != getattr(other, what):
            raise InputError(f"{main.name} and {other.name} differ in their {what}", "mix sets with the same bands")
    return other
