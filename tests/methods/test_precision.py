"""Fewer digits: close to float32 where the device can, refused where it cannot."""

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.methods import RunOptions, Tiles
from crsdun.methods.precision import in_precision
from crsdun.optics import random_mask
from crsdun.runtime import Preparation, decode
from crsdun.scenes import Measurement

BANDS, H, W = 4, 40, 32


@pytest.fixture
def given():
    torch.manual_seed(0)
    mask = random_mask(H, W, seed=1)
    light = np.random.default_rng(0).random((H, W + 2 * BANDS - 2), np.float32)
    network = crsdun.create("crsdun_2stg", bands=BANDS, classes=3, width=4).eval()
    measurement = Measurement(light * BANDS / 2, mask=mask)
    return Preparation(bands=BANDS).prepare(measurement), network


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("tiles", [None, Tiles(32, 8)])
def test_fewer_digits_are_close_and_come_back_as_float32(given, precision, tolerance, tiles):
    exact = decode(*given, RunOptions(tiles=tiles))
    rough = decode(*given, RunOptions(tiles=tiles, precision=precision))
    assert rough.scene.cube.dtype == np.float32
    error = np.sqrt(np.square(rough.scene.cube - exact.scene.cube).mean()) / exact.scene.cube.std()
    assert 0 < error < tolerance
    assert (rough.scene.classes == exact.scene.classes).mean() > 0.95
    assert (exact.record["precision"], rough.record["precision"]) == ("float32", precision)


def test_tiles_are_recorded(given):
    assert decode(*given).record["tiles"] is None
    record = decode(*given, RunOptions(tiles=Tiles(32, 8))).record
    assert record["tiles"] == {"rows": 32, "overlap": 8, "automatic": False}


def test_what_cannot_be_computed_is_refused(given):
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        in_precision("int4", "cpu")
    with pytest.raises(InputError, match="omit precision"):
        in_precision("float16", "meta")
    prepared, _ = given
    for options, message in (
        (RunOptions(precision="bfloat16"), "gap-tv computes in float32, not in bfloat16; omit precision"),
        (RunOptions(tiles=Tiles(32)), "gap-tv takes whole frames; omit tile"),
    ):
        with pytest.raises(InputError, match=message):
            decode(prepared, crsdun.solvers.GapTv(), options)


def test_too_little_memory_is_said_with_its_remedy(given, monkeypatch):
    prepared, network = given

    def too_large(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(network, "forward", too_large)
    with pytest.raises(InputError, match=r"cut it with tile$"):
        decode(prepared, network)
    with pytest.raises(InputError, match="fewer than 32"):
        decode(prepared, network, RunOptions(tiles=Tiles(32)))
