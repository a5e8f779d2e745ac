"""Tiles of rows against the whole frame, and when they are chosen without being asked for."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.methods.tiles import Tiles, automatic_tiles, by_tiles
from crsdun.networks import Network
from crsdun.networks.network import BYTES_PER_PIXEL_AND_WIDTH
from crsdun.optics import CassiCamera, Estimate, random_mask

BANDS, W = 3, 10


class RowByRow(Network):
    """Looks at nothing but the row itself: tiles must change nothing."""

    def __init__(self):
        super().__init__(SimpleNamespace(bands=BANDS, classes=2))

    def forward(self, measurement, camera):
        cube = camera.adjoint(measurement / torch.where(camera.diagonal == 0, 1, camera.diagonal))
        return Estimate([cube * 0, cube], [cube[:, :2] * 0, cube[:, :2].cumsum(-1)])


def frame(height: int, width: int = W, bands: int = BANDS) -> tuple[torch.Tensor, CassiCamera]:
    camera = CassiCamera(random_mask(height, width, seed=1), bands=bands)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    cube = torch.stack([0.5 + 0.4 * torch.sin(rows / 9 + columns / 7 + band / 3) for band in range(bands)])
    return camera.forward(cube)[None].expand(2, -1, -1), camera


def small_network(bands: int = BANDS) -> Network:
    torch.manual_seed(0)
    return crsdun.create("crsdun_2stg", bands=bands, classes=2, width=4).eval()


@pytest.mark.parametrize("height", [1, 7, 32, 50])
@pytest.mark.parametrize(
    ("rows", "overlap"), [(1, 0), (2, 1), (5, 0), (5, 4), (7, 3), (16, 8), (31, 30), (32, None), (49, 13), (99, 9)]
)
def test_what_is_local_to_rows_comes_out_as_from_the_whole(height, rows, overlap):
    y, camera = frame(height)
    whole = RowByRow()(y, camera)
    tiled = by_tiles(RowByRow(), y, camera, Tiles(rows, overlap))
    torch.testing.assert_close(tiled.cube, whole.cube)
    torch.testing.assert_close(tiled.logits[-1], whole.logits[-1])
    assert (len(tiled.cubes), len(tiled.logits)) == (1, 1)


def test_tiles_have_one_height_and_cover_the_frame():
    seen = []

    def network(measurement, camera):
        seen.append(camera.height)
        return Estimate([camera.adjoint(measurement)])

    y, camera = frame(50)
    counts = []
    estimate = by_tiles(network, y, camera, Tiles(16, 4), progress=lambda *count: counts.append(count))
    assert seen == [16] * 4
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert estimate.logits == []


@pytest.mark.parametrize("rows", [40, 1000])
def test_a_tile_as_high_as_the_frame_is_the_whole(rows):
    y, camera = frame(40)
    network = small_network()
    with torch.inference_mode():
        whole = network(y, camera)
    tiled = by_tiles(network, y, camera, Tiles(rows))
    assert torch.equal(tiled.cube, whole.cube)
    assert torch.equal(tiled.logits[-1], whole.logits[-1])


def test_a_network_differs_little_from_its_whole_and_less_with_overlap():
    """Fresh weights, so that only the order of magnitude tells; docs/performance.md has the figures."""
    y, camera = frame(96, 32)
    network = small_network()
    with torch.inference_mode():
        whole = network(y, camera).cube
    errors = []
    for overlap in (0, 16):
        cube = by_tiles(network, y, camera, Tiles(32, overlap)).cube
        assert torch.isfinite(cube).all()
        errors.append(float((cube - whole).square().mean().sqrt() / whole.std()))
    assert errors[1] < errors[0] < 0.5


def test_tiles_stay_on_their_device():
    """Without a GPU here: the meta device refuses whatever meets a tensor of the CPU."""
    y, camera = frame(96, 32)
    estimate = by_tiles(small_network().to("meta"), y.to("meta"), camera.to("meta"), Tiles(32, 8))
    assert (estimate.cube.device.type, estimate.cube.shape) == ("meta", (2, BANDS, 96, 32))
    assert estimate.logits[-1].shape == (2, 2, 96, 32)


def test_tiles_that_cannot_be_meant():
    assert Tiles(16).overlap == 8
    assert Tiles(128).overlap == 32
    assert Tiles(1).overlap == 0
    with pytest.raises(InputError, match="at least 1 row"):
        Tiles(0)
    for overlap in (-1, 16, 17):
        with pytest.raises(InputError, match="0 to 15"):
            Tiles(16, overlap)


def test_a_camera_that_sends_light_across_rows_is_not_cut():
    network = small_network()
    camera = CassiCamera(torch.ones(1000, 20), offsets=[(c, 2 * c) for c in range(BANDS)])
    with pytest.raises(InputError, match=r"across rows.*omit tile"):
        by_tiles(network, torch.ones(1, *camera.measurement_shape), camera, Tiles(32))
    assert automatic_tiles(network, camera, 1000) is None


# -- without being asked ---------------------------------------------------------------------------------------


def test_tiles_come_where_the_memory_would_not_suffice():
    network = small_network()
    _, camera = frame(1000, 100)
    need = 1000 * 100 * 4 * BYTES_PER_PIXEL_AND_WIDTH
    assert automatic_tiles(network, camera, 2 * need) is None
    half, little = (automatic_tiles(network, camera, memory) for memory in (need // 2, 1000))
    assert half.automatic
    assert 300 < half.rows < 500
    assert half.rows % 32 == 0
    assert (little.rows, little.overlap) == (64, 32)


def test_no_tiles_where_nobody_knows_or_needs_them():
    _, camera = frame(1000, 100)
    assert automatic_tiles(small_network(), camera, None) is None
    assert automatic_tiles(crsdun.solvers.GapTv(), camera, 1000) is None
    _, low = frame(40)
    assert automatic_tiles(small_network(), low, 1000) is None


PEAK = """
import torch, crsdun
torch.set_num_threads(1)
from crsdun.optics import CassiCamera, random_mask
from crsdun.methods import keep_freed_memory
def status(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))
keep_freed_memory()
network = crsdun.create("crsdun_2stg", bands=8, classes=4, width=8).eval()
def run(size):
    camera = CassiCamera(torch.ones(size, size), bands=8)
    with torch.inference_mode():
        network(torch.rand(1, size, camera.measurement_width), camera)
run(32)
loaded = status("VmRSS")
run({size})
print((status("VmHWM") - loaded) / {size} ** 2)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is told by Linux")
def test_the_peak_of_memory_is_what_tiles_are_chosen_by():
    outputs = 2 * 4 * (8 + 4)
    for size in (160, 256):
        printed = subprocess.run(
            [sys.executable, "-c", PEAK.format(size=size)], capture_output=True, text=True, check=True
        )
        peak = (float(printed.stdout) - outputs) / 8
        print(f"{size}×{size}: {peak:.0f} bytes per pixel and channel of the width")
        assert BYTES_PER_PIXEL_AND_WIDTH / 4 < peak < BYTES_PER_PIXEL_AND_WIDTH * 1.2
