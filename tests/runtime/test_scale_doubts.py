"""Numbers of a measurement that cannot be right, or that the detector could not count."""

import re
from dataclasses import replace

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, decode, open_method, read_results, simulate, write_data
from crsdun.runtime.scale_doubts import DOUBTS
from crsdun.scenes import Measurement, Scene

H, W, C = 32, 30, 6
FULL = 4095


def scene() -> Scene:
    rows, columns = np.mgrid[:H, :W]
    return Scene(np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(C)]))


MASK = random_mask(H, W, seed=1)
Y = simulate(scene(), Exposure(MASK)).frame


def raw(dark: float = 200, noise: float = 5, light: float = 1) -> Measurement:
    """Counts of 12 bits."""
    counts = Y / C * FULL * light + dark + np.random.default_rng(2).normal(0, noise, Y.shape)
    return Measurement(np.clip(np.rint(counts), 0, FULL).astype(np.uint16))


def doubts(measurement: Measurement, **settings) -> list[str]:
    prepared = Preparation(mask=MASK, bands=C, **settings).prepare(measurement)
    return prepared.measurement.provenance.get(DOUBTS, [])


def test_what_is_on_the_scale_already_is_not_divided_again(tmp_path):
    simulated = simulate(scene(), Exposure(MASK))
    for settings in ({"bits": 12}, {"white": 3000.0}, {"white": np.full(Y.shape, 3000)}, {"exposure": 2.0}):
        with pytest.raises(InputError, match=f"crsdun simulated it; omit {next(iter(settings))}"):
            Preparation(**settings).prepare(simulated)
    counts = Preparation(mask=MASK, bands=C, bits=12, dark=200).prepare(raw())
    write_data(decode(counts, open_method("gap-tv", iterations=1)), tmp_path)
    with pytest.raises(InputError, match="its counts were divided before; omit bits"):
        Preparation(bits=12).prepare(read_results(tmp_path).measurement)
    without_dark = Preparation(mask=MASK, bands=C, dark=200).prepare(raw()).measurement  # still counts
    assert doubts(without_dark, bits=12) == []
    (told,) = doubts(Measurement(Y), bits=12)  # a file that says nothing of itself
    assert "probably on the scale of y = A x already" in told


def test_noise_below_0_counts_as_0_and_more_than_that_is_refused():
    def less(dark: float) -> Measurement:
        return Measurement(raw().frame.astype(np.float32) - np.float32(dark))

    prepared = Preparation(mask=MASK, bands=C).prepare(less(200.5))
    assert prepared.measurement.frame.min() == 0
    assert "of the pixels lie below 0, as noise does" in prepared.remarks()[0]
    (told,) = doubts(less(260))
    assert "lie below 0, by more than noise explains" in told
    with pytest.raises(
        InputError, match=r"negative values \(down to -1.*more than noise.*set dark to 0 to count these"
    ):
        Preparation(mask=MASK, bands=C).prepare(less(1200))
    assert Preparation(mask=MASK, bands=C, dark=0).prepare(less(1200)).measurement.frame.min() == 0


def test_a_dark_that_is_too_high_is_told_and_noise_around_a_right_one_is_not():
    for settings in ({"bits": 12}, {}):  # a dark alone is subtracted too
        for dark in (500.0, np.full(Y.shape, 500)):
            (told,) = doubts(raw(), dark=dark, **settings)
            assert "30% of the pixels lie below the dark" in told
            excess = re.search(r"about (\d+) counts too high", told)
            assert float(excess[1]) == pytest.approx(300, abs=3)
    for noise, light in ((5, 1), (40, 1), (5, 0.02)):  # in dim light the noise is a third of the mean
        assert doubts(raw(noise=noise, light=light), bits=12, dark=200.0) == []


def test_a_scene_brighter_than_white_is_told():
    (told,) = doubts(raw(dark=0), white=255.0)
    assert "where a white scene gives" in told
    assert doubts(raw(dark=0), white=FULL) == []


@pytest.mark.parametrize(
    ("factor", "settings"), [(1, {"bits": 12}), (16, {"bits": 16}), (16, {"white": 65520.0}), (1, {})]
)
def test_saturated_pixels_do_not_count(factor, settings):
    exposure = raw(dark=0, light=2)
    full = exposure.frame == FULL
    assert 0.01 < full.mean() < 0.5
    prepared = Preparation(mask=MASK, bands=C, **settings).prepare(Measurement(exposure.frame * np.uint16(factor)))
    (told,) = prepared.measurement.provenance[DOUBTS]
    assert told.startswith(f"{full.mean():.1%} of the pixels have {FULL * factor} counts")
    np.testing.assert_array_equal(prepared.camera.parts[-1].values.numpy() == 0, full)


