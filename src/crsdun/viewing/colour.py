"""From a cube to a picture on a screen: true colour where the bands allow it, false colour elsewhere.

Legend: C bands · H, W scene. A spectrum is what the CIE 1931 2° observer sees under an illuminant; its white is
adapted to D65 (Bradford), and the result is encoded as IEC 61966-2-1 sRGB. The tables, the matrices and the transfer
function are those of colour-science.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.errors import InputError
from crsdun.spread import spread_evenly

if TYPE_CHECKING:
    from crsdun.scenes import Scene, Series

VISIBLE = (360.0, 780.0)  # nm
BRIGHT_PERCENTILE = 99.5
STRETCH_PERCENTILES = (1.0, 99.0)
MOST_POOLED, POOLED_PIXELS = 32, 1 << 20  # scenes and pixels that decide on the exposure of a sequence
NO_DATA = 128  # red, green and blue of pixels without data: a neutral grey


def picture(scene: Scene, like: Scene | None = None) -> tuple[np.ndarray, str]:
    """The best picture of a scene that its bands allow, and a line that says what it shows.

    True colour where there are bands at the blue end (≤ 500 nm), at the red end (600–780 nm) and at least three
    visible ones; otherwise, or where the wavelengths are unknown, three evenly spaced bands in false colour. As in
    all pictures, pixels without data in a band that is shown are grey (``NO_DATA``).

    Args:
        scene: to show.
        like: a scene with the same bands that sets exposure or stretch, so that truth and estimate compare.

    Returns:
        (H, W, 3) uint8 and, for instance, ``colour under D65 (28 bands, 400–730 nm)``.

    Raises:
        InputError: ``like`` has other bands.
    """
    if like is not None and (like.wavelengths, like.bands) != (scene.wavelengths, scene.bands):
        raise InputError(
            f"{scene.name!r} and {like.name!r} have different bands", "resample one to those of the other"
        )
    reference = scene if like is None else like
    if scene.wavelengths is not None and _reaches_across_the_visible(scene.wavelengths):
        exposure = None if like is None else auto_exposure(reference.cube, scene.wavelengths)
        image = cube_to_srgb(scene.cube, scene.wavelengths, exposure=exposure)
        first, last = min(scene.wavelengths), max(scene.wavelengths)
        return image, f"colour under D65 ({scene.bands} bands, {first:.0f}–{last:.0f} nm)"

    blue, green, red = spread_bands(scene.bands)
    image = false_colour(scene.cube, (red, green, blue), like=reference.cube)
    if scene.bands == 1:
        return image, "grey (its only band)"
    if scene.wavelengths is None:
        return image, f"false colour (bands {red + 1}, {green + 1}, {blue + 1} as red, green, blue)"
    red, green, blue = (round(scene.wavelengths[band]) for band in (red, green, blue))
    return image, f"false colour ({red}, {green}, {blue} nm as red, green, blue)"


def pooled(scenes: Sequence[Scene] | Series) -> Scene:
    """A scene of pixels from all of these, evenly: as ``like`` of ``picture`` it exposes or stretches all alike.

    So one bright frame neither flickers nor darkens the others. Of many scenes some are left out, evenly.

    Raises:
        InputError: they have different bands, or no pixel holds data.
    """
    chosen = spread_evenly(len(scenes), MOST_POOLED)
    pixels, first = [], None
    for scene in (scenes[index] for index in chosen):
        first = first or scene
        if (scene.wavelengths, scene.bands) != (first.wavelengths, first.bands):
            raise InputError(f"{scene.name!r} and {first.name!r} have different bands")
        spectra = scene.cube.reshape(scene.bands, -1)
        spectra = spectra[:, :: max(1, spectra.shape[1] * len(chosen) // POOLED_PIXELS)]
        pixels.append(spectra[:, ~np.isnan(spectra).any(0)])
    pool = np.concatenate(pixels, axis=1)
    if first is None or not pool.size:
        raise InputError("none of these scenes holds data")
    return replace(first, cube=pool[:, None], classes=None, class_names=None)


def cube_to_srgb(
    cube: np.ndarray,
    wavelengths: Sequence[float],
    illuminant: str = "D65",
    normalise: bool = True,
    exposure: float | None = None,
) -> np.ndarray:
    """The scene as a person would see it.

    Reflectance is taken as linear between bands and as constant beyond the first and last visible band: any spacing
    is weighted correctly, and a flat spectrum is neutral even where the bands cover only part of the visible range.

    Args:
        cube: reflectance, (C,H,W), usually 0..1. For radiance take illuminant ``E``, which is flat.
        wavelengths: centre of each band in nm, any order; bands outside 360–780 nm contribute nothing.
        illuminant: a CIE illuminant known to colour-science (D65, D50, A, E, FL2 …); its white appears white.
        normalise: expose for the scene (``auto_exposure``); False shows a reflectance of 1 as white.
        exposure: a factor on the light that replaces either, to show truth and estimate alike.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: no band is visible, counts disagree, the cube holds infinite values, or the illuminant is unknown.
    """
    light = _linear_rgb(cube, wavelengths, illuminant)
    if exposure is None:
        exposure = _expose(light) if normalise else 1.0
    # Looks up the light at which each of the 255 steps begins: the same as encoding every pixel, and much faster.
    image = np.searchsorted(_srgb_steps(), light * np.float32(exposure), side="right").astype(np.uint8)
    image[np.isnan(light).any(-1)] = NO_DATA
    return image


def auto_exposure(cube: np.ndarray, wavelengths: Sequence[float], illuminant: str = "D65") -> float:
    """The factor that brings the brightest half per cent of the pixels to full scale in their largest channel.

    A few hot pixels do not darken the picture, and saturated colours keep their hue. It is 1 for a black cube.
    Arguments and errors are those of ``cube_to_srgb``.
    """
    return _expose(_linear_rgb(cube, wavelengths, illuminant))


def false_colour(cube: np.ndarray, bands: Sequence[int], like: np.ndarray | None = None) -> np.ndarray:
    """Three bands as red, green and blue, each stretched from its 1st to its 99th percentile.

    Args:
        cube: (C,H,W), any scale.
        bands: indices (from 0) of the bands shown as red, green, blue.
        like: a cube (C,·,·) whose percentiles are used, so that truth and estimate compare.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: not three bands of this cube, or the cube holds infinite values.
    """
    check_cube(cube)
    if len(bands) != 3 or not all(0 <= band < len(cube) for band in bands):
        raise InputError(
            f"false colour needs three bands of 0..{len(cube) - 1} as red, green and blue, not {tuple(bands)}"
        )
    reference = cube if like is None else like
    image = np.stack([_stretch(cube[band], reference[band]) for band in bands], axis=-1)
    image[np.isnan(cube[list(bands)]).any(0)] = NO_DATA
    return image


def spread_bands(count: int) -> tuple[int, int, int]:
    """Three of ``count`` bands, evenly spread, indices from 0; of fewer than three bands some are the same."""
    return count // 6, count // 2, 5 * count // 6


def measurement_picture(frame: np.ndarray) -> np.ndarray:
    """A coded measurement (H,Wm), any scale, as a grey picture (H,Wm) uint8, from its 1st to its 99th percentile.

    Raises:
        InputError: it is not two-dimensional, or holds NaN.
    """
    if frame.ndim != 2 or not np.isfinite(frame).all():
        raise InputError(f"a measurement is a finite array (height, width), not one of shape {frame.shape}")
    return _stretch(frame, frame)


@lru_cache(4096)  # every figure asks for the same ones
def wavelength_to_rgb(wavelength: float) -> tuple[float, float, float]:
    """The most vivid sRGB colour, 0..1 each, for light of this wavelength in nm; grey outside 380–780 nm."""
    if not 380 <= wavelength <= VISIBLE[1]:
        return (0.6, 0.6, 0.6)
    grid, observer = _observer()
    srgb = _colour_science().RGB_COLOURSPACES["sRGB"]
    xyz = [np.interp(wavelength, grid, curve) for curve in observer.T]
    light = np.clip(srgb.matrix_XYZ_to_RGB @ xyz, 0, None)  # no screen shows pure light: the nearest that it can
    red, green, blue = srgb.cctf_encoding(light / light.max())
    return float(red), float(green), float(blue)


def css_colour(rgb: Iterable[float]) -> str:
    """Red, green and blue, 0..255 each, as ``#rrggbb``."""
    return "#" + "".join(f"{round(float(part)):02x}" for part in rgb)


