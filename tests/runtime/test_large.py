"""Frames larger than memory: by rows to the bit what tiles in memory give, and no whole cube anywhere."""

import json
import math
import mmap
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.classifiers import Marks, fit_classifier
from crsdun.errors import InputError
from crsdun.methods import RunOptions, Tiles, available_memory, run_method
from crsdun.methods.doubt import calibrated, doubt_of, seen
from crsdun.methods.tiles import USABLE
from crsdun.methods.verdict import Verdict
from crsdun.optics import CameraFile, CassiCamera, Estimate, Exposure, ModelCard, random_mask
from crsdun.runtime import LargeRun, Pipeline, Preparation, decode, is_large, large_run, open_large, read_results
from crsdun.runtime.large_frame import BLOCK
from crsdun.runtime.large_run import ROWS
from crsdun.runtime.simulation import simulate
from crsdun.scenes import UNLABELLED, Scene, open_mask, open_scene_rows, read_scene, write_arrays
from crsdun.scenes.formats import array_file
from crsdun.scenes.formats.table import STORE
from crsdun.scenes.produce import ProduceSet
from crsdun.scenes.scene_rows import CLASSES as CLASSES_MAP
from crsdun.solvers import LrTv, Solver
from crsdun.viewing import large_folder
from tests.viewing.reports import check_self_contained, cubes_in

BANDS, CLASSES, H, W = 4, 3, 96, 24
WAVELENGTHS = (450.0, 520.0, 580.0, 650.0)
TILES = Tiles(32, 8)


def scene_cube(height: int = H, width: int = W, bands: int = BANDS) -> torch.Tensor:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return torch.stack([0.5 + 0.4 * torch.sin(rows / 9 + columns / 7 + band / 3) for band in range(bands)])


@pytest.fixture
def camera() -> CassiCamera:
    return CassiCamera(random_mask(H, W, seed=1), wavelengths=WAVELENGTHS)


@pytest.fixture
def y(camera) -> np.ndarray:
    return camera.forward(scene_cube()).numpy()


@pytest.fixture(autouse=True)
def left_in_their_files(monkeypatch):
    """So that pictures as small as those of these tests count as large."""
    monkeypatch.setattr(array_file, "LARGE_PICTURE", 1000)


def stored(path: Path, camera: CassiCamera, y: np.ndarray) -> Path:
    arrays = {"measurement": y, "mask": camera.mask.numpy()}
    write_arrays(path, arrays, {"wavelengths": list(camera.wavelengths), "wavelength_units": "Nanometers"})
    return path


def network(classes: int = CLASSES) -> crsdun.networks.Network:
    torch.manual_seed(0)
    return crsdun.create("crsdun_2stg", bands=BANDS, classes=classes, width=4).eval()


def calibrated_card(method, camera: CassiCamera, y: np.ndarray) -> ModelCard:
    """A card whose calibration knows what the method makes of a frame, where a third of its classes are wrong."""
    estimate = run_method(method, torch.from_numpy(y), camera).estimate
    logits = estimate.logits[-1][0]
    truth = torch.where(torch.rand(H, W, generator=torch.Generator().manual_seed(1)) < 0.3, 0, logits.argmax(0))
    features = seen(estimate.cube[0], logits, WAVELENGTHS, WAVELENGTHS)
    columns = [each.flatten(1).T for each in (logits, features)]
    return ModelCard(WAVELENGTHS, calibration=calibrated(*columns, truth.flatten()))


def decoded(frame, how, folder: Path, tiles: Tiles | None = TILES, **options) -> LargeRun:
    """By a method, or by a pipeline."""
    folder.mkdir(exist_ok=True)
    pipeline = how if isinstance(how, Pipeline) else Pipeline(how, options=RunOptions(tiles=tiles, **options))
    run = LargeRun(pipeline, frame, frame.survey(), folder)
    for _ in run.run():
        pass
    run.finish()
    return run


class OneBand(Solver):
    """A method that needs little more than its estimate."""

    name, tileable = "one-band", True

    @property
    def settings(self):
        return {}

    def __call__(self, measurement, camera, progress=None):
        return Estimate([camera.initial_estimate(measurement).contiguous()])


