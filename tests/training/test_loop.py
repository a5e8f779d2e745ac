"""Runs: what they leave, how they stop and go on, what they refuse."""

import csv
import json
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from crsdun.errors import InputError
from crsdun.networks import Network, load
from crsdun.optics import CassiCamera, random_mask
from crsdun.training import RunObserver, train
from tests.training.small import SmallSet, small_config, small_sets

SETS = small_sets()


def run(config, sets=SETS, **observing):
    said = []
    outcome = train(config, sets, RunObserver(**{"notify": said.append, **observing}))
    return outcome, said


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with everything switched on."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    seen = []
    config = small_config(out, ema=0.9, loss={"balance": "uncertainty"})

    def picture(truth, estimate):
        assert truth.cube.shape == estimate.cube.shape
        assert truth.classes.shape == estimate.classes.shape
        return np.full((4, 5, 3), 100, np.uint8)

    outcome, said = run(config, progress=lambda done, total: seen.append((done, total)), render=picture)
    return config, out, outcome, said, seen


def test_what_is_in_the_folder_of_a_run(finished):
    _, out, outcome, said, seen = finished
    visible = {path.name for path in out.iterdir()} - {"tensorboard"}
    assert visible == {
        "run.json", "log.csv", "validation.csv", "validation.png", "checkpoints", "best.safetensors",
        "weights.safetensors",
    }  # fmt: skip
    assert outcome.step == 6
    assert outcome.weights == out / "weights.safetensors"
    assert [line.split(":")[0] for line in said] == ["step 3 of 6", "step 6 of 6"]
    assert seen == [(done, 6) for done in range(7)]


def test_the_log_has_every_stage_and_both_balances(finished):
    _, out, outcome, _, _ = finished
    log = rows(out / "log.csv")
    assert [int(row["step"]) for row in log] == [1, 2, 3, 4, 5, 6]
    assert [float(row["rate"]) for row in log][:2] == pytest.approx([1e-3, 2e-3])
    assert float(log[5]["epoch"]) == 2
    for name in ("loss", "mse_1", "ce_1", "log_variance_cube", "log_variance_classes", "gradient_norm", "seconds"):
        assert float(log[0][name]) != float(log[5][name]), name
    validations = rows(out / "validation.csv")
    assert [int(row["step"]) for row in validations] == [3, 6]
    assert float(validations[-1]["psnr_db"]) == pytest.approx(outcome.figures["psnr_db"], rel=1e-5)
    assert 0 <= float(validations[-1]["miou"]) <= 1


def test_the_record_tells_how_the_run_was_made(finished):
    config, out, _, _, _ = finished
    record = json.loads((out / "run.json").read_text())
    network = {"name": "crsdun_1stg", "settings": {"width": 4}, "weights": None, "frozen": []}
    assert record["config"]["network"] == network
    assert record["seed"] == config.seed
    assert record["data"] == {each.name: each.hashes() for each in SETS}
    [sitting] = record["sittings"]
    assert sitting["from_step"] == 0
    assert {"crsdun", "torch", "numpy", "python"} <= sitting["versions"].keys()
    assert sitting["hardware"]["processes"] == 1


