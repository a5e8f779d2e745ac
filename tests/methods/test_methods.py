"""Every kind of method takes one examination; and what only the run decides."""

from dataclasses import dataclass, replace

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.methods import RunOptions, run_method
from crsdun.methods.run_by_rows import run_by_rows
from crsdun.methods.tiles import Tiles
from crsdun.networks import join
from crsdun.networks.checkpoint import WeightsHeader
from crsdun.optics import CassiCamera, Estimate, ModelCard
from crsdun.runtime import Engine, list_methods, open_method
from crsdun.solvers import Solver
from tests.methods.examination import BANDS, CLASSES, WAVELENGTHS, MethodExamination


class NetworkByName(MethodExamination):
    settings: dict = {}

    def method(self):
        return crsdun.create(self.name, bands=BANDS, classes=CLASSES, **self.settings)


class TestCrsdun(NetworkByName):
    name, settings = "crsdun_2stg", {"width": 4}
    class_count, stage_count = CLASSES, 2


class TestAlignedCrsdun(NetworkByName):
    """One that looks for its mask, and at how much it leaves unexplained, as the shipped weights do."""

    name, settings = "crsdun_2stg", {"width": 4, "align": True, "noise_aware": True, "own_scale": True}
    class_count, stage_count, needs_scale = CLASSES, 2, False


class TestMstpp(NetworkByName):
    name, settings = "mstpp", {"bodies": 1}


class TestSsr(NetworkByName):
    name, stage_count = "ssr_2stg", 2


class TestRcump(NetworkByName):
    name, settings, stage_count = "rcump_2stg", {"width": 4}, 2


class TestSegmenter(NetworkByName):
    name, settings, class_count = "seg_2stg", {"width": 4}, CLASSES


class TestTwoStages(NetworkByName):
    name, settings = "ssr_2stg+seg", {"segmenter": {"stages": 1}}
    class_count, stage_count = CLASSES, 2


class TestSolverAndSegmenter(NetworkByName):
    name, settings = "gap_tv+seg", {"reconstruction": {"iterations": 3}, "segmenter": {"stages": 1}}
    class_count, tileable = CLASSES, False


class TestLoaded(MethodExamination):
    """Weights from a file, with a card."""

    name, class_count = "mine.safetensors", CLASSES

    @pytest.fixture
    def opened(self, tmp_path):
        path = tmp_path / self.name
        network = crsdun.create("crsdun_1stg", bands=BANDS, classes=CLASSES, width=4)
        crsdun.save(network, path, wavelengths=WAVELENGTHS, class_names=("soil", "leaf", "fruit"), step=2)
        return open_method(path)

    def test_other_cameras_are_refused(self, opened):
        for camera, message in [
            (self.camera(step=1), "for a dispersion of 2 pixels per band, not 1; use weights"),
            (self.camera(offsets=(0, 1, 4, 5)), "for a dispersion of 2 pixels per band, not uneven offsets"),
            (
                self.camera(offsets=[(c, 2 * c) for c in range(4)]),
                "2 pixels per band, not offsets that also run down",
            ),
            (self.camera(wavelengths=(450, 500, 550, 610)), "up to 10 nm apart"),
            (self.camera(wavelengths=WAVELENGTHS[::-1]), "not -2, with its bands by ascending wavelength; use"),
            (CassiCamera(torch.ones(24, 20), bands=5), "for 4 bands but the camera has 5"),
        ]:
            with pytest.raises(InputError, match=message):
                opened.fit(camera)

    def test_weights_for_many_cameras_take_those_within_their_ranges(self, opened):
        opened.card = replace(opened.card, steps=((1, 3), (-2, -1)), grids=(440, 650))
        known = self.camera(wavelengths=(445, 500, 580, 650))
        assert opened.fit(known) is known
        red_first = self.camera(wavelengths=(650, 580, 500, 445))
        assert opened.fit(red_first) is red_first
        assert opened.fit(self.camera()).wavelengths == WAVELENGTHS
        for dispersion in ({"step": 1}, {"step": 2.5}, {"step": -1.5}, {"offsets": (0, 2, 5, 9)}):
            assert opened.fit(self.camera(**dispersion)).wavelengths == WAVELENGTHS
        learnt = "for a dispersion of 1 to 3 or -2 to -1 pixels per band"
        for camera, message in [
            (self.camera(step=0.5), f"{learnt}, not 0.5; use weights"),
            (self.camera(step=-3), f"{learnt}, not -3"),
            (self.camera(offsets=[(c, 2 * c) for c in range(4)]), f"{learnt}, not offsets that also run down; use"),
            (self.camera(offsets=(0, 4, 0, 4)), f"{learnt}, not uneven offsets; use"),
            (self.camera(wavelengths=(650, 580, 500, 445), step=3), f"{learnt}, not -3, with its bands by ascending"),
            (self.camera(offsets=(0, 4, 8, 13)), f"{learnt}, not uneven offsets with a mean of 4.33"),
            (self.camera(wavelengths=(445, 500, 580, 660)), "any bands from 440 to 650 nm, but .* one at 660 nm"),
            (self.camera(wavelengths=(430, 500, 580, 650)), "one at 430 nm"),
            (CassiCamera(torch.ones(24, 20), bands=5), "for 4 bands but the camera has 5"),
        ]:
            with pytest.raises(InputError, match=message):
                opened.fit(camera)
        opened.card = replace(opened.card, grids=(500, 650))  # its data begin below where other grids were drawn
        assert opened.fit(self.camera(wavelengths=WAVELENGTHS)).wavelengths == WAVELENGTHS
        opened.card = replace(opened.card, grids=None)  # learnt on one grid alone
        with pytest.raises(InputError, match="nm apart"):
            opened.fit(self.camera(wavelengths=(445, 500, 580, 650), step=1))