# -- what it gives ---------------------------------------------------------------------------------------------


def test_it_gives_to_the_bit_what_tiles_in_memory_give(tmp_path, camera, y):
    frame, method = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation()), network()
    run = decoded(frame, method, tmp_path / "out")
    whole = run_method(method, torch.from_numpy(y), camera, RunOptions(tiles=TILES))
    expected, found = whole.scene("y", method.card), open_scene_rows(tmp_path / "out" / STORE)
    assert np.array_equal(found.rows(0, H).cube, expected.cube)
    assert np.array_equal(found.rows(0, H).classes, expected.classes)
    assert np.array_equal(found.read("confidence", 0, H), doubt_of(whole.estimate, method.card).confidence)
    assert run.metrics["data_residual"] == pytest.approx(whole.residual, rel=1e-5)
    assert [line["top"] for line in run.lines] == [0, 24, 48, 64]
    # and as a file like others
    scene = read_scene(tmp_path / "out" / STORE)
    assert np.array_equal(scene.cube, expected.cube)
    assert (scene.wavelengths, scene.name) == (WAVELENGTHS, "y")


def test_what_is_judged_by_sums_is_what_a_whole_frame_says(tmp_path, camera, y):
    """Of a solver, whose fit is that of its tiles, and whose bands come red first."""
    turned = CassiCamera(camera.mask, wavelengths=WAVELENGTHS[::-1])
    frame, method = open_large(stored(tmp_path / "y.zarr", turned, y), Preparation()), LrTv(iterations=12)
    run = decoded(frame, method, tmp_path / "out")
    whole = decode(Preparation().read(tmp_path / "y.zarr"), method, RunOptions(tiles=TILES))
    assert np.array_equal(open_scene_rows(tmp_path / "out" / STORE).rows(0, H).cube, whole.scene.cube)
    for name in ("data_residual", "held_out_residual", "noise"):
        assert run.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-4), name
    for name in ("fit", "warning"):
        assert run.metrics.get(name) == whole.metrics.get(name)
    assert run.metrics["worst_residual"] >= run.metrics["data_residual"]
    same = ("method", "settings", "tiles", "precision", "camera")
    assert {name: run.record[name] for name in same} == {name: whole.record[name] for name in same}


def test_doubt_is_that_of_the_whole_map(tmp_path, camera, y):
    """It looks at squares of pixels, which lie in two tiles here and there."""
    frame, method = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation()), network()
    method.card = calibrated_card(method, camera, y)
    run = decoded(frame, method, tmp_path / "out", coverage=0.5)
    whole = run_method(method, torch.from_numpy(y), camera, RunOptions(tiles=TILES))
    expected = whole.doubt(method.card, 0.5)
    np.testing.assert_allclose(run.store.read("doubt", 0, H), expected.doubt, atol=1e-4)
    assert run.metrics["unknown"] == pytest.approx(expected.unknown.mean(), abs=1e-3)
    assert 0 < run.metrics["unknown"] < 1


class Finding(OneBand):
    """Finds the mask elsewhere than told, in every tile."""

    def __call__(self, measurement, camera, progress=None):
        found = camera.with_mask(camera.mask * 0.9, (0.5, -0.25))
        return Estimate([found.initial_estimate(measurement).contiguous()], camera=found)


def test_the_residual_is_that_behind_the_mask_that_was_found(tmp_path, camera, y):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    run = decoded(frame, Finding(), tmp_path / "out")
    whole = decode(Preparation().read(tmp_path / "y.zarr"), Finding(), RunOptions(tiles=TILES))
    assert run.metrics["data_residual"] == pytest.approx(whole.metrics["data_residual"], rel=1e-5)
    assert run.metrics["mask_moved"] == whole.metrics["mask_moved"] == [0.5, -0.25]
    assert run.record["camera"] == whole.record["camera"]


def test_a_cube_that_should_not_be_believed_says_so(tmp_path, camera, y):
    class Wild(LrTv):
        needs_scale = True

        def __call__(self, measurement, camera, progress=None):
            return Estimate([3 * camera.initial_estimate(measurement)])

    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    run = decoded(frame, Wild(), tmp_path / "out")
    assert run.metrics["fit"] == "not"
    assert "where a scene has 0 to 1" in run.warning


