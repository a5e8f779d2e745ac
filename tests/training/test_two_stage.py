"""Two-stage training: the reconstruction, then the segmenter on what it froze to, in one run."""

import csv
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from crsdun.errors import InputError
from crsdun.networks import create, load
from crsdun.training import IGNORED, RunObserver, train
from crsdun.training.batches import Batches, exposure_for
from crsdun.training.checkpoints import read_checkpoint
from crsdun.training.distributed import Processes
from crsdun.training.learner import Learner, rate_at
from crsdun.training.phases import phase_at, phases_of
from tests.training.small import small_config, small_sets

SETS = small_sets()
ALONE = Processes(0, 1, torch.device("cpu"))
SYSTEM = {
    "name": "ssr_2stg+seg",
    "settings": {"reconstruction": {"width": 4}, "segmenter": {"stages": 1, "width": 4}},
}
PUBLISHED = {"cube": "rmse", "stage_weights": [1, 0.7, 0.5, 0.3]}
CHOICE = {"every": 3, "criterion": "miou"}


def two_stage_config(out, order="frozen", **sections):
    sections = {
        "network": SYSTEM,
        "optimiser": {"warm_up": 1},
        "loss": PUBLISHED,
        "two_stage": {"order": order},
        "validation": CHOICE,
        **sections,
    }
    return small_config(out, **sections)


def run(config):
    said = []
    return train(config, SETS, RunObserver(notify=said.append)), said


