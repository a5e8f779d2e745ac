"""Frames larger than memory: a network runs on overlapping bands of rows, which are blended.

Where the prism moves light along the rows, every detector row is a camera of its own: a tile of full-width rows
neither loses light nor receives any from its neighbours, and its measurement, mask and diagonal are exactly those of
the whole frame. Only the network sees less: its normalisation over the image, its attention among all super-tokens,
and what its convolutions see beyond the border, for which the tiles overlap.

Legend: B batch · C bands · N classes · H, W scene · Wm measurement width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.methods.method import Method
from crsdun.optics import CassiCamera, Estimate, Fit, Progress

OVERLAP = 32
# The networks work on sizes that divide by this; other tiles are padded.
ROWS_MULTIPLE = 32
# Fraction of the available memory; the rest is for reading, writing and what ``peak_bytes`` does not count.
USABLE = 0.8


@dataclass(frozen=True)
class Tiles:
    """How a frame is cut into tiles.

    Attributes:
        rows: height of a tile, at least 1; multiples of 32 need no padding.
        overlap: rows that neighbours share, fewer than ``rows``; None for 32, or half a tile of fewer than 64 rows.
        automatic: chosen because there is not enough memory for the whole frame.

    Raises:
        InputError: the two do not fit together.
    """

    rows: int
    overlap: int | None = None
    automatic: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise InputError(
                f"a tile has at least 1 row, not {self.rows}", "set <tile> to 1 or more, best a multiple of 32"
            )
        if self.overlap is None:
            object.__setattr__(self, "overlap", min(OVERLAP, self.rows // 2))
        elif not 0 <= self.overlap < self.rows:
            most = self.rows - 1
            raise InputError(
                f"tiles of {self.rows} rows cannot overlap by {self.overlap}", f"set <overlap> to 0 to {most}"
            )


def automatic_tiles(method: Method, camera: CassiCamera, available: int | None) -> Tiles | None:
    """The tiles in which a method needs no more than ``available`` bytes; None if the whole frame fits.

    Also None if the method takes whole frames, if light crosses the rows, or if the needs of the method or the
    available memory are unknown.
    """
    needed = method.peak_bytes(camera.height, camera.width)
    whole = not method.tileable or not camera.by_rows
    if whole or needed is None or available is None or USABLE * available >= needed:
        return None
    # The whole output exists beside the tile. The smallest sensible tile is tried even if it may not fit.
    output = 4 * (camera.bands + method.class_count) * camera.height * camera.width
    rows = int((USABLE * available - output) // (needed // camera.height))
    rows = max(rows, 2 * OVERLAP) // ROWS_MULTIPLE * ROWS_MULTIPLE
    return Tiles(rows, automatic=True) if rows < camera.height else None


@dataclass(frozen=True)
class Strip:
    """Rows of an estimate that no further tile changes, of the last stage.

    Attributes:
        top: the first of them in the frame.
        cube: (B,C,rows,W).
        logits: (B,N,rows,W); None if the method does not segment.
        measurement: y of these rows, (B,rows,Wm).
        camera: of these rows, as it was told or as the method found it.
        moved: whether the method found it elsewhere than told.
        fits: of the whole tile, one for each frame of the batch, if the method knows them.
        tile: how many tiles are done, and how many there are.
    """

    top: int
    cube: Tensor
    logits: Tensor | None
    measurement: Tensor
    camera: CassiCamera
    moved: bool
    fits: list[Fit]
    tile: tuple[int, int]

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.top + self.cube.shape[-2]

    @property
    def is_last(self) -> bool:
        """Whether it ends the frame."""
        return self.tile[0] == self.tile[1]


# Called with the first row and the one after the last: y of these rows (B,rows,Wm), and the camera that took them.
RowsOf = Callable[[int, int], tuple[Tensor, CassiCamera]]


def strips(method: Callable[..., Estimate], rows_of: RowsOf, H: int, tiles: Tiles, start: int = 0) -> Iterator[Strip]:
    """The estimate of a frame of H rows from top to bottom, tile by tile, blended by linear ramps.

    Besides what the method needs for a tile, only the rows that the next tile shares are in memory. The last tile is
    moved up so that all have the same height.

    Args:
        method: called with the measurement and the camera of each tile.
        start: the first row that is wanted; tiles that end above it are left out.
    """
    rows = min(tiles.rows, H)
    tops = tile_tops(H, tiles)
    ramp = torch.arange(1, rows + 1, dtype=torch.float32)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=(tiles.overlap or 0) + 1)
    total = ramp.new_zeros(H)
    for top in tops:
        total[top : top + rows] += ramp
    shared: list[Tensor] = []  # the weighted sums so far of the rows that the next tile also has
    for done, top in enumerate(tops, 1):
        if top + rows <= start:
            continue
        y, camera = rows_of(top, top + rows)
        estimate = method(y, camera)
        fits, found = estimate.fits, estimate.camera
        weight = (ramp / total[top : top + rows]).to(y)[:, None]  # rows × 1
        outputs, sums = [estimate.cube, *estimate.logits[-1:]], []
        del estimate
        while outputs:  # one goes when its sum has come
            sums.append(outputs.pop(0).to(y.dtype) * weight)
        for blended, before in zip(sums, shared, strict=False):  # nothing is shared with the first
            blended[:, :, : before.shape[-2]] += before
        end = tops[done] if done < len(tops) else H
        final = end - top
        shared = [each[:, :, final:].clone() for each in sums]
        first = max(start - top, 0)
        if first < final:
            cube, *logits = (each[:, :, first:final] for each in sums)
            kept = (found or camera).crop(first, 0, final - first, camera.width)
            del sums
            yield Strip(
                top + first, cube, logits[0] if logits else None, y[:, first:final], kept, found is not None, fits,
                (done, len(tops)),
            )  # fmt: skip
            del cube, logits


def tile_tops(H: int, tiles: Tiles) -> list[int]:
    """The first row of each tile of a frame of H rows."""
    rows = min(tiles.rows, H)
    return [*range(0, H - rows, tiles.rows - (tiles.overlap or 0)), H - rows]


def check_by_rows(camera: CassiCamera) -> None:
    """Raise an InputError if a camera sends light across rows."""
    if not camera.by_rows:
        raise InputError("this camera sends light across rows, so its frames cannot be cut into tiles", "omit <tile>")


def mean_move(moves: list[tuple[float, float]]) -> tuple[float, float]:
    """How far masks were found from where they were told, in the mean over tiles."""
    return (sum(down for down, _ in moves) / len(moves), sum(right for _, right in moves) / len(moves))


class TileFits:
    """What is known of the fit of whole frames from that of their tiles: means of squares, by the light of each."""

    def __init__(self) -> None:
        self._sums: list[tuple[float, float, float, int]] = []  # light, held out and noise of each frame, and rank

    def add(self, fits: list[Fit], light: list[float]) -> None:
        """Of rows with this light, Σ y², of each frame, taken from a tile with these fits."""
        before = self._sums or [(0.0, 0.0, 0.0, 0)] * len(fits)
        self._sums = [
            (sums[0] + y, sums[1] + y * fit.held_out**2, sums[2] + y * fit.noise**2, max(sums[3], fit.rank))
            for sums, fit, y in zip(before, fits, light, strict=True)
        ]

    @property
    def all(self) -> list[Fit]:
        """One for each frame; empty if no method told any."""
        return [
            Fit(math.sqrt(held / (light or 1.0)), math.sqrt(noise / (light or 1.0)), rank)
            for light, held, noise, rank in self._sums
        ]


@torch.inference_mode()
def by_tiles(
    method: Method,
    measurement: Tensor,
    camera: CassiCamera,
    tiles: Tiles,
    progress: Progress | None = None,
) -> Estimate:
    """The estimate of a frame tile by tile (``strips``), whole in memory; the last stage only.

    One tile as high as the frame gives the estimate of the method itself.

    Args:
        measurement: (B,H,Wm).
        progress: called with (done, total).

    Raises:
        InputError: light crosses the rows.
    """
    check_by_rows(camera)
    H, W = camera.height, camera.width

    def rows_of(top: int, bottom: int) -> tuple[Tensor, CassiCamera]:
        return measurement[:, top:bottom], camera.crop(top, 0, bottom - top, W)

    # One picture for the cube, and one for the logits if there are any; and the masks that the method found.
    whole: list[Tensor] = []
    found, moves, fits = camera.mask.clone(), [], TileFits()
    for strip in strips(method, rows_of, H, tiles):
        parts = [strip.cube] if strip.logits is None else [strip.cube, strip.logits]
        whole = whole or [measurement.new_zeros(*part.shape[:2], H, W) for part in parts]
        for picture, part in zip(whole, parts, strict=True):
            picture[:, :, strip.top : strip.bottom] = part
        if strip.moved:
            found[..., strip.top : strip.bottom, :] = strip.camera.mask
            moves.append(strip.camera.moved)
        if strip.fits:
            fits.add(strip.fits, strip.measurement.square().sum((1, 2)).tolist())
        if progress is not None:
            progress(*strip.tile)
    moved = camera.with_mask(found, mean_move(moves)) if moves else None
    return Estimate(whole[:1], whole[1:], fits.all, camera=moved)
