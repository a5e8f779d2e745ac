"""Whole splits: what is measured, what is summed, what is refused."""

import json
import re
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
import torch
import torch.multiprocessing

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import EvaluationOptions, evaluate, evaluate_scene
from crsdun.evaluation.metrics import class_figures, confusion_matrix, cube_metrics
from crsdun.evaluation.score import Score
from crsdun.optics import Estimate, Exposure, ModelCard, SensorNoise
from crsdun.solvers import GapTv, LrTv, Solver
from tests.evaluation.scenes import NAMES, WAVELENGTHS, PaintedSet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return crsdun.create("crsdun_2stg", bands=8, classes=5, width=8)


@pytest.fixture(scope="module")
def evaluation(network):
    return evaluate(network, PaintedSet())


def test_a_row_has_what_the_solver_found_on_pixels_held_out():
    scenes, exposure = PaintedSet(2), Exposure(noise=SensorNoise(read_sigma=0.1))
    solver = LrTv(iterations=60)
    rows = evaluate(solver, scenes, exposure).scenes
    for index, row in enumerate(rows):
        (fit,) = evaluate_scene(solver, scenes, index, exposure).run.estimate.fits
        assert (row["held_out"], row["noise"]) == (fit.held_out, fit.noise)
    assert not {"held_out", "noise"} & evaluate(GapTv(iterations=1), scenes).scenes[0].keys()


def test_every_stage_is_judged_by_itself(network, evaluation):
    """Against the metrics of each stage's estimates, taken one by one and class maps pooled."""
    scenes = PaintedSet()
    network.eval()
    trials = [evaluate_scene(network, scenes, index, Exposure()) for index in range(3)]
    assert len(evaluation.stages) == 2
    for stage, figures in enumerate(evaluation.stages):
        pairs = [(trial.run.estimate.cubes[stage][0], torch.from_numpy(trial.scene.cube)) for trial in trials]
        singly = [cube_metrics(*pair) for pair in pairs]
        for name in ("psnr_db", "ssim", "sam_deg", "rmse"):
            assert figures[name] == pytest.approx(np.mean([each[name] for each in singly]), rel=1e-6)
        estimates = torch.stack([trial.run.estimate.logits[stage][0].argmax(0) for trial in trials])
        truths = torch.stack([torch.from_numpy(trial.scene.classes) for trial in trials])
        pooled = class_figures(confusion_matrix(estimates, truths, 5))
        assert figures["miou"] == pytest.approx(float(pooled["miou"]))
        assert figures["accuracy"] == pytest.approx(float(pooled["accuracy"]))
    assert evaluation.figures == evaluation.stages[1] != evaluation.stages[0]


def test_scenes_and_classes_add_up(evaluation):
    confusion = np.array(evaluation.confusion)
    assert confusion.sum() == 3 * (32 * 48 - 4 * 6)  # all pixels but the unlabelled corner
    from_scenes = np.zeros((5, 5), dtype=int)
    for row in evaluation.scenes:
        for true, estimated, pixels in row["confusion"]:
            from_scenes[true, estimated] += pixels
    assert (from_scenes == confusion).all()
    assert [row["name"] for row in evaluation.scenes] == ["scene 0", "scene 1", "scene 2"]
    assert [row["name"] for row in evaluation.classes] == list(NAMES)
    assert [row["pixels"] for row in evaluation.classes] == confusion.sum(1).tolist()
    figures = class_figures(torch.from_numpy(confusion), NAMES)
    assert evaluation.figures["authenticity_accuracy"] == pytest.approx(float(figures["authenticity_accuracy"]))
    json.dumps(asdict(evaluation), allow_nan=False)  # plain values


def test_the_network_keeps_its_mode(network):
    network.train()
    evaluate(network, PaintedSet(1))
    assert network.training
    network.eval()
    evaluate(network, PaintedSet(1))
    assert not network.training


def test_solvers_and_unlabelled_scenes_have_figures_of_cubes_only(network):
    for method, scenes in ((GapTv(iterations=2), PaintedSet(1)), (network, PaintedSet(1, labelled=False))):
        evaluation = evaluate(method, scenes)
        assert evaluation.figures.keys() == {"psnr_db", "ssim", "sam_deg", "rmse"}
        assert evaluation.classes == evaluation.confusion == []
        assert "confusion" not in evaluation.scenes[0]
    assert evaluate(network, PaintedSet(1), options=EvaluationOptions(cubes_only=True)).confusion == []


def test_stages_without_classes_come_before_those_with_them():
    """A two-stage system reconstructs first and segments at the end."""

    class TwoStage(crsdun.networks.Network):
        def forward(self, measurement, camera):
            cube = camera.adjoint(measurement) / camera.bands
            logits = torch.zeros(1, 5, camera.height, camera.width)
            logits[:, 0] = 1
            return Estimate([cube, cube], [logits])

    evaluation = evaluate(TwoStage(crsdun.networks.CrsdunConfig(bands=8, classes=5)), PaintedSet(1))
    assert "miou" not in evaluation.stages[0]
    assert evaluation.figures["miou"] == 0
    assert evaluation.classes[0]["recall"] == 1


# -- the camera -------------------------------------------------------------------------------------------------


