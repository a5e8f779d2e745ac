"""Writes the spectra and photographs that patchwork scenes are made of, for a new version of the data set only.

``python benchmarks/patchwork_data.py SKIMAGE SKLEARN`` reads the folders of the installed packages ``skimage`` and
``sklearn``, which hold the photographs. NOTICE names origin and licence of each part. Left out, though colour-science
has them: BabelColor's ColorChecker (used there by permission), the PMC chart and the patches of rawtoaces (no licence
stated).
"""

import argparse
from pathlib import Path

import colour
import numpy as np
from colour.quality import SDS_TCS, SDS_VS
from colour.quality.cfi2017 import load_TCS_CIE2017
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from crsdun.scenes.patchwork.materials import GRID
from crsdun.scenes.patchwork.photographs import SIDE
from crsdun.scenes.produce.spectra import measured

HOME = Path(__file__).parents[1] / "src/crsdun/scenes/patchwork"
FINE = np.arange(390, 731, 1.0)

ILLUMINANTS = (
    "A", "D50", "D55", "D65", "D75",
    *(f"FL{number}" for number in range(1, 13)),
    *(f"LED-B{number}" for number in range(1, 6)), "LED-BH1", "LED-V1",
)  # fmt: skip
LINES = 8  # nm: standard deviation by which the lines of lamps are widened, so that coarse bands do not miss them

# Left, top and side of a square in pixels of the original, which is shrunk to ``SIDE``.
PARTS = {
    "astronaut": ("skimage/data/astronaut.png", (70, 0, 384)),
    "brick": ("skimage/data/brick.png", (0, 0, 384)),
    "camera": ("skimage/data/camera.png", (64, 40, 384)),
    "chelsea": ("skimage/data/chelsea.png", (60, 0, 300)),
    "china": ("sklearn/datasets/images/china.jpg", (100, 20, 384)),
    "coffee": ("skimage/data/coffee.png", (90, 0, 400)),
    "coins": ("skimage/data/coins.png", (40, 0, 303)),
    "flower": ("sklearn/datasets/images/flower.jpg", (130, 20, 384)),
    "grass": ("skimage/data/grass.png", (0, 0, 384)),
    "gravel": ("skimage/data/gravel.png", (0, 0, 384)),
    "hubble": ("skimage/data/hubble_deep_field.jpg", (200, 200, 512)),
    "ihc": ("skimage/data/ihc.png", (0, 0, 384)),
    "retina": ("skimage/data/retina.jpg", (500, 350, 768)),
    "rocket": ("skimage/data/rocket.jpg", (160, 10, 400)),
}


def reflectances() -> np.ndarray:
    """Every measured reflectance that may be passed on, (n,171) on ``GRID``."""
    tables = [
        *(colour.SDS_COLOURCHECKERS["ColorChecker N Ohta"].values()),
        *(SDS_TCS["CIE 1995"].values()),
        *(sd for samples in SDS_VS.values() for sd in samples.values()),
    ]
    from_colour = [np.interp(GRID, sd.wavelengths, sd.values) for sd in tables]
    evaluation = load_TCS_CIE2017(colour.SpectralShape(380, 780, 5))
    from_colour += list(np.stack([np.interp(GRID, evaluation.wavelengths, each) for each in evaluation.values.T]))
    return np.clip(np.stack([*measured().values(), *from_colour]), 0, 1)


def illuminants() -> np.ndarray:
    """Lamps and daylight on ``GRID``, lines widened, maximum 1: (n,171)."""
    spectra = []
    for name in ILLUMINANTS:
        sd = colour.SDS_ILLUMINANTS[name]
        fine = gaussian_filter1d(np.interp(FINE, sd.wavelengths, sd.values), LINES, mode="nearest")
        spectra.append(np.interp(GRID, FINE, fine))
    return np.stack(spectra) / np.max(spectra, axis=1, keepdims=True)


def observer() -> np.ndarray:
    """Matching functions of the CIE 1931 2° observer on ``GRID``, (3,171)."""
    cmfs = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"]
    return np.stack([np.interp(GRID, cmfs.wavelengths, values) for values in cmfs.values.T])


def write_photographs(packages: list[Path]) -> None:
    for name, (path, (left, top, side)) in PARTS.items():
        package = next(each for each in packages if each.name == path.split("/")[0])
        picture = Image.open(package.parent / path).crop((left, top, left + side, top + side))
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        # Without subsampling, decoders of JPEG agree.
        picture.save(HOME / "photos" / f"{name}.jpg", quality=88, subsampling=0, optimize=True)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("packages", type=Path, nargs=2, help="folders of skimage and sklearn")
write_photographs(parser.parse_args().packages)
np.savez_compressed(
    HOME / "library.npz",
    reflectances=np.rint(reflectances() * 65535).astype(np.uint16),
    illuminants=np.rint(illuminants() * 65535).astype(np.uint16),
    observer=observer().astype(np.float32),
)
