"""A patchwork scene from its index: what it consists of is drawn first, then any window of it is rendered.

Legend: K materials, C bands · h, w window · y, x its pixels in the scene. A pixel is a mixture of materials: layers
are painted over each other into weights (K,h,w), light multiplies them, and the cube is their sum over the spectra.
So the same scene can be rendered on any bands, and everything but that sum is independent of their number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crsdun.scenes.patchwork.fields import (
    Cells,
    Gradient,
    Noise,
    Pattern,
    Turned,
    draw_cells,
    draw_dots,
    draw_noise,
    draw_pattern,
    draw_seed,
    draw_stripes,
    white_noise,
)
from crsdun.scenes.patchwork.materials import GRID, bump, draw_lamp, draw_palette, natural_primaries, sampled
from crsdun.scenes.patchwork.photographs import Brightness, View
from crsdun.scenes.produce.exact_arithmetic import SceneRng, ramp

VERSION = "1"
SIZE = 256
BRIGHTEST = 4.0
MATERIALS = 22
PENUMBRA = 3.0  # pixels: half the width of a shadow's border
GRAIN = np.linspace(395, 725, 12)  # nm: centres of the bands that have noise of their own


class Canvas:
    """A window of a scene while it is painted.

    Attributes:
        x, y: (h,w) float32, columns and rows in the scene.
        weights: (K,h,w) float32, how much of each material a pixel shows.
    """

    def __init__(self, rows: slice, columns: slice, materials: int):
        y, x = np.meshgrid(np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop), indexing="ij")
        self.x, self.y = x.astype(np.float32), y.astype(np.float32)
        self.weights = np.zeros((materials, *x.shape), np.float32)
        self._drawn: dict[Pattern, np.ndarray] = {}

    def drawn(self, pattern: Pattern) -> np.ndarray:
        """A pattern (h,w) in 0..1; those that several objects share are evaluated once."""
        if pattern not in self._drawn:
            self._drawn[pattern] = pattern.at(self.x, self.y)
        return self._drawn[pattern]


class Layer(ABC):
    """Something that is painted over what is there."""

    @abstractmethod
    def paint(self, canvas: Canvas) -> None:
        """Change the weights."""


# -- layers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coat(Layer):
    """A material wherever a pattern is, all over without one."""

    material: int
    pattern: Pattern | None = None
    strength: float = 1

    def paint(self, canvas: Canvas) -> None:
        if self.pattern is None:
            canvas.weights[:] = 0
            canvas.weights[self.material] = 1
            return
        cover = self.strength * canvas.drawn(self.pattern)
        canvas.weights *= 1 - cover
        canvas.weights[self.material] += cover


@dataclass(frozen=True)
class Mosaic(Layer):
    """Cells, each of one of the materials, in a light of its own; where ``gaps`` is, they show what is below."""

    cells: Cells
    materials: tuple[int, ...]
    uneven: float
    gaps: Pattern | None

    def paint(self, canvas: Canvas) -> None:
        number = self.cells.at(canvas.x, canvas.y)
        place = number * len(self.materials)
        index = place.astype(np.int32)
        light = 1 - self.uneven * (place - index)
        cover = np.ones_like(number) if self.gaps is None else 1 - 0.8 * canvas.drawn(self.gaps)
        canvas.weights *= 1 - cover
        for each, material in enumerate(self.materials):
            canvas.weights[material] += (index == each) * (cover * light)


@dataclass(frozen=True)
class Picture(Layer):
    """A photograph as a scene, in one of several ways.

    Attributes:
        way: ``channels`` each channel is the amount of a material · ``clusters`` materials by hue, as bright as the
            photograph · ``natural`` the likeliest reflectances of its colours, with a little of other materials
            · ``mixed`` channels, darkness and the brightness of another view, each of a material.
        materials: that it needs, six.
        other: a second view.
        centres: of the clusters: red, green and blue, each a share of their sum.
        primaries: the first of the three rows of ``natural_primaries`` among the scene's materials.
    """

    view: View
    way: str
    materials: tuple[int, ...]
    other: View
    centres: tuple[tuple[float, float, float], ...]
    primaries: int

    def paint(self, canvas: Canvas) -> None:
        channels = self.view.at(canvas.x, canvas.y)
        red, green, blue = channels
        bright = (red + green + blue) / 3
        canvas.weights[:] = 0
        if self.way == "natural":
            for number, channel in enumerate(channels):
                canvas.weights[self.primaries + number] = 0.85 * channel
            canvas.weights[self.materials[0]] = 0.15 * bright
        elif self.way == "clusters":
            hues = channels / (3 * bright + 0.02)
            nearness = []
            for centre in self.centres:
                off = [hue - share for hue, share in zip(hues, centre, strict=True)]
                near = 1 / (off[0] * off[0] + off[1] * off[1] + off[2] * off[2] + 0.002)
                nearness.append(near * near)
            total = nearness[0]
            for near in nearness[1:]:
                total = total + near
            for material, near in zip(self.materials, nearness, strict=True):
                canvas.weights[material] += near / total * bright
        else:
            amounts = [0.6 * red, 0.6 * green, 0.6 * blue]
            if self.way == "mixed":
                second = Brightness(self.other).at(canvas.x, canvas.y)
                amounts += [0.3 * (1 - bright), 0.4 * second, 0.4 * bright * bright]
            for material, amount in zip(self.materials, amounts, strict=False):
                canvas.weights[material] += amount


@dataclass(frozen=True)
class Leaf:
    """One of many objects that lie over each other.

    Attributes:
        shape: ``ellipse``, ``box``, ``polygon`` or ``ring``.
        row, column: centre in pixels.
        along, across: half its length and width in pixels.
        cosine, sine: of the direction of its length.
        corners: of a polygon.
        materials: the two it is mixed of.
        share: of the second, where its pattern is 1.
        light: how bright it is.
        tilt: how much brighter one end is than the middle.
        round: how much its border turns away from the light, 0..1.
        texture: how much its pattern darkens it, 0..1.
        pattern: which of the layer's patterns.
    """

    shape: str
    row: float
    column: float
    along: float
    across: float
    cosine: float
    sine: float
    corners: int
    materials: tuple[int, int]
    share: float
    light: float
    tilt: float
    round: float
    texture: float
    pattern: int

    def inside(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of places relative to the centre: how far inside they are in pixels, negative outside; in 0..1 how near to
        the centre (0) or the border (1); and where along the length.
        """
        u, v = x * self.cosine + y * self.sine, y * self.cosine - x * self.sine
        box = np.minimum(self.along - abs(u), self.across - abs(v))
        if self.shape == "box":
            return box, np.maximum(abs(u) / self.along, abs(v) / self.across), u
        if self.shape == "polygon":
            reach = np.full_like(u, -9999)
            for corner in range(self.corners):
                angle = 2 * np.pi * (corner + 0.3 * np.sin(7.0 * corner + self.tilt)) / self.corners
                reach = np.maximum(
                    reach, float(np.cos(angle)) * u + float(np.sin(angle)) * v * self.along / self.across
                )
            inside = (self.along * 0.75 - reach) * (self.across / self.along)
            return np.minimum(inside, box), reach / (0.75 * self.along), u
        off = np.sqrt((u / self.along) ** 2 + (v / self.across) ** 2)
        if self.shape == "ring":
            return self.across * (0.2 - abs(off - 0.8)), abs(off - 0.8) * 5, u
        return self.across * (1 - off), off, u