def test_a_large_mask_is_cropped_at_its_upper_left():
    mask = np.random.default_rng(1).random((40, 60)).astype(np.float32)
    exposure = Exposure(mask=mask)
    camera = exposure.camera_of_size(32, 48, 8, WAVELENGTHS)
    assert np.array_equal(camera.mask.numpy(), mask[:32, :48])
    with pytest.raises(InputError, match=r"mask \(40×60\) is smaller than the scene \(64×48\)"):
        exposure.camera_of_size(64, 48, 8, WAVELENGTHS)
    assert exposure.described()["mask"] != Exposure(mask=mask + 0.1).described()["mask"]


def test_the_noise_of_a_scene_does_not_depend_on_the_others():
    exposure = Exposure(noise=SensorNoise(photons=20))
    method = GapTv(iterations=1)
    whole, alone = PaintedSet(3), PaintedSet(3)
    frames = [evaluate_scene(method, whole, index, exposure).frame for index in range(3)]
    assert torch.equal(evaluate_scene(method, alone, 2, exposure).frame, frames[2])
    assert not torch.equal(frames[2], evaluate_scene(method, whole, 2, Exposure()).frame)
    other = Exposure(noise=SensorNoise(photons=20), seed=1)
    assert not torch.equal(frames[2], evaluate_scene(method, whole, 2, other).frame)
    assert exposure.described()["noise"] == {"photons": 20, "seed": 0}


def test_only_the_first_scenes(evaluation, network):
    first = evaluate(network, PaintedSet(), options=EvaluationOptions(first=2))
    same = [[{**row, "seconds": 0} for row in rows] for rows in (first.scenes, evaluation.scenes[:2])]
    assert same[0] == same[1]
    with pytest.raises(InputError, match="at least one"):
        evaluate(network, PaintedSet(), options=EvaluationOptions(first=0))


# -- what does not belong together --------------------------------------------------------------------------------


def with_card(**fields):
    network = crsdun.create("crsdun_1stg", bands=8, classes=5, width=8)
    network.card = ModelCard(**fields)
    return network


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            crsdun.create("crsdun_1stg", bands=4, classes=5, width=8),
            "for 4 bands but the camera has 8",
        ),
        (
            crsdun.create("crsdun_1stg", bands=8, classes=3, width=8),
            "3 classes but painted test has 5.*cubes_only",
        ),
        (with_card(wavelengths=tuple(range(500, 900, 50))), "up to 160 nm apart"),
        (with_card(step=1.0), "dispersion of 1 pixels per band"),
        (
            with_card(class_names=("background", "a", "b", "c", "d")),
            "'real pear' of painted test has the place of 'a'",
        ),
    ],
)
def test_weights_for_other_scenes_are_refused_before_any_is_read(network, words):
    scenes = PaintedSet()
    scenes.whole = None  # whoever reads a scene fails
    with pytest.raises(InputError, match=words):
        evaluate(network, scenes)


def test_an_estimate_that_is_not_finite_names_its_scene():
    @dataclass(frozen=True)
    class Broken(Solver):
        def __call__(self, measurement, camera, progress=None):
            return Estimate([camera.adjoint(measurement) / 0])

    words = "scene 0: solver ended in values that are not finite; bring the scene to a scale on which white is 1"
    with pytest.raises(InputError, match=words):
        evaluate(Broken(), PaintedSet())


def test_what_does_not_fit_into_memory_is_not_told_to_take_tiles(monkeypatch):
    def too_large(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    network = crsdun.create("crsdun_1stg", bands=8, classes=5, width=4)
    assert network.tileable
    monkeypatch.setattr(network, "forward", too_large)
    with pytest.raises(InputError, match=r"scene 0: there is not enough memory for this frame; crop it$"):
        evaluate(network, PaintedSet())


# -- many processes ---------------------------------------------------------------------------------------------


def _work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=8, classes=5, width=8)
    evaluation = evaluate(network, PaintedSet())
    (folder / f"{rank}.json").write_text(json.dumps(asdict(evaluation)))
    with pytest.raises(InputError, match="1 scenes cannot be shared by 2 processes"):
        evaluate(network, PaintedSet(1))
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_does(evaluation, tmp_path):
    torch.multiprocessing.spawn(_work, (tmp_path,), nprocs=2)
    expected = json.loads(json.dumps(asdict(evaluation)))
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["confusion"] == expected["confusion"]
        for ours, theirs in zip(found["stages"], expected["stages"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-12)
        for ours, theirs in zip(found["scenes"], expected["scenes"], strict=True):
            assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
        assert found["record"]["processes"] == 2


def test_a_score_returns_a_scene_and_keeps_the_sum():
    score = Score("crsdun", NAMES)
    truth = torch.rand(8, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(16, 16, dtype=torch.int64)
    first, confusion = score(truth + 0.1, truth, torch.eye(5)[0].view(5, 1, 1).expand(5, 16, 16), labels)
    assert first["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert confusion[0, 0] == 256
    second, _ = score(truth + 0.01, truth)
    assert "miou" not in second
    figures, confusion = score.compute()
    assert figures["psnr_db"] == pytest.approx(30, abs=1e-3)
    assert confusion.sum() == 256
    assert figures["miou_present"] is None  # nothing but background


class Percent(PaintedSet):
    """The second scene is in percent."""

    def whole(self, index):
        scene = super().whole(index)
        return replace(scene, cube=scene.cube * 100) if index == 1 else scene


def test_a_scene_on_another_scale_is_marked():
    rows = evaluate(GapTv(iterations=2), Percent(2)).scenes
    assert "warning" not in rows[0]
    words = r"\d+% of the values of the scene above 0 exceed 1, which metrics take for white"
    assert re.fullmatch(words, rows[1]["warning"])