def weights_of(path, prefix=""):
    return {name.removeprefix(prefix): each for name, each in load_file(path).items() if name.startswith(prefix)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("two_stage") / "run"
    outcome, said = run(two_stage_config(out))
    return out, outcome, said


def learner_in(phase, **sections):
    """A learner at the beginning of a phase, and the batches of its run."""
    config = two_stage_config("unused", **sections)
    torch.manual_seed(config.seed)
    learner = Learner(create(config.network.name, 5, 4, **config.network.settings), config, ALONE)
    learner.enter(learner.phases[phase])
    return learner, Batches(SETS[0], exposure_for(config.camera, SETS), config, range(2))


# -- the phases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "expected"), [(0.5, [(0, 3), (3, 3)]), (0.3, [(0, 2), (2, 4)])])
def test_the_steps_are_shared_and_each_phase_has_the_whole_schedule(share, expected):
    config = two_stage_config("unused", two_stage={"order": "frozen", "reconstruction_share": share})
    phases = phases_of(config, create("ssr_1stg+seg", 5, 4))
    assert [(phase.first, phase.steps) for phase in phases] == expected
    assert [phase.learns for phase in phases] == ["reconstruction", "segmenter"]
    first = expected[1][0]
    assert [phase_at(step, phases) for step in (0, first - 1, first, 6)] == [*phases[:1] * 2, *phases[1:] * 2]
    learner, _ = learner_in(1, two_stage={"order": "frozen", "reconstruction_share": share})
    rates = [learner.rate(step) for step in range(first, 6)]
    assert rates == [rate_at(step, config.optimiser, 6 - first) for step in range(6 - first)]


def test_a_solver_needs_no_steps():
    config = two_stage_config("unused")
    [phase] = phases_of(config, create("gap_tv+seg", 5, 4))
    assert (phase.first, phase.steps, phase.learns) == (0, 6, "segmenter")


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"two_stage\.order=clean is for two-stage systems .* is trained as a whole"):
        run(two_stage_config(tmp_path, "clean", network={"name": "crsdun_1stg", "settings": {"width": 4}}))
    with pytest.raises(InputError, match="leave the reconstruction 3 steps; each part"):
        run(two_stage_config(tmp_path, optimiser={"warm_up": 3}))
    with pytest.raises(InputError, match=r"validation\.criterion must be miou or loss"):
        two_stage_config(tmp_path, validation={"criterion": "psnr"})
    with pytest.raises(InputError, match=r"loss\.balance must be fixed"):
        two_stage_config(tmp_path, loss={"balance": "uncertainty"})
    for part in ("reconstruction", "segmenter"):
        with pytest.raises(
            InputError, match=rf"network\.frozen leaves the {part} nothing to learn; freeze fewer parts"
        ):
            run(two_stage_config(tmp_path, network={**SYSTEM, "frozen": [part]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", ["frozen", "detached"])
def test_a_solver_computes_in_float32_before_a_segmenter_in_bfloat16(order):
    network = {"name": "lr_tv+seg", "settings": {"segmenter": {"stages": 1, "width": 4}}}
    config = two_stage_config("unused", order, network=network, precision="bfloat16")
    learner = Learner(create("lr_tv+seg", 5, 4, **network["settings"]), config, ALONE)
    batch = Batches(SETS[0], exposure_for(config.camera, SETS), config, range(2)).batch(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert learner.estimate(batch).cube.dtype == torch.float32


# -- one part after the other ----------------------------------------------------------------------------------


def test_in_the_first_phase_only_the_reconstruction_learns_and_exactly_as_it_would_alone(finished, tmp_path):
    _, outcome, _ = finished
    alone = small_config(
        tmp_path / "alone",
        network={"name": "ssr_2stg", "settings": {"width": 4}},
        optimiser={"warm_up": 1},
        loss=PUBLISHED,
        steps=3,
    )
    trained, _ = run(alone)
    # So it is bit-equal at the end too: frozen while the segmenter learnt.
    assert same(weights_of(outcome.weights, "reconstruction."), load_file(trained.weights))


def test_in_the_second_phase_only_the_segmenter_learns():
    learner, batches = learner_in(0)
    fresh = {name: value.clone() for name, value in learner.network.state_dict().items()}
    learner.learn(batches.batch(0))
    for name, value in learner.network.segmenter.state_dict().items():
        assert torch.equal(value, fresh[f"segmenter.{name}"]), name

    learner.enter(learner.phases[1])
    frozen = {name: value.clone() for name, value in learner.network.reconstruction.state_dict().items()}
    learner.learn(batches.batch(3))
    assert all(each.grad is None for each in learner.network.reconstruction.parameters())
    assert same(dict(learner.network.reconstruction.state_dict()), frozen)
    moved = [
        n
        for n, each in learner.network.segmenter.state_dict().items()
        if not torch.equal(each, fresh[f"segmenter.{n}"])
    ]
    assert len(moved) > 10


def test_batch_statistics_of_a_frozen_reconstruction_stay_even_after_a_validation():
    settings = {"reconstruction": {"width": 4}, "segmenter": {"stages": 1, "width": 4}}
    learner, batches = learner_in(1, network={"name": "crsdun_2stg+seg", "settings": settings})
    learner.network.train()  # as a validation leaves it
    counts = {name: each.clone() for name, each in learner.network.named_buffers()}
    assert counts
    learner.learn(batches.batch(3))
    assert same(dict(learner.network.named_buffers()), counts)


@pytest.mark.parametrize("order", ["frozen", "clean"])
def test_what_the_segmenter_sees(order):
    learner, batches = learner_in(1, two_stage={"order": order})
    batch = batches.batch(3)
    with torch.no_grad():
        cube = batch.cube if order == "clean" else learner.network(batch.measurement, batch.camera).cube
        logits = learner.network.segmenter(cube).logits[-1]
        expected = F.cross_entropy(logits, batch.classes, ignore_index=IGNORED).item()
    figures = learner.learn(batch)
    assert figures.ce == [pytest.approx(expected, rel=1e-5)]
    assert figures.loss == figures.ce[0]
    assert len(figures.mse) == (0 if order == "clean" else 2)


def test_the_first_phase_lowers_the_published_loss():
    learner, batches = learner_in(0)
    batch = batches.batch(0)
    with torch.no_grad():
        cubes = learner.network.reconstruction(batch.measurement, batch.camera).cubes
    first, last = ((x - batch.cube).square().mean().sqrt().item() for x in cubes)
    figures = learner.learn(batch)
    assert figures.loss == pytest.approx(last + 0.7 * first, rel=1e-5)
    assert figures.ce == []


def test_the_segmenter_sees_the_average_of_the_reconstruction():
    learner, batches = learner_in(0, ema=0.9)
    for step in range(3):
        learner.learn(batches.batch(step))
    average = {name: value.clone() for name, value in learner.average.state_dict().items()}
    assert not same(dict(learner.network.state_dict()), average)
    learner.enter(learner.phases[1])
    assert same(dict(learner.network.state_dict()), average)
    learner.learn(batches.batch(3))
    for network in (learner.network, learner.average):
        found = {f"reconstruction.{name}": each for name, each in network.reconstruction.state_dict().items()}
        assert same(found, {name: each for name, each in average.items() if name.startswith("reconstruction.")})


def test_detached_parts_learn_together_and_no_gradient_of_the_classes_reaches_the_cube():
    found = []
    for weight in (1e-3, 1.0):
        loss = {**PUBLISHED, "cross_entropy_weight": weight}
        learner, batches = learner_in(
            0, two_stage={"order": "detached"}, loss=loss, optimiser={"warm_up": 1, "clip": None}
        )
        [phase] = learner.phases
        assert (phase.first, phase.steps) == (0, learner.config.steps)
        fresh = {name: value.clone() for name, value in learner.network.state_dict().items()}
        for step in range(2):
            figures = learner.learn(batches.batch(step))
            assert len(figures.mse) == 2
            assert len(figures.ce) == 1
        found.append(dict(learner.network.reconstruction.state_dict()))
        parts = {
            name.partition(".")[0]
            for name, each in learner.network.state_dict().items()
            if not torch.equal(each, fresh[name])
        }
        assert parts == {"reconstruction", "segmenter"}
    assert same(*found)


def test_detached_parts_may_learn_longer_and_the_weights_on_the_way_are_kept(tmp_path):
    sections = {
        "optimiser": {"warm_up": 1, "schedule": "constant"},
        "ema": 0.9,
        "validation": {**CHOICE, "keep": True},
    }
    run(two_stage_config(tmp_path / "twice", "detached", **sections, steps=3))
    early = load_file(tmp_path / "twice" / "weights.safetensors")
    run(two_stage_config(tmp_path / "twice", "detached", **sections, steps=6))
    run(two_stage_config(tmp_path / "once", "detached", **sections, steps=6))
    for name in ("twice", "once"):
        assert same(load_file(tmp_path / name / "at_step_3.safetensors"), early)
    assert same(*(load_file(tmp_path / name / "weights.safetensors") for name in ("twice", "once")))


# -- a run -----------------------------------------------------------------------------------------------------


def test_a_run_tells_where_it_is_and_its_log_has_the_columns_of_both_phases(finished):
    out, outcome, said = finished
    assert [line.split(":")[0] for line in said] == ["step 3 of 6", "step 3 of 6", "step 6 of 6"]
    assert said[1].endswith(
        "from here on the segmenter learns from what the frozen reconstruction makes of the measurements"
    )
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [bool(row["ce_1"]) for row in rows] == 3 * [False] + 3 * [True]
    assert [float(row["mse_2"]) for row in rows[3:]] != [float(row["mse_2"]) for row in rows[:3]]
    assert all(float(row["loss"]) == float(row["ce_1"]) for row in rows[3:])
    assert float(rows[2]["rate"]) == float(rows[5]["rate"]) == 1e-6

    # Weights without a trained segmenter are never the best.
    first, second = csv.DictReader((out / "validation.csv").read_text().splitlines())
    assert (first["miou"], bool(second["miou"])) == ("", True)
    assert first["psnr_db"] == second["psnr_db"]
    assert load(out / "best.safetensors").card.provenance["step"] == 6
    network = load(outcome.weights)
    assert network.config.method == "ssr"
    assert network.card.class_names == SETS[0].class_names


@pytest.mark.parametrize(
    ("order", "sections"),
    [
        ("frozen", {"ema": 0.9}),
        ("clean", {}),
        ("frozen", {"network": {"name": "crsdun_2stg+seg", "settings": SYSTEM["settings"]}}),
    ],
    ids=["frozen", "clean", "batch norm"],
)
def test_interrupted_after_every_step_it_ends_bit_equal(tmp_path, order, sections):
    whole, _ = run(two_stage_config(tmp_path / "whole", order, steps=4, **sections))
    config = two_stage_config(tmp_path / "sittings", order, steps=4, **sections, minutes=1e-9)
    for step in range(1, 4):
        assert run(config)[0].step == step
    last, _ = run(config)
    for file in ("weights.safetensors", "best.safetensors", "checkpoints/last.safetensors"):
        assert same(load_file(tmp_path / "sittings" / file), load_file(tmp_path / "whole" / file)), file
    logs = [
        list(csv.DictReader((tmp_path / name / "log.csv").read_text().splitlines())) for name in ("whole", "sittings")
    ]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert all(float(row["hours"]) < 1 for row in logs[1])  # also where the parts have other figures
    assert last.figures == whole.figures


def test_other_ways_to_learn_end_elsewhere(finished, tmp_path):
    _, outcome, _ = finished
    frozen = weights_of(outcome.weights)
    clean = weights_of(run(two_stage_config(tmp_path / "clean", "clean"))[0].weights)
    joint = weights_of(run(two_stage_config(tmp_path / "joint", "joint"))[0].weights)
    reconstructions = [{n: e for n, e in each.items() if n.startswith("rec")} for each in (frozen, clean, joint)]
    assert same(reconstructions[0], reconstructions[1])
    assert not same(reconstructions[0], reconstructions[2])
    assert not same(frozen, clean)


def test_the_segmenter_of_a_solver_learns(tmp_path):
    settings = {"reconstruction": {"iterations": 2}, "segmenter": {"stages": 1, "width": 4}}
    config = two_stage_config(tmp_path / "run", network={"name": "gap_tv+seg", "settings": settings}, steps=3)
    outcome, said = run(config)
    assert len(said) == 1
    assert outcome.figures["psnr_db"] > 0
    assert load(outcome.weights).reconstruction.iterations == 2


def test_a_run_that_is_older_than_these_settings_goes_on(tmp_path):
    config = small_config(tmp_path / "run", minutes=1e-9)
    run(config)
    folder = tmp_path / "run" / "checkpoints"
    found = read_checkpoint(folder, print)
    with safe_open(folder / "last.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["checkpoint"])
    stored = header["config"]
    del header["header_sha256"], stored["two_stage"], stored["loss"]["cube"], stored["loss"]["stage_weights"]
    save_file(found.tensors, folder / "last.safetensors", metadata={"checkpoint": json.dumps(header)})
    assert run(replace(config, minutes=None))[0].step == 6
    # What it learns from is still its own.
    with pytest.raises(InputError, match=r"loss\.cube was 'mse', now 'rmse'"):
        run(small_config(tmp_path / "run", loss={"cube": "rmse"}))
