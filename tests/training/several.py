"""What each of several processes does in ``test_distributed``: ``torchrun … -m tests.training.several OUT OUT``."""

import sys
from pathlib import Path

import torch

from crsdun.networks.blocks import ChannelBatchNorm
from crsdun.training import RunObserver, train
from crsdun.training.distributed import Processes, SynchronisedBatchNorm, join
from tests.training.small import small_config, small_sets

LEARNING = {
    "network": {"name": "crsdun_2stg", "settings": {"width": 4}},  # its second stage has BatchNorm
    "sampling": {"crop": [32, 32], "batch": 4, "mosaic": 0.5},
    "loss": {"cross_entropy_weight": 0.1, "balance": "uncertainty"},
    "steps": 5,
}
BEYOND = {
    **LEARNING,
    "loss": {
        "cube": "l1+sam",
        "cross_entropy_weight": 0.1,
        "classes": "frequency",
        "class_stages": "last",
        "label_smoothing": 0.1,
    },
    "optimiser": {"name": "muon"},
}


def normalise_together(processes: Processes) -> None:
    """BatchNorm over the processes against BatchNorm of the whole batch: result, gradients, running statistics."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 3, 5, 6, generator=generator) * 3 + 1
    weights = torch.randn(whole.shape, generator=generator)
    mine = slice(2 * processes.rank, 2 * processes.rank + 2)
    cases = (ChannelBatchNorm(3), whole, weights), (SynchronisedBatchNorm(3), whole[mine], weights[mine])
    results = []
    for norm, x, weight in cases:
        x = x.clone().requires_grad_()
        y = norm(x)
        (weight * y.square()).sum().backward()
        results.append((y, x.grad, norm))
    (y, gradient, norm), (my_y, my_gradient, my_norm) = results
    torch.testing.assert_close(my_y, y[mine])
    torch.testing.assert_close(my_gradient, gradient[mine], rtol=1e-4, atol=1e-5)
    processes.sum_gradients(my_norm.parameters())
    torch.testing.assert_close(my_norm.weight.grad, norm.weight.grad)
    assert my_norm.state_dict().keys() == norm.state_dict().keys()
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(my_norm.state_dict()[name], value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join() as processes:
        assert processes.count == 2
        normalise_together(processes)
        for out, sections in zip(sys.argv[1:], (LEARNING, BEYOND), strict=True):
            train(small_config(out, **sections), small_sets(), RunObserver(notify=lambda line: None))
    names = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in name for name in names), names  # one that outlives the group may abort the process