def test_the_weights_are_the_average_and_their_card_says_where_they_come_from(finished):
    _, out, outcome, _, _ = finished
    network = load(outcome.weights)
    checkpoint = load_file(out / "checkpoints" / "last.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(value, checkpoint[f"average.{name}"])
    assert any(not torch.equal(value, checkpoint[f"network.{name}"]) for name, value in network.state_dict().items())
    assert network.card.wavelengths == SETS[0].wavelengths
    assert network.card.class_names == SETS[0].class_names
    assert network.card.step == 2
    provenance = network.card.provenance
    assert provenance["recipe"]["optimiser"]["rate"] == 2e-3
    assert provenance["data"].keys() == {"small train", "small validation"}
    assert provenance["validation"]["psnr_db"] == outcome.figures["psnr_db"]
    assert provenance["hours"] > 0
    camera = CassiCamera(random_mask(20, 30), 5)
    assert network(torch.rand(1, 20, 38), camera).cube.shape == (1, 5, 20, 30)


def test_the_same_command_after_the_end_changes_nothing(finished):
    config, out, outcome, _, _ = finished
    before = load_file(outcome.weights)
    again, said = run(config)
    assert said == [f"{out} has done all its steps"]
    assert again.figures == outcome.figures
    assert all(torch.equal(value, before[name]) for name, value in load_file(again.weights).items())
    assert [int(row["step"]) for row in rows(out / "log.csv")] == [1, 2, 3, 4, 5, 6]


def test_a_run_in_sittings_ends_bit_equal(tmp_path):
    whole, _ = run(small_config(tmp_path / "whole"))
    config = small_config(tmp_path / "sittings", minutes=1e-9)
    for step in range(1, 6):
        outcome, _ = run(config)
        assert (outcome.step, outcome.stopped, outcome.weights) == (step, "time", None)
    last, _ = run(config)
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(last.weights).items())
    assert len(json.loads((tmp_path / "sittings" / "run.json").read_text())["sittings"]) == 6
    logs = [rows(tmp_path / name / "log.csv") for name in ("whole", "sittings")]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_the_step_and_keeps_it(tmp_path, number):
    def interrupt(done, _):
        if done == 2:
            os.kill(os.getpid(), number)

    def handler(*_):
        """Not the one of these tests, which ignore SIGHUP under nohup."""

    before = signal.signal(number, handler)
    try:
        outcome, _ = run(small_config(tmp_path / "run"), progress=interrupt)
        assert (outcome.step, outcome.stopped) == (2, "signal")
        again, said = run(small_config(tmp_path / "run"))
        assert said[0].endswith("goes on from step 2 of 6")
        assert again.step == 6
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    config = small_config(tmp_path / "run", minutes=1e-9)
    run(config)
    with pytest.raises(InputError) as caught:
        run(small_config(tmp_path / "run", optimiser={"rate": 1e-3}, seed=4))
    assert "optimiser.rate was 0.002, now 0.001; seed was 0, now 4" in str(caught.value)
    # What changes nothing that is learnt may change.
    free = replace(
        config, minutes=None, log_every=2, checkpoint_every=5, sampling=replace(config.sampling, workers=0)
    )
    assert run(free)[0].step == 6


def test_other_scenes_are_refused(tmp_path):
    run(small_config(tmp_path / "run", minutes=1e-9))
    changed = SmallSet("train")
    changed.scenes[2].cube[0, 0, 0] += 0.5
    with pytest.raises(InputError, match=r"not those that .* learnt from"):
        run(small_config(tmp_path / "run"), (changed, SETS[1]))


def test_a_damaged_last_checkpoint_costs_only_its_steps(tmp_path):
    whole, _ = run(small_config(tmp_path / "whole"))
    config = small_config(tmp_path / "run", minutes=1e-9)
    for _ in range(3):
        run(config)
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-7])
    outcome, said = run(replace(config, minutes=None))
    assert "is damaged" in said[0]
    assert said[1].endswith("goes on from step 2 of 6")
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(outcome.weights).items())
    assert [int(row["step"]) for row in rows(tmp_path / "run" / "log.csv")] == [1, 2, 3, 4, 5, 6]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(tmp_path):
    broken = SmallSet("train")
    for scene in broken.scenes[:2]:
        scene.cube[:] = 1e25  # its square is infinite
    config = small_config(tmp_path / "run", sampling={"mosaic": 0})
    with pytest.raises(InputError) as caught:
        run(config, (broken, SETS[1]))
    message = str(caught.value)
    assert "the loss is not finite at step" in message
    [path] = (tmp_path / "run").glob("not_finite_step_*.safetensors")
    assert str(path) in message
    with safe_open(path, framework="pt") as file:
        told = json.loads(file.metadata()["batch"])
        assert set(file.keys()) == {"cube", "classes", "measurement", "mask"}
        assert file.get_tensor("cube").max() > 1e24
    assert set(told["scenes"]) & {"train 0", "train 1"}
    assert f"step {told['step']}" in message


@pytest.mark.parametrize(("criterion", "column", "best_of"), [("miou", "miou", max), ("loss", "loss", min)])
def test_the_best_weights_are_those_of_the_best_validation_of_all_sittings(tmp_path, criterion, column, best_of):
    config = small_config(
        tmp_path / "run",
        optimiser={"rate": 0.03, "warm_up": 0, "schedule": "constant"},  # so fast that it is not always forwards
        validation={"every": 1, "criterion": criterion},
        steps=5,
        minutes=1e-9,
    )
    said = [line for _ in range(5) for line in run(config)[1]]
    values = [float(row[column]) for row in rows(tmp_path / "run" / "validation.csv")]
    best = values.index(best_of(values)) + 1
    assert best < 5
    assert [line for line in said if line.endswith("(best)")][-1].startswith(f"step {best} of 5")
    card = load(tmp_path / "run" / "best.safetensors").card
    assert card.provenance["step"] == best
    assert card.provenance["validation"][column] == pytest.approx(values[best - 1], rel=1e-5)


