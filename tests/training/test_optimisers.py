"""Muon: its steps by hand, which weights it moves, and that a run with it resumes exactly."""

import pytest
import torch
from safetensors.torch import load_file

from crsdun.networks import create
from crsdun.training import RunObserver, train
from crsdun.training.config import OptimiserConfig
from crsdun.training.learner import rate_at
from crsdun.training.optimisers import Muon, all_orthogonal, is_matrix, optimiser_for, orthogonal
from tests.training.small import small_config, small_sets
from tests.training.test_learner import learner_and_batches

MUON = {"name": "muon", "rate": 2e-3, "muon_rate": 0.03, "weight_decay": 0.1}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 5), (4, 30), (30, 4)])
def test_steps_are_nearly_orthogonal(shape):
    matrix = random(2, *shape)
    result = orthogonal(matrix)
    assert result.shape == matrix.shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3
    assert values.max() < 1.3
    # With the singular vectors of the matrix: what is left of UᵀRV is its diagonal.
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.mT @ result @ v.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)), atol=1e-4, rtol=0)


def test_many_matrices_together_are_what_each_is_alone():
    matrices = [random(*shape, seed=seed) for seed, shape in enumerate([(4, 9), (3, 3), (9, 4), (4, 9), (3, 3)])]
    for found, matrix in zip(all_orthogonal(matrices), matrices, strict=True):
        torch.testing.assert_close(found, orthogonal(matrix[None])[0], rtol=1e-4, atol=1e-5)


def test_two_steps_by_hand():
    weight = torch.nn.Parameter(random(6, 2, 1, 1))
    expected, mean = weight.detach().clone(), torch.zeros(6, 2, 1, 1)
    optimiser = Muon([weight], rate=0.1, momentum=0.9, weight_decay=0.5)
    for seed in (1, 2):
        weight.grad = random(6, 2, 1, 1, seed=seed)
        optimiser.step()
        mean = 0.9 * mean + 0.1 * weight.grad
        ahead = 0.1 * weight.grad + 0.9 * mean
        change = orthogonal(ahead.reshape(1, 6, 2)).reshape(6, 2, 1, 1)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 3**0.5 * change
        torch.testing.assert_close(weight.detach(), expected)


def test_a_weight_without_a_gradient_stays():
    weights = [torch.nn.Parameter(random(3, 3)) for _ in range(2)]
    weights[0].grad = random(3, 3, seed=1)
    Muon(weights, rate=0.1, weight_decay=0.5).step()
    assert torch.equal(weights[1], random(3, 3))
    assert not torch.equal(weights[0], random(3, 3))


def test_matrices_mix_channels():
    network = create("crsdun_2stg", 5, 4, width=4)
    shapes = {name: tuple(each.shape) for name, each in network.named_parameters() if is_matrix(name, each)}
    assert shapes["initial.weight"] == (5, 10, 1, 1)
    assert any(name.endswith("qkv.weight") for name in shapes)
    assert all(shape[1] > 1 for shape in shapes.values())  # not depthwise
    assert not any(word in name for name in shapes for word in ("position", "bias", "norm", "offset"))
    others = {name: each for name, each in network.named_parameters() if name not in shapes}
    assert any(each.ndim == 4 and each.shape[2] > 1 for each in others.values())  # depthwise kernels

    groups = optimiser_for(network, torch.nn.Module(), OptimiserConfig(**MUON)).param_groups
    assert {id(each) for each in groups[0]["params"]} == {id(network.get_parameter(name)) for name in shapes}
    everything = [id(each) for group in groups for each in group["params"]]
    assert sorted(everything) == sorted(map(id, network.parameters()))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1, 0.0]


def test_one_step_moves_matrices_by_muon_and_the_rest_by_adamw():
    learner, batches = learner_and_batches(optimiser={**MUON, "clip": None})
    before = {name: value.detach().clone() for name, value in learner.network.named_parameters()}
    learner.learn(batches.batch(0))
    share = rate_at(0, learner.config.optimiser, 6) / 2e-3
    assert share == 0.5
    decaying = {id(parameter) for parameter in learner.optimiser.param_groups[1]["params"]}
    for name, parameter in learner.network.named_parameters():
        gradient, start = parameter.grad, before[name]
        if is_matrix(name, parameter):
            change = orthogonal(gradient.flatten(1)[None])[0].view_as(gradient)  # the length of it does not matter
            longer = max(1, len(gradient) / gradient[0].numel()) ** 0.5
            expected = start * (1 - 0.015 * 0.1) - 0.015 * longer * change
        else:
            # The first step of Adam is the sign of the gradient, softened by its ε.
            kept = 1 - 1e-3 * (0.1 if id(parameter) in decaying else 0)
            expected = start * kept - 1e-3 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-3, atol=1e-4)


def test_a_fresh_learner_goes_on_bit_for_bit():
    sections = {"optimiser": MUON, "loss": {"balance": "uncertainty", "cross_entropy_weight": 0.01}}
    learner, batches = learner_and_batches("crsdun_2stg", **sections)
    for step in range(2):
        learner.learn(batches.batch(step))
    kept = {name: value.detach().clone().contiguous() for name, value in learner.tensors().items()}
    assert {name.split(".")[1] for name in kept if name.startswith("optimiser.")} == {
        "mean", "exp_avg", "exp_avg_sq", "step",
    }  # fmt: skip
    other, _ = learner_and_batches("crsdun_2stg", **sections, seed=5)
    other.restore(kept)
    for each in (learner, other):
        assert each.learn(batches.batch(2)).finite
    found = other.tensors()
    assert found.keys() == kept.keys()
    for name, value in learner.tensors().items():
        assert torch.equal(found[name], value), name


def test_a_run_in_sittings_ends_bit_equal(tmp_path):
    sections, silent = {"optimiser": MUON}, RunObserver(notify=lambda line: None)
    whole = train(small_config(tmp_path / "whole", **sections), small_sets(), silent)
    for _ in range(6):
        part = train(small_config(tmp_path / "parts", minutes=1e-9, **sections), small_sets(), silent)
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(part.weights).items())


def test_it_learns():
    schedule = {"schedule": "constant", "warm_up": 0}
    learner, batches = learner_and_batches(optimiser={**MUON, "weight_decay": 0.0, **schedule}, steps=30)
    batch = batches.batch(0)
    losses = [learner.learn(batch).loss for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