@dataclass(frozen=True)
class Leaves(Layer):
    """Objects over each other, the first lowest.

    Attributes:
        softness: over how many pixels their borders reach: the defocus.
        patterns: that they share.
        shadow: how dark their shadows are, 0..1.
        fall: by how many pixels these fall to the right and down.
    """

    leaves: tuple[Leaf, ...]
    softness: float
    patterns: tuple[Pattern, ...]
    shadow: float
    fall: tuple[float, float]

    def paint(self, canvas: Canvas) -> None:
        top, left = float(canvas.y[0, 0]), float(canvas.x[0, 0])
        height, width = canvas.x.shape
        for leaf in self.leaves:
            border = 1 + max(self.softness / 2, PENUMBRA) / leaf.across
            reach = float(np.hypot(leaf.along, leaf.across)) * border + max(map(abs, self.fall))
            rows = slice(max(int(leaf.row - reach - top), 0), min(int(leaf.row + reach - top) + 2, height))
            columns = slice(max(int(leaf.column - reach - left), 0), min(int(leaf.column + reach - left) + 2, width))
            if rows.start < rows.stop and columns.start < columns.stop:
                self._paint(leaf, canvas, rows, columns)

    def _paint(self, leaf: Leaf, canvas: Canvas, rows: slice, columns: slice) -> None:
        x, y = canvas.x[rows, columns] - leaf.column, canvas.y[rows, columns] - leaf.row
        part = canvas.weights[:, rows, columns]
        if self.shadow:
            inside, _, _ = leaf.inside(x - self.fall[0], y - self.fall[1])
            part *= 1 - self.shadow * ramp(inside, -PENUMBRA, PENUMBRA)
        inside, off, u = leaf.inside(x, y)
        cover = np.clip(inside / self.softness + 0.5, 0, 1)
        pattern = canvas.drawn(self.patterns[leaf.pattern])[rows, columns]
        light = leaf.light * (1 + leaf.tilt / leaf.along * u) * (1 - leaf.texture * pattern)
        if leaf.round:
            light = light * (1 - leaf.round * (1 - np.sqrt(np.maximum(1 - off * off, 0))))
        light = cover * np.maximum(light, 0)
        share = leaf.share * pattern
        part *= 1 - cover
        part[leaf.materials[0]] += light * (1 - share)
        part[leaf.materials[1]] += light * share


