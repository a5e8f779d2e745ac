"""Training: crops through the camera, through the network, against the truth, again and again; resumable anywhere."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes

from crsdun.errors import InputError
from crsdun.networks import create, save
from crsdun.provenance import fingerprint, hardware, now, versions
from crsdun.scenes import Scene
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet
from crsdun.storage import atomic_file
from crsdun.training.batches import Batch, Batches, exposure_for
from crsdun.training.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from crsdun.training.config import TrainConfig, config_from, flat, plain
from crsdun.training.distributed import Processes, join
from crsdun.training.learner import Learner, StepFigures
from crsdun.training.phases import phase_at
from crsdun.training.run_log import RECORD, RunLog, write_record
from crsdun.training.validation import validate

BEST, WEIGHTS = "best.safetensors", "weights.safetensors"

# Keys that a run may change between two sittings: none of them changes what is learnt.
FREE = {"out", "data.source", "sampling.workers", "log_every", "checkpoint_every", "minutes"}


@dataclass(frozen=True)
class RunObserver:
    """How a run is looked at.

    Attributes:
        progress: called with the steps done and all steps.
        tell: called with a line of words now and then.
        picture: makes (H,W,3) uint8 of a true and an estimated scene.
    """

    progress: Callable[[int, int], None] | None = None
    tell: Callable[[str], None] = print
    picture: Callable[[Scene, Scene], np.ndarray] | None = None


@dataclass(frozen=True)
class TrainingResult:
    """How a sitting ended.

    Attributes:
        step: steps done, of ``config.steps``.
        stopped: why before the last step (``time`` or ``signal``), or None.
        figures: of the last validation.
        weights: the file of the trained network, once the run has ended.
    """

    step: int
    stopped: str | None
    figures: dict[str, float | None]
    weights: Path | None


def train(
    config: TrainConfig, sets: tuple[SceneSet, SceneSet] | None = None, watch: RunObserver | None = None
) -> TrainingResult:
    """Train a network as the configuration says, or go on with a run that was interrupted.

    Args:
        config: of the run; its folder ``out`` holds everything the run leaves.
        sets: to learn from and to validate on, in place of ``config.data``.
        watch: how to look on.

    Raises:
        InputError: data, crops, mask and network do not fit together; ``out`` holds something else or a run with
            another configuration; the disk refuses; the loss is not finite.
    """
    with join() as processes:
        return TrainingRun(config, sets, watch or RunObserver(), processes).sit()


class TrainingRun:
    """One process's part of a run."""

    def __init__(
        self, config: TrainConfig, sets: tuple[SceneSet, SceneSet] | None, watch: RunObserver, processes: Processes
    ):
        self.config, self.processes = config, processes
        self.watch = watch if processes.rank == 0 else RunObserver(tell=lambda words: None)
        self.folder = Path(config.out)
        splits = (config.data.train, config.data.validation)
        self.scenes, self.validation = sets or tuple(open_set(config.data.source, split) for split in splits)
        check_sets(self.scenes, self.validation)
        hashes = {each.name: each.hashes() for each in (self.scenes, self.validation) if processes.rank == 0}
        self.hashes = processes.gather(hashes)[0]  # read once for all
        self.exposure = exposure_for(config.camera, (self.scenes, self.validation))
        self.batches = Batches(self.scenes, self.exposure, config, processes.slots(config.sampling.batch))
        span = self.batches.camera.span
        if config.sampling.crop[1] <= span:
            self.watch.tell(
                f"crops of {config.sampling.crop[1]} columns are no wider than the dispersion of {span}: "
                "most of them mixes with the border; a wider sampling.crop learns more"
            )

        torch.manual_seed(config.seed)  # the same initial weights in every process
        classes = len(self.scenes.class_names or ("background",))
        network = create(config.network.name, self.scenes.bands, classes, **config.network.settings)
        if config.validation.criterion == "miou" and not network.config.classes:
            raise InputError(
                f"{config.network.name} has no classes to choose weights by", "give validation.criterion=psnr"
            )
        self.learner = Learner(network, config, processes)

        self.step, self.best, self.seconds = 0, -math.inf, 0.0
        self.figures: dict[str, float | None] = {}
        self.shown = time.monotonic()

    def sit(self) -> TrainingResult:
        """One sitting: until the last step, the time, or a signal."""
        began = time.monotonic()
        self.resume()
        log = self.open_log() if self.processes.rank == 0 else None
        try:
            stopped = self.learn(log, began)
        finally:
            if log:
                log.close()
        if self.step < self.config.steps:
            return TrainingResult(self.step, stopped, self.figures, None)
        if self.processes.rank == 0:
            self.save(self.folder / WEIGHTS)
        return TrainingResult(self.step, None, self.figures, self.folder / WEIGHTS)

    def learn(self, log: RunLog | None, began: float) -> str | None:
        """Step by step; returns why it stopped before the last one."""
        config, first, before = self.config, self.step, self.seconds
        if self.watch.progress:
            self.watch.progress(first, config.steps)
        with interruption() as interrupted:
            step_began = time.monotonic()
            for batch in self.batches.stream(first, config.steps):
                batch = batch.to(self.processes.device)
                figures = self.learner.learn(batch)
                if not figures.finite:
                    raise self.not_finite(batch, figures)
                self.step += 1
                now = time.monotonic()
                self.seconds = before + now - began

                if log and self.due(config.log_every):
                    log.step(self.row(figures, now - step_began))
                self.show(figures.loss, (now - began) / (self.step - first))
                if self.due(config.validation.every):
                    self.validate(log)
                entered = self.enter_next_phase()

                stopped = self.agreed(interrupted(), time.monotonic() - began)
                if stopped or entered or self.due(config.validation.every) or self.due(config.checkpoint_every):
                    self.checkpoint()
                if stopped:
                    return stopped
                step_began = time.monotonic()
        return None

    def due(self, every: int) -> bool:
        """Whether the step is one of those, or the last of its phase."""
        phase = self.learner.phase
        return self.step % every == 0 or self.step == phase.first + phase.steps

    def enter_next_phase(self) -> bool:
        """Let the next part of a two-stage system learn, once the first has done its steps."""
        phase = phase_at(self.step, self.learner.phases)
        if phase is self.learner.phase:
            return False
        self.learner.enter(phase)
        self.watch.tell(f"step {self.step} of {self.config.steps}: from here on {phase.words}")
        return True

    # -- going on --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up the last checkpoint, if there is one."""
        # Hidden files are what a process left that was killed at its very first write.
        visible = [path for path in self.folder.glob("*") if not path.name.startswith(".")]
        if visible and not (self.folder / RECORD).exists():
            raise InputError(
                f"{self.folder} holds files but no {RECORD}, so it is no run of crsdun", "choose another out="
            )
        found = read_checkpoint(self.folder / "checkpoints", self.watch.tell)
        # All processes read the folder before the first of them writes into it.
        steps = self.processes.gather(found.header["step"] if found else 0)
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes see checkpoints of steps {steps}", "out= must be one folder for all machines"
            )
        if found is None:
            return
        header = found.header
        # Keys that are younger than the run have the defaults under which it began.
        differences = _differences(plain(config_from(header["config"])), plain(self.config))
        if differences:
            raise InputError(
                f"{self.folder} is a run with another configuration: {'; '.join(differences)}",
                "change it back, or start a run of its own with another out=",
            )
        if header["data"] != self.fingerprints():
            raise InputError(
                f"the scenes are not those that {self.folder} learnt from ({RECORD} lists their hashes)",
                "restore them, or start a run of its own with another out=",
            )
        self.learner.enter(phase_at(header["step"], self.learner.phases))
        self.learner.restore(found.tensors)
        self.step, self.seconds, self.figures = header["step"], header["seconds"], header["figures"]
        self.best = -math.inf if header["best"] is None else header["best"]
        finished = self.step == self.config.steps
        words = "has done all its steps" if finished else f"goes on from step {self.step} of {self.config.steps}"
        self.watch.tell(f"{self.folder} {words}")

    def checkpoint(self) -> None:
        """Everything that going on takes, written by the first process."""
        if self.processes.rank == 0:
            header = {
                "step": self.step,
                "best": self.best if math.isfinite(self.best) else None,
                "seconds": self.seconds,
                "figures": self.figures,
                "config": plain(self.config),
                "data": self.fingerprints(),
            }
            write_checkpoint(self.folder / "checkpoints", Checkpoint(self.learner.tensors(), header))

    def agreed(self, interrupted: bool, seconds: float) -> str | None:
        """Why to stop, if any process has a reason; the first looks at the clock."""
        late = self.processes.rank == 0 and seconds > 60 * (self.config.minutes or math.inf)
        reasons = self.processes.sum(
            torch.tensor([interrupted, late], dtype=torch.float32, device=self.processes.device)
        )
        return next((why for why, count in zip(("signal", "time"), reasons.tolist(), strict=True) if count), None)

    def fingerprints(self) -> dict[str, str]:
        return {name: fingerprint(hashes) for name, hashes in self.hashes.items()}

    # -- looking on ------------------------------------------------------------------------------------------

    def open_log(self) -> RunLog:
        """The run record, and the log cut to the steps that count."""
        record = {
            "config": plain(self.config),
            "seed": self.config.seed,
            "network": {"parameters": sum(each.numel() for each in self.learner.network.parameters())},
            "data": self.hashes,
        }
        sitting = {
            "started": now(),
            "from_step": self.step,
            "versions": versions(),
            "hardware": hardware(self.processes.device, self.processes.count),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder} cannot be made: {error}", "choose another out=") from error
        write_record(self.folder, record, sitting)
        return RunLog(self.folder, self.step)

    def show(self, loss: float, seconds_each: float) -> None:
        """Move the bar; where there is none, say how far it is once a minute."""
        if self.watch.progress:
            self.watch.progress(self.step, self.config.steps)
        elif time.monotonic() - self.shown > 60:
            self.shown = time.monotonic()
            minutes = math.ceil((self.config.steps - self.step) * seconds_each / 60)
            left = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
            self.watch.tell(f"step {self.step} of {self.config.steps}, loss {loss:.4g}, {left} left")

    def row(self, figures: StepFigures, seconds: float) -> dict[str, Any]:
        """A line of the log."""
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": self.step * self.config.sampling.batch / len(self.scenes),
            "rate": self.learner.rate(self.step - 1),
            "loss": figures.loss,
        }
        network = self.learner.network
        if network.parts:  # a phase may leave some of its columns empty
            row |= {f"mse_{k}": None for k in range(1, network.config.stages + 1)} | {"ce_1": None}
        row |= {f"mse_{k}": value for k, value in enumerate(figures.mse, start=1)}
        row |= {f"ce_{k}": value for k, value in enumerate(figures.ce, start=1)}
        if self.learner.balance.log_variances is not None:
            row["log_variance_cube"], row["log_variance_classes"] = self.learner.balance.log_variances.tolist()
        return {**row, "gradient_norm": figures.gradient_norm, "seconds": seconds, "hours": self.seconds / 3600}

    def validate(self, log: RunLog | None) -> None:
        """Judge the weights, and keep them if they are the best so far."""
        learner = self.learner
        found = validate(
            learner.judged, self.validation, self.exposure, self.config, learner.phase.loss, self.processes
        )
        self.figures, value = found.figures, found.value(self.config.validation.criterion)
        # Never, where it is not a number, or while a part has not begun to learn.
        better = value > self.best and learner.phase is learner.phases[-1]
        if better:
            self.best = value
        if log is None:
            return
        picture = None
        if self.watch.picture and found.truth and found.estimate:
            picture = self.watch.picture(found.truth, found.estimate)
        log.validation({"step": self.step, **found.figures}, picture)
        if better:
            self.save(self.folder / BEST)
        words = ", ".join(f"{name} {figure:.4g}" for name, figure in found.figures.items() if figure is not None)
        self.watch.tell(f"step {self.step} of {self.config.steps}: {words}{' (best)' if better else ''}")

    def save(self, path: Path) -> None:
        """The network as anyone loads it, with a card that tells where it comes from."""
        scenes = self.scenes
        provenance = {
            "recipe": plain(self.config),
            "data": self.fingerprints(),
            "step": self.step,
            "validation": self.figures,
            "hours": self.seconds / 3600,
            "versions": versions(),
            "hardware": hardware(self.processes.device, self.processes.count),
        }
        network = self.learner.trained
        names = scenes.class_names if network.config.classes else None
        card = {"wavelengths": scenes.wavelengths, "class_names": names, "step": self.config.camera.step}
        save(network, path, **card, provenance=provenance)

    def not_finite(self, batch: Batch, figures: StepFigures) -> InputError:
        """Keep the batch that broke the run, and say where it is."""
        part = f"_process_{self.processes.rank}" if self.processes.count > 1 else ""
        path = self.folder / f"not_finite_step_{self.step + 1}{part}.safetensors"
        tensors = {
            "cube": batch.cube,
            "classes": batch.classes,
            "measurement": batch.measurement,
            "mask": batch.camera.mask.contiguous(),
        }
        description = {"step": self.step + 1, "scenes": batch.names, "figures": repr(figures)}
        there = {name: each.cpu() for name, each in tensors.items()}
        with atomic_file(path) as file:
            file.write_bytes(to_bytes(there, metadata={"batch": json.dumps(description)}))
        what = "the loss" if not math.isfinite(figures.loss) else "the gradient"
        return InputError(
            f"{what} is not finite at step {self.step + 1} (scenes {', '.join(batch.names)})",
            "the batch is in "
            f"{path}, and the last checkpoint is intact: look for broken values in the scenes, or start anew with "
            "another out= and a lower optimiser.rate or optimiser.clip=1",
        )


def check_sets(scenes: SceneSet, validation: SceneSet) -> None:
    """Raise an InputError unless the two sets are of one kind and hold scenes."""
    for each in (scenes, validation):
        if len(each) == 0:
            raise InputError(f"{each.name} holds no scenes")
        if each.split == "test":
            raise InputError(f"{each.name} is for the final test only", "learn and choose on the other splits")
    for what in ("bands", "wavelengths", "class_names"):
        if getattr(scenes, what) != getattr(validation, what):
            raise InputError(f"{scenes.name} and {validation.name} differ in their {what.replace('_', ' ')}")


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM let the step end and its checkpoint be written; a second one interrupts at once."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys that may not change and have, with both values."""
    old, new = dict(flat(before)), dict(flat(now))
    return [
        f"{key} was {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE and old.get(key) != new.get(key)
    ]
