"""Weights that are published: what the repository then holds, and what its card says."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, EvaluationOptions
from crsdun.experiments.evaluation_folder import EvaluationRun
from crsdun.networks import find_weights, pretrained_weights, read_header
from crsdun.networks.hub import HubAddress
from crsdun.optics import Exposure
from crsdun.runtime import HubCard
from crsdun.runtime.sharing import files_to_publish, read_text
from tests.evaluation.scenes import NAMES, WAVELENGTHS, PaintedSet
from tests.networks.stand_in_hub import in_place_of_the_hub

ADDRESS = "hf://lab/orchard"

# huggingface_hub 2.4 sends large files in a way that its own HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights, as a training leaves them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sharing") / "mine.safetensors"
    network = crsdun.create("crsdun_2stg", bands=8, classes=5, width=4)
    noted = {"data": {"painted train": "0" * 64}, "validation": {"psnr_db": 31.234, "miou": 0.5, "loss": 0.1}}
    crsdun.save(network, path, wavelengths=WAVELENGTHS, class_names=NAMES, step=2, provenance=noted)
    return path


@pytest.fixture(scope="module")
def evaluation(weights):
    run = EvaluationRun(crsdun.load(weights), PaintedSet(), Exposure(), EvaluationOptions(), str(weights))
    return run.evaluate()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache") as made:
        yield made


def card_of(files: dict[str, bytes]) -> tuple[dict, str]:
    """The metadata and the text of a card."""
    before, head, text = files["README.md"].decode().split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head), text


def metrics_of(metadata: dict) -> dict[str, float]:
    (model,) = metadata["model-index"]
    return {each["type"]: each["value"] for result in model["results"] for each in result["metrics"]}


def test_what_was_published_decodes_like_the_file(hub, weights):
    published = crsdun.push(weights, ADDRESS, HubCard("apache-2.0"))
    network, theirs = crsdun.load(weights), crsdun.load(published.address)
    scene = PaintedSet()[0]
    camera = crsdun.CassiCamera(torch.ones(scene.cube.shape[1:]), wavelengths=WAVELENGTHS)
    y = camera.forward(torch.from_numpy(scene.cube)[None])
    with torch.inference_mode():
        assert torch.equal(network(y, camera).cube, theirs(y, camera).cube)
    assert not published.card_kept
    assert find_weights(published.address).read_bytes() == weights.read_bytes()


def test_the_settings_are_those_of_the_header(weights):
    files = files_to_publish(weights, HubAddress.parse(ADDRESS), HubCard())
    assert files.keys() == {"model.safetensors", "config.json", "README.md"}
    config, header = json.loads(files["config.json"]), read_header(weights)
    assert (config["library_name"], config["kind"], config["config"]) == ("crsdun", header.kind, header.config)
    assert (config["wavelengths"], config["class_names"], config["step"]) == ([*WAVELENGTHS], [*NAMES], 2)


def test_the_card_of_evaluated_weights(weights, evaluation):
    card = HubCard("cc-by-4.0", ("orchards",), (evaluation,))
    metadata, text = card_of(files_to_publish(weights, HubAddress.parse(ADDRESS), card))
    assert (metadata["license"], metadata["library_name"]) == ("cc-by-4.0", "crsdun")
    assert metadata["pipeline_tag"] == "image-segmentation"
    assert {"cassi", "hyperspectral", "orchards"} <= set(metadata["tags"])
    (model,) = metadata["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["name"]) == ("orchard", evaluation.data["name"])
    assert result["dataset"]["revision"] == evaluation.data["fingerprint"]
    assert "protocol crsdun" in result["dataset"]["config"]
    for name, value in metrics_of(metadata).items():
        assert value == float(FIGURES[name].number(evaluation.figures[name]))
    assert {"psnr_db", "miou"} <= metrics_of(metadata).keys()
    shown = FIGURES["psnr_db"].number(evaluation.figures["psnr_db"])
    for told in (f'crsdun.load("{ADDRESS}")', "2 pixels per band", ", ".join(NAMES), "painted train", shown):
        assert told in text


def test_the_card_of_a_branch_names_it(weights):
    text = card_of(files_to_publish(weights, HubAddress.parse(f"{ADDRESS}@experiment"), HubCard()))[1]
    assert f'crsdun.load("{ADDRESS}@experiment")' in text
    assert f"--weights {ADDRESS}@experiment " in text


def test_without_an_evaluation_the_card_says_what_training_noted(weights):
    metadata, text = card_of(files_to_publish(weights, HubAddress.parse(ADDRESS), HubCard()))
    assert metrics_of(metadata) == {"psnr_db": 31.23, "miou": 50.0}
    assert "by which these weights were chosen" in text
    assert "license" not in metadata


def test_weights_that_know_nothing_about_themselves(tmp_path):
    crsdun.save(crsdun.create("ssr_1stg", bands=4, width=4), tmp_path / "bare.safetensors", provenance={"data": 3})
    files = files_to_publish(tmp_path / "bare.safetensors", HubAddress.parse(ADDRESS), HubCard())
    metadata, text = card_of(files)
    assert "model-index" not in metadata
    assert metadata["pipeline_tag"] == "image-to-image"
    assert "a cube of 4 bands." in text


def test_shipped_weights_have_a_card_by_their_name():
    for name in pretrained_weights():
        metadata, text = card_of(files_to_publish(name, HubAddress.parse(ADDRESS), HubCard("apache-2.0")))
        assert metrics_of(metadata)["psnr_db"] > 28
        assert "real banana" in text


def test_a_card_of_somebodys_own(weights, hub, tmp_path):
    (tmp_path / "card.md").write_text("# Orchards of the north\n")
    crsdun.push(weights, ADDRESS, HubCard("mit", text=read_text(tmp_path / "card.md")))
    assert crsdun.push(weights, ADDRESS, HubCard("mit")).card_kept
    repository = hub.repositories["lab/orchard"]
    metadata, text = card_of(repository.commits[repository.names["main"]])
    assert (metadata["license"], text.strip()) == ("mit", "# Orchards of the north")
    assert not crsdun.push(weights, ADDRESS, HubCard("mit"), overwrite=True).card_kept
    assert "# orchard" in card_of(repository.commits[repository.names["main"]])[1]
    with pytest.raises(InputError, match="no text that can be read"):
        read_text(tmp_path / "none.md")
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(InputError, match="begins with metadata"):
        read_text(tmp_path / "card.md")


def test_what_is_not_of_these_weights_is_refused(weights, evaluation, hub):
    record = {**evaluation.record, "weights": {"file": "mine.safetensors", "sha256": "0" * 64}}
    other = replace(evaluation, record=record)
    with pytest.raises(InputError, match=r"the evaluation of .* is not of mine\.safetensors"):
        crsdun.push(weights, ADDRESS, HubCard(evaluations=(other,)))
    with pytest.raises(InputError, match="'Apache 2' is no licence"):
        HubCard("Apache 2")
    with pytest.raises(InputError, match="there is no weights file nothing"):
        crsdun.push("nothing", ADDRESS)
    assert hub.requests == []