def test_nothing_is_learnt_from_or_chosen_on_the_test_split(tmp_path):
    for sets in ((SETS[0], SmallSet("test")), (SmallSet("test"), SETS[1])):
        with pytest.raises(InputError, match="small test is for the final test only"):
            run(small_config(tmp_path / "run"), sets)


def test_sets_that_differ_are_refused(tmp_path):
    other = SmallSet("validation")
    other.class_names = ("background", "1", "2", "3")
    with pytest.raises(InputError, match="differ in their class names"):
        run(small_config(tmp_path / "run"), (SETS[0], other))


def test_crops_narrower_than_the_dispersion_are_remarked_upon(tmp_path):
    _, said = run(small_config(tmp_path / "run", camera={"step": 8}, steps=3))
    assert "crops of 32 columns are no wider than the dispersion of 32" in said[0]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a training run"):
        run(small_config(tmp_path))


@pytest.mark.parametrize(("name", "maps"), [("ssr_2stg", 0), ("ssr_2stg+seg", 1), ("seg_1stg", 1)])
def test_systems_with_fewer_class_maps_than_cubes_learn_too(tmp_path, name, maps):
    settings = {"width": 4}
    if "+" in name:
        settings = {"reconstruction": settings, "segmenter": {"stages": 1, "width": 4}}
    config = small_config(tmp_path / "run", network={"name": name, "settings": settings}, steps=3)
    outcome, _ = run(config)
    assert (outcome.figures["miou"] is None) == (maps == 0)
    columns = (tmp_path / "run" / "log.csv").read_text().splitlines()[0].split(",")
    assert sum(column.startswith("ce_") for column in columns) == maps
    card = load(outcome.weights).card
    assert (card.class_names is None) == (maps == 0)


def test_weights_without_classes_cannot_be_chosen_by_them(tmp_path):
    config = small_config(
        tmp_path, network={"name": "ssr_1stg", "settings": {"width": 4}}, validation={"criterion": "miou"}
    )
    with pytest.raises(InputError, match=r"validation\.criterion to psnr"):
        run(config)


class Unlabelled(SmallSet):
    def __init__(self, split):
        super().__init__(split, scenes=2)
        self.class_names = None
        self.scenes = [replace(scene, classes=None, class_names=None) for scene in self.scenes]


SSR, SEG = {"name": "ssr_1stg", "settings": {"width": 4}}, {"stages": 1, "width": 4}
TWO = {"name": "ssr_1stg+seg", "settings": {"reconstruction": {"width": 4}, "segmenter": SEG}}


@pytest.mark.parametrize(
    "sections",
    [
        {"loss": {"cube": "none", "cross_entropy_weight": 1}},
        {"network": {"name": "gap_tv+seg", "settings": {"segmenter": SEG}}},
        {"network": {**TWO, "frozen": ["reconstruction"]}},
    ],
)
def test_weights_are_not_chosen_by_cubes_that_do_not_learn(tmp_path, sections):
    with pytest.raises(InputError, match=r"the cubes do not get better .* set validation\.criterion to miou or loss"):
        run(small_config(tmp_path / "run", **sections))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sections", "labelled", "words"),
    [
        ({"network": SSR, "loss": {"cube": "none"}}, True, "nothing is learnt"),
        ({"loss": {"cube": "none", "cross_entropy_weight": 0}}, True, "nothing is learnt"),
        ({"loss": {"cube": "none"}, "validation": {"criterion": "loss"}}, False, "nothing is learnt"),
        ({"network": SSR, "loss": {"balance": "uncertainty"}}, True, "no classes to balance with the cube"),
        ({"loss": {"classes": {"one": 3}}}, False, "these scenes have none; set loss.classes to uniform"),
    ],
)
def test_runs_that_would_learn_nothing_are_refused(tmp_path, sections, labelled, words):
    sets = SETS if labelled else (Unlabelled("train"), Unlabelled("validation"))
    with pytest.raises(InputError, match=words):
        run(small_config(tmp_path / "run", **sections), sets)