class SolverByName(MethodExamination):
    tileable = needs_scale = False

    def method(self):
        return open_method(self.name, iterations=3)


class TestGapTv(SolverByName):
    name = "gap-tv"


class TestAdmmTv(SolverByName):
    name = "admm-tv"


class TestDeepPrior(SolverByName):
    """Which learns, although it is run where nothing can learn."""

    name = "deep-prior"


class TestEngine(MethodExamination):
    """What another library would compute, here by a function."""

    name, class_count, smallest, takes_optics = "engine", CLASSES, 33, False

    def method(self):
        network = crsdun.create("crsdun_2stg", bands=BANDS, classes=CLASSES, width=4)
        exported = {"step": 2, "offsets": [0, 2, 4, 6], "smallest": 33}

        def run(frame, mask):
            rows, columns = mask.shape
            guess = CassiCamera(mask, bands=BANDS).initial_estimate(torch.from_numpy(frame))
            return [guess.numpy(), torch.zeros(1, CLASSES, rows, columns).numpy()]

        return Engine("function", WeightsHeader.of(network, export=exported), run)


@dataclass(frozen=True)
class Twice(Solver):
    """A method of one's own: inherits, and defines one function."""

    factor: float = 2.0

    def __call__(self, measurement, camera, progress=None):
        if progress is not None:
            progress(1, 1)
        return Estimate([self.factor * camera.initial_estimate(measurement)])


class TestOnesOwn(MethodExamination):
    name, tileable, needs_scale = "solver", False, False

    def method(self):
        return Twice(0.5)


def test_every_listed_solver_and_weights_file_can_be_opened():
    names = [name for name in list_methods() if "{K}" not in name]
    assert {"crsdun_tiny", "gap-tv", "admm-tv", "mstpp"} <= set(names)
    assert open_method("admm-tv", iterations=2).settings["iterations"] == 2
    assert open_method("crsdun_tiny").card.step == 2
    for name, settings, message in [
        ("gap-tv", {"engine": "onnxruntime"}, "an engine computes a network; set weights, or omit engine"),
        ("crsdun_tiny", {"iterations": 3}, "iterations is a setting of the training-free methods"),
        ("gap-tv", {"depth": 3}, "gap-tv has no setting 'depth'"),
    ]:
        with pytest.raises(InputError, match=message):
            open_method(name, **settings)


def test_an_estimate_that_is_not_finite_is_refused_unless_it_is_asked_for():
    camera = CassiCamera(torch.ones(8, 9), bands=BANDS)
    y = camera.forward(torch.ones(BANDS, 8, 9))
    method = Twice(float("inf"))
    with pytest.raises(InputError, match=r"solver ended in values that are not finite; bring the measurement to the"):
        run_method(method, y, camera)
    run = run_method(method, y, camera, RunOptions(allow_nonfinite=True))
    assert torch.isinf(run.estimate.cube).all()
    assert (run.scene("broken", ModelCard()).cube == 0).all()


def test_a_class_map_that_is_not_finite_is_refused_whole_and_by_rows(monkeypatch):
    camera = CassiCamera(torch.ones(32, 33), bands=BANDS)
    y = camera.forward(torch.ones(BANDS, 32, 33))
    network = crsdun.create("crsdun_1stg", bands=BANDS, classes=CLASSES, width=4)
    sound = network.forward

    def diverged(*arguments):
        estimate = sound(*arguments)
        return replace(estimate, logits=[torch.full_like(each, float("nan")) for each in estimate.logits])

    monkeypatch.setattr(network, "forward", diverged)
    with pytest.raises(InputError, match="ended in values that are not finite"):
        run_method(network, y, camera)
    with pytest.raises(InputError, match="ended in values that are not finite"):
        next(run_by_rows(network, lambda *_: (y, camera), 32, Tiles(32), RunOptions()))


def test_a_joined_system_is_named_after_its_parts():
    segmenter = crsdun.create("seg_1stg", bands=BANDS, classes=CLASSES)
    assert join(Twice(), segmenter).name == "solver+seg"
    assert join(crsdun.create("mstpp", bands=BANDS), segmenter).name == "mstpp+seg"
