"""Frames of a calibration as a camera would give them, with what is to be found."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from crsdun.optics import CalibrationFrames, CassiCamera, random_mask

DARK = 100


@dataclass(frozen=True)
class Simulated:
    """What was taken, and with what.

    Attributes:
        light: counts of an open element in each frame, length C.
        bad: (Hm,Wm) bool.
    """

    taken: CalibrationFrames
    camera: CassiCamera
    light: np.ndarray
    bad: np.ndarray


def simulated(
    bands: int = 8,
    size: tuple[int, int] = (72, 64),
    angle: float = 15,
    step: float = 1.7,
    noise: float = 0.01,
    blurred: bool = True,
    bad: int = 10,
    counts: int = 3000,
    seed: int = 0,
) -> Simulated:
    """A prism that disperses at an ``angle`` to the rows, in even steps of 1/λ².

    Args:
        noise: standard deviation, in parts of an open element.
        blurred: whether masks are the blurrier the longer the wavelength, and vignetted.
        bad: how many pixels are hot, and as many dead.
    """
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(450, 650, bands)
    way = wavelengths**-2 - wavelengths[0] ** -2
    way = step * (bands - 1) * way / way[-1]
    offsets = np.stack([np.sin(np.deg2rad(angle)) * way, np.cos(np.deg2rad(angle)) * way], 1)
    mask = random_mask(*size, seed=seed)
    masks = np.repeat(mask[None], bands, 0)
    if blurred:
        masks = np.stack([gaussian_filter(mask, 0.35 + 0.2 * band / bands) for band in range(bands)])
        masks = masks * (0.85 + 0.15 * np.cos(np.linspace(-1, 1, size[1]))).astype(np.float32)
    camera = CassiCamera(masks, wavelengths=wavelengths, offsets=offsets)
    light = counts * (0.7 + 0.3 * np.sin(np.arange(bands)))
    frames = camera.disperse(torch.from_numpy(masks)).numpy() * light[:, None, None]
    shape = frames.shape[1:]
    broken = rng.choice(frames[0].size, 2 * bad, replace=False)
    hot, dead = (np.isin(np.arange(frames[0].size), part).reshape(shape) for part in (broken[:bad], broken[bad:]))
    frames = frames + counts * rng.uniform(0.5, 1.5, shape) * hot
    frames[:, dead] = 0
    dark = counts * hot
    frames, dark = (
        np.clip(DARK + each + noise * counts * rng.standard_normal(each.shape), 0, 65535).round().astype(np.uint16)
        for each in (frames, dark)
    )
    names = tuple(f"{value:g} nm" for value in wavelengths)
    taken = CalibrationFrames(frames, names, tuple(wavelengths.tolist()), dark=dark)
    return Simulated(taken, camera, light, hot | dead)