# -- the observer --------------------------------------------------------------------------------------------


@cache
def _colour_science() -> Any:
    """The library, which takes a second to import and may warn about parts of it that are not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import colour
    return colour


@cache
def _observer() -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths every nm over the visible range, (421,), and the CIE 1931 2° x̄ȳz̄ there, (421, 3)."""
    grid = np.arange(VISIBLE[0], VISIBLE[1] + 1)
    curves = _colour_science().MSDS_CMFS["CIE 1931 2 Degree Standard Observer"]
    return grid, np.stack([np.interp(grid, curves.wavelengths, curve) for curve in curves.values.T], axis=1)


@cache
def _srgb_steps() -> np.ndarray:
    """The linear light that sRGB encodes halfway between two levels, (255,) ascending."""
    decode = _colour_science().RGB_COLOURSPACES["sRGB"].cctf_decoding
    return np.asarray(decode((np.arange(255) + 0.5) / 255), dtype=np.float32)


@lru_cache(maxsize=64)
def _band_weights(wavelengths: tuple[float, ...], illuminant: str) -> np.ndarray:
    """(3, C): the linear sRGB of a reflectance is these weights times its bands; each row sums to 1."""
    science = _colour_science()
    if illuminant not in science.SDS_ILLUMINANTS:
        raise InputError(f"unknown illuminant {illuminant!r}", "take D65, D50, A, E or another CIE name")
    grid, observer = _observer()
    lamp = science.SDS_ILLUMINANTS[illuminant]
    response = observer * np.interp(grid, lamp.wavelengths, lamp.values)[:, None]

    # A band's share of the interpolated spectrum is a hat: 1 at its own wavelength, 0 at its neighbours.
    centres, position, count = np.unique(wavelengths, return_inverse=True, return_counts=True)
    hats = np.stack([np.interp(grid, centres, hat) for hat in np.eye(len(centres))])
    xyz = (hats @ response / count[:, None])[position]
    xyz /= xyz[:, 1].sum()

    srgb = science.RGB_COLOURSPACES["sRGB"]
    d65 = science.xy_to_XYZ(srgb.whitepoint)
    adapt = science.adaptation.matrix_chromatic_adaptation_VonKries(xyz.sum(0), d65, transform="Bradford")
    weights = srgb.matrix_XYZ_to_RGB @ adapt @ xyz.T
    return weights / weights.sum(1, keepdims=True)  # the published matrix is rounded; this is exact


