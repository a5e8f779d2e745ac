"""Configurations: YAML, ``key=value``, and what is said when something is wrong."""

from pathlib import Path

import pytest

from crsdun.errors import InputError
from crsdun.networks import create
from crsdun.optics import CameraRandomisation
from crsdun.training import config_from, load_config
from crsdun.training.config import plain
from crsdun.training.phases import phases_of

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(set(FOLDER.glob("*.yaml")) - set(FOLDER.glob("table_*.yaml")))
LEAST = "data: {source: produce}\nnetwork: {name: crsdun_1stg}\nsteps: 10\nout: runs/x\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(LEAST)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_builds_its_network(path):
    config = load_config(path)
    assert config.out == f"runs/{path.stem}"
    network = create(config.network.name, 28, 23, **config.network.settings)
    assert network.config.classes == 23
    assert sum(phase.steps for phase in phases_of(config, network)) == config.steps


@pytest.mark.parametrize("stages", [3, 5])
def test_the_published_recipe(stages):
    config = load_config(next(path for path in CONFIGS if path.stem == f"crsdun_{stages}stg_fvgnet"))
    assert config.network.name == f"crsdun_{stages}stg"
    assert (config.sampling.crop, config.sampling.batch, config.sampling.flips) == ((256, 256), 4, "horizontal")
    assert (config.optimiser.name, config.optimiser.rate, config.optimiser.final_rate) == ("adam", 4e-4, 1e-6)
    assert (config.optimiser.schedule, config.optimiser.warm_up, config.optimiser.clip) == ("cosine", 0, None)
    assert (config.loss.stage_decay, config.loss.cross_entropy_weight, config.loss.balance) == (0.7, 1e-4, "fixed")
    assert config.steps == 500 * 256 // 4
    assert config.camera.random_crops


def test_key_value_changes_the_file_and_its_types_are_those_of_the_keys(file):
    changes = ["optimiser.rate=1e-3", "sampling.crop=[64, 128]", "network.settings.width=8", "ema=.99", "seed=7"]
    config = load_config(file, changes)
    assert config.optimiser.rate == 0.001
    assert config.sampling.crop == (64, 128)
    assert config.network.settings == {"width": 8}
    assert (config.ema, config.seed, config.steps) == (0.99, 7, 10)
    assert load_config(file, ["ema=0.9", "ema=null"]).ema is None


def test_plain_values_give_the_same_configuration_again(file):
    config = load_config(file, ["camera.noise.photons=500", "optimiser.clip=1", "network.settings.width=8"])
    assert config_from(plain(config)) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.rate=1", "no key optimizer; did you mean optimiser"),
        ("optimiser.rat=1", "no key optimiser.rat; did you mean optimiser.rate"),
        ("rate=1", "no key rate; did you mean optimiser.rate?"),
        ("camera.noise.photon=1", "did you mean camera.noise.photons"),
        ("optimiser.rate=fast", "optimiser.rate takes a number, not 'fast'"),
        ("steps=1.5", "steps takes a whole number, not 1.5"),
        ("steps=true", "steps takes a whole number, not True"),
        ("camera.random_crops=1", "camera.random_crops takes true or false, not 1"),
        ("sampling.crop=64", "sampling.crop takes 2 values"),
        ("loss.stage_weights=1", "loss.stage_weights takes a list of values"),
        ("loss.stage_weights=[1, -1]", "loss.stage_weights must be one or more numbers, none negative"),
        ("loss.stage_weights=[]", "loss.stage_weights must be one or more numbers"),
        ("loss.label_smoothing=1", "loss.label_smoothing must be in 0..1, 1 excluded"),
        (
            "loss.classes=rare",
            "loss.classes cannot be 'rare'; expected uniform, frequency, or {name",
        ),
        ("optimiser.muon_rate=0", "optimiser.muon_rate must be positive"),
        ("data.mix={indian-pines: 1}", "data.mix must be positive shares that sum to less than 1"),
        ("two_stage.order=apart", "two_stage.order is one of joint, detached, frozen, clean, not 'apart'"),
        ("two_stage.reconstruction_share=1", "two_stage.reconstruction_share must be between 0 and 1"),
        ("sampling.crop=[64, wide]", "sampling.crop takes a whole number, not 'wide'"),
        ("sampling.flips=up", "sampling.flips is one of none, horizontal, both, not 'up'"),
        ("optimiser=adam", "optimiser takes keys with values (name, rate"),
        ("data.validation=test", "data.validation is one of train, validation, not 'test'"),
        ("ema=2", "ema must be between 0 and 1, or null, not 2.0"),
        ("optimiser.warm_up=10", "optimiser.warm_up must be 0 or more and less than steps"),
        ("network.settings.bands=3", "network.settings must be without name, bands and classes"),
        ("steps", "'steps' is not key=value"),
        ("steps=[1", "not valid YAML"),
        ("camera.step=1:30", "camera.step takes a number, not '1:30'"),
        ("optimiser={rate: 1, rate: 2}", "has the key 'rate' twice, on line 1"),
        ("optimiser.betas=1", "optimiser.betas takes 2 values, as in [0.5, 0.75], not 1"),
    ],
)
def test_what_is_wrong_is_named(file, change, words):
    with pytest.raises(InputError) as caught:
        load_config(file, [change])
    assert words in str(caught.value)