# -- light ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Light:
    """What falls onto a scene.

    Attributes:
        lamps: (1 or 2, G), the spectra of the light relative to the white reference.
        between: which of two lamps a pixel sees.
        exposure: factor of everything.
        shading: patterns, each with how much it darkens.
        gleam: where highlights are, and how strong: up to ``BRIGHTEST``.
        grain: standard deviation of the noise that each band has of its own.
        seed: of the grain.
    """

    lamps: np.ndarray
    exposure: float
    shading: tuple[tuple[Pattern, float], ...]
    gleam: tuple[Pattern, float] | None
    grain: float
    seed: int
    between: Pattern | None = None

    def shade(self, canvas: Canvas) -> np.ndarray:
        """(h,w) in 0..1, the part of the light that arrives."""
        light: np.ndarray = np.ones_like(canvas.x)
        for pattern, depth in self.shading:
            light = light * (1 - depth * canvas.drawn(pattern))
        return light


# -- a scene -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patchwork:
    """All that a scene consists of.

    Attributes:
        kind: what it is like: one of ``KINDS``.
        palette: (K,G) reflectances.
        layers: painted one after the other.
        light: that falls onto it.
    """

    kind: str
    palette: np.ndarray
    layers: tuple[Layer, ...]
    light: Light

    def render(self, wavelengths: tuple[float, ...], rows: slice, columns: slice) -> np.ndarray:
        """The cube (C,h,w) float32 of a window, at most ``BRIGHTEST``."""
        canvas = Canvas(rows, columns, len(self.palette))
        for layer in self.layers:
            layer.paint(canvas)
        canvas.weights *= self.light.exposure * self.light.shade(canvas)
        cube = np.zeros((len(wavelengths), *canvas.x.shape), np.float32)
        lamps = sampled(self.light.lamps, wavelengths)
        palette = sampled(self.palette, wavelengths)
        if self.light.between is None:
            add(cube, palette * lamps[0], canvas.weights)
        else:
            first = canvas.drawn(self.light.between)
            add(cube, palette * lamps[0], canvas.weights * first)
            add(cube, palette * lamps[1], canvas.weights * (1 - first))
        if self.light.gleam is not None:
            pattern, strength = self.light.gleam
            add(cube, strength * lamps[:1], canvas.drawn(pattern)[None])
        if self.light.grain:
            bells = self.light.grain * sampled(np.stack([bump(centre, 16) for centre in GRAIN]), wavelengths)
            seeds = range(self.light.seed, self.light.seed + 8 * len(GRAIN), 8)
            add(cube, bells, np.stack([white_noise(seed, canvas.x, canvas.y) for seed in seeds]))
        return np.clip(cube, 0, BRIGHTEST, out=cube)


def add(cube: np.ndarray, spectra: np.ndarray, weights: np.ndarray) -> None:
    """Add Σₖ spectra (K,C) × weights (K,h,w) to the cube (C,h,w).

    One material after the other: matrix products have other last digits for windows of other sizes.
    """
    for spectrum, weight in zip(spectra, weights, strict=True):
        if weight.any():
            for band, value in enumerate(spectrum):
                cube[band] += value * weight


def draw_patchwork(rng: SceneRng) -> Patchwork:
    """A scene of any kind."""
    sums = np.cumsum([share for share, _ in KINDS.values()])
    kind = list(KINDS)[int(np.searchsorted(sums, rng.uniform(0, float(sums[-1])), side="right"))]
    palette = draw_palette(rng.derived("materials"), MATERIALS)
    layers = KINDS[kind][1](rng.derived("layers"))
    natural = isinstance(layers[0], Picture) and layers[0].way == "natural"
    shown = np.full((1, len(GRID)), 0.6) if natural else palette
    light = draw_light(rng.derived("light"), shown)
    return Patchwork(kind, np.concatenate([palette, natural_primaries()]), tuple(layers), light)


def some(rng: SceneRng, count: int) -> tuple[int, ...]:
    """Different materials."""
    return tuple(rng.shuffled(range(MATERIALS))[:count])


