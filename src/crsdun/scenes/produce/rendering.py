"""A scene of Produce-23 from its index: the arrangement of its objects, the light, and the spectrum of every pixel.

Shapes: C bands · H, W scene. Everything is elementwise and exact (see ``exact_arithmetic``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crsdun.scenes.produce import shapes
from crsdun.scenes.produce.exact_arithmetic import SceneRng, blurred, noise, ramp
from crsdun.scenes.produce.spectra import CLASS_NAMES, ILLUMINANTS, KINDS, pairs

VERSION = "1"
SIZE = 256

# uint16 value of reflectance 1: highlights go up to 4.
ONE = 1 << 14

MARGIN, GAP = 5, 2  # pixels kept free at the border, and between objects
MISFITS = 7  # objects that do not fit before a row counts as full


@dataclass(frozen=True)
class Rendering:
    """A scene as it is stored.

    Attributes:
        cube: (C,H,W) uint16, reflectance times ``ONE``.
        classes: (H,W) uint8, index into ``CLASS_NAMES``.
        illuminant: the lamp, a CIE name; under which a fake has the colour of its original.
    """

    cube: np.ndarray
    classes: np.ndarray
    illuminant: str


@dataclass(frozen=True)
class PlacedObject:
    """An object in the scene: its class, its surface, and the top left pixel of that."""

    label: int
    surface: shapes.Surface
    top: int
    left: int

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.surface.cover.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def render(split: str, index: int) -> Rendering:
    """Scene ``index`` of a split: the same bytes on every machine."""
    rng = SceneRng(f"produce-23/{VERSION}/{split}/{index}")
    lamp = rng.below(len(ILLUMINANTS))
    objects = arrange(rng)
    light, gleam = lamps(rng)

    cover, classes = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), np.uint8)
    for placed in objects:
        cover[placed.window] = np.maximum(cover[placed.window], placed.surface.cover)
        classes[placed.window][placed.surface.cover >= 0.5] = placed.label

    cube = pairs()["paper"][:, None, None] * paper_light(rng, cover, light)
    for number, placed in enumerate(objects):
        rows, columns = placed.window
        part = cube[:, rows, columns]
        paint = painted(rng.derived(f"paint {number}"), placed, lamp, light, gleam)
        part += placed.surface.cover * (paint.radiance() - part)
    return Rendering(np.rint(np.clip(cube, 0, 3.99) * ONE).astype(np.uint16), classes, ILLUMINANTS[lamp])


# -- arrangement ---------------------------------------------------------------------------------------------


def arrange(rng: SceneRng) -> list[PlacedObject]:
    """One or two rows of objects that do not touch."""
    two = rng.chance(0.85)
    objects: list[PlacedObject] = []
    deck: list[str] = []
    for top, bottom in ((MARGIN, 126), (130, SIZE - MARGIN)) if two else ((50, 206),):
        taken = np.full(SIZE, MARGIN)  # for each line of pixels, how many columns are taken
        row: list[PlacedObject] = []
        misfits = 0
        while misfits < MISFITS:
            deck = deck or rng.shuffled(KINDS)
            kind, fake, scale = deck.pop(), rng.chance(0.5), rng.uniform(0.75, 1.08)
            surface = shapes.KINDS[kind](rng.derived(f"shape {top} {len(row)} {misfits}"), scale).trimmed()
            corner = leftmost(rng, taken, surface.cover > 0, top, bottom)
            if corner is None:
                misfits += 1
            else:
                row.append(PlacedObject(CLASS_NAMES.index(f"{'fake' if fake else 'real'} {kind}"), surface, *corner))
        # The remaining room is spread between them: later objects move at least as far as earlier ones.
        room = SIZE - MARGIN - int(taken.max())
        moves = sorted(rng.below(room + 1) for _ in row) if room > 0 else [0] * len(row)
        objects += [replace(placed, left=placed.left + move) for placed, move in zip(row, moves, strict=True)]
    return objects


def leftmost(rng: SceneRng, taken: np.ndarray, mask: np.ndarray, top: int, bottom: int) -> tuple[int, int] | None:
    """The top left corner where an object, pushed in from the right between two lines, comes to rest.

    Three heights are tried. None where it does not fit; otherwise its place is marked as taken.
    """
    height, width = mask.shape
    begin, end = mask.argmax(axis=1), width - mask[:, ::-1].argmax(axis=1)
    slack = bottom - top - height
    if slack < 0:
        return None
    heights = [top + int(rng.uniform(*part) * slack) for part in ((0, 0.3), (0.35, 0.65), (0.7, 1))]
    rests = [int((taken[at : at + height] - begin).max()) for at in heights]
    left = min(rests)
    at = heights[rests.index(left)]
    if left + width > SIZE - MARGIN:
        return None
    for shift in range(-GAP, GAP + 1):
        lines = slice(at + shift, at + shift + height)
        taken[lines] = np.maximum(taken[lines], left + end + GAP)
    return at, left


# -- light ---------------------------------------------------------------------------------------------------


def lamps(rng: SceneRng) -> tuple[np.ndarray, np.ndarray]:
    """Direction of the soft main light and of its highlights (halfway to the camera), unit vectors (3,)."""
    light = np.array([rng.uniform(0.25, 0.7) * (-1 if rng.chance(0.5) else 1), rng.uniform(-0.85, -0.45), 0.9])
    light = light / np.sqrt(light[0] * light[0] + light[1] * light[1] + light[2] * light[2])
    half = light + np.array([0, 0, 1])
    return light, half / np.sqrt(half[0] * half[0] + half[1] * half[1] + half[2] * half[2])


def cosine(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Cosine between normals (3,…) and a direction."""
    return normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]


