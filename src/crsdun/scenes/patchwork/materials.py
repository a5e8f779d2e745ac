"""Materials and lamps: the spectra of a scene.

Legend: K materials of a scene · G wavelengths of ``GRID``. A spectrum is (G,) float64 and linear between them; bands
are samples of it.

``library.npz`` holds what was measured: reflectances (Vrhel, Gershon and Iwan 1994; Ohta's ColorChecker; the test
colours of CIE 1995, CIE 224:2017 and NIST CQS), illuminants of the CIE and its observer of 1931, written by
``benchmarks/patchwork_data.py``; see NOTICE.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.produce.exact_arithmetic import SceneRng

GRID = np.arange(390, 731, 2.0)  # nm
STORED_ONE = 65535  # 1 in library.npz


@cache
def library() -> dict[str, np.ndarray]:
    """What was measured: ``reflectances`` (n,G) in 0..1, ``illuminants`` (n,G) with maximum 1, ``observer`` (3,G)."""
    with files(__package__).joinpath("library.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        spectra = {name: stored[name] / STORED_ONE for name in ("reflectances", "illuminants")}
        return {**spectra, "observer": stored["observer"].astype(np.float64)}


def check_wavelengths(wavelengths: tuple[float, ...]) -> tuple[float, ...]:
    """The wavelengths (nm) as they came.

    Raises:
        InputError: there are none, they do not ascend, or one lies outside 390–730 nm.
    """
    values = np.asarray(wavelengths, float)
    if not len(values) or (np.diff(values) <= 0).any() or not (values >= GRID[0]).all() or values[-1] > GRID[-1]:
        raise InputError(
            f"patchwork scenes have ascending bands from {GRID[0]:g} to {GRID[-1]:g} nm", "choose bands in that range"
        )
    return tuple(values.tolist())


def sampled(spectra: np.ndarray, wavelengths: tuple[float, ...]) -> np.ndarray:
    """Spectra (…,G) at wavelengths (nm): (…,C) float32."""
    flat = [np.interp(wavelengths, GRID, each) for each in spectra.reshape(-1, len(GRID))]
    return np.stack(flat).reshape(*spectra.shape[:-1], -1).astype(np.float32)


# -- single spectra ------------------------------------------------------------------------------------------


def step(centre: float, width: float) -> np.ndarray:
    """From 0 to 1, rising within ``width`` nm."""
    return 1 / (1 + np.exp(np.clip(-4 * (GRID - centre) / width, -60, 60)))


def bump(centre: float, width: float) -> np.ndarray:
    """A bell of height 1 with a standard deviation of ``width`` nm."""
    return np.exp(-0.5 * ((GRID - centre) / width) ** 2)


def measured_material(rng: SceneRng) -> np.ndarray:
    """A measured reflectance, its pigment stronger or weaker."""
    table = library()["reflectances"]
    return np.maximum(table[rng.below(len(table))], 1e-4) ** (0.6 * 3 ** rng.uniform(0, 1))


def made_material(rng: SceneRng) -> np.ndarray:
    """A made-up reflectance: a floor with steps and bumps, smooth or steep, up or down."""
    spectrum = np.full_like(GRID, rng.uniform(0.02, 0.6))
    for _ in range(1 + rng.below(5)):
        centre, height = rng.uniform(380, 740), rng.uniform(-0.6, 0.9)
        width = 8 * 15 ** rng.uniform(0, 1)
        spectrum = spectrum + height * (step(centre, width) if rng.chance(0.5) else bump(centre, width))
    return np.clip(spectrum, 0.01, None) / max(1, spectrum.max())


def plant(rng: SceneRng) -> np.ndarray:
    """Leaves, fresh to dry: green between the bands of chlorophyll, and the red edge."""
    fresh = rng.uniform(0.1, 1)
    dry = 0.05 + 0.45 * step(rng.uniform(520, 620), 150)
    chlorophyll = 0.9 * bump(435, 35) + 0.6 * bump(480, 22) + bump(rng.uniform(672, 680), 18) + 0.5 * bump(635, 30)
    leaf = 0.45 * step(rng.uniform(700, 714), rng.uniform(15, 35)) + 0.22 * np.exp(-2.2 * chlorophyll)
    return fresh * leaf + (1 - fresh) * dry


def grey(rng: SceneRng) -> np.ndarray:
    """Nearly flat: stone, metal, paper, paint."""
    tilt = rng.uniform(-0.25, 0.25) * (GRID - 560) / 340
    return np.clip(
        rng.uniform(0.03, 0.9) * (1 + tilt) + rng.uniform(-0.05, 0.05) * bump(rng.uniform(400, 700), 50), 0, 1
    )


def absorbing(spectrum: np.ndarray, rng: SceneRng) -> np.ndarray:
    """A spectrum with one to four narrow absorption lines."""
    for _ in range(1 + rng.below(4)):
        spectrum = spectrum * (1 - rng.uniform(0.1, 0.7) * bump(rng.uniform(400, 725), rng.uniform(3, 14)))
    return spectrum


def metamer(spectrum: np.ndarray, rng: SceneRng) -> np.ndarray:
    """Another reflectance with the same colour under a random lamp, as far from this one as 0..1 and chance allow.

    To the spectrum is added a part of a made-up one that the observer does not see: what is left of it when its
    projection onto the matching functions times the lamp is taken away.
    """
    lamps = library()["illuminants"]
    seen = library()["observer"] * lamps[rng.below(len(lamps))]
    other = made_material(rng) - spectrum
    unseen = other - seen.T @ np.linalg.solve(seen @ seen.T, seen @ other)
    room = np.where(unseen > 0, 1 - spectrum, spectrum) / np.maximum(abs(unseen), 1e-6)
    return np.clip(spectrum + min(1.5, float(room.min())) * rng.uniform(0.4, 1) * unseen, 0, 1)


# -- the materials of a scene --------------------------------------------------------------------------------


def draw_material(rng: SceneRng, likes: tuple[float, float, float]) -> np.ndarray:
    """A reflectance; ``likes`` are the probabilities of a measured one, a plant and a grey, else it is made up."""
    kind = rng.uniform(0, 1)
    for draw, share in zip((measured_material, plant, grey), likes, strict=True):
        if kind < share:
            spectrum = draw(rng)
            break
        kind -= share
    else:
        spectrum = made_material(rng)
    if rng.chance(0.12):
        spectrum = absorbing(spectrum, rng)
    peak = 0.04 * 25 ** rng.uniform(0, 1) if rng.chance(0.3) else rng.uniform(0.25, 1)
    return spectrum * (peak / max(float(spectrum.max()), 1e-3))


def draw_palette(rng: SceneRng, count: int) -> np.ndarray:
    """The reflectances of a scene, (K,G) in 0..1.

    Three tenths of the scenes consist of mixtures of two to four materials, so their rank is low; in others every
    material is its own, or the metamer of the one before. Some have little contrast.
    """
    likes = (
        (0.75, 0.05, 0.1), (0.1, 0.6, 0.15), (0.2, 0.0, 0.6), (0.15, 0.05, 0.1), (0.4, 0.2, 0.15), (0.4, 0.2, 0.15),
    )[rng.below(6)]  # fmt: skip
    if rng.chance(0.3):
        ends = np.stack([draw_material(rng, likes) for _ in range(2 + rng.below(3))])
        shares = rng.uniforms(count * len(ends)).reshape(count, len(ends)) ** 3 + 1e-3
        palette = (shares / shares.sum(axis=1, keepdims=True)) @ ends
        palette = palette * (0.2 + 0.8 * rng.uniforms(count))[:, None]
    else:
        metamers = rng.uniform(0.05, 0.5) if rng.chance(0.4) else 0.0
        found = [draw_material(rng, likes)]
        while len(found) < count:
            found.append(metamer(found[-1], rng) if rng.chance(metamers) else draw_material(rng, likes))
        palette = np.stack(found)
    if rng.chance(0.2):
        contrast = rng.uniform(0.1, 0.6)
        palette = palette.mean(axis=0) + contrast * (palette - palette.mean(axis=0))
    return palette


@cache
def natural_primaries() -> np.ndarray:
    """(3,G): the spectra by which linear red, green and blue of a picture make the likeliest measured reflectance.

    Least squares over the library of its sRGB colours under the equal-energy illuminant.
    """
    table, observer = library()["reflectances"], library()["observer"]
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    responses = to_rgb @ observer
    colours = table @ (responses / responses.sum(axis=1, keepdims=True)).T
    return np.linalg.lstsq(colours, table, rcond=None)[0]


# -- light ---------------------------------------------------------------------------------------------------


def draw_lamp(rng: SceneRng) -> np.ndarray:
    """The spectrum of a lamp or of daylight, maximum 1, (G,); a camera's sensitivity may be in it."""
    if rng.chance(0.6):
        table = library()["illuminants"]
        lamp = table[rng.below(len(table))]
    else:
        temperature = rng.uniform(2400, 9000)
        lamp = GRID**-5.0 / (np.exp(1.4388e7 / (GRID * temperature)) - 1)
    if rng.chance(0.3):
        lamp = lamp * bump(rng.uniform(480, 640), rng.uniform(90, 250))
    return lamp / lamp.max()