def collage(rng: SceneRng) -> list[Layer]:
    """Things over each other."""
    return [*ground(rng), draw_leaves(rng, 40 + rng.below(500))]


def picture(rng: SceneRng) -> list[Layer]:
    """A photograph, sometimes with a few things on it."""
    way = ("natural", "natural", "clusters", "channels", "mixed")[rng.below(5)]
    view, materials = View.draw(rng), some(rng, 6)
    centres = []
    for _ in materials:
        x, y = (np.full((1, 1), rng.uniform(0, SIZE), np.float32) for _ in "xy")
        red, green, blue = (view.at(x, y).reshape(3) + 0.01).tolist()
        total = red + green + blue
        centres.append((red / total, green / total, blue / total))
    layers: list[Layer] = [Picture(view, way, materials, View.draw(rng), tuple(centres), MATERIALS)]
    if rng.chance(0.3):
        layers.append(draw_leaves(rng, 2 + rng.below(30)))
    return layers


def land(rng: SceneRng) -> list[Layer]:
    """Fields or quarters from above, with paths and small things."""
    gaps = draw_pattern(rng) if rng.chance(0.6) else None
    layers = [*ground(rng), Mosaic(draw_cells(rng), some(rng, 3 + rng.below(14)), rng.uniform(0, 0.8), gaps)]
    if rng.chance(0.4):
        layers.append(Mosaic(draw_cells(rng), some(rng, 6), rng.uniform(0, 0.8), draw_noise(rng, 10, 90)))
    layers += [Coat(some(rng, 1)[0], draw_noise(rng, 2, 12), rng.uniform(0.1, 0.6)) for _ in range(rng.below(3))]
    if rng.chance(0.6):
        layers.append(draw_leaves(rng, 5 + rng.below(120)))
    return layers


def texture(rng: SceneRng) -> list[Layer]:
    """Cloth, ground, walls: patterns at several scales."""
    patterns = [draw_stripes(rng) if rng.chance(0.4) else draw_pattern(rng) for _ in range(1 + rng.below(4))]
    layers = [*ground(rng), *(Coat(some(rng, 1)[0], each, rng.uniform(0.3, 1)) for each in patterns)]
    if rng.chance(0.5):
        layers.append(Coat(some(rng, 1)[0], draw_dots(rng), rng.uniform(0.5, 1)))
    return layers


def smooth(rng: SceneRng) -> list[Layer]:
    """Slow changes, and a few large things."""
    layers: list[Layer] = [Coat(some(rng, 1)[0])]
    for material in some(rng, 1 + rng.below(4)):
        slow = Gradient(Turned.of(rng, rng.uniform(100, 400), 1)) if rng.chance(0.5) else draw_noise(rng, 40, 160)
        layers.append(Coat(material, slow, rng.uniform(0.4, 1)))
    if rng.chance(0.7):
        layers.append(draw_leaves(rng, 1 + rng.below(12), smallest=15))
    return layers


def dark(rng: SceneRng) -> list[Layer]:
    """A few things before nothing, as in a laboratory."""
    black = Coat(some(rng, 1)[0], Noise(Turned.of(rng, 400, 400), 0, 1, 1), rng.uniform(0, 0.05))
    return [black, draw_leaves(rng, 8 + rng.below(50), smallest=5)]


KINDS: dict[str, tuple[float, Callable[[SceneRng], list[Layer]]]] = {
    each.__name__: (share, each)
    for share, each in ((0.27, collage), (0.34, picture), (0.15, land), (0.12, texture), (0.09, smooth), (0.03, dark))
}


def ground(rng: SceneRng) -> list[Layer]:
    """What lies below everything: materials that change into each other, or a photograph's brightness between two."""
    first, *others = some(rng, 2 + rng.below(3))
    layers: list[Layer] = [Coat(first)]
    for material in others:
        pattern = Brightness(View.draw(rng)) if rng.chance(0.2) else draw_pattern(rng)
        layers.append(Coat(material, pattern, rng.uniform(0.3, 1)))
    return layers