# -- where it comes from ---------------------------------------------------------------------------------------


def by_format(folder: Path, suffix: str, camera: CassiCamera, y: np.ndarray):
    """A frame in a file of its own beside that of its mask."""
    if suffix in ("bsq", "bil"):
        header = (
            f"ENVI\nlines = {y.shape[0]}\nsamples = {y.shape[1]}\nbands = 1\ndata type = 4\ninterleave = {suffix}\n"
        )
        (folder / "y.hdr").write_text(header + "byte order = 1\n")
        (folder / "y.img").write_bytes(y.astype(">f4").tobytes())
        name = "y.hdr"
    else:
        name = f"y.{suffix}"
        write_arrays(folder / name, {"measurement": y}, {})
    np.save(folder / "mask.npy", camera.mask.numpy())
    preparation = Preparation(wavelengths=camera.wavelengths)
    return open_large(folder / name, preparation, open_mask(folder / "mask.npy"))


def stays_in_its_file(array) -> bool:
    """Whether an array is a memory map, or none of NumPy's, read when its parts are asked for."""
    array = getattr(array, "picture", array)
    if not isinstance(array, np.ndarray):
        return True
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.mark.parametrize("suffix", ["npy", "bsq", "bil", "h5", "tif", "zarr", "npz"])
def test_rows_of_every_format_are_those_of_the_whole(tmp_path, camera, y, suffix):
    frame = by_format(tmp_path, suffix, camera, y)
    assert frame.size == (BANDS, H, W)
    for top, bottom in ((0, 5), (40, H)):
        rows, seen_by = frame.rows(top, bottom)
        assert np.array_equal(rows.numpy(), y[top:bottom])
        assert torch.equal(seen_by.mask, camera.mask[top:bottom])
        assert seen_by.wavelengths == WAVELENGTHS
    assert stays_in_its_file(frame.exposures.frames) == (suffix != "npz")


@pytest.mark.parametrize("scale", [1, 255, 3])
def test_a_mask_by_rows_means_what_a_whole_one_does(tmp_path, scale):
    """The numbers of a mask are scaled by all of them, not by those of a tile."""
    values = (random_mask(H, W, seed=2) * scale).astype(np.uint8)
    values[:40] = 0
    np.save(tmp_path / "mask.npy", values)
    whole, divisor, _ = crsdun.scenes.read_stored_mask(tmp_path / "mask.npy")
    mask = open_mask(tmp_path / "mask.npy")
    assert mask.divisor == divisor
    assert np.array_equal(mask.rows(20, 70), whole[20:70])


def test_masks_that_are_no_transmission_are_refused_by_rows_too(tmp_path):
    np.save(tmp_path / "mask.npy", np.linspace(0, 90, 200).reshape(20, 10))
    with pytest.raises(InputError, match=r"transmissions up to 90, but 1 is open; divide it by 100"):
        open_mask(tmp_path / "mask.npy").rows(0, 5)


def test_a_frame_of_a_stack_is_found_as_in_memory(tmp_path, camera, y):
    np.save(tmp_path / "mask.npy", camera.mask.numpy())
    mask, known = open_mask(tmp_path / "mask.npy"), Preparation(wavelengths=WAVELENGTHS, frame=2)
    stacks = {
        "frames": np.stack([y, y / 2, y / 4]),
        "cube": np.stack([y] * BANDS),
        "square": np.stack([y[:, :W]] * H),
    }
    for name, stack in stacks.items():
        np.save(tmp_path / f"{name}.npy", stack)
    assert np.array_equal(open_large(tmp_path / "frames.npy", known, mask).rows(0, H)[0].numpy(), y / 2)
    with pytest.raises(InputError, match="has no frame 4; expected 1 to 3"):
        open_large(tmp_path / "frames.npy", replace(known, frame=4), mask)
    with pytest.raises(InputError, match=r"it looks like a cube.*; if these are 4 exposures .*, set axes to thw"):
        open_large(tmp_path / "cube.npy", known, mask)
    assert open_large(tmp_path / "cube.npy", replace(known, axes="thw"), mask).index == 1
    with pytest.raises(InputError, match="96 columns wide"):  # taken for 24 of 96×96
        open_large(tmp_path / "square.npy", Preparation(bands=1, frame=2), mask)
    assert open_large(tmp_path / "square.npy", Preparation(bands=1, frame=2, axes="thw"), mask).size == (1, H, W)


