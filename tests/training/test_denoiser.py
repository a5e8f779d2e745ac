"""The training of the shipped denoiser, in small: what it draws, that it learns, and that it goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crsdun.errors import InputError
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers.denoiser import CoefficientDenoiser
from crsdun.training import denoiser
from crsdun.training.denoiser import DenoiserTraining, Run, Scenes, draw_state, train_denoiser

SMALL = DenoiserTraining(steps=2, batch=1, size=40, pool=1)


@pytest.fixture
def scenes():
    return Scenes(ProduceSet("train"), 40)


def test_scenes_are_cubes_in_range(scenes):
    rng = np.random.default_rng(0)
    bands = set()
    for cube in (scenes.of_produce(rng).cube, scenes.of_patchwork(rng).cube, *(scenes.draw(rng) for _ in range(6))):
        assert cube.ndim == 3
        assert cube.shape[1:] == (40, 40)
        assert cube.min() > -0.01
        assert 0 < np.quantile(cube, 0.999) <= 1.5
        bands.add(len(cube))
    assert len(bands) > 2


def test_a_state_is_an_estimate_of_its_scene(scenes):
    state = draw_state(np.random.default_rng(1), scenes)
    assert state.images.shape == state.truth.shape
    assert 0 < state.error(state.images) < 0.3
    assert state.error(state.truth) < 1e-5
    assert float(state.weights.sum()) == pytest.approx(1)
    assert bool((state.variance > 0).all())


def test_the_same_seed_draws_the_same(scenes):
    first, second = (draw_state(np.random.default_rng(3), scenes) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.y, second.y)


def test_weights_are_written_and_a_run_goes_on(tmp_path):
    folder, lines = tmp_path / "run", []
    weights = train_denoiser(folder, SMALL, lines.append)
    CoefficientDenoiser().load_state_dict(load_file(weights))
    assert lines == [f"step 2 of 2: {(folder / 'log.csv').read_text().split(',')[1]} of the noise is left"]

    again = Run(folder, SMALL)
    assert again.step == 2
    for name, value in load_file(weights).items():
        assert torch.equal(again.average.state_dict()[name], value)
    with pytest.raises(InputError, match="recipe"):
        train_denoiser(folder, replace(SMALL, steps=3))


def test_it_learns_white_noise(tmp_path):
    ratios = []
    run = Run(tmp_path, replace(SMALL, white=1.0, steps=60))
    rng = np.random.default_rng(0)
    states = denoiser.States(run.config, Scenes(ProduceSet("train"), 40), rng)
    for _ in range(60):
        ratios += run.turn(rng, states)
    assert np.mean(ratios[-15:]) < 0.97 * np.mean(ratios[:15])
