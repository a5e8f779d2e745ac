"""Voxels without data travel from the file to the picture: they send no light, count nowhere and are drawn grey."""

import base64
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import crsdun
from crsdun import cli
from crsdun.errors import InputError
from crsdun.evaluation import PROTOCOLS, cube_metrics, evaluate
from crsdun.evaluation.tables import caption, read_evaluation, write_tables
from crsdun.optics import Estimate, Exposure
from crsdun.runtime import Preparation, decode, open_method, simulate
from crsdun.scenes import UNLABELLED, Scene, open_set, read_measurement, read_scene, write_measurement, write_scene
from crsdun.scenes.augmentation import flipped, mosaic, turned
from crsdun.training import IGNORED, RunObserver, joint_loss, train
from crsdun.training.batches import Batches, exposure_for
from crsdun.training.losses import CubeErrors, LossConfig, Targets, root, stage_losses
from crsdun.typed import finite
from crsdun.viewing import band_sheet, comparison, select_pixels
from crsdun.viewing.app.jobs import simulate as simulate_camera
from crsdun.viewing.app.open_scene import TRUTH
from crsdun.viewing.app.pictures import render
from crsdun.viewing.app.requests import PictureRequest, SimulatedCamera, SpectraRequest
from crsdun.viewing.app.spectra import spectra_at
from crsdun.viewing.colour import NO_DATA, cube_to_srgb, false_colour, picture
from crsdun.viewing.display import band_picture, error_map, upper_limit
from crsdun.viewing.regions import Region
from crsdun.viewing.result_folder import write_results
from tests.evaluation.scenes import PaintedSet
from tests.evaluation.test_protocols import ssim_by_hand
from tests.training.small import SmallSet, small_config
from tests.viewing.reports import Page

WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0)
CUBE = np.random.default_rng(0).uniform(0.1, 0.9, (5, 24, 30)).astype(np.float32)
generator = torch.Generator().manual_seed(0)


def with_hole(cube=CUBE):
    """The cube without data in the last 10 columns of all bands, and in a few more voxels of single bands."""
    holed = cube.copy()
    holed[:, :, 20:] = np.nan
    holed[1, 3:5, 7] = np.nan
    return holed


# -- the scene -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5", ".tif", ".hdr", ".npy"])
def test_a_scene_comes_back_from_its_file_as_it_was(tmp_path, suffix):
    scene = Scene(with_hole())
    assert scene.missing == 5 * 24 * 10 + 2
    write_scene(scene, tmp_path / f"scene{suffix}")
    back = read_scene(tmp_path / f"scene{suffix}")
    np.testing.assert_array_equal(back.cube, scene.cube)
    np.testing.assert_array_equal(back.valid, scene.valid)


def test_a_whole_scene_has_no_map():
    assert Scene(CUBE).valid is None
    assert Scene(CUBE).missing == 0


def test_too_little_is_refused(tmp_path):
    few = CUBE.copy()
    few[:, :, 14:] = np.nan
    np.save(tmp_path / "few.npy", np.moveaxis(few, 0, -1))
    with pytest.raises(InputError, match="53% of 'few' holds no data; crop it"):
        read_scene(tmp_path / "few.npy")
    band = CUBE.copy()
    band[1] = np.nan
    np.save(tmp_path / "band.npy", np.moveaxis(band, 0, -1))
    with pytest.raises(InputError, match="in 'band' the band at 500 nm holds no data anywhere; take such bands out"):
        read_scene(tmp_path / "band.npy", wavelengths=WAVELENGTHS)
    band[3] = np.nan
    with pytest.raises(InputError, match="band 2 and 1 more holds no data"):
        Scene(band).check_data()


def test_a_pixel_without_any_data_has_no_class():
    scene = Scene(with_hole(), classes=np.ones((24, 30), np.uint8))
    assert (scene.classes[:, 20:] == UNLABELLED).all()
    assert (scene.classes[:, :20] == 1).all()  # also where one band is missing