def test_a_small_mask_repeats_only_where_it_is_told_to(tmp_path, y):
    tile = random_mask(20, 7, seed=3)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "tile.npy", tile)
    mask, known = open_mask(tmp_path / "tile.npy"), Preparation(wavelengths=WAVELENGTHS)
    with pytest.raises(InputError, match="rows"):
        open_large(tmp_path / "y.npy", known, mask)
    with pytest.raises(InputError, match="number of bands; set bands"):
        open_large(tmp_path / "y.npy", Preparation(), mask, repeat=True)
    frame = open_large(tmp_path / "y.npy", known, mask, repeat=True)
    whole = np.tile(tile, (5, 4))[:H, :W]
    assert np.array_equal(frame.rows(15, 45)[1].mask.numpy(), whole[15:45])
    assert frame.size == (BANDS, H, W)


def test_counts_are_normalised_by_rows_as_in_the_whole(tmp_path, camera, y):
    """With frames of dark and white, and a camera file with bad pixels that take what is around them."""
    generator = np.random.default_rng(0)
    counts = np.rint(100 + 900 * y / BANDS + generator.random(y.shape)).astype(np.uint16)
    dark, white = np.full(y.shape, 100, np.float32), np.full(y.shape, 1000, np.float32)
    white[:, ::2] = 1100
    valid, lit = generator.random((2, *y.shape)) < 0.97
    write_arrays(tmp_path / "y.npz", {"measurement": counts, "valid": lit.astype(np.uint8)}, {})
    offsets = tuple((0.0, 2.0 * band) for band in range(BANDS))
    stored_camera = CameraFile(camera.mask.numpy(), offsets, WAVELENGTHS, dark, white, valid)
    preparation = Preparation(camera_file=stored_camera)
    whole = preparation.read(tmp_path / "y.npz")
    frame = open_large(tmp_path / "y.npz", preparation)
    part = frame.prepared(30, 50)
    assert np.array_equal(part.measurement.valid, lit[30:50])
    assert np.array_equal(part.measurement.frame, whole.measurement.frame[30:50])
    assert torch.equal(part.camera.parts[0].values, whole.camera.parts[0].values[30:50])
    assert frame.sample().camera.parts[0].values.shape == frame.sample().measurement.frame.shape
    assert part.measurement.provenance == whole.measurement.provenance
    assert not part.counts


def test_full_pixels_and_odd_numbers_are_noticed_as_in_the_whole(tmp_path, camera, y):
    counts = np.minimum(np.rint(100 + 2000 * y), 4095).astype(np.uint16)
    np.save(tmp_path / "y.npy", counts)
    np.save(tmp_path / "mask.npy", camera.mask.numpy())

    def told(**settings):
        preparation, lines = Preparation(wavelengths=WAVELENGTHS, **settings), []
        mask = open_mask(tmp_path / "mask.npy")
        frame = open_large(tmp_path / "y.npy", preparation, mask)
        pipeline = Pipeline(OneBand(), preparation, None, RunOptions(tiles=TILES), notify=lines.append)
        run = LargeRun(pipeline, frame, frame.survey(), tmp_path / "out")
        whole = replace(preparation, mask=camera.mask.numpy()).read(tmp_path / "y.npy")
        return lines, run.frame.prepared(0, H), whole

    (tmp_path / "out").mkdir()
    lines, rows, whole = told(bits=12, dark=100.0)
    full = counts == 4095
    assert 0.01 < full.mean() < 0.5
    assert [line for line in lines if "4095" in line] == [
        f"{full.mean():.1%} of the pixels have 4095 counts, the most that there are: they are saturated and do not "
        "count; expose for less time"
    ]
    assert torch.equal(rows.camera.parts[-1].values, whole.camera.parts[-1].values)
    np.testing.assert_array_equal(rows.camera.parts[-1].values.numpy() == 0, full)
    lines, rows, whole = told(dark=400.0, saturated=5000.0)
    assert any("below the dark, by more than noise explains" in line for line in lines)


