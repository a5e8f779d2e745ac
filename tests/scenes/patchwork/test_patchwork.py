"""Patchwork scenes: pure functions of their index, the same in every window and on any bands, and of many kinds."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import nbk7_wavelengths
from crsdun.scenes import open_set
from crsdun.scenes.patchwork import PatchworkSet, WildProduceSet
from crsdun.scenes.patchwork.dataset import drawn
from crsdun.scenes.patchwork.rendering import KINDS, VERSION
from crsdun.scenes.patchwork.wild import lit
from tests.scenes.examination import SetExamination

SETS = (PatchworkSet, WildProduceSet)
FROZEN = Path(__file__).parent / "frozen.npz"


def forget():
    """Empty every cache that a crop could be answered from."""
    drawn.cache_clear()
    lit.cache_clear()


class TestPatchwork(SetExamination):
    @pytest.fixture
    def scenes(self):
        return open_set("patchwork", "validation")


class TestWildProduce(SetExamination):
    @pytest.fixture
    def scenes(self):
        return open_set("produce-wild", "validation")


# -- pure functions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETS)
def test_the_splits_and_their_scenes(kind):
    assert [len(kind(split)) for split in ("train", "validation", "test")] == [100_000, 50, 50]
    first = [kind(split).crop(0, 0, 0, 64, 64).cube for split in ("train", "validation", "test")]
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])
    assert kind("train").wavelengths == nbk7_wavelengths()
    with pytest.raises(InputError, match="has no split 'all'"):
        kind("all")


@pytest.mark.parametrize("kind", SETS)
def test_a_scene_is_a_function_of_its_index_alone(kind):
    scenes = kind("train")
    before = scenes.crop(99_999, 30, 20, 64, 96)
    forget()
    scenes.crop(17, 0, 0, 8, 8)
    after = kind("train").crop(-1, 30, 20, 64, 96)
    np.testing.assert_array_equal(before.cube, after.cube)
    assert not np.array_equal(before.cube, scenes.crop(99_998, 30, 20, 64, 96).cube)


@pytest.mark.parametrize("kind", SETS)
def test_any_window_shows_the_same_scene_to_the_last_bit(kind):
    scenes = kind("train")
    for index in range(0, 120, 5):
        whole = scenes[index]
        for top, left, height, width in ((64, 100, 64, 128), (255, 0, 1, 256), (3, 250, 37, 5)):
            forget()
            part = scenes.crop(index, top, left, height, width)
            np.testing.assert_array_equal(part.cube, whole.cube[:, top : top + height, left : left + width])
            if whole.classes is not None:
                np.testing.assert_array_equal(part.classes, whole.classes[top : top + height, left : left + width])


@pytest.mark.parametrize("kind", SETS)
def test_threads_do_not_disturb_each_other(kind):
    scenes, order = kind("train"), [*range(12), *range(12)]

    def part(index):
        return scenes.crop(index, 10 * index, 5 * index, 48, 64).cube

    alone = [part(index) for index in order]
    forget()
    with ThreadPoolExecutor(4) as threads:
        for one, other in zip(alone, threads.map(part, order), strict=True):
            np.testing.assert_array_equal(one, other)


def thumbnail(scenes, index):
    """Every sixteenth pixel in every ninth band, as it is frozen."""
    return scenes[index].cube[::9, ::16, ::16]


@pytest.mark.parametrize("kind", SETS)
def test_version_1_is_frozen(kind):
    """Another recipe is another version. Machines may differ in the last digits, and so at a few borders."""
    assert VERSION == "1"
    with np.load(FROZEN) as stored:
        frozen = {name: stored[name] for name in stored.files if name.startswith(f"{kind.title} ")}
    assert len(frozen) == 10
    for name, expected in frozen.items():
        _, split, index = name.split()
        off = abs(thumbnail(kind(split), int(index)) - expected)
        assert np.quantile(off, 0.95) < 1e-3, name


# -- bands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETS)
def test_the_same_scene_on_any_bands(kind):
    scenes = kind("validation")
    fine = scenes.on_grid(tuple(np.arange(390.0, 731.0, 2)))
    few = scenes.on_grid((450.0, 550.0, 650.0))
    assert (fine.bands, few.bands, few.split, few.names) == (171, 3, "validation", scenes.names)
    for index in range(6):
        window = (index, 60, 60, 40, 40)
        one, three = fine.crop(*window), few.crop(*window)
        assert three.wavelengths == few.wavelengths
        np.testing.assert_array_equal(three.cube, one.cube[[30, 80, 130]])
        if one.classes is not None:
            np.testing.assert_array_equal(one.classes, three.classes)
    assert few.hashes() != fine.hashes()


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize(
    "wavelengths", [(), (380.0, 500.0), (500.0, 731.0), (500.0, 500.0), (600.0, 500.0), (float("nan"),)]
)
def test_bands_that_there_are_not(kind, wavelengths):
    with pytest.raises(InputError, match="from 390 to 730 nm"):
        kind("test").on_grid(wavelengths)


# -- variety -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops():
    """Of 200 scenes, and their kinds."""
    scenes = PatchworkSet("train")
    parts = [scenes.crop(index, 64, 64, 64, 128) for index in range(200)]
    return [part.cube for part in parts], [part.provenance["kind"] for part in parts]


def test_values_are_those_of_a_reflectance_or_of_its_light(crops):
    cubes, _ = crops
    assert all(np.isfinite(cube).all() and cube.min() >= 0 and cube.max() <= 4 for cube in cubes)
    peaks = np.array([np.quantile(cube, 0.99) for cube in cubes])
    assert 0.8 < np.mean(peaks <= 1) < 1
    assert np.mean([cube.max() > 1.5 for cube in cubes]) > 0.02  # highlights
    means = np.array([cube.mean() for cube in cubes])
    assert np.quantile(means, 0.1) < 0.05
    assert 0.08 < np.median(means) < 0.3
    assert np.quantile(means, 0.9) > 0.3


def test_every_kind_occurs(crops):
    _, kinds = crops
    assert set(kinds) == set(KINDS)
    for kind, (share, _) in KINDS.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.1)


def rank(cube):
    """How many components hold all but 1/10 000 of the energy."""
    flat = cube.reshape(len(cube), -1).astype(np.float64)
    energy = np.cumsum(np.linalg.svd(flat @ flat.T, compute_uv=False))
    return 1 + int((energy < 0.9999 * energy[-1]).sum())


def test_spectra_vary_little_in_some_scenes_and_much_in_others(crops):
    ranks = np.array([rank(cube) for cube in crops[0]])
    assert np.quantile(ranks, 0.1) <= 2
    assert 3 <= np.median(ranks) <= 8
    assert np.quantile(ranks, 0.95) >= 10


def test_some_scenes_are_smooth_and_others_full_of_detail(crops):
    roughness = [
        (abs(np.diff(cube, axis=1)).mean() + abs(np.diff(cube, axis=2)).mean()) / (2 * cube.mean())
        for cube in crops[0]
    ]
    low, middle, high = np.quantile(roughness, (0.05, 0.5, 0.95))
    assert low < 0.03 < middle < 0.2 < high


# -- cost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETS)
def test_a_crop_costs_a_fraction_of_the_whole(kind):
    scenes = kind("train")

    def cost(top, left, height, width):
        forget()
        start = time.thread_time()
        for index in range(40):
            scenes.crop(index, top, left, height, width)
        return time.thread_time() - start

    cost(0, 0, 8, 8)  # photographs and spectra are read once
    assert 3 * cost(96, 96, 64, 64) < cost(0, 0, 256, 256)


def test_nothing_slow_is_imported_for_it():
    program = (
        "import sys; from crsdun.scenes import open_set; open_set('patchwork', 'test').crop(0, 0, 0, 8, 8); "
        "print([name for name in ('colour', 'torch', 'skimage', 'sklearn', 'scipy') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