def test_what_would_end_the_first_validation_ends_the_start(tmp_path):
    np.save(tmp_path / "mask.npy", np.ones((40, 64)))
    with pytest.raises(InputError, match=r"40×64 pixels, too few to validate on scene validation 0 of .*48×64"):
        run(small_config(tmp_path / "run", camera={"mask": str(tmp_path / "mask.npy")}))
    assert not (tmp_path / "run").exists()


def test_a_precision_that_the_network_does_not_have_ends_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(Network, "precisions", ("float32",))
    with pytest.raises(InputError, match="computes in float32, not in bfloat16"):
        run(small_config(tmp_path / "run", precision="bfloat16"))
    assert not (tmp_path / "run").exists()


def test_a_run_that_ends_earlier_is_validated_once_at_its_new_end(tmp_path):
    run(small_config(tmp_path / "run", minutes=1e-9, optimiser={"warm_up": 0}))
    for _ in range(2):
        outcome, _ = run(small_config(tmp_path / "run", steps=1, optimiser={"warm_up": 0}))
    assert [row["step"] for row in rows(tmp_path / "run" / "validation.csv")] == ["1"]
    assert outcome.figures == load(outcome.weights).card.provenance["validation"] != {}


def test_the_source_of_the_scenes_may_have_another_name(tmp_path):
    run(small_config(tmp_path / "run", minutes=1e-9))
    moved = small_sets()
    for each in moved:
        each.name = each.name.replace("small", "fields")
    assert run(small_config(tmp_path / "run"), moved)[0].step == 6


def test_scenes_without_labels_can_be_learnt_from(tmp_path):
    sets = Unlabelled("train"), Unlabelled("validation")
    with pytest.raises(
        InputError, match=r"small validation has no classes to choose weights by; set validation\.crit"
    ):
        run(small_config(tmp_path / "run", validation={"criterion": "miou"}), sets)
    outcome, _ = run(small_config(tmp_path / "run", steps=3), sets)
    assert outcome.figures["miou"] is None
    assert outcome.figures["psnr_db"] > 0
    assert {row["ce_1"] for row in rows(tmp_path / "run" / "log.csv")} == {"0"}


def test_tensorboard_gets_curves_and_pictures_and_goes_on_with_the_run(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def picture(truth, estimate):
        return np.zeros((4, 5, 3), np.uint8)

    for minutes in (1e-9, 1e-9, None):
        run(small_config(tmp_path / "run", minutes=minutes), render=picture)
        time.sleep(1.0 - time.time() % 1.0)  # TensorBoard reads sessions in the order of the second they began
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    log = rows(tmp_path / "run" / "log.csv")
    for name in ("mse_1", "ce_1"):
        found = [(event.step, event.value) for event in events.Scalars(f"training/{name}")]
        assert found == [(int(row["step"]), pytest.approx(float(row[name]), rel=1e-5)) for row in log]
    assert [event.step for event in events.Scalars("validation/psnr_db")] == [3, 6]
    assert [event.step for event in events.Images("validation")] == [3, 6]


def test_a_second_training_in_the_same_folder_is_refused(tmp_path):
    config, refusals = small_config(tmp_path / "run"), []

    def second(done, steps):
        if not refusals:
            with pytest.raises(InputError, match=r"process \d+ on .* is writing into") as refused:
                train(small_config(tmp_path / "run", seed=1), small_sets(), RunObserver(notify=lambda line: None))
            refusals.append(refused)

    result = train(config, small_sets(), RunObserver(second, lambda line: None))
    assert result.weights
    assert load(result.weights).card.provenance["recipe"]["seed"] == config.seed


@pytest.mark.parametrize("damage", [b"", b'{"config": 5}', None])
def test_a_healthy_run_goes_on_without_its_side_files(tmp_path, damage):
    train(small_config(tmp_path, minutes=1e-9), small_sets(), RunObserver(notify=lambda line: None))
    if damage is None:
        (tmp_path / "run.json").unlink()
    else:
        (tmp_path / "run.json").write_bytes(damage)
    with (tmp_path / "validation.csv").open("ab") as file:
        file.write(b"\0\0\n\xff\n\n")
    lines = []
    result = train(small_config(tmp_path), small_sets(), RunObserver(notify=lines.append))
    assert result.weights
    assert json.loads((tmp_path / "run.json").read_text())["config"]["steps"] == 6
    assert "goes on from step 1 of 6" in lines[0]


def test_a_run_behind_random_cameras_goes_on_bit_equal_and_its_card_says_what_it_learnt(tmp_path):
    camera = {"random": {"photons": [50, 500], "steps": [1, 2]}}
    whole, _ = run(small_config(tmp_path / "whole", camera=camera, steps=4))
    config = small_config(tmp_path / "sittings", camera=camera, steps=4, minutes=1e-9)
    for _ in range(4):
        last, _ = run(config)
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(last.weights).items())
    network = load(whole.weights)
    assert (network.card.steps, network.card.grids) == (((1, 2), (-2, -1)), (400, 600))
    assert (network.card.step, network.card.wavelengths) == (2, SETS[0].wavelengths)
    assert network.fit(CassiCamera(random_mask(20, 30), 5, step=-1)).wavelengths == SETS[0].wavelengths
    assert network.card.provenance["recipe"]["camera"]["random"]["photons"] == [50, 500]
    with pytest.raises(InputError, match=r"camera.random.photons was \[50.0, 500.0\], now None"):
        run(replace(config, camera=replace(config.camera, random=None)))


