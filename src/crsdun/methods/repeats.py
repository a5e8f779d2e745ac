"""The expected error of each voxel of a cube: what changes when other detector pixels are left out.

A frame is decoded again a few times, each time with another part of its detector pixels left out and filled with
what the first cube predicts for them. Where the cube hangs on few pixels it changes, and there it is likely to be
wrong. Every second time the frame is decoded upside down, which changes what a method makes of edges. The pixels
left out are a test: if the new cubes predict them worse than the changes explain, the changes are scaled until
they do.

What all decodings get wrong alike does not show, so that the size is more a lower bound than an estimate; where
errors are larger than elsewhere is told better (``benchmarks/doubt.py``).

Legend: C bands · H, W scene · Wm measurement width · x cube (C,H,W) · y measurement (H,Wm) · A the camera.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.methods.method import Method
from crsdun.methods.run import MethodRun, RunOptions, run_method
from crsdun.optics import StackedCamera

# Part of the detector pixels left out in each repeat.
PART = 0.4
# Changes are root mean squares over squares of this many pixels.
SQUARE = 3


def expected_error(run: MethodRun, method: Method, measurement: Tensor, options: RunOptions) -> Tensor:
    """The expected (root mean square) error of each voxel of a run, (C,H,W), bands in the order of its estimate.

    Args:
        run: of the method on the measurement y, (H,Wm), with these options; ``options.repeats`` counts the decodings.
        method, measurement, options: as for ``run_method``.

    Raises:
        InputError: as ``run_method``, or the camera has several pictures of the scene.
    """
    camera, how = run.camera, replace(options, tiles=run.tiles, keep_stages=False, before=None)
    if isinstance(camera, StackedCamera):
        raise InputError("errors are estimated for a single exposure, not for several together", "omit <repeats>")
    turned, y = camera.upside_down(), measurement.to(options.device)
    x = run.estimate.cube[0]
    predicted = camera.forward(x)
    generator = torch.Generator().manual_seed(0)  # always the same pixels, so that results can be repeated
    changes = torch.zeros_like(x)
    unexplained = predicted.new_zeros(())
    explained = predicted.new_zeros(())
    for number in range(options.repeats):
        out = (torch.rand(y.shape, generator=generator, dtype=torch.float32) < PART).to(y.device) & camera.lit
        filled = torch.where(out, predicted, y)
        if number % 2 and turned is not None:
            again = run_method(method, filled.flip(-2), turned, how).estimate.cube[0].flip(-2)
        else:
            again = run_method(method, filled, camera, how).estimate.cube[0]
        change = (again - x).square()
        changes += change / options.repeats
        unexplained += (y - camera.forward(again))[out].square().sum()
        explained += camera.with_mask(camera.mask.square()).forward(change)[out].sum()
    smooth = F.avg_pool2d(changes[None], SQUARE, 1, SQUARE // 2, count_include_pad=False)[0]
    scale = unexplained / explained.clamp(min=torch.finfo(x.dtype).tiny)
    return (smooth * scale.clamp(min=1)).sqrt()
