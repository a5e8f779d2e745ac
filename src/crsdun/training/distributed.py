"""One run on several processes: each learns from its share of every batch, and all hold the same weights.

The losses of the processes add up to the loss of the batch (``losses.stage_losses``), so gradients are summed, and
BatchNorm takes its statistics from the whole batch: two processes of batch 2 do what one does of batch 4.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crsdun.errors import InputError
from crsdun.machine import best_device
from crsdun.networks.blocks import ChannelBatchNorm


@dataclass(frozen=True)
class Processes:
    """The processes of a run, from the point of view of one of them.

    Attributes:
        rank: of this one; 0 writes files and notifies.
        count: how many there are.
        device: where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    def slots(self, batch: int) -> range:
        """The slots of a batch that belong to this process; an InputError if they cannot be shared evenly."""
        if batch % self.count:
            raise InputError(
                f"sampling.batch={batch} cannot be shared evenly by {self.count} processes", "choose a multiple"
            )
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, without gradient."""
        if self.count > 1:
            values = values.detach().clone()
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients in every process by their sum, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values


# What gloo and NCCL say when a process that they wait for has ended.
PEER_LOST = ("Connection closed", "Connection reset", "Broken pipe", "NCCL", "gloo")


@contextmanager
def join() -> Iterator[Processes]:
    """The processes that ``torchrun`` started together, or this one alone.

    Each uses the GPU of its local rank, or the CPU if there is none. Processes that have joined already stay joined:
    a second rendezvous at the same address would find the state of the first.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    kind = best_device()
    if kind == "cuda":
        device = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device(kind if count == 1 else "cpu")
    joining = count > 1 and not dist.is_initialized()
    if joining:
        # Imported by PyTorch at some later time, it would keep the group in its functions' defaults: gloo's threads
        # would outlive destroy_process_group and now and then abort the process at its end.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        try:
            yield Processes(rank, count, device)
        finally:
            if joining:
                dist.destroy_process_group()
    except (RuntimeError, KeyboardInterrupt) as error:
        if count > 1 and lost_a_peer(error):
            raise InputError(
                "another process of this run has ended", "the same command goes on from the last checkpoint"
            ) from error
        raise


def lost_a_peer(error: BaseException | None) -> bool:
    """Whether this or what it came upon is the loss of another process.

    ``torchrun`` ends the others with SIGTERM as well, often while they are on their way out already.
    """
    while error is not None:
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEER_LOST):
            return True
        error = error.__context__
    return False


class SynchronisedBatchNorm(ChannelBatchNorm):
    """BatchNorm whose statistics in training are those of all processes, on any device.

    PyTorch's SyncBatchNorm supports GPUs only.
    """

    alone = False

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over the whole batch, for each image, (B,d,1,1)."""
        if not self.training:
            return super().moments(x)
        x = x.float()
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _Sum.apply(x.sum((0, 2, 3), keepdim=True)) / count
        variance = _Sum.apply((x - mean).square().sum((0, 2, 3), keepdim=True)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        return mean.expand(len(x), -1, 1, 1), variance.expand(len(x), -1, 1, 1)


class _Sum(torch.autograd.Function):
    """Sum over all processes; so is its gradient, since the loss of every process depends on it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def synchronise_batch_norm(network: nn.Module) -> None:
    """Make every BatchNorm of a network use the statistics of all processes; its state dict stays the same.

    Raises:
        InputError: it has one whose statistics cannot be shared.
    """
    for name, module in network.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, nn.SyncBatchNorm):
            continue
        usual = module.affine and module.track_running_stats and module.momentum is not None
        if type(module) not in (nn.BatchNorm2d, ChannelBatchNorm) or not usual:
            raise InputError(
                f"{name} of this network ({module}) does not share its statistics among processes",
                "use torch.nn.BatchNorm2d(channels), or train in one process",
            )
        module.__class__ = SynchronisedBatchNorm
