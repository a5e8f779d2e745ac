"""One step of learning: rates, averages, weight decay, steps that must not count."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from crsdun.networks import create
from crsdun.training.batches import Batches, exposure_for
from crsdun.training.config import OptimiserConfig
from crsdun.training.distributed import Processes
from crsdun.training.learner import Learner, rate_at
from tests.training.small import small_config, small_sets

ALONE = Processes(0, 1, torch.device("cpu"))
SETS = small_sets()


def learner_and_batches(network="crsdun_1stg", **sections):
    config = small_config("unused", **sections)
    torch.manual_seed(config.seed)
    learner = Learner(create(network, 5, 4, width=4), config, ALONE)
    return learner, Batches(SETS[0], exposure_for(config.camera, SETS), config, range(2))


def test_the_rate_rises_linearly_and_falls_along_a_cosine_to_its_end():
    settings = OptimiserConfig(rate=1.0, warm_up=4, final_rate=0.1)
    rates = [rate_at(step, settings, 25) for step in range(25)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[14] == pytest.approx(0.55)
    assert rates[24] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rate_at(20, OptimiserConfig(rate=1.0, schedule="constant"), 25) == 1.0


def test_learning_lowers_the_loss():
    learner, batches = learner_and_batches(optimiser={"schedule": "constant", "warm_up": 0, "rate": 5e-3}, steps=30)
    batch = batches.batch(0)
    losses = [learner.learn(batch).loss for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "name", ["stages.0.cube_network.out.weight", "stages.1.cube_network.node2.blocks.0.norm.running_var"]
)
def test_the_average_follows_weights_and_running_statistics_with_its_decay(name):
    learner, batches = learner_and_batches("crsdun_2stg", ema=0.5)
    average = learner.average.state_dict()[name].clone()
    for step in range(5):
        learner.learn(batches.batch(step))
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * learner.network.state_dict()[name]
        torch.testing.assert_close(learner.average.state_dict()[name], average)
    counts = [value for key, value in learner.average.state_dict().items() if key.endswith("num_batches_tracked")]
    assert {value.item() for value in counts} == {5}
    assert learner.trained is learner.average


def test_kernels_decay_and_biases_norms_and_single_numbers_do_not():
    learner, _ = learner_and_batches()
    decays = {
        id(parameter): group["weight_decay"]
        for group in learner.optimiser.param_groups
        for parameter in group["params"]
    }
    named = dict(learner.network.named_parameters())
    assert decays.keys() == {id(parameter) for parameter in named.values()}
    assert decays[id(named["initial.weight"])] == 0.01
    assert {decays[id(named[name])] for name in named if name.endswith(("bias", "offset"))} == {0.0}
    assert {decays[id(named[name])] for name in named if "norm" in name} == {0.0}


def test_the_fused_optimiser_does_what_adamw_says():
    learner, batches = learner_and_batches(optimiser={"clip": None})
    before = {name: value.clone() for name, value in learner.network.named_parameters()}
    learner.learn(batches.batch(0))
    settings = learner.config.optimiser
    rate, groups = rate_at(0, settings, 6), learner.optimiser.param_groups
    decaying = {id(parameter) for parameter in groups[0]["params"]}
    for name, parameter in learner.network.named_parameters():
        # The first step of Adam is the sign of the gradient, softened by its ε.
        gradient = parameter.grad / (parameter.grad.abs() + 1e-8)
        decayed = before[name] * (1 - rate * (settings.weight_decay if id(parameter) in decaying else 0))
        torch.testing.assert_close(parameter.detach(), decayed - rate * gradient, rtol=1e-4, atol=1e-6)


def test_what_tensors_gives_restores_a_fresh_learner_bit_for_bit():
    sections = {"ema": 0.9, "loss": {"balance": "uncertainty", "cross_entropy_weight": 0.01}}
    learner, batches = learner_and_batches("crsdun_2stg", **sections)
    for step in range(2):
        learner.learn(batches.batch(step))
    kept = {name: value.detach().clone().contiguous() for name, value in learner.tensors().items()}

    other, _ = learner_and_batches("crsdun_2stg", **sections, seed=5)
    other.restore(kept)
    for each in (learner, other):
        figures = each.learn(batches.batch(2))
        assert figures.finite
    found = other.tensors()
    for name, value in learner.tensors().items():
        assert torch.equal(found[name], value), name


def test_what_a_network_draws_at_a_step_depends_on_that_step_alone():
    losses = []
    for before in (0, 1):
        learner, batches = learner_and_batches()
        learner.network.register_forward_hook(lambda *each: replace(each[-1], cubes=[F.dropout(each[-1].cube)]))
        torch.rand(before)
        losses.append([learner.learn(batches.batch(step)).loss for step in (0, 1)])
    assert losses[0] == losses[1]


def test_a_step_that_is_not_finite_changes_nothing():
    learner, batches = learner_and_batches()
    learner.learn(batches.batch(0))
    before = {name: value.clone() for name, value in learner.tensors().items()}
    batch = batches.batch(1)
    batch.cube[0, 0, 0, 0] = math.inf
    figures = learner.learn(batch)
    assert not figures.finite
    assert all(torch.equal(value, before[name]) for name, value in learner.tensors().items())


def test_bfloat16_learns_too():
    learner, batches = learner_and_batches("crsdun_2stg", precision="bfloat16")
    exact, _ = learner_and_batches("crsdun_2stg")
    batch = batches.batch(0)
    assert learner.learn(batch).loss == pytest.approx(exact.learn(batch).loss, rel=0.05)
    assert {value.dtype for value in learner.network.parameters()} == {torch.float32}
