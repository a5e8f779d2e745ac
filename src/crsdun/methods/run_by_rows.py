"""A run that never holds a whole frame: its rows come tile by tile, and its estimate leaves in finished rows.

What ``run_method`` does of a whole estimate is done here of its rows: precision, memory, the check for finiteness,
the order of the bands, and the residual, whose squares add up.

Legend: C bands · N classes · H, W scene · Wm measurement width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.methods.memory import return_freed_memory
from crsdun.methods.method import Method
from crsdun.methods.precision import in_precision
from crsdun.methods.run import RunOptions, enough_memory, not_finite, unexplained_norms
from crsdun.methods.tiles import OVERLAP, ROWS_MULTIPLE, USABLE, Tiles, check_by_rows, strips
from crsdun.optics import CassiCamera, Estimate, Fit
from crsdun.optics.wavelengths import band_order

# Of a method that does not say what memory it needs.
USUAL_ROWS = 4 * OVERLAP
# Higher tiles change little, and what is blended and written grows with them.
MOST_ROWS = 32 * OVERLAP


@dataclass(frozen=True)
class EstimateRows:
    """Finished rows of an estimate, of its last stage, on the device.

    Attributes:
        top: the first of them in the frame.
        cube: (C,rows,W) float32, bands by ascending wavelength.
        logits: (N,rows,W) float32; None if the method does not segment.
        unexplained, light: Σ (y − A x)² and Σ y² of these rows.
        fit: of the tile, if the method knows it.
        moved: by how many pixels, down and right, the method found the mask from where it was told; None if it did
            not look for it.
        is_last: whether they end the frame.
        seconds: taken by the method for them.
    """

    top: int
    cube: Tensor
    logits: Tensor | None
    unexplained: float
    light: float
    fit: Fit | None
    moved: tuple[float, float] | None
    is_last: bool
    seconds: float

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.top + self.cube.shape[1]


def run_by_rows(
    method: Method,
    rows_of: Callable[[int, int], tuple[Tensor, CassiCamera]],
    H: int,
    tiles: Tiles,
    options: RunOptions,
    start: int = 0,
) -> Iterator[EstimateRows]:
    """Run a method on a frame of H rows, tile by tile; to the bit what ``run_method`` gives in the same tiles.

    Args:
        rows_of: called with the first row and the one after the last: y of these rows, (rows,Wm), on the scale of
            y = A x, and the camera that took them.
        start: the first row that is wanted.

    Raises:
        InputError: as ``run_method``, each as soon as a tile shows it; but not because of the scale of the whole,
            which is for ``check_level``.
    """
    options.check(method)
    options = replace(options, tiles=tiles)
    seconds = 0.0

    def prepared(top: int, bottom: int) -> tuple[Tensor, CassiCamera]:
        y, camera = rows_of(top, bottom)
        camera = method.fit(camera)
        check_by_rows(camera)
        return y[None].to(options.device), camera.to(options.device)

    def timed(y: Tensor, camera: CassiCamera) -> Estimate:
        nonlocal seconds
        begun = time.perf_counter()
        with torch.inference_mode(), method.inference(), enough_memory(method, options):
            with in_precision(options.precision, y.device):
                estimate = method(y, camera).last_stage()
            finite = estimate.is_finite  # which also waits for a GPU
        if not (finite or options.allow_nonfinite):
            raise not_finite(method, options)
        seconds += time.perf_counter() - begun
        return_freed_memory()  # or what the method needed would stay beside what is made of its estimate
        return estimate

    for strip in strips(timed, prepared, H, tiles, start):
        camera, cube = strip.camera, strip.cube[0].float()
        unexplained, light = unexplained_norms(strip.measurement[0], cube, camera)
        order = band_order(camera.wavelengths)
        rows = EstimateRows(
            strip.top,
            cube if order is None else cube[order],
            None if strip.logits is None else strip.logits[0].float(),
            float(unexplained) ** 2,
            float(light) ** 2,
            strip.fits[0] if strip.fits else None,
            camera.moved if strip.moved else None,
            strip.is_last,
            seconds,
        )
        seconds = 0.0
        del strip, camera, cube  # or they would stay beside the next tile
        yield rows
        del rows


def tiles_by_rows(method: Method, height: int, width: int, available: int | None) -> Tiles:
    """The tiles in which a frame of this size is best run by rows: as high as the memory lets them be.

    Where the needs of the method or the available memory are unknown, they have ``USUAL_ROWS``.

    Raises:
        InputError: the method takes whole frames.
    """
    if not method.tileable:
        raise InputError(f"{method.name} takes whole frames, and this one is decoded by rows", "use lr-tv")
    needed = method.peak_bytes(2 * OVERLAP, width)
    rows = USUAL_ROWS
    if needed is not None and available is not None:
        rows = int(USABLE * available // (needed / (2 * OVERLAP)))
    rows = min(max(rows, 2 * OVERLAP), MOST_ROWS) // ROWS_MULTIPLE * ROWS_MULTIPLE
    return Tiles(min(rows, height), automatic=True)