def test_hot_pixels_are_left_out_as_in_the_whole(tmp_path, camera, y):
    frame = y.copy()
    for row, column in ((0, 0), (BLOCK - 1, 20), (BLOCK, 20), (H - 1, 12)):  # two side by side, in two blocks
        frame[row, column] = 4 * y.max()
    whole = Preparation(wavelengths=WAVELENGTHS).read(stored(tmp_path / "whole.npz", camera, frame))
    assert whole.hot.any()
    rows = open_large(tmp_path / "whole.npz", Preparation(wavelengths=WAVELENGTHS))
    assert rows.survey().hot == whole.hot.sum()
    assert rows.sample().camera.counted_pixels.sum() < rows.sample().measurement.frame.size
    for top, bottom in ((0, 5), (5, 9), (9, H)):
        part = rows.prepared(top, bottom)
        np.testing.assert_array_equal(part.hot, whole.hot[top:bottom])
        np.testing.assert_array_equal(part.measurement.frame, whole.measurement.frame[top:bottom])
        known = part.camera.counted(torch.ones(bottom - top, frame.shape[1]))
        assert torch.equal(known, whole.camera.counted(torch.ones(frame.shape))[top:bottom])


def test_rows_without_light_may_equal_the_dark_and_a_whole_frame_may_not(tmp_path, camera, y):
    counts = np.rint(100 + 1000 * y).astype(np.uint16)
    counts[:10] = 100
    np.save(tmp_path / "y.npy", counts)
    np.save(tmp_path / "mask.npy", camera.mask.numpy())
    dark = Preparation(wavelengths=WAVELENGTHS, dark=np.full(y.shape, 100, np.uint16))
    frame = open_large(tmp_path / "y.npy", dark, open_mask(tmp_path / "mask.npy"))
    assert frame.prepared(0, 10).measurement.frame.max() == 0
    with pytest.raises(InputError, match="the dark frame is the measurement itself"):
        Preparation(mask=camera.mask.numpy(), dark=counts).read(tmp_path / "y.npy")


def test_what_is_wrong_with_the_whole_is_said_before_it_is_decoded(tmp_path, camera, y):
    def frame_of(name, values, openness=1):
        np.save(tmp_path / f"{name}.npy", values)
        np.save(tmp_path / f"{name}_mask.npy", openness * camera.mask.numpy())
        return open_large(
            tmp_path / f"{name}.npy", Preparation(wavelengths=WAVELENGTHS), open_mask(tmp_path / f"{name}_mask.npy")
        )

    dark_rows = y.copy()
    dark_rows[:40] = 0
    assert frame_of("dark_rows", dark_rows).survey().high == pytest.approx(float(y[40:].max()))
    noisy = dark_rows - 1e-3 * (np.indices(y.shape).sum(0) % 2)
    assert frame_of("noisy", noisy).survey().low == 0
    broken = y.copy()
    broken[70, 3] = np.nan
    for name, values, message in (
        ("black", 0 * y, "black everywhere"),
        ("negative", y - 1, "negative values"),
        ("broken", broken, "from row 55 on' holds 1 NaN or infinite values, the first at row 15"),
    ):
        with pytest.raises(InputError, match=message):
            frame_of(name, values).survey()
    with pytest.raises(InputError, match="closed everywhere"):
        frame_of("closed", y, 0).survey()
    with pytest.raises(InputError, match="look like raw counts"):
        decoded(frame_of("bright", 1000 * y), network(), tmp_path / "out")


def test_light_that_crosses_rows_is_refused(tmp_path, camera, y):
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "mask.npy", camera.mask.numpy())
    down = Preparation(offsets=tuple((band, 2.0 * band) for band in range(BANDS)))
    with pytest.raises(InputError, match="across rows, so its frames are decoded whole; omit large"):
        open_large(tmp_path / "y.npy", down, open_mask(tmp_path / "mask.npy"))


