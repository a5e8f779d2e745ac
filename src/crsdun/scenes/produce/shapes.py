"""The shapes of Produce-23: what each kind looks like, apart from its spectra.

Symbols: x, y pixels from the centre, y downwards · u along the axis of a body, −1..1 · v across it in pixels
· q = v / radius, −1..1 · F positive inside an outline. All is elementwise and exact (see ``exact_arithmetic``).

Most kinds are bodies of revolution, then bent; cabbage and lettuce are heaps of wavy leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crsdun.scenes.produce.exact_arithmetic import SceneRng, curve, length, noise, ramp, slopes, turns, wave


@dataclass
class Surface:
    """An object as the camera sees it, on a square patch of S×S pixels.

    Attributes:
        cover: how much of a pixel the object covers, 0..1.
        normal: (3,S,S) unit normals: right, down, towards the camera.
        tone: share of the second tone in the spectrum, 0..1.
        shade: how much light arrives in folds and grooves, 0..1.
        gloss: strength of the highlights.
        tightness: how often the highlight's cosine is squared.
    """

    cover: np.ndarray
    normal: np.ndarray
    tone: np.ndarray
    shade: np.ndarray
    gloss: float
    tightness: int

    def rough(self, height: np.ndarray) -> Surface:
        """Add a relief (S,S) in pixels to the normals; returns itself."""
        right, down = slopes(height)
        bent = np.stack([self.normal[0] - right, self.normal[1] - down, self.normal[2]])
        self.normal = bent / length(*bent)
        return self

    def trimmed(self) -> Surface:
        """The same without the margin that the object does not cover: (·,h,w)."""
        rows, columns = (np.flatnonzero((self.cover > 0).any(axis=axis)) for axis in (1, 0))
        part = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return Surface(
            self.cover[part], self.normal[part], self.tone[part], self.shade[part], self.gloss, self.tightness
        )


@dataclass(frozen=True)
class Patch:
    """Where an object is drawn: the coordinates of its pixels.

    Attributes:
        x, y: (S,S) pixels from the centre.
        along, across: (S,S) pixels from the centre along the object's axis and across it.
    """

    x: np.ndarray
    y: np.ndarray
    along: np.ndarray
    across: np.ndarray

    @classmethod
    def of(cls, rng: SceneRng, size: float, lean: float, upright: bool = False) -> Patch:
        """Room for an object of ``size`` pixels that leans by a random slope of up to ``lean`` to either side."""
        half = int(size / 2) + 4
        x, y = np.meshgrid(*2 * [np.arange(-half, half + 1.0)])
        slope = rng.uniform(-lean, lean)
        c = (-1 if rng.chance(0.5) else 1) / np.sqrt(1 + slope * slope)
        s = c * slope
        if upright:
            c, s = s, -abs(c)  # the end u = 1 is up
        return cls(x, y, c * x + s * y, c * y - s * x)


@dataclass(frozen=True)
class Body:
    """A body of revolution: coordinates on it, and its surface without texture."""

    u: np.ndarray
    q: np.ndarray
    surface: Surface


def turned(
    patch: Patch,
    size: float,
    girth: float,
    profile: Sequence[float],
    blunt: int,
    bend: float = 0,
    *,
    gloss: float,
    tightness: int,
) -> Body:
    """A body of revolution, bent into a parabola.

    Args:
        size: length in pixels.
        girth: largest diameter in pixels, where the profile is 1.
        profile: control points of the radius from u = −1 to 1.
        blunt: shape of the ends: 1 an ellipse, 2, 3 … more and more like a cylinder.
        bend: by how many lengths the middle lies off the line between the ends.
        gloss, tightness: of the highlights, see ``Surface``.
    """
    half = size / 2
    u = patch.along / half
    v = (patch.across - 2 * bend * size * (u * u - 0.4)) / length(np.ones_like(u), 8 * bend * u)
    fall = np.clip(u * u, 0, 4)
    for _ in range(blunt - 1):
        fall = fall * fall
    radius = girth / 2 * curve(profile, (u + 1) / 2)
    inside = (1 - fall) * radius * radius - v * v
    q = np.clip(v / np.maximum(np.sqrt(np.maximum(1 - fall, 0.01)) * radius, 1), -1, 1)
    return Body(u, q, dome(inside, gloss, tightness))


def dome(inside: np.ndarray, gloss: float, tightness: int) -> Surface:
    """The surface z = √F over an outline F > 0 (pixels²)."""
    right, down = slopes(inside)
    steep = length(right, down)
    cover = np.clip(inside / np.maximum(steep, 1) + 0.5, 0, 1)
    normal = np.stack([-right / 2, -down / 2, np.sqrt(np.maximum(inside, 1))])
    return Surface(cover, normal / length(*normal), np.zeros_like(inside), np.ones_like(inside), gloss, tightness)


# -- the kinds -----------------------------------------------------------------------------------------------


def banana(rng: SceneRng, scale: float) -> Surface:
    """A crescent with faint edges, brown tips and freckles."""
    size = scale * rng.uniform(70, 82)
    patch = Patch.of(rng, size, 0.5)
    profile = (0.42, 0.34, 0.85, 1.0, 1.05, 1.0, 0.8, 0.3, 0.28)
    body = turned(
        patch, size, size * rng.uniform(0.25, 0.3), profile, 3, rng.uniform(0.1, 0.17), gloss=0.2, tightness=4
    )
    u, q, surface = body.u, body.q, body.surface
    ripe = rng.uniform(0, 1)
    freckles = ramp(noise(rng, patch.along / 1.7, patch.across, 2.4), 0.95 - 0.4 * ripe, 1.1 - 0.3 * ripe)
    tips = np.maximum(ramp(u, -0.84, -0.97), ramp(u, 0.86, 0.97))
    surface.tone = np.maximum(0.75 * freckles * ripe, tips)
    return surface.rough(0.5 * np.abs(q - 0.35) + 0.4 * np.abs(q + 0.45))


def apple(rng: SceneRng, scale: float) -> Surface:
    """Nearly a ball, a stalk in its hollow, a blush on one side, pale dots."""
    size = scale * rng.uniform(54, 66)
    patch = Patch.of(rng, size, 0.2, upright=True)
    body = turned(patch, size * 0.95, size * 1.04, (0.9, 0.97, 1.0, 1.02, 1.05, 1.0), 1, gloss=0.35, tightness=5)
    surface = body.surface
    blush = noise(rng, patch.x, patch.y, size / 2) + 0.5 * noise(rng, 3 * patch.across, patch.along, size / 6)
    dots = ramp(noise(rng, patch.x, patch.y, 2.3), 0.75, 0.95)
    surface.tone = np.clip(rng.uniform(0, 0.6) * ramp(blush, -0.4, 1.1) + 0.12 * dots, 0, 1)
    return stalked(surface, patch, size, 0.33)


def kiwi(rng: SceneRng, scale: float) -> Surface:
    """An egg with brown fur."""
    size = scale * rng.uniform(42, 52)
    patch = Patch.of(rng, size, 0.5)
    body = turned(patch, size, size * rng.uniform(0.74, 0.82), (0.97, 1, 1.02, 1, 0.97), 1, gloss=0.05, tightness=2)
    surface = body.surface
    fur = noise(rng, patch.along, 2 * patch.across, 2.2)
    surface.tone = ramp(fur + 0.6 * noise(rng, patch.x, patch.y, 9), -0.9, 1.2)
    surface.tone = np.maximum(surface.tone, ramp(np.abs(body.u), 0.93, 0.98))
    return surface.rough(0.5 * fur)


def peach(rng: SceneRng, scale: float) -> Surface:
    """A ball with a seam, red where the sun was."""
    size = scale * rng.uniform(52, 64)
    patch = Patch.of(rng, size, 0.4, upright=True)
    body = turned(patch, size, size * 1.02, (0.95, 1, 1.03, 1.03, 1), 1, gloss=0.06, tightness=2)
    surface = body.surface
    sunny = noise(rng, patch.x, patch.y, size / 2) + 0.35 * noise(rng, patch.x, patch.y, 6)
    surface.tone = ramp(sunny, rng.uniform(-0.9, 0), rng.uniform(0.3, 1.0))
    seam = body.q - rng.uniform(0.2, 0.5) * np.sqrt(np.maximum(1 - body.u * body.u, 0))
    surface.shade = 1 - 0.25 * ramp(np.abs(seam), 0.07, 0)
    return stalked(surface.rough(1.2 * ramp(np.abs(seam), 0, 0.25)), patch, size, 0.4)


def pear(rng: SceneRng, scale: float) -> Surface:
    """A belly and a neck, a stalk, russet freckles."""
    size = scale * rng.uniform(68, 80)
    patch = Patch.of(rng, size, 0.35, upright=True)
    profile = (0.85, 1.0, 1.08, 1.0, 0.72, 0.55, 0.52, 0.5)
    body = turned(
        patch, size, size * rng.uniform(0.66, 0.72), profile, 2, rng.uniform(-0.03, 0.03), gloss=0.2, tightness=4
    )
    surface = body.surface
    freckles = ramp(noise(rng, patch.x, patch.y, 2.2), 0.35, 0.9)
    russet = ramp(noise(rng, patch.x, patch.y, size / 4) + ramp(body.u, 0.3, 1), 0.5, 1.6)
    surface.tone = np.clip(0.4 * freckles + 0.8 * russet, 0, 1)
    return stalked(surface, patch, size, 0.46)


def lemon(rng: SceneRng, scale: float) -> Surface:
    """An ellipsoid that ends in two nipples, with pores."""
    size = scale * rng.uniform(54, 64)
    patch = Patch.of(rng, size, 0.7)
    profile = (0.3, 0.3, 0.75, 1.0, 1.06, 1.0, 0.75, 0.22, 0.25)
    body = turned(patch, size, size * rng.uniform(0.66, 0.72), profile, 2, gloss=0.35, tightness=4)
    surface = body.surface
    surface.tone = np.clip(
        ramp(np.abs(body.u), 0.7, 1.0) * 0.8 + 0.3 * ramp(noise(rng, patch.x, patch.y, 14), 0.1, 1), 0, 1
    )
    return surface.rough(0.45 * noise(rng, patch.x, patch.y, 2.4))


def carrot(rng: SceneRng, scale: float) -> Surface:
    """A cone with fine rings and the stumps of its leaves."""
    size = scale * rng.uniform(74, 84)
    patch = Patch.of(rng, size, 0.4)
    profile = (0.12, 0.2, 0.42, 0.6, 0.76, 0.9, 1.0, 1.05, 0.62, 0.42)
    body = turned(
        patch, size, size * rng.uniform(0.27, 0.32), profile, 3, rng.uniform(-0.05, 0.05), gloss=0.12, tightness=3
    )
    u, q, surface = body.u, body.q, body.surface
    stalks = noise(rng, patch.along / 5, patch.across, 2.5)
    top = ramp(u + 0.05 * stalks, 0.72, 0.8)
    surface.tone = top
    rings = ramp(noise(rng, patch.along, patch.across / 5, 2.6), 0.3, 0.9) * ramp(np.abs(q), 1.1, 0.2)
    surface.shade = (1 - 0.28 * rings * (1 - top)) * (1 - 0.45 * top * ramp(stalks, -0.1, -0.7))
    return surface.rough(-0.6 * rings * (1 - top) + 0.9 * top * stalks)


def cucumber(rng: SceneRng, scale: float) -> Surface:
    """Long and blunt, with paler stripes and warts."""
    size = scale * rng.uniform(74, 84)
    patch = Patch.of(rng, size, 0.4)
    body = turned(
        patch, size, size * rng.uniform(0.26, 0.31), (0.85, 0.95, 1, 1.02, 1, 0.95, 0.8), 3,
        rng.uniform(-0.07, 0.07), gloss=0.3, tightness=4,
    )  # fmt: skip
    surface = body.surface
    warts = ramp(noise(rng, patch.x, patch.y, 2.8), 0.5, 0.95)
    stripes = ramp(noise(rng, patch.along / 9, body.q * 12, 2.4), 0.0, 0.9)
    surface.tone = np.clip(0.8 * stripes * ramp(body.u, -0.7, 0.5) + 0.6 * ramp(body.u, 0.72, 1) + 0.25 * warts, 0, 1)
    return surface.rough(0.8 * warts)


def cabbage(rng: SceneRng, scale: float) -> Surface:
    """A round head of a few broad leaves with strong pale veins."""
    return rosette(rng, scale * rng.uniform(70, 82), leaves=9, frill=0.05, veins=0.9, gloss=0.12)


def lettuce(rng: SceneRng, scale: float) -> Surface:
    """A loose head of many frilly leaves."""
    return rosette(rng, scale * rng.uniform(70, 84), leaves=12, frill=0.11, veins=0.6, gloss=0.15)


def corn(rng: SceneRng, scale: float) -> Surface:
    """A cob with rows of kernels, its husk folded back at one end."""
    size = scale * rng.uniform(74, 84)
    patch = Patch.of(rng, size, 0.4)
    profile = (0.45, 0.72, 0.95, 1.02, 1.0, 1.0, 0.96, 0.85, 0.66)
    body = turned(patch, size, size * rng.uniform(0.3, 0.35), profile, 2, gloss=0.3, tightness=4)
    u, q, surface = body.u, body.q, body.surface
    around = q * (0.16 + 0.09 * q * q * q * q)  # much like the arcsine, in turns
    rows = wave(14 * around)
    kernels = ramp(rows + wave(patch.along / 4.2 + 0.5 * np.floor(14 * around + 0.5)), -1.4, 0.6)
    husk = ramp(u + 0.12 * wave(2.5 * q + rng.uniform(0, 1)) + 0.1 * noise(rng, patch.x, patch.y, 7), -0.22, -0.3)
    fibres = noise(rng, patch.along / 8, patch.across, 2.2)
    surface.tone = husk
    surface.shade = (1 - 0.42 * (1 - kernels) * (1 - husk)) * (1 - 0.2 * husk * ramp(fibres, 0.1, -0.8))
    edge = ramp(husk, 0, 0.5) * ramp(husk, 1, 0.5)
    surface.shade = surface.shade * (1 - 0.3 * edge)
    return surface.rough(0.9 * kernels * (1 - husk) + husk * (0.7 * fibres + 1.5))


KINDS: dict[str, Callable[[SceneRng, float], Surface]] = {
    each.__name__: each
    for each in (banana, apple, kiwi, peach, pear, lemon, carrot, cucumber, cabbage, lettuce, corn)
}


# -- parts of kinds ------------------------------------------------------------------------------------------


def stalked(surface: Surface, patch: Patch, size: float, height: float) -> Surface:
    """Add a hollow with a dark stalk, ``height`` sizes above the centre along the axis; returns the surface."""
    up = patch.along - height * size
    hollow = length(patch.across / 1.6, up) / (0.13 * size)
    surface.rough(-0.06 * size * ramp(hollow, 1.3, 0))
    surface.shade = surface.shade * (1 - 0.45 * ramp(hollow, 1.1, 0))
    stalk = ramp(np.abs(patch.across - 0.15 * up), 1.8, 0.6) * ramp(up, -1.5, 0) * ramp(up, 0.13 * size, 0.1 * size)
    surface.shade = surface.shade * (1 - 0.6 * stalk)
    surface.cover = np.maximum(surface.cover, stalk)
    return surface


def rosette(rng: SceneRng, size: float, leaves: int, frill: float, veins: float, gloss: float) -> Surface:
    """A heap of wavy leaves around a heart, the outermost first.

    Args:
        size: approximate diameter in pixels.
        frill: unevenness of the leaves' outlines, as a fraction of their size; very frilly leaves have pale edges.
        veins: how pale the veins are, 0..1.
    """
    patch = Patch.of(rng, size, 0.0)
    x, y = patch.x, patch.y
    heap = dome(size * size / 11 - x * x - y * y, gloss, 3)
    start = rng.uniform(0, 1)
    for number in range(leaves):
        inner = number / (leaves - 1)  # 0 the outermost leaf, 1 the heart
        towards = start + 0.382 * number  # the golden angle
        c, s = float(wave(np.array(towards))), float(wave(np.array(towards - 0.25)))
        norm = np.sqrt(c * c + s * s)
        c, s = c / norm, s / norm
        reach = size * (0.18 * (1 - inner) + 0.01)
        wide = size * (0.19 * (1 - inner) + 0.13)
        out, side = (c * x + s * y - reach) / wide, (c * y - s * x) / (wide * 0.92)
        angle, distance = turns(side, out), length(out, side)
        edge = 1 + 0.05 * wave(3 * angle + rng.uniform(0, 1)) + 0.03 * wave(7 * angle + rng.uniform(0, 1))
        edge = edge + frill * noise(rng, x, y, 2.5 + 9 * frill)
        leaf = dome((edge * edge - distance * distance) * wide * wide * 0.45, gloss, 3)
        leaf.shade = (0.62 + 0.38 * inner) * (1 - 0.15 * ramp(distance, 0.8, 0))
        root = out + 1  # 0 where the leaf grows from
        rib = ramp(np.abs(side), 0.03 + 0.05 * (1 - np.clip(root / 2, 0, 1)), 0)
        branches = ramp(wave(3.2 * (root - 1.1 * np.abs(side))), 0.86, 1.0) * ramp(np.abs(side), 0.9, 0.1)
        rim = 0.35 * ramp(distance, 0.75, 1.05) * (frill > 0.1)
        pale = np.clip(veins * np.maximum(rib, 0.6 * branches) + rim, 0, 1)
        leaf.tone = np.clip(pale + 0.35 * inner, 0, 1)
        leaf.normal[2] += 0.4  # a leaf's edge does not turn away from the eye like a ball's
        crumpled = noise(rng, x, y, 7) * 1.6 + noise(rng, x, y, 3.2) * 6 * frill
        leaf.rough(crumpled + 0.9 * np.maximum(rib, 0.7 * branches))
        heap = laid_over(heap, leaf, (edge * edge - distance * distance) * wide)
    return heap


def laid_over(below: Surface, above: Surface, inside: np.ndarray) -> Surface:
    """Lay a leaf over others, which are in its shadow near its edge; returns those.

    Args:
        inside: how far a pixel lies within the leaf's outline, in pixels, negative outside.
    """
    below.shade = below.shade * (1 - 0.5 * ramp(inside, -0.2 * above.cover.shape[0], 0))
    over = above.cover
    below.cover = np.maximum(below.cover, over)
    between = below.normal + over * (above.normal - below.normal)
    below.normal = between / length(*between)
    below.tone = below.tone + over * (above.tone - below.tone)
    below.shade = below.shade + over * (above.shade - below.shade)
    return below