def draw_leaves(rng: SceneRng, count: int, smallest: float = 0) -> Leaves:
    """Objects of all sizes, 2 to 150 pixels by a power law, somewhere in the scene or partly outside."""
    small = smallest or 1 + 7 * rng.uniform(0, 1) ** 2
    large = rng.uniform(max(20, 1.5 * small), 75)
    materials = some(rng, 4 + rng.below(MATERIALS - 4))
    shapes = (("ellipse",), ("box",), ("polygon",), ("ellipse", "box", "polygon", "ring"))[rng.below(4)]
    dim, tilted, rounded = rng.uniform(0, 0.8), rng.uniform(0, 0.5), rng.chance(0.5)
    long = rng.uniform(1, 2.5) if rng.chance(0.8) else rng.uniform(3, 12)
    patterns = tuple(
        Brightness(View.draw(rng)) if rng.chance(0.3) else draw_pattern(rng) for _ in range(1 + rng.below(3))
    )
    textured, mixed = rng.uniform(0, 0.7), rng.uniform(0, 1)
    upright = rng.chance(0.3)
    leaves = []
    for draws in rng.uniforms(16 * count).reshape(count, 16).tolist():
        size = 1 / np.sqrt(draws[0] * (1 / small**2 - 1 / large**2) + 1 / large**2)
        angle = (int(4 * draws[1]) / 4 if upright else draws[1]) * 2 * np.pi
        pattern = int(draws[9] * len(patterns))
        leaves.append(
            Leaf(
                shape=shapes[int(draws[2] * len(shapes))],
                row=draws[3] * (SIZE + 20) - 10,
                column=draws[4] * (SIZE + 20) - 10,
                along=float(size),
                across=max(float(size) / (1 + (long - 1) * draws[5]), 1.0),
                cosine=float(np.cos(angle)),
                sine=float(np.sin(angle)),
                corners=3 + int(4 * draws[6]),
                materials=(materials[int(draws[7] * len(materials))], materials[int(draws[8] * len(materials))]),
                share=mixed * draws[10],
                light=1 - dim * draws[11],
                tilt=tilted * (2 * draws[12] - 1),
                round=0.9 * draws[13] if rounded else 0.0,
                texture=textured * draws[14],
                pattern=pattern,
            )
        )
    softness = rng.uniform(1, 1.6) if rng.chance(0.75) else rng.uniform(1.6, 5)
    shadow = rng.uniform(0.2, 0.8) if rng.chance(0.5) else 0.0
    return Leaves(tuple(leaves), softness, patterns, shadow, (rng.uniform(-6, 6), rng.uniform(-2, 6)))


def draw_light(rng: SceneRng, shown: np.ndarray) -> Light:
    """A lamp or two, or none where a white reference takes it out; shades, shadows, highlights, grain.

    Args:
        shown: (n,G), reflectances that the exposure is set for.
    """
    lamps, between = np.ones((1, len(GRID))), None
    if rng.chance(0.45):
        lamps = draw_lamp(rng)[None]
    if rng.chance(0.12):
        second = draw_lamp(rng)
        lamps = np.stack([lamps[0], lamps[0] * (0.3 + 0.7 * second)])
        between = draw_noise(rng, 60, 160)
    shading: list[tuple[Pattern, float]] = []
    if rng.chance(0.7):
        shading.append((Gradient(Turned.of(rng, rng.uniform(150, 500), 1)), rng.uniform(0.1, 0.8)))
    if rng.chance(0.4):
        shading.append((draw_noise(rng, 50, 160), rng.uniform(0.1, 0.7)))
    if rng.chance(0.25):  # shadows with a border
        cell = rng.uniform(50, 150)
        shading.append(
            (Noise(Turned.of(rng, cell, cell), draw_seed(rng), 2, 0.4, rng.uniform(5, 20)), rng.uniform(0.3, 0.85))
        )
    if rng.chance(0.35):  # grain of the surface, the same in all bands
        shading.append((draw_noise(rng, 1.2, 4), rng.uniform(0.03, 0.3)))
    gleam = None
    if rng.chance(0.2):
        cell = rng.uniform(6, 30)
        spots = Noise(Turned.of(rng, cell * rng.uniform(1, 4), cell), draw_seed(rng), 1, 1, 0.55)
        gleam = (Sparkle(spots, rng.uniform(0.9, 0.97)), rng.uniform(0.3, BRIGHTEST))
    seen = np.quantile((shown * lamps[0]).max(axis=1), (0.5, 1))
    brightness = 1.1 * 7 ** -(rng.uniform(0, 1) ** 2)
    shaded = float(np.prod([1 - depth / 2 for _, depth in shading]))
    return Light(
        lamps=lamps,
        exposure=float(min(brightness / seen[0] / shaded, 1.5 / seen[1])),
        shading=tuple(shading),
        gleam=gleam,
        grain=brightness * 0.002 * 8 ** rng.uniform(0, 1) if rng.chance(0.35) else 0.0,
        seed=draw_seed(rng),
        between=between,
    )


@dataclass(frozen=True)
class Sparkle(Pattern):
    """Only the summits of another pattern."""

    pattern: Pattern
    above: float

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ramp(self.pattern.at(x, y), self.above, 1.02)