def test_crops_turns_and_mosaics_keep_it():
    scene = Scene(with_hole(), classes=np.ones((24, 30), int))
    part = scene.cropped(2, 6, 4, 15)
    np.testing.assert_array_equal(part.valid, scene.valid[:, 2:6, 6:21])
    np.testing.assert_array_equal(flipped(scene, -1).valid, scene.valid[..., ::-1])
    np.testing.assert_array_equal(turned(scene, 1).valid, np.rot90(scene.valid, axes=(-2, -1)))
    empty = scene.cropped(0, 25, 4, 5)  # of nothing else, as a crop of a training may be
    assert empty.missing == empty.cube.size
    joined = mosaic([part, empty, part, empty])
    assert joined.missing == 2 * (part.missing + empty.missing)


def test_resampling_needs_only_the_bands_it_weighs():
    cube = CUBE.copy()
    cube[1, 0, 0] = np.nan
    scene = Scene(cube, wavelengths=WAVELENGTHS)
    between = scene.resampled((450.0, 475.0, 500.0, 550.0, 575.0))
    assert np.isnan(between.cube[:, 0, 0]).tolist() == [False, True, True, False, False]
    expected = Scene(CUBE, wavelengths=WAVELENGTHS).resampled(between.wavelengths).cube
    np.testing.assert_array_equal(between.cube[between.valid], expected[between.valid])


# -- the exposure ----------------------------------------------------------------------------------------------


def test_what_has_no_data_sends_no_light_and_its_place_on_the_detector_is_known():
    cube = CUBE.copy()
    cube[2, 5, 7] = np.nan
    mask = np.ones((24, 30), np.float32)
    mask[8, 9] = 0
    cube[:, 8, 9] = np.nan  # behind a closed element, from where no light would have come
    measurement = simulate(Scene(cube), Exposure(mask, step=2))
    dark = np.nan_to_num(cube)
    np.testing.assert_array_equal(measurement.frame, simulate(Scene(dark), Exposure(mask, step=2)).frame)
    assert np.argwhere(~measurement.valid).tolist() == [[5, 7 + 2 * 2]]
    assert measurement.incomplete == 1
    half = simulate(Scene(cube), Exposure(mask, step=0.5))  # between two pixels
    assert np.argwhere(~half.valid).tolist() == [[5, 8]]
    half = simulate(Scene(cube), Exposure(mask, step=0.25))
    assert np.argwhere(~half.valid).tolist() == [[5, 7], [5, 8]]
    assert simulate(Scene(CUBE), Exposure()).valid is None


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5", ".tif"])
def test_the_map_travels_with_the_measurement(tmp_path, suffix):
    measurement = simulate(Scene(with_hole(), wavelengths=WAVELENGTHS), Exposure())
    write_measurement(measurement, tmp_path / f"y{suffix}")
    back = read_measurement(tmp_path / f"y{suffix}")
    np.testing.assert_array_equal(back.valid, measurement.valid)
    np.testing.assert_array_equal(back.mask, measurement.mask)
    np.testing.assert_array_equal(back.frame, measurement.frame)


def test_axes_of_length_1_do_not_hide_the_map(tmp_path):
    valid, mask = np.arange(24).reshape(1, 4, 6) % 5 > 0, np.ones((4, 4, 1))
    np.savez(tmp_path / "y.npz", y=np.ones((4, 6)), valid=valid, mask=mask)
    measurement = read_measurement(tmp_path / "y.npz")
    np.testing.assert_array_equal(measurement.valid, valid[0])
    np.testing.assert_array_equal(measurement.mask, mask[..., 0])


def test_a_map_of_another_size_is_not_one(tmp_path):
    np.savez(tmp_path / "y.npz", y=np.ones((4, 6)), valid=np.ones((4, 4)))
    assert read_measurement(tmp_path / "y.npz").valid is None
    with pytest.raises(InputError, match="valid pixels of 'measurement' has shape"):
        replace(read_measurement(tmp_path / "y.npz"), valid=np.ones((4, 4), bool), name="measurement")