# -- memory ----------------------------------------------------------------------------------------------------


def test_no_array_as_large_as_the_cube_or_the_frame_is_in_memory(tmp_path):
    """NumPy's arrays as counted by tracemalloc, PyTorch's by the size of what the method is given."""
    height, width, bands = 1024, 256, 8
    camera = CassiCamera(random_mask(height, width, seed=4), wavelengths=tuple(450.0 + 25 * b for b in range(bands)))
    np.save(tmp_path / "y.npy", camera.forward(scene_cube(height, width, bands)).numpy())
    np.save(tmp_path / "mask.npy", camera.mask.numpy())
    frame = open_large(
        tmp_path / "y.npy", Preparation(wavelengths=camera.wavelengths), open_mask(tmp_path / "mask.npy")
    )
    decoded(frame, OneBand(), tmp_path / "first", Tiles(16, 4))  # what is imported and kept does not count
    tracemalloc.start()
    run = decoded(frame, OneBand(), tmp_path / "out", Tiles(16, 4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(run.lines) > 40
    assert peak < 4 * height * width * bands / 4
    assert open_scene_rows(tmp_path / "out" / STORE).chunk_rows == 12  # a strip is whole chunks


def test_frames_are_large_where_memory_would_not_suffice():
    net = network()
    size = (28, 8192, 2048)
    assert is_large(size, net, 8 << 30)
    assert not is_large(size, net, 64 << 30)
    assert is_large(size, LrTv(), 32 << 30)
    assert is_large(size, None, 32 << 30)
    assert not is_large(size, None, None)
    assert not is_large(size, crsdun.solvers.GapTv(), 1000)  # which takes whole frames
    assert not is_large((28, 256, 256), None, available_memory())


# -- an interruption -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strips", [1, 2, 3, 4])
def test_an_interrupted_job_goes_on_and_becomes_the_same(tmp_path, camera, y, strips):
    frame, method = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation()), network()
    method.card = calibrated_card(method, camera, y)
    once = decoded(frame, method, tmp_path / "once")
    folder = tmp_path / "twice"
    folder.mkdir()
    pipeline = Pipeline(method, options=RunOptions(tiles=TILES))
    rows = LargeRun(pipeline, frame, frame.survey(), folder).run()
    for _ in range(strips):
        next(rows)
    rows.close()
    with (folder / ROWS).open("a") as file:
        file.write('{"top": 24, "bott')  # torn
    twice = decoded(frame, method, folder)
    assert (twice.kept > 0) == (strips > 1), "the doubt of a strip needs the rows above it"
    for name in ("cube", *once.store.maps):
        # Products of matrices of another height round differently.
        np.testing.assert_allclose(
            twice.store.read(name, 0, H), once.store.read(name, 0, H), rtol=0, atol=1e-4 * (name == "doubt")
        )
    assert {**twice.metrics, "unknown": 0} == {**once.metrics, "unknown": 0}
    assert twice.metrics["unknown"] == pytest.approx(once.metrics["unknown"], abs=1e-3)
    lines = [json.loads(line) for line in (folder / ROWS).read_text().splitlines()]
    assert [line["top"] for line in lines] == [0, 24, 48, 64]


def interrupted(frame, pipeline: Pipeline, folder: Path) -> LargeRun:
    """After its first strip."""
    folder.mkdir()
    run = LargeRun(pipeline, frame, frame.survey(), folder)
    rows = run.run()
    next(rows)
    rows.close()
    return run


def test_a_job_goes_on_in_the_tiles_that_it_began_with(tmp_path):
    height, method, folder = 160, network(), tmp_path / "twice"
    camera = CassiCamera(random_mask(height, W, seed=1), wavelengths=WAVELENGTHS)
    y = camera.forward(scene_cube(height)).numpy()
    frame, row = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation()), method.peak_bytes(1, W)
    memory = int(96 * row / USABLE) + 1
    once = decoded(frame, method, tmp_path / "once", None, memory=memory)
    interrupted(frame, Pipeline(method, options=RunOptions(memory=memory)), folder)
    with pytest.raises(InputError, match=r"tiles of 96 rows, which need .* available now; free some, or begin again"):
        decoded(frame, method, folder, None, memory=95 * row)
    for now in (96 * row, 10 * memory):  # for which other tiles would be chosen
        copy = tmp_path / f"{now}"
        shutil.copytree(folder, copy)
        twice = decoded(frame, method, copy, None, memory=now)
        assert twice.tiles == once.tiles == Tiles(96, automatic=True)
        assert twice.record["tiles"] == once.record["tiles"]
        for name in ("cube", *once.store.maps):
            assert np.array_equal(twice.store.read(name, 0, height), once.store.read(name, 0, height))


