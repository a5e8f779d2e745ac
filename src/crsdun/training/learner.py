"""Everything that changes while a network learns, and one step of it."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crsdun.errors import InputError
from crsdun.methods import Method
from crsdun.networks import Network, TwoStageNetwork
from crsdun.optics import Estimate
from crsdun.optics.exposure import fill_missing
from crsdun.training.batches import NETWORK, Batch
from crsdun.training.config import OptimiserConfig, TrainConfig
from crsdun.training.distributed import Processes, synchronise_batch_norm
from crsdun.training.losses import Balance, CubeErrors, Targets, cube_losses, known_counts, stage_losses
from crsdun.training.optimisers import optimiser_for
from crsdun.training.phases import Phase, phases_of


@dataclass(frozen=True)
class StepFigures:
    """The figures of one step, over the whole batch.

    Attributes:
        loss: that is minimised.
        mse, ce: of every stage that has them in this phase.
        gradient_norm: before clipping.
        missing: voxels of the batch without data, which the loss leaves out.
    """

    loss: float
    mse: list[float]
    ce: list[float]
    gradient_norm: float
    missing: int = 0

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (self.loss, *self.mse, *self.ce, self.gradient_norm)))


class Learner:
    """A network with its optimiser, its loss and the moving average of its weights.

    Args:
        network: with initial weights, the same in every process; moved to the device of ``processes``.
        config: of the run.
        processes: that share every batch.

    Attributes:
        class_weights: of ``frequency_weights``, (N,), where the loss has them; set before the first step.

    Raises:
        InputError: as ``phases_of``.
    """

    phase: Phase
    balance: Balance
    optimiser: torch.optim.Optimizer
    class_weights: Tensor | None = None

    def __init__(self, network: Network, config: TrainConfig, processes: Processes):
        self.config, self.processes = config, processes
        self.network = network.to(processes.device).train()
        if processes.count > 1:
            synchronise_batch_norm(self.network)
        self.average = None if config.ema is None else copy.deepcopy(self.network).requires_grad_(False)
        self.phases = phases_of(config, self.network)
        check_frozen(config.network.frozen, self.network)
        for phase in self.phases:
            if not any(self.learns(name, phase) for name, _ in self.network.named_parameters()):
                whose = "" if phase.learns == "all" else f" the {phase.learns}"
                if not config.network.frozen:
                    raise InputError(f"nothing in{whose or ' the network'} can learn", "choose another network")
                raise InputError(f"network.frozen leaves{whose} nothing to learn", "freeze fewer parts")
        # Their running statistics are part of what is frozen; a validation leaves every part in training.
        self.frozen_norms = [
            module
            for name, module in self.network.named_modules()
            if isinstance(module, _BatchNorm) and self.is_frozen(name)
        ]
        self.enter(self.phases[0])

    @property
    def trained(self) -> Network:
        """The network to validate and to save: the average if there is one."""
        return self.average or self.network

    @property
    def judged(self) -> Method:
        """What a validation runs: without the segmenter as long as it has not been trained."""
        trained = self.trained
        return cast(TwoStageNetwork, trained).reconstruction if self.phase.learns == "reconstruction" else trained

    def enter(self, phase: Phase) -> None:
        """Begin a phase: its weights are trained with a fresh optimiser, all others are frozen."""
        self.phase = phase
        if self.average is not None:
            self.network.load_state_dict(self.average.state_dict())
        self.network.zero_grad()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self.learns(name, phase))
        self.balance = Balance(phase.loss).to(self.processes.device)
        self.optimiser = optimiser_for(self.network, self.balance, self.config.optimiser)

    def learns(self, name: str, phase: Phase) -> bool:
        """Whether a parameter is trained in a phase."""
        return (phase.learns == "all" or name.startswith(f"{phase.learns}.")) and not self.is_frozen(name)

    def learns_cube(self, phase: Phase) -> bool:
        """Whether cubes get better in a phase: they have a loss, and weights of theirs are trained."""
        weighs = phase.loss.cube != "none" and any(phase.loss.stage_weights or (1,))
        names = [name for name, _ in self.network.named_parameters() if self.learns(name, phase)]
        return weighs and any(not self.network.parts or name.startswith("reconstruction.") for name in names)

    def is_frozen(self, name: str) -> bool:
        """Whether a parameter or module is, or lies in, one of the frozen parts."""
        return any(fnmatchcase(name, part) or fnmatchcase(name, f"{part}.*") for part in self.config.network.frozen)

    def estimate(self, batch: Batch) -> Estimate:
        """The estimate that the loss of the phase is computed from."""
        network, phase = self.network, self.phase
        for norm in self.frozen_norms:
            norm.eval()
        if phase.learns == "all" and not phase.detached:
            return network(batch.measurement, batch.camera, begun=batch.begun)
        system = cast(TwoStageNetwork, network)  # no other network has parts
        if phase.detached:
            cubes = system.reconstruct(batch.measurement, batch.camera).cubes
            return Estimate(cubes, system.segmenter(cubes[-1].detach()).logits)
        if phase.learns == "reconstruction":
            return system.reconstruct(batch.measurement, batch.camera)
        if phase.clean:
            return Estimate([], system.segmenter(fill_missing(batch.cube)).logits)
        with torch.no_grad(), system.reconstruction.inference():  # a validation leaves every part in training
            cubes = system.reconstruct(batch.measurement, batch.camera).cubes
        return Estimate(cubes, system.segmenter(cubes[-1]).logits)

    def learn(self, batch: Batch) -> StepFigures:
        """Take one step. If its figures are not finite, nothing changes."""
        settings, processes = self.config.optimiser, self.processes
        # Dropout and the like: so a run that is resumed draws what it would have drawn.
        rng = np.random.default_rng([self.config.seed, NETWORK, batch.step, processes.rank])
        torch.manual_seed(int(rng.integers(2**63)))
        labelled, missing = processes.sum(known_counts(batch.cube, batch.classes))
        targets = Targets(
            batch.cube,
            batch.classes,
            labelled,
            int(missing),
            1 / processes.count,
            self.class_weights,
            self.phase.loss.label_smoothing,
            self.phase.loss.focal,
        )

        with torch.autocast(processes.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            estimate = self.estimate(batch)
            mse, ce = stage_losses(estimate, targets)
        compared, whole = targets.compared(estimate.cubes), processes.sum(mse)
        errors = CubeErrors(*compared, mse, whole, targets.share, targets.weight, targets.known)
        loss = self.balance(cube_losses(self.phase.loss.cube, errors), ce, targets.share)

        self.optimiser.zero_grad()
        loss.backward()
        processes.sum_gradients(self._parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip or math.inf)

        total, *stages = processes.sum(torch.cat([loss[None], mse, ce]).detach()).tolist()
        figures = StepFigures(total, stages[: len(mse)], stages[len(mse) :], norm.item(), targets.missing)
        if figures.finite:
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate(batch.step) * (group["peak"] / settings.rate)
            self.optimiser.step()
            self._average(batch.step - self.phase.first)
        return figures

    def rate(self, step: int) -> float:
        """The learning rate of a step of this phase; steps count from the first of the run."""
        return rate_at(step - self.phase.first, self.config.optimiser, self.phase.steps)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"balance.{name}": value for name, value in self.balance.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        if self.class_weights is not None:
            tensors["class_weights"] = self.class_weights
        for name, parameter in self._named():
            for what, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{what}.{name}"] = value
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what ``tensors`` returned in the same phase, or at the beginning of it."""
        for part, module in (("network", self.network), ("balance", self.balance), ("average", self.average)):
            if module is not None:
                module.load_state_dict(_below(part, tensors))
        if "class_weights" in tensors:
            self.class_weights = tensors["class_weights"].to(self.processes.device)
        parameters = dict(self._named())
        # A parameter that never had a gradient has no state.
        for key, value in _below("optimiser", tensors).items():
            what, _, name = key.partition(".")
            parameter = parameters[name]
            self.optimiser.state[parameter][what] = (
                value.to(parameter.device)
                if what == "step"
                # In the memory format of the parameter, as the fused step walks over both at once.
                else torch.empty_like(parameter).copy_(value)
            )

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Everything that is trained in this phase, by name."""
        yield from ((name, each) for name, each in self.network.named_parameters() if each.requires_grad)
        yield from self.balance.named_parameters(prefix="balance")

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for _, parameter in self._named()]

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the average towards the weights; early on it forgets faster than its decay."""
        if self.average is None:
            return
        decay = min(self.config.ema or 0, (1 + step) / (10 + step))
        for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def check_frozen(parts: Sequence[str], network: Network) -> None:
    """Raise an InputError unless every frozen part is one of the network."""
    names = [name for name, _ in network.named_modules() if name]
    for part in parts:
        if not any(fnmatchcase(name, part) for name in names):
            top = ", ".join(name for name, _ in network.named_children())
            near = difflib.get_close_matches(part, names, n=3)
            raise InputError(
                f"network.frozen names {part!r}, which is no part of this network",
                f"did you mean {' or '.join(near)}?" if near else f"its parts are {top}",
            )


def rate_at(step: int, settings: OptimiserConfig, steps: int) -> float:
    """The learning rate of a step, counted from 0."""
    if step < settings.warm_up:
        return settings.rate * (step + 1) / settings.warm_up
    if settings.schedule == "constant":
        return settings.rate
    done = (step - settings.warm_up) / max(steps - 1 - settings.warm_up, 1)
    return settings.final_rate + (settings.rate - settings.final_rate) * (1 + math.cos(math.pi * done)) / 2


def _below(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