# -- metrics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_are_those_of_the_part_that_holds_data(protocol):
    truth = torch.from_numpy(CUBE.copy())
    estimate = truth + torch.linspace(0.01, 0.2, 5).view(5, 1, 1) * torch.randn(truth.shape, generator=generator)
    expected = cube_metrics(estimate[..., :20], truth[..., :20], protocol)
    truth[..., 20:] = math.nan
    found = cube_metrics(estimate, truth, protocol)
    for name in ("psnr_db", "sam_deg", "rmse"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    border = "constant" if PROTOCOLS[protocol].zero_border else "reflect"
    everywhere = [ssim_by_hand(a, b, border) for a, b in zip(estimate, torch.from_numpy(CUBE), strict=True)]
    untouched = torch.stack(everywhere)[..., :15]  # of 11 pixels, whose last column is at most the 20th
    assert found["ssim"] == pytest.approx(float(untouched.mean()), abs=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bands_have_holes_of_their_own(protocol):
    truth = torch.from_numpy(CUBE.copy())
    errors = torch.tensor([0.1, 0.01, 0.1, 0.1, 0.1]).view(5, 1, 1)
    estimate = truth + errors
    truth[1, :12] = math.nan
    found = cube_metrics(estimate, truth, protocol)
    mse = [0.01, 0.0001, 0.01, 0.01, 0.01]
    if protocol == "crsdun":
        weights = [24, 12, 24, 24, 24]
        pooled = sum(w * m for w, m in zip(weights, mse, strict=True)) / sum(weights)
        assert found["psnr_db"] == pytest.approx(-10 * math.log10(pooled), abs=1e-3)
    elif protocol == "float":
        assert found["psnr_db"] == pytest.approx((4 * 20 + 40) / 5, abs=1e-2)
    expected = cube_metrics(estimate[:, 12:], truth[:, 12:], protocol)
    assert found["sam_deg"] == pytest.approx(expected["sam_deg"], rel=1e-5)  # pixels with data in every band
    truth[1] = math.nan
    others = [0, 2, 3, 4]
    for name in ("psnr_db", "ssim", "rmse"):
        left = cube_metrics(estimate[others], truth[others], protocol)[name]
        assert cube_metrics(estimate, truth, protocol)[name] == pytest.approx(left, rel=1e-5)
    assert cube_metrics(estimate, truth, protocol)["sam_deg"] is None


def test_figures_that_nothing_is_left_for():
    truth = torch.from_numpy(CUBE.copy())
    truth[:, 3::8, :] = math.nan  # every window of 11 rows touches one
    assert cube_metrics(torch.from_numpy(CUBE), truth)["ssim"] is None
    with pytest.raises(InputError, match="the truth holds no data"):
        cube_metrics(torch.from_numpy(CUBE), truth * math.nan)


class HoledSet(PaintedSet):
    """The painted scenes, the second with a strip of pixels without data."""

    def whole(self, index):
        scene = super().whole(index)
        if index != 1:
            return scene
        cube = scene.cube.copy()
        cube[:, :, 30:34] = np.nan
        return replace(scene, cube=cube)


def test_an_evaluation_leaves_it_out_and_counts_it(tmp_path):
    torch.manual_seed(0)
    network = crsdun.create("crsdun_1stg", bands=8, classes=5, width=8)
    found, whole = evaluate(network, HoledSet()), evaluate(network, PaintedSet())
    assert found.missing == found.scenes[1]["voxels_without_data"] == 8 * 32 * 4
    assert "voxels_without_data" not in found.scenes[0]
    assert "3 scenes of painted test (1024 voxels without data left out)," in caption(found)
    assert "without data" not in caption(whole)
    assert found.scenes[0]["psnr_db"] == whole.scenes[0]["psnr_db"]
    assert np.sum(found.confusion) == np.sum(whole.confusion) - 32 * 4
    assert all(math.isfinite(found.figures[name]) for name in ("psnr_db", "ssim", "sam_deg", "miou"))
    write_tables(found, tmp_path)
    assert read_evaluation(tmp_path).missing == 1024


# -- training --------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_part_that_holds_data():
    cubes = [torch.rand(2, 3, 4, 6, generator=generator, requires_grad=True) for _ in range(2)]
    logits = [torch.randn(2, 5, 4, 6, generator=generator) for _ in range(2)]
    truth, classes = torch.rand(2, 3, 4, 6, generator=generator), torch.zeros(2, 4, 6, dtype=torch.int64)
    holed = truth.clone()
    holed[..., 4:], classes[..., 4:] = math.nan, IGNORED
    for loss in (LossConfig(), LossConfig(cube="rmse")):
        part = Estimate([x[..., :4] for x in cubes], [theta[..., :4] for theta in logits])
        expected = joint_loss(part, truth[..., :4], classes[..., :4], loss)
        torch.testing.assert_close(joint_loss(Estimate(cubes, logits), holed, classes, loss), expected)
    gradients = torch.autograd.grad(joint_loss(Estimate(cubes, logits), holed, classes), cubes)
    assert all((gradient[..., 4:] == 0).all() and gradient[..., :4].any() for gradient in gradients)


def test_shares_of_a_batch_add_up_where_one_of_them_lacks_data():
    x, truth = torch.rand(2, 3, 4, 5, generator=generator), torch.rand(2, 3, 4, 5, generator=generator)
    classes = torch.zeros(2, 4, 5, dtype=torch.int64)
    truth[0, :, 1:] = math.nan
    whole, _ = stage_losses(Estimate([x]), Targets.alone(truth, classes))
    missing, labelled = int(truth.isnan().sum()), torch.tensor(classes.numel())
    parts = [
        stage_losses(Estimate([x[[i]]]), Targets(truth[[i]], classes[[i]], labelled, missing, share=0.5))[0]
        for i in range(2)
    ]
    torch.testing.assert_close(parts[0] + parts[1], whole)
    known = ~truth.isnan()
    torch.testing.assert_close(whole, (x - truth)[known].square().mean()[None])


def test_a_batch_without_any_data_teaches_nothing_and_breaks_nothing():
    x = torch.rand(1, 3, 4, 5, requires_grad=True)
    targets = Targets.alone(torch.full((1, 3, 4, 5), math.nan), torch.full((1, 4, 5), IGNORED))
    mse, _ = stage_losses(Estimate([x]), targets)
    for loss in (mse.sum(), root(CubeErrors(*targets.compared([x]), mse, mse)).sum()):
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert not gradient.any()


class HoledSmallSet(SmallSet):
    """The small scenes without data in their right half."""

    def __init__(self, split, **sizes):
        super().__init__(split, **sizes)
        for index, scene in enumerate(self.scenes):
            cube = scene.cube.copy()
            cube[:, 10:20, scene.cube.shape[2] // 2 :] = np.nan
            self.scenes[index] = replace(scene, cube=cube)


def test_batches_carry_it():
    sets = HoledSmallSet("train"), HoledSmallSet("validation", scenes=2)
    config = small_config("unused")
    batch = Batches(sets[0], exposure_for(config.camera, sets), config, range(2)).batch(0)
    assert batch.cube.isnan().any()
    assert batch.measurement.isfinite().all()
    assert (batch.classes[batch.cube.isnan().all(1)] == IGNORED).all()


@pytest.mark.parametrize("network", ["crsdun_1stg", "mstpp+seg"])
def test_a_training_goes_through_and_says_so_once(tmp_path, network):
    sets = HoledSmallSet("train"), HoledSmallSet("validation", scenes=2)
    lines = []
    sections = {"network": {"name": network, "settings": {"width": 4} if network == "crsdun_1stg" else {}}}
    if network != "crsdun_1stg":
        sections |= {"two_stage": {"order": "clean"}, "validation": {"criterion": "miou"}}
    config = small_config(tmp_path / "run", **sections)
    result = train(config, sets, RunObserver(notify=lines.append))
    assert result.step == config.steps
    assert all(math.isfinite(value) for value in result.figures.values() if value is not None)
    assert sum("hold no data; losses and metrics leave such voxels out" in line for line in lines) == 1


# -- pictures --------------------------------------------------------------------------------------------------


def test_pictures_are_grey_there_and_unchanged_elsewhere():
    holed = with_hole()
    missing = np.isnan(holed).any(0)
    filled = np.where(np.isnan(holed), 0.5, holed)
    true = cube_to_srgb(holed, WAVELENGTHS, exposure=1.0)
    assert (true[missing] == NO_DATA).all()
    np.testing.assert_array_equal(true[~missing], cube_to_srgb(filled, WAVELENGTHS, exposure=1.0)[~missing])
    false = false_colour(holed, (4, 2, 0), like=CUBE)
    assert (false[:, 20:] == NO_DATA).all()
    assert not (false[3:5, 7] == NO_DATA).all()  # only another band is missing there
    np.testing.assert_array_equal(false[:, :20], false_colour(CUBE, (4, 2, 0))[:, :20])
    band = band_picture(holed[1], 1.0, tint=np.array((1, 0.5, 0)))
    assert (band[missing] == NO_DATA).all()
    assert picture(Scene(np.full((5, 4, 4), np.nan), WAVELENGTHS))[0].tolist() == [[[NO_DATA] * 3] * 4] * 4


def test_errors_are_over_the_bands_that_hold_data():
    holed = with_hole()
    error = error_map(CUBE + np.float32(0.1), holed)
    assert np.isnan(error[:, 20:]).all()
    np.testing.assert_allclose(error[:, :20], 0.1, rtol=1e-4)
    assert upper_limit(error) == pytest.approx(0.1, rel=1e-4)


def test_points_are_chosen_where_there_is_data():
    rows, columns = np.transpose(select_pixels(with_hole(), 6))
    assert not np.isnan(with_hole()[:, rows, columns]).any()
    assert columns.max() < 18  # no part of its surroundings is missing


def test_sheets_are_drawn(tmp_path):
    band_sheet(with_hole(), WAVELENGTHS, tmp_path / "bands.png")
    comparison([("error", error_map(CUBE + 0.1, with_hole()))], tmp_path / "error.png")
    pixels = np.asarray(Image.open(tmp_path / "error.png").convert("RGB"))
    assert (pixels == NO_DATA).all(-1).mean() > 0.1


def test_the_explorer_shows_it():
    scene = simulate_camera(Scene(with_hole(), WAVELENGTHS), SimulatedCamera())
    assert scene.notes == ["1202 voxels hold no data: they are grey, send no light in a simulation and count nowhere"]
    for mode, bands in (("colour", ()), ("false", (4, 2, 0)), ("band", (1,))):
        rendered = render(scene, PictureRequest(TRUTH, None, mode, bands))
        pixels = np.asarray(Image.open(io.BytesIO(rendered.png())).convert("RGB"))
        assert (pixels[:, 20:] == NO_DATA).all(), mode
        assert not (pixels[:, :20] == NO_DATA).all(-1).all(), mode
    mean = spectra_at(scene, SpectraRequest((Region("a", 3, 7),), None))[0][TRUTH].mean
    assert [math.isnan(value) for value in mean] == [False, True, False, False, False]
    assert finite(mean)[1] is None  # in the answer


# -- from the file to the report -------------------------------------------------------------------------------


def write_envi(folder, cube):
    np.where(np.isnan(cube), -9999, cube).astype(np.float32).tofile(folder / "scene.img")
    bands, lines, samples = cube.shape
    nm = ", ".join(map(str, WAVELENGTHS))
    (folder / "scene.hdr").write_text(
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\ndata type = 4\ninterleave = bsq\n"
        f"data ignore value = -9999\nwavelength = {{{nm}}}\nwavelength units = Nanometers\n"
    )
    return str(folder / "scene.hdr")


def test_from_the_file_to_the_report(tmp_path, capsys):
    scene, y, out = write_envi(tmp_path, with_hole()), str(tmp_path / "y.npz"), tmp_path / "out"
    assert cli.main(["simulate", scene, "--out", y]) == 0
    line = capsys.readouterr().out
    assert "1202 of 3600 voxels hold no data and send no light, which" in line
    assert cli.main(["simulate", scene, "--out", y, "--json", "--overwrite"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["voxels_without_data"] == 1202
    assert values["incomplete_pixels"] == read_measurement(y).incomplete > 0

    command = ["reconstruct", y, "--method", "gap-tv", "--iterations", "5", "--truth", scene, "--out", str(out)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "; 1202 voxels of the truth hold no data and count nowhere" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["voxels_without_data"] == 1202
    expected = cube_metrics(torch.from_numpy(read_scene(out / "cube.npz").cube), torch.from_numpy(with_hole()))
    assert metrics["psnr_db"] == pytest.approx(expected["psnr_db"], rel=1e-5)
    assert read_measurement(out / "measurement.npz").incomplete == values["incomplete_pixels"]
    page = (out / "report.html").read_text()
    assert "1202 voxels of the truth hold no data: they are grey" in page
    assert f"; {values['incomplete_pixels']} pixels lack light of voxels without data" in page
    spectra = Page(page).data["spectra"]
    steps = np.frombuffer(base64.b64decode(spectra["truth"]), "<u2").reshape(24, 30, 5).transpose(2, 0, 1)
    np.testing.assert_array_equal(steps == spectra["none"], np.isnan(with_hole()))
    known = ~np.isnan(with_hole())
    shown = spectra["low"] + spectra["step"] * steps[known]
    np.testing.assert_allclose(shown, with_hole()[known], atol=spectra["step"])
    assert crsdun.runtime.read_results(out).truth.missing == 1202


def test_a_folder_of_cubes(tmp_path, capsys):
    for name in "abcd":
        write_envi(tmp_path, with_hole())
        for suffix in (".hdr", ".img"):
            (tmp_path / f"scene{suffix}").rename(tmp_path / f"{name}{suffix}")
    (tmp_path / "d.yaml").write_text("cubes: '{name}.hdr'\nsplits: {test: ['*']}")
    scene = open_set(tmp_path / "d.yaml", "test")[2]
    np.testing.assert_array_equal(scene.cube, with_hole())
    assert cli.main(["data", "check", str(tmp_path / "d.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "4808" in next(line for line in printed.splitlines() if "without data" in line)
    assert "note: 4808 of 14400 values hold no data, in a and 3 other scenes; " in printed
    np.full_like(CUBE, -9999).tofile(tmp_path / "b.img")
    assert cli.main(["data", "check", str(tmp_path / "d.yaml")]) == 1
    assert "b.hdr: 100% of 'b' holds no data; crop it" in capsys.readouterr().out
    with pytest.raises(InputError, match="100% of 'b' holds no data"):
        open_set(tmp_path / "d.yaml", "test")[1]


def test_results_of_a_method_in_python(tmp_path):
    scene = Scene(with_hole(), WAVELENGTHS, name="holed")
    result = decode(Preparation().prepare(simulate(scene, Exposure()), scene), open_method("gap-tv", iterations=3))
    assert result.metrics["voxels_without_data"] == 1202
    write_results(result, tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / "overview.png").convert("RGB"))
    assert (pixels == NO_DATA).all(-1).any()