def test_a_missing_key_a_missing_file_and_a_file_that_is_no_yaml(file, tmp_path):
    file.write_text(LEAST.replace("steps: 10\n", ""))
    with pytest.raises(InputError, match="lacks steps; add it"):
        load_config(file)
    assert load_config(file, ["steps=3"]).steps == 3
    with pytest.raises(InputError, match="there is no configuration"):
        load_config(tmp_path / "none.yaml")
    file.write_text("a: b: c")
    with pytest.raises(InputError, match="not valid YAML from line 1 on"):
        load_config(file)


def test_no_key_of_a_file_stands_twice(file):
    file.write_text(LEAST + "seed: 1\noptimiser: {rate: 1}\nseed: 2\n")
    first = LEAST.count("\n") + 1
    with pytest.raises(InputError) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file} has the key 'seed' twice, on line {first} and {first + 2}; ")


def test_numbers_are_those_of_yaml_1_2(file):
    changes = ["steps=010", "optimiser.rate=1e-3", "sampling.batch=0x10", "seed=0o17", "camera.noise.photons=1_000"]
    config = load_config(file, changes)
    assert (config.steps, config.optimiser.rate, config.sampling.batch) == (10, 1e-3, 16)
    assert (config.seed, config.camera.noise.photons) == (15, 1000)


def test_a_learnt_balance_needs_a_weight_to_start_from(file):
    with pytest.raises(InputError, match=r"loss\.cross_entropy_weight must be positive"):
        load_config(file, ["loss.balance=uncertainty", "loss.cross_entropy_weight=0"])


def test_random_cameras_are_off_unless_asked_for(file):
    assert load_config(file).camera.random is None
    config = load_config(file, ["camera.random.steps=[1, 2]", "camera.random.photons=null"])
    assert config.camera.random == CameraRandomisation(steps=(1, 2), photons=None)
    assert config_from(plain(config)) == config
    assert load_config(file, ["camera.random={}"]).camera.random == CameraRandomisation()
    with pytest.raises(InputError, match=r"did you mean camera\.random\.per_band"):
        load_config(file, ["camera.random.perband=0"])
    # As stored before the key was there.
    old = plain(load_config(file))
    del old["camera"]["random"]
    assert plain(config_from(old)) == plain(load_config(file))


def test_keys_keep_working_under_their_earlier_and_short_names(file):
    assert load_config(file, ["loss.class_weight=0.5"]).loss.cross_entropy_weight == 0.5
    assert load_config(file, ["from=mine.safetensors"]).network.weights == "mine.safetensors"
    file.write_text(LEAST + "loss: {class_weight: 0.25}\n")
    assert load_config(file).loss.cross_entropy_weight == 0.25
    assert load_config(file, ["loss.cross_entropy_weight=0.125"]).loss.cross_entropy_weight == 0.125
    file.write_text(LEAST + "loss: {class_weight: 0.25, cross_entropy_weight: 1}\n")
    with pytest.raises(InputError, match=r"loss\.class_weight is another name of loss\.cross_entropy_weight"):
        load_config(file)


@pytest.mark.parametrize("weights", ["{}", "{one: -1}", "{one: 0}"])
def test_weights_of_classes_by_name_are_checked(file, weights):
    assert load_config(file, ["loss.classes={one: 2, two: 0}"]).loss.classes == {"one": 2.0, "two": 0.0}
    with pytest.raises(InputError, match=r"loss\.classes must be names of classes with weights"):
        load_config(file, [f"loss.classes={weights}"])