def _linear_rgb(cube: np.ndarray, wavelengths: Sequence[float], illuminant: str) -> np.ndarray:
    """(H, W, 3) linear sRGB, which may lie outside 0..1."""
    check_cube(cube, wavelengths)
    visible = [band for band, value in enumerate(wavelengths) if VISIBLE[0] <= value <= VISIBLE[1]]
    if not visible:
        raise InputError(
            f"no band is visible: they cover {min(wavelengths):g}–{max(wavelengths):g} nm and the eye "
            f"{VISIBLE[0]:g}–{VISIBLE[1]:g} nm",
            "choose three of them with false_colour(cube, bands)",
        )
    weights = _band_weights(tuple(float(wavelengths[band]) for band in visible), illuminant)
    bands = cube if len(visible) == len(cube) else cube[visible]
    light = weights.astype(np.float32) @ bands.reshape(len(visible), -1)
    return np.moveaxis(light.reshape(3, *cube.shape[1:]), 0, -1)


def _expose(light: np.ndarray) -> float:
    brightest = with_data(light.max(-1))
    if not brightest.size:
        return 1.0
    # "lower" leaves out a single hot pixel even of a very small picture.
    level = np.percentile(brightest, BRIGHT_PERCENTILE, method="lower")
    if level <= 0:
        level = brightest.max()
    return float(1 / level) if level > 0 else 1.0


def _reaches_across_the_visible(wavelengths: Sequence[float]) -> bool:
    visible = [value for value in wavelengths if VISIBLE[0] <= value <= VISIBLE[1]]
    return len(visible) >= 3 and min(visible) <= 500 and max(visible) >= 600


def _stretch(band: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(H, W) of any scale as uint8, over the percentiles of ``like``; flat light is mid grey, no light black.

    What stands where there is no data is up to the caller.
    """
    band, like = np.nan_to_num(band), with_data(like)
    if not like.size:
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(like, STRETCH_PERCENTILES)
    if high <= low:
        low, high = float(like.min()), float(like.max())
    if high <= low:
        return np.where(band > 0, 128, 0).astype(np.uint8)
    return np.rint(255 * np.clip((band - low) / (high - low), 0, 1)).astype(np.uint8)


def with_data(values: np.ndarray) -> np.ndarray:
    """All values but NaN, in one row; as they are where there is none."""
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


def check_cube(cube: np.ndarray, wavelengths: Sequence[float] | None = None) -> None:
    """Raise an InputError unless this is a cube (C,H,W) without infinite values, with a wavelength for each band."""
    if cube.ndim != 3 or 0 in cube.shape:
        raise InputError(f"a cube has the shape (bands, height, width), not {cube.shape}")
    if np.isinf(cube).any():
        raise InputError(f"the cube holds {int(np.isinf(cube).sum())} infinite values", "replace them first")
    if wavelengths is not None and len(wavelengths) != len(cube):
        raise InputError(f"the cube has {len(cube)} bands but {len(wavelengths)} wavelengths", "give one for each")