def test_weights_know_the_camera_that_is_drawn_besides_random_ones(tmp_path):
    camera = {"step": 3, "random": {"plain": 0.5, "steps": [1, 2]}}
    network = load(run(small_config(tmp_path, camera=camera, steps=1, optimiser={"warm_up": 0}))[0].weights)
    assert network.card.steps == ((1, 2), (-2, -1), (3, 3))
    network.fit(CassiCamera(random_mask(20, 30), 5, step=3))
    with pytest.raises(InputError, match=r"a dispersion of 1 to 2 or -2 to -1 or 3 pixels per band, not 2\.5"):
        network.fit(CassiCamera(random_mask(20, 30), 5, step=2.5))


def test_a_run_behind_a_fixed_camera_has_a_card_as_before(finished):
    card = load(finished[2].weights).card
    assert (card.steps, card.grids) == (None, None)


def test_validation_has_the_fixed_camera(tmp_path):
    """Whatever is learnt behind: with a rate of almost nothing, both runs validate the same weights."""
    still = {"rate": 1e-30, "final_rate": 1e-30, "weight_decay": 0.0}
    figures = [
        run(small_config(tmp_path / name, camera={"random": random}, optimiser=still, steps=3))[0].figures["psnr_db"]
        for name, random in (("fixed", None), ("random", {}))
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)


def test_crops_no_wider_than_the_widest_random_camera_are_named(tmp_path):
    camera = {"random": {"steps": [1, 8]}}
    _, said = run(small_config(tmp_path, camera=camera, steps=1, optimiser={"warm_up": 0}))
    assert said[0].startswith("crops of 32 columns are no wider than the dispersion of 32")


def test_a_run_begins_with_the_weights_of_another(finished, tmp_path):
    _, out, *_ = finished
    before = load_file(out / "weights.safetensors")
    network = {"weights": str(out / "weights.safetensors")}
    still = {"rate": 1e-12, "warm_up": 0, "final_rate": 0}
    _, said = run(small_config(tmp_path / "again", network=network, optimiser=still, steps=1))
    after = load_file(tmp_path / "again" / "weights.safetensors")
    learnt = [name for name in before if "running" not in name and "batches_tracked" not in name]
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in learnt)
    assert said[0] == f"begins with {network['weights']}; all of its tensors fit"
    origin = load(tmp_path / "again" / "weights.safetensors").card.provenance["from"]
    assert (origin["file"], origin["fresh"]) == ("weights.safetensors", [])

    more = {**network, "name": "crsdun_2stg"}
    _, said = run(small_config(tmp_path / "deeper", network=more, optimiser=still, steps=1))
    assert "tensors are fresh: stages.1." in said[0]
    deeper = load_file(tmp_path / "deeper" / "weights.safetensors")
    shared = "stages.0.refine.modulation.out.weight"
    assert torch.allclose(deeper[shared], before[shared])
    with pytest.raises(InputError, match="holds weights of crsdun, not of mstpp"):
        run(small_config(tmp_path / "none", network={**network, "name": "mstpp", "settings": {"width": 6}}))
    assert load(out / "weights.safetensors").card.provenance["from"] is None