def test_a_few_full_pixels_are_no_saturation():
    frame = raw(dark=0).frame
    frame[np.unravel_index(np.argmax(frame), frame.shape)] = FULL
    prepared = Preparation(mask=MASK, bands=C, bits=12).prepare(Measurement(frame))
    assert prepared.camera.parts == ()
    assert DOUBTS not in prepared.measurement.provenance
    assert Preparation(mask=MASK, bands=C, bits=12, saturated=4000.0).prepare(Measurement(frame)).camera.parts


@pytest.mark.parametrize("closed", [0.0, 0.015])
def test_hot_pixels_are_found_told_and_left_out(closed):
    """Where the mask is nearly closed, one alone made a cube 300 times as bright, which was said to fit."""
    mask = np.where(MASK > 0, 0.9, closed).astype(np.float32)
    told, truth = Preparation(mask=mask, bands=C), scene()
    clean = simulate(truth, Exposure(mask)).frame
    frame = clean.copy()
    at = ((0, 12, 13, 31, 20), (0, 17, 17, 39, 30))  # two side by side
    frame[at] = 3 * clean.max()
    exact, prepared = told.prepare(Measurement(clean), truth), told.prepare(Measurement(frame), truth)
    assert not exact.hot.any()
    assert exact.camera.parts == ()
    np.testing.assert_array_equal(np.nonzero(prepared.hot), np.array(sorted(zip(*at, strict=True))).T)
    (line,) = prepared.measurement.provenance[DOUBTS]
    assert line.startswith("5 pixels read more than twice what the mask and the pixels around allow")
    for method in ("lr-tv", "gap-tv"):
        first, second = (decode(each, open_method(method, iterations=30)).metrics for each in (exact, prepared))
        assert second["psnr_db"] > first["psnr_db"] - 0.5
        assert second["data_residual"] < first["data_residual"] + 0.01


def test_bright_points_of_a_scene_are_not_hot():
    cube = scene().cube * 0.1
    cube[:, 16, 15] = 20  # of all bands
    cube[2, 8, 9:11] = 5  # of one, as wide as optics make it
    assert not Preparation(mask=MASK, bands=C).prepare(simulate(Scene(cube), Exposure(MASK))).hot.any()


@pytest.mark.parametrize("sparse", ["mask", "scene", "laser"])
@pytest.mark.parametrize(("bands", "step"), [(1, 2), (2, 2), (4, 5), (6, 2), (28, 5), (3, 20)])
def test_light_that_is_sparse_is_not_hot(sparse, bands, step):
    rng = np.random.default_rng(4)
    points = np.zeros((1, 64, 60), np.float32)
    points[0, rng.integers(0, 64, 20), rng.integers(0, 60, 20)] = 1
    mask = (rng.random((64, 60)) < (0.01 if sparse == "mask" else 0.5)).astype(np.float32)
    cube = np.ones((bands, 64, 60), np.float32) if sparse == "mask" else np.repeat(points, bands, 0)
    if sparse == "laser":
        cube[np.arange(bands) != bands // 2] = 0
    exposure = simulate(Scene(cube), Exposure(mask, step=step))
    for rows in (exposure, replace(exposure, frame=exposure.frame * 1000)):
        hot = Preparation(mask=mask, bands=bands, step=step).prepare(rows).hot
        assert hot is None or hot.sum() <= 2


def test_noise_of_a_dark_half_is_not_hot():
    rng = np.random.default_rng(5)
    cube = np.full((C, 200, 200), 0.5, np.float32)
    cube[:, 100:] = 0
    mask = random_mask(200, 200)
    exposure = simulate(Scene(cube), Exposure(mask))
    for noise in (0.05, 0.2):
        frame = np.maximum(exposure.frame + rng.normal(0, noise * exposure.frame.mean(), exposure.frame.shape), 0)
        hot = Preparation(mask=mask, bands=C).prepare(Measurement(frame.astype(np.float32))).hot
        assert hot.sum() <= 1


def test_leaving_saturated_pixels_out_gives_the_better_cube():
    truth = scene()

    def psnr(**settings):
        exposure = raw(dark=0, light=2)
        prepared = Preparation(mask=MASK, bands=C, bits=12, exposure=2.0, **settings).prepare(exposure, truth)
        return decode(prepared, open_method("lr-tv", iterations=30)).metrics["psnr_db"]

    assert psnr() > psnr(saturated=1e9) + 1
