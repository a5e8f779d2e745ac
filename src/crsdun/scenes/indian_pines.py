"""Indian Pines: a small airborne scene with classes, installed with a package, for trying things offline."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import nbk7_wavelengths
from crsdun.scenes.array_roles import ascending_bands
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.scenes.scene_set import SceneSet

CLASS_NAMES = (
    "alfalfa", "corn-notill", "corn-mintill", "corn", "grass-pasture", "grass-trees", "grass-pasture-mowed",
    "hay-windrowed", "oats", "soybean-notill", "soybean-mintill", "soybean-clean", "wheat", "woods",
    "buildings-grass-trees-drives", "stone-steel-towers",
)  # fmt: skip

# The counts of this flight are 500 · radiance + 1000.
OFFSET = 1000

# The white roof: the largest bright surface, taken to be spectrally flat. Its albedo and that of the darkest pixels
# are assumed, not measured.
ROOF = (slice(16, 20), slice(46, 50))
ROOF_ALBEDO, DARK_ALBEDO = 0.4, 0.01
# nm: where the darkest pixels are dark enough to show the haze; beyond, vegetation is bright.
HAZE_RANGE = (420, 690)
# Bands that are mostly noise: the roof has fewer counts than FAINT (beside the absorption of water and at the far
# end), or they lie below USABLE_FROM nm (the first band is coarse, and half of its counts are doubtful).
FAINT, USABLE_FROM = 50, 405

# Rows of each split: strips as wide as the scene, separated by 5 unused rows. Most classes grow in few fields; with
# these strips 12 of the 16 have 8 pixels or more both in training and in test, the most that a search over five
# strips of at least 16 rows found.
STRIPS = {
    "train": ((25, 42), (91, 145)),
    "validation": ((69, 86),),
    "test": ((0, 20), (47, 64)),
}


class IndianPinesSet(SceneSet):
    """Indian Pines in splits that share no pixel: ``STRIPS``, each a scene of its own.

    Class 0 is ``background``, which no pixel has, so that metrics that exclude the background exclude nothing; the 16
    surveyed classes are 1..16. The repair of damaged counts and the scale of the reflectance come from the whole
    scene, as in ``indian_pines``.

    Args:
        split: train, validation or test.
        wavelengths: bands in nm; None takes the 28 of the N-BK7 grid.

    Raises:
        InputError: tensorly is not installed, or a wavelength lies outside the scene's.
    """

    def __init__(self, split: str, wavelengths: Sequence[float] | None = None) -> None:
        scene = _with_background(tuple(wavelengths or nbk7_wavelengths()))
        self.name, self.split = f"indian-pines {split}", split
        self.wavelengths, self.class_names = scene.wavelengths, scene.class_names
        self.names = tuple(f"rows_{first}-{end - 1}" for first, end in STRIPS[split])
        self._strips = tuple(
            replace(scene.cropped(first, 0, end - first, scene.cube.shape[2]), name=name)
            for name, (first, end) in zip(self.names, STRIPS[split], strict=True)
        )

    @property
    def bands(self) -> int:
        return self._strips[0].bands

    def size(self, index: int) -> tuple[int, int]:
        height, width = self._strips[index].cube.shape[1:]
        return height, width

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        return self._strips[index].cropped(top, left, height, width)

    def hashes(self) -> dict[str, str]:
        """Of the counts and labels as tensorly stores them, for all splits together."""
        counts, labels, _ = _stored()
        stored = {"Indian_pines_corrected": counts, "Indian_pines_gt": labels}
        return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in stored.items()}


@lru_cache(maxsize=1)
def _with_background(wavelengths: tuple[float, ...]) -> Scene:
    """The whole scene with classes that start at 1; cached, since the splits are opened one after the other."""
    scene = indian_pines(wavelengths)
    assert scene.classes is not None
    classes = np.where(scene.classes == UNLABELLED, UNLABELLED, scene.classes + 1)
    return replace(scene, classes=classes, class_names=("background", *CLASS_NAMES))


def indian_pines(wavelengths: Sequence[float] | None = None) -> Scene:
    """AVIRIS over Indian Pines, 12 June 1992: 200 bands from 400 to 2499 nm, 145×145 pixels, 16 classes.

    Read from the installed package tensorly, without a network. Bands are sorted by wavelength, since the
    spectrometers of AVIRIS overlap; the copy's damaged counts are repaired (``undo_newline_conversion``) and
    converted to approximate reflectance in 0..1 (``approximate_reflectance``). Pixels that were not surveyed (half of
    them) are ``UNLABELLED``.

    Args:
        wavelengths: bands in nm to resample to; None keeps all 200.

    Raises:
        InputError: tensorly is not installed, or a wavelength lies outside the scene's.
    """
    stored, labels, centres = _stored()
    counts, ascending = ascending_bands(np.moveaxis(stored, -1, 0), centres)
    assert ascending is not None
    cube = approximate_reflectance(undo_newline_conversion(counts), ascending)
    scene = Scene(
        cube,
        wavelengths=ascending,
        classes=np.where(labels == 0, UNLABELLED, labels - 1),
        class_names=CLASS_NAMES,
        name="indian_pines",
        provenance={
            "source": "Baumgardner, Biehl, Landgrebe: 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 "
            "Indian Pine Test Site 3. Purdue University Research Repository, doi:10.4231/R7RX991C",
            "licence": "CC BY 3.0, https://creativecommons.org/licenses/by/3.0/",
            "obtained_from": "tensorly.datasets.load_indian_pines",
            "changes": "bands sorted by wavelength; counts whose high byte 13 had become 10 in this copy (a CR->LF "
            "conversion) raised by 768 where a low-rank estimate of the scene says so, an estimated 99.9% of the "
            "doubtful ones right; approximate reflectance by an empirical line "
            f"between haze and a white roof assumed to reflect {ROOF_ALBEDO}, clipped to 0..1; the band at 400 nm "
            f"and those in which the roof has less than {FAINT} counts replaced by the nearest other band; "
            "label 0 (not surveyed) became -1 and labels 1..16 became 0..15",
        },
    )
    return scene if wavelengths is None else scene.resampled(tuple(wavelengths))


def _stored() -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Counts (H,W,C) int32, labels (H,W) int64 with 0 for not surveyed, and the centres of the bands in nm."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tensorly.datasets import load_indian_pines

            data = load_indian_pines()
    except ImportError as error:
        raise InputError(
            "the Indian Pines scene comes with the package tensorly", "install it: pip install crsdun[demo]"
        ) from error
    labels, centres = data["ticks"]
    wavelengths = tuple(float(centre) for centre in centres)
    return np.asarray(data["tensor"], dtype=np.int32), np.asarray(labels, dtype=np.int64), wavelengths


def undo_newline_conversion(counts: np.ndarray, lost: int = 13, replacement: int = 10) -> np.ndarray:
    """The counts before every high byte 13 (CR) was replaced by 10 (LF).

    In tensorly's file no byte, high or low, is 13, and 10 is too frequent (among the low bytes just twice as frequent
    as any other): it once went through a conversion of line ends. So a count with the high byte 10, one in 17, is
    either right or 3·256 = 768 too low. (Low bytes are left alone: a count that is 3 too low is within the noise.)

    The spectra of a scene are alike: a few principal components nearly determine them. A doubtful count starts
    halfway between its two candidates and follows a low-rank estimate of the cube whose rank grows, clipped to the
    interval between them; finally the nearer candidate is taken.

    The accuracy was measured by damaging other high bytes of the repaired cube in the same way, 11→8, 12→9, 14→11
    and 15→12, whose true values are known. Of 1.27 million doubtful counts 426 came out wrong, at most 0.09 % for any
    pair; 365 of them are in the band at 400 nm, which is coarse and has a neighbour on one side only; there 94 %
    (14→11) to 100 % come out right. This estimates the accuracy of the repair; the true counts with the high bytes 10
    and 13 are not known.

    Args:
        counts: (C,H,W) integers.
        lost: the high byte that no longer occurs.
        replacement: the high byte that took its place.
    """
    step = 256 * (lost - replacement)
    doubtful = counts >> 8 == replacement
    low = counts.reshape(len(counts), -1).astype(np.float32)
    high = low + step * doubtful.reshape(low.shape)
    estimate = (low + high) / 2
    for rank in (2, 4, 6):
        mean = estimate.mean(axis=1, keepdims=True)
        sample = (estimate - mean)[:, ::7]  # enough pixels for the axes, and fast
        _, axes = np.linalg.eigh(sample @ sample.T)
        main = axes[:, -rank:]
        estimate = np.clip(main @ (main.T @ (estimate - mean)) + mean, low, high)
    return counts + step * (estimate > low + step / 2).reshape(counts.shape)


def approximate_reflectance(counts: np.ndarray, wavelengths: Sequence[float]) -> np.ndarray:
    """Reflectance (C,H,W) in 0..1 from the scene itself: an empirical line between the haze and the white roof.

    In each band reflectance is linear in the counts. One point of the line is the roof (``ROOF``, median of its
    pixels), taken to be spectrally flat with ``ROOF_ALBEDO``; this removes sunlight, absorption by the air and the
    response of the instrument. The other is the light of the darkest pixels (the 0.1 % quantile), mostly haze, with
    ``DARK_ALBEDO``. Only in the visible are there dark pixels, so their share of the roof's light is fitted there by
    a power of the wavelength (about λ^−2.1, after Chavez 1988, doi:10.1016/0034-4257(88)90019-3) and extrapolated.
    Bands that are mostly noise (``FAINT``, ``USABLE_FROM``) take the values of the nearest other band.

    No target was measured on the ground, so the scale and the tilt of the spectra are plausible, not calibrated.
    """
    nm = np.asarray(wavelengths)
    light = (counts - OFFSET).astype(np.float32)
    roof = np.median(light[:, ROOF[0], ROOF[1]], axis=(1, 2))
    clear = np.flatnonzero((roof >= FAINT) & (nm >= USABLE_FROM))
    nearest = clear[np.abs(nm[:, None] - nm[clear]).argmin(axis=1)]

    visible = (nm >= HAZE_RANGE[0]) & (nm <= HAZE_RANGE[1])
    dark = np.quantile(light[visible], 0.001, axis=(1, 2)) / roof[visible]
    power, factor = np.polyfit(np.log(nm[visible]), np.log(dark), 1)
    haze = roof * np.exp(factor) * nm**power

    slope = (ROOF_ALBEDO - DARK_ALBEDO) / (roof - haze)[nearest]
    reflectance = DARK_ALBEDO + slope[:, None, None] * (light - haze[:, None, None])[nearest]
    return np.clip(reflectance, 0, 1).astype(np.float32)