def paper_light(rng: SceneRng, cover: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Light on white paper in an infinity curve (H,W): brighter towards the lamp, with the shadows of the objects."""
    y, x = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE, indexing="ij")
    fall = rng.uniform(0.05, 0.2)
    even = 1.08 + fall * (0.5 - x) * (1 if light[0] < 0 else -1) - rng.uniform(0.1, 0.3) * ramp(y, 0.6, 0)
    even = even * (1 + 0.012 * noise(rng, 256 * x, 256 * y, 2))
    # The shadow falls away from the lamp, which is always behind the objects.
    right, down = round(-9 * float(light[0])), round(-9 * float(light[1]))
    wide = np.pad(cover, ((down, 0), (max(right, 0), max(-right, 0))))
    cast = wide[:SIZE, max(-right, 0) : max(-right, 0) + SIZE]
    return even * (1 - 0.5 * blurred(cast, 5)) * (1 - 0.35 * blurred(cover, 2)) * (1 - 0.2 * blurred(cover, 12))


@dataclass(frozen=True)
class Paint:
    """An object as it is painted and lit: each pixel a mixture of three spectra, times its shading, plus its gleam.

    Attributes:
        first, other, second: the spectra, (C,) each: two of its first tone, one of its second (``tones``).
        to_other, to_second: (h,w), shares of those; the rest is the first.
        shading: (h,w), the light that it reflects, relative to a white reference.
        gleam: (h,w), what highlights add to every band.
    """

    first: np.ndarray
    other: np.ndarray
    second: np.ndarray
    to_other: np.ndarray
    to_second: np.ndarray
    shading: np.ndarray
    gleam: np.ndarray

    def radiance(self) -> np.ndarray:
        """The light from an object to the camera, relative to a white reference under the same lamp: (C,h,w)."""
        spectrum = (
            self.first[:, None, None]
            + self.to_other * (self.other - self.first)[:, None, None]
            + self.to_second * (self.second - self.first)[:, None, None]
        )
        return self.shading * spectrum + self.gleam


def painted(rng: SceneRng, placed: PlacedObject, lamp: int, light: np.ndarray, gleam: np.ndarray) -> Paint:
    """An object in the light of the directions ``lamps``, with random tones, grain and gloss."""
    surface = placed.surface
    facing = cosine(surface.normal, light)
    main = np.maximum((facing + 0.25) / 1.25, 0)
    sky = 0.5 - 0.5 * surface.normal[1]
    shine = np.maximum(cosine(surface.normal, gleam), 0)
    for _ in range(surface.tightness):
        shine = shine * shine
    grain = 1 + 0.02 * (rng.uniforms(facing.size).reshape(facing.shape) * 2 - 1)
    shading = surface.shade * grain * (0.12 + 0.72 * main + 0.3 * sky)

    height, width = facing.shape
    y, x = np.meshgrid(np.arange(height) + 0.0, np.arange(width) + 0.0, indexing="ij")
    first, other, second = tones(rng, placed.label, lamp)
    mottle = 0.5 + 0.5 * noise(rng, x, y, (height + width) / 10)
    glint = (surface.gloss * rng.uniform(0.6, 1.3)) * shine * surface.shade
    return Paint(first, other, second, (1 - surface.tone) * mottle, surface.tone, shading, glint)


def tones(rng: SceneRng, label: int, lamp: int) -> list[np.ndarray]:
    """The spectra that an object is painted with, (C,) each: two of its first tone, one of its second.

    All are mixtures of variants of one recipe; real and fake objects draw them in the same way.
    """
    kind, fake = divmod(label - 1, 2)
    spectra = pairs()["fake"][lamp, kind] if fake else pairs()["real"][kind]
    recipe = rng.below(spectra.shape[1])
    mixed = []
    for tone in (0, 0, 1):
        variants = spectra[tone, recipe]
        one, two, share = rng.below(len(variants)), rng.below(len(variants)), rng.uniform(0, 1)
        mixed.append(variants[one] + share * (variants[two] - variants[one]))
    return mixed
