"""Frames larger than memory: a network runs on overlapping bands of rows, which are blended.

Where the prism moves light along the rows, every detector row is a camera of its own: a tile of full-width rows
neither loses light nor receives any from its neighbours, and its measurement, mask and diagonal are exactly those of
the whole frame. Only the network sees less: its normalisation over the image, its attention among all super-tokens,
and what its convolutions see beyond the border, for which the tiles overlap.

Legend: B batch · C bands · N classes · H, W scene · Wm measurement width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.methods.method import Method
from crsdun.optics import CassiCamera, Estimate, Progress

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


@torch.inference_mode()
def by_tiles(
    method: Method,
    measurement: Tensor,
    camera: CassiCamera,
    tiles: Tiles,
    progress: Progress | None = None,
) -> Estimate:
    """The estimate of a frame tile by tile, blended by linear ramps; the last stage only.

    The last tile is moved up so that all have the same height. One tile as high as the frame gives the
    estimate of the method itself.

    Args:
        measurement: (B,H,Wm).
        progress: called with (done, total).

    Raises:
        InputError: light crosses the rows.
    """
    if not camera.by_rows:
        raise InputError("this camera sends light across rows, so its frames cannot be cut into tiles", "omit <tile>")
    H, overlap = camera.height, tiles.overlap or 0
    rows = min(tiles.rows, H)
    tops = [*range(0, H - rows, tiles.rows - overlap), H - rows]
    ramp = torch.arange(1, rows + 1, dtype=measurement.dtype, device=measurement.device)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=overlap + 1)
    total = ramp.new_zeros(H)
    for top in tops:
        total[top : top + rows] += ramp

    # One sum for the cube, and one for the logits if there are any; and the masks that the method found.
    sums: list[Tensor] = []
    found, moves = camera.mask.clone(), []
    for done, top in enumerate(tops, 1):
        part = slice(top, top + rows)
        estimate = method(measurement[:, part], camera.crop(top, 0, rows, camera.width))
        if estimate.camera is not None:
            found[..., part, :] = estimate.camera.mask
            moves.append(estimate.camera.moved)
        outputs = [estimate.cube, *estimate.logits[-1:]]
        sums = sums or [measurement.new_zeros(*output.shape[:2], H, camera.width) for output in outputs]
        weight = (ramp / total[part])[:, None]  # rows × 1
        for whole, output in zip(sums, outputs, strict=True):
            whole[:, :, part].addcmul_(output.to(whole.dtype), weight)
        if progress is not None:
            progress(done, len(tops))
    mean = (sum(down for down, _ in moves) / len(tops), sum(right for _, right in moves) / len(tops))
    return Estimate(sums[:1], sums[1:], camera=camera.with_mask(found, mean) if moves else None)
