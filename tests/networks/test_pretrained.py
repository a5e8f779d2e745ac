"""The weights that come with the package."""

import pytest
import torch

import crsdun
from crsdun.evaluation import evaluate_scene, multiply_adds
from crsdun.evaluation.score import Score
from crsdun.methods.doubt import COVERAGE
from crsdun.networks import earlier_weights, find_weights, pretrained_weights
from crsdun.optics import CassiCamera, Exposure, random_mask
from crsdun.scenes.indian_pines import IndianPinesSet
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import GapTv

SCENES = ProduceSet("test")


@pytest.fixture(scope="module")
def network():
    return crsdun.load("crsdun_tiny")


def test_a_name_stands_for_the_file_unless_there_is_one(tmp_path, monkeypatch):
    assert find_weights("crsdun_tiny") == pretrained_weights()["crsdun_tiny"]
    assert find_weights("mine.safetensors").name == "mine.safetensors"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crsdun_tiny").mkdir()  # such as results
    assert find_weights("crsdun_tiny") == pretrained_weights()["crsdun_tiny"]
    (tmp_path / "crsdun_tiny").rmdir()
    (tmp_path / "crsdun_tiny").write_text("")
    with pytest.raises(crsdun.InputError, match="not a whole safetensors file"):
        crsdun.load("crsdun_tiny")
    with pytest.raises(crsdun.InputError, match=r"no weights file other.*crsdun_tiny"):
        crsdun.load("other")


def test_earlier_versions_stay_loadable_and_are_never_chosen(network):
    """The first ``crsdun_tiny`` learnt behind one camera."""
    assert set(earlier_weights()) == {"crsdun_small_1", "crsdun_tiny_1"}
    for name in earlier_weights():
        first = crsdun.load(name)
        assert ((first.card.steps is None), first.class_count) == (name == "crsdun_tiny_1", network.class_count)
        title = f"# {name.removesuffix('_1')}, version 1"
        assert find_weights(name).with_suffix(".md").read_text().startswith(title)
    assert not set(earlier_weights()) & set(pretrained_weights())


def test_each_has_its_card_and_its_log_and_is_small(network):
    for path in pretrained_weights().values():
        assert path.stat().st_size < 20 << 20
        assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}")
        assert path.with_suffix(".csv").read_text().startswith("step,")
    assert sum(each.numel() for each in network.parameters()) < 1_500_000
    assert multiply_adds(network, 256, 256) <= 25e9


def test_the_card_says_what_it_was_trained_for(network):
    card = network.card
    assert (card.step, card.class_names, card.wavelengths) == (2, SCENES.class_names, SCENES.wavelengths)
    assert card.provenance["recipe"]["network"]["name"] == "crsdun_tiny"
    assert card.provenance["step"] == card.provenance["recipe"]["steps"]


def test_it_sees_more_than_gap_tv_and_knows_what_it_sees(network):
    scene = SCENES.crop(3, 64, 0, 128, 256)
    cube, classes = torch.from_numpy(scene.cube), torch.from_numpy(scene.classes)
    camera = CassiCamera(random_mask(128, 256), wavelengths=scene.wavelengths)
    y = camera.forward(cube)[None]
    with torch.inference_mode():
        estimate = network(y, camera)
    errors = [(each.cube[0] - cube).square().mean() for each in (estimate, GapTv()(y, camera))]
    assert errors[0] < 0.7 * errors[1]
    produce = classes > 0
    assert (estimate.classes[0] == classes)[produce].float().mean() > 0.5


def test_it_knows_what_it_does_not_know(network):
    """Confidences are probabilities on produce, doubt tells what is wrong, and most of a landscape is unknown."""
    figures, unknown = Score(classes=network.class_count, coverage=COVERAGE), {}
    for name, scenes, index in (("produce", SCENES, 3), ("landscape", IndianPinesSet("test"), 0)):
        result = evaluate_scene(network, scenes, index, Exposure())
        found = result.run.doubt(network.card)
        unknown[name] = found.unknown.mean()
        if name == "produce":
            cube, classes = (torch.from_numpy(each) for each in (result.scene.cube, result.scene.classes))
            logits = result.run.estimate.logits[-1][0] / network.card.calibration.temperature
            figures.update(result.run.estimate.cube[0], cube, logits, classes, torch.from_numpy(found.doubt))
    values, _ = figures.compute()
    assert values["calibration_error"] < 0.04
    assert values["doubt_auroc"] > 0.8
    assert values["accuracy_known"] > values["accuracy"]
    assert unknown["produce"] < 0.15
    assert unknown["landscape"] > 0.9
