"""The expected error of a cube: where it is large, how large it is, and in which order its bands are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.evaluation.metrics import doubt_figures, doubt_histogram
from crsdun.methods import Before, RunOptions, run_method
from crsdun.methods.repeats import expected_error
from crsdun.optics import Exposure
from crsdun.solvers import GapTv
from tests.evaluation.scenes import PaintedSet

METHOD, OPTIONS = GapTv(iterations=30), RunOptions(repeats=3)


@pytest.fixture(scope="module")
def scene():
    return PaintedSet(1, 48, 64)[0]


def decoded(camera, cube):
    y = camera.forward(torch.from_numpy(np.ascontiguousarray(cube)))
    run = run_method(METHOD, y, camera, OPTIONS)
    return run, expected_error(run, METHOD, y, OPTIONS)


def test_large_errors_are_expected_where_they_are(scene):
    run, expected = decoded(Exposure().camera(scene), scene.cube)
    true = (run.estimate.cube[0] - torch.from_numpy(scene.cube)).abs()
    assert expected.shape == true.shape
    assert (expected >= 0).all()
    large = (true > true.quantile(0.9)).long().flatten(1)
    ranks = expected.flatten().argsort().argsort().view(large.shape) / expected.numel()
    assert doubt_figures(doubt_histogram(ranks, large, torch.zeros_like(large)))["doubt_auroc"] > 0.6
    ratio = expected.square().mean().sqrt() / true.square().mean().sqrt()
    assert 0.1 < ratio < 2
    assert torch.equal(decoded(Exposure().camera(scene), scene.cube)[1], expected)  # always the same pixels


def test_bands_are_in_the_order_of_the_estimate(scene):
    camera = Exposure().camera(scene)
    backwards = type(camera)(camera.mask, wavelengths=camera.wavelengths[::-1], offsets=camera.offsets)
    run, expected = decoded(backwards, scene.cube[::-1])
    assert backwards.wavelengths[0] > backwards.wavelengths[-1]
    assert run.wavelengths == run.camera.wavelengths == scene.wavelengths
    true = (run.estimate.cube[0] - torch.from_numpy(scene.cube)).square().mean((1, 2))
    assert float(true.mean()) < 0.05  # the estimate is that of the scene, blue first
    found = expected.square().mean((1, 2))
    assert float(torch.corrcoef(torch.stack([found, true]))[0, 1]) > 0


def test_the_frame_before_does_not_enter_the_error(scene):
    camera = Exposure().camera(scene)
    y = camera.forward(torch.from_numpy(scene.cube))
    run = run_method(METHOD, y, camera, OPTIONS)
    after = replace(OPTIONS, before=Before(scene.cube[:, ::-1].copy()))
    assert torch.equal(expected_error(run, METHOD, y, after), expected_error(run, METHOD, y, OPTIONS))


@pytest.mark.parametrize(("setting", "words"), [({"repeats": 1}, "2 repeats or more"), ({"coverage": 0}, "coverage")])
def test_settings_that_mean_nothing_are_refused(setting, words):
    with pytest.raises(InputError, match=words):
        RunOptions(**setting).check(METHOD)