def test_a_job_goes_on_by_the_method_that_it_began_with(tmp_path, camera, y, monkeypatch):
    """Weights that gave way are not tried again: in other tiles they might not."""
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    monkeypatch.setattr(large_run, "choose_weights", lambda sample: ("weights", "weights fit"))
    for verdict in (Verdict("not", doubt="they leave much"), Verdict("fits")):
        monkeypatch.setattr(LargeRun, "_trial", lambda self, method, verdict=verdict: verdict)
        pipeline = Pipeline(options=RunOptions(tiles=TILES), notify=lambda line: None)
        pipeline.opened = {"weights": network(), None: LrTv(iterations=2)}
        run = (interrupted if verdict.doubt else decoded)(frame, pipeline, tmp_path / "out")
        assert run.method.name == "lr-tv"
    assert "lr-tv has decoded the finished rows, and goes on" in pipeline.notes


def test_the_classes_of_a_classifier_are_those_of_the_whole_cube(tmp_path, camera, y):
    """Where neighbours are heard, those beyond a strip count too."""
    cube = scene_cube().numpy()
    truth = np.digitize(cube.mean(0), (0.4, 0.6))
    labels = np.where(np.arange(H * W).reshape(H, W) % 7, UNLABELLED, truth)
    marks = Marks.of_labels(labels, ("dark", "grey", "light"))
    noise = 0.05 * np.random.default_rng(0).standard_normal(cube.shape).astype(np.float32)
    classifier = fit_classifier(Scene(cube + noise, WAVELENGTHS), marks, "lda", normalisation="none")
    classifier = replace(classifier, smoothing=4.0)
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    pipeline = Pipeline(network(), options=RunOptions(tiles=TILES), classes=classifier)
    run = decoded(frame, pipeline, tmp_path / "out")
    scene = open_scene_rows(tmp_path / "out" / STORE).rows(0, H)
    usual = classifier.usual(run.store.rows(*rows) for rows in frame.sample_rows)
    assert np.array_equal(scene.classes, classifier.classify(scene, usual).classes)
    assert (scene.classes != replace(classifier, smoothing=0).classify(scene).classes).any()
    assert scene.class_names == ("background", "dark", "grey", "light")
    assert run.store.maps == (CLASSES_MAP,)
    assert run.record["classes"]["smoothing"] == 4.0
    assert not {"calibrated", "unknown"} & run.metrics.keys()
    large_folder.draw_large(run, tmp_path / "out")
    assert not (tmp_path / "out" / "doubt.png").exists()
    page = check_self_contained((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert {"dark", "grey", "light"} <= set(page.texts)


# -- what needs the whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"truth": Path("truth.npz")}, "truth"),
        ({"refine": True}, "refine_camera"),
        ({"options": RunOptions(tiles=TILES, repeats=2)}, "repeats"),
    ],
)
def test_what_needs_the_whole_frame_is_refused(tmp_path, camera, y, change, name):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    with pytest.raises(InputError, match=f"needs the whole frame.*omit {name}"):
        LargeRun(Pipeline(network(), **change), frame, frame.survey(), tmp_path)


def test_methods_that_take_whole_frames_are_refused(tmp_path, camera, y):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    with pytest.raises(InputError, match="gap-tv takes whole frames"):
        decoded(frame, crsdun.solvers.GapTv(iterations=2), tmp_path / "out", None)


def test_a_folder_of_rows_is_no_folder_of_a_frame_in_memory(tmp_path, camera, y):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    decoded(frame, OneBand(), tmp_path / "out")
    with pytest.raises(InputError, match=r"decoded by rows.*open_scene_rows"):
        read_results(tmp_path / "out")


# -- which method ----------------------------------------------------------------------------------------------


def test_without_a_method_what_fits_a_sample_is_taken(tmp_path, camera, y):
    """No shipped weights are for four bands."""
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    notes = []
    run = LargeRun(Pipeline(notify=notes.append, options=RunOptions(tiles=TILES)), frame, frame.survey(), tmp_path)
    assert run.method.name == "lr-tv"
    assert "lr-tv, which needs none, decodes" in notes[0]


def test_counts_are_decoded_by_chosen_weights_that_need_no_scale(tmp_path):
    scene = ProduceSet("test")[0].cropped(0, 0, 64, 64)
    measurement = simulate(scene, Exposure())
    np.save(tmp_path / "mask.npy", measurement.mask)
    np.save(tmp_path / "y.npy", np.rint(600 * measurement.frame).astype(np.uint16))
    preparation = Preparation(wavelengths=scene.wavelengths)
    frame = open_large(tmp_path / "y.npy", preparation, open_mask(tmp_path / "mask.npy"))
    run = LargeRun(Pipeline(notify=lambda line: None), frame, frame.survey(), tmp_path)
    assert run.method.name == "crsdun_small"
    assert frame.sample().counts


def test_the_sample_stands_for_the_frame(tmp_path, camera, y):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    sample = frame.sample()
    assert sample.measurement.frame.shape[0] == sample.camera.height <= 128
    torch.testing.assert_close(
        sample.camera.forward(torch.ones(BANDS, sample.camera.height, W)).mean(), camera.open_light.mean(), rtol=0.1,
        atol=0,
    )  # fmt: skip


# -- pictures --------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_at_a_reduced_size(tmp_path, monkeypatch, camera, y):
    from PIL import Image

    monkeypatch.setattr(large_folder, "MOST_VOXELS", BANDS * H * W // 9)
    frame, method = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation()), network()
    method.card = calibrated_card(method, camera, y)
    run = decoded(frame, method, tmp_path / "out")
    assert large_folder.draw_large(run, tmp_path / "out") == 3
    with Image.open(tmp_path / "out" / "picture.png") as picture:
        assert picture.size == (math.ceil(W / 3), math.ceil(H / 3))
    for name in ("bands", "spectra", "overview", "classes", "doubt"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["pictures_average"] == 3
    for row, column in record["spectra_at_row_column"]:
        assert 0 <= row < H
        assert 0 <= column < W
    page = check_self_contained((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert (page.data["height"], page.data["width"], page.data["spectra"]["factor"]) == (H, W, 3)
    assert f"{BANDS} bands of {H}×{W} pixels" in " ".join(page.texts)
    whole = run.store.rows(0, H).cube
    np.testing.assert_allclose(
        cubes_in(page.data)["estimate"][:, 2, 4], whole[:, 6:9, 12:15].mean((1, 2)), atol=page.data["spectra"]["step"]
    )


def test_the_reduced_scene_is_the_mean_of_squares_and_the_class_in_their_middle(tmp_path, camera, y):
    frame = open_large(stored(tmp_path / "y.zarr", camera, y), Preparation())
    run = decoded(frame, network(), tmp_path / "out")
    shown = large_folder.reduced(run, 8)
    scene = shown.scene
    whole = run.store.rows(0, H)
    mean = whole.cube.reshape(BANDS, H // 8, 8, W // 8, 8).mean((2, 4))
    np.testing.assert_allclose(scene.cube, mean, rtol=1e-5)
    assert np.array_equal(scene.classes, whole.classes[4::8, 4::8])
    assert np.array_equal(shown.doubt.confidence, run.store.read("confidence", 0, H)[4::8, 4::8])
    masks = camera.mask.numpy().reshape(H // 8, 8, W // 8, 8).mean((1, 3))
    np.testing.assert_allclose(shown.camera.mask.numpy(), masks, rtol=1e-5)
