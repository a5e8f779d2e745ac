"""Training: crops through the camera, through the network, against the truth, again and again; resumable anywhere."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.methods import Progress, RunOptions
from crsdun.networks import Network, Transfer, create, record_of_weights, save, take_over
from crsdun.networks.network import is_learnt_step
from crsdun.optics import ModelCard
from crsdun.provenance import fingerprint, hardware, now, versions
from crsdun.scenes import Scene
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet
from crsdun.spread import spread_evenly
from crsdun.storage import atomic_file, locked
from crsdun.training.batches import Batch, Batches, class_counts, exposure_for
from crsdun.training.checkpoints import Checkpoint, CheckpointHeader, read_checkpoint, write_checkpoint
from crsdun.training.config import DataConfig, TrainConfig, plain
from crsdun.training.distributed import Processes, join
from crsdun.training.learner import Learner, StepFigures
from crsdun.training.losses import frequency_weights, named_weights
from crsdun.training.mixture import open_others
from crsdun.training.origin import Origin, files_of
from crsdun.training.phases import phase_at
from crsdun.training.run_log import RECORD, RunLog, write_record
from crsdun.training.validation import validate
from crsdun.typed import finite

BEST, WEIGHTS = "best.safetensors", "weights.safetensors"


@dataclass(frozen=True)
class RunObserver:
    """How a run is followed.

    Attributes:
        progress: called with the number of steps done and of all steps.
        notify: called with a line about what has happened.
        render: makes a picture (H,W,3) uint8 of a true and an estimated scene, for every validation.
    """

    progress: Progress | None = None
    notify: Callable[[str], None] = print
    render: Callable[[Scene, Scene], np.ndarray] | None = None


@dataclass(frozen=True)
class TrainingResult:
    """How a session of a run ended.

    Attributes:
        step: steps done, of ``config.steps``.
        stopped: why it stopped before the last step (``time`` or ``signal``), or None.
        figures: of the last validation.
        weights: file of the trained network, once the run is complete.
    """

    step: int
    stopped: str | None
    figures: dict[str, float | None]
    weights: Path | None


Sets = tuple[SceneSet, SceneSet]  # to learn from, and to validate on


def train(config: TrainConfig, sets: Sets | None = None, observer: RunObserver | None = None) -> TrainingResult:
    """Train a network as the configuration says, or resume a run that was interrupted.

    Args:
        config: of the run; everything that the run writes goes into its folder ``out``.
        sets: training and validation scenes, in place of ``config.data.source``.
        observer: follows the run.

    Raises:
        InputError: data, crops, mask and network do not fit together; ``out`` holds something else or a run with
            another configuration; a file cannot be written; the loss is not finite.
    """
    with join() as processes:
        return TrainingRun(config, sets, observer or RunObserver(), processes).run()


class TrainingRun:
    """One process's part of a run."""

    def __init__(
        self,
        config: TrainConfig,
        sets: Sets | None,
        observer: RunObserver,
        processes: Processes,
    ):
        self.config, self.processes = config, processes
        self.observer = observer if processes.rank == 0 else RunObserver(notify=lambda line: None)
        self.folder = Path(config.out)
        self.scenes, self.validation, others = open_sets(config.data, sets)
        read = [self.scenes, self.validation, *(each for each, _ in others)] if processes.rank == 0 else []
        hashes = {each.name: each.hashes() for each in read}
        self.hashes = processes.gather(hashes)[0]  # read once for all
        data = {name: fingerprint(each) for name, each in self.hashes.items()}
        self.origin = Origin(config, data, files_of(config))
        height, width = config.sampling.crop
        check_budget(
            8 * config.sampling.batch * self.scenes.bands * height * width,
            f"a batch of {config.sampling.batch} crops of {height}×{width}",
            "choose a smaller sampling.batch or sampling.crop",
        )
        self.exposure = exposure_for(config.camera, (self.scenes, self.validation))
        torch.manual_seed(config.seed)  # the same initial weights in every process
        classes = len(self.scenes.class_names or ("background",))
        network = create(config.network.name, self.scenes.bands, classes, **config.network.settings)
        self.from_weights: dict[str, Any] | None = None
        if config.network.weights is not None:
            self.from_weights = self.take_over(network, config.network.weights)
        if config.validation.criterion == "miou":
            known = {config.network.name: network.config.classes, self.validation.name: self.validation.class_names}
            for name in (name for name, classes in known.items() if not classes):
                raise InputError(f"{name} has no classes to choose weights by", "set validation.criterion to psnr")
        slots = processes.slots(config.sampling.batch)
        self.batches = Batches(self.scenes, self.exposure, config, slots, others, network.begin)
        span = self.batches.span
        if config.sampling.crop[1] <= span:
            self.observer.notify(
                f"crops of {config.sampling.crop[1]} columns are no wider than the dispersion of {span}, so most of "
                "each crop mixes with its border; a wider sampling.crop learns more"
            )
        self.learner = Learner(network, config, processes)
        self.check_validation()

        self.step, self.best, self.seconds = 0, -math.inf, 0.0
        self.figures: dict[str, float | None] = {}
        self.last_notice = time.monotonic()
        self.said_missing = False
        self.shortened = False  # the run ends with a step that was not to be its last, without a validation

    def take_over(self, network: Network, weights: str) -> dict[str, Any]:
        """Begin with the weights of a file; returns which, for the record."""
        taken = take_over(network, weights, self.scenes.wavelengths, self.scenes.class_names)
        self.observer.notify(f"begins with {weights}{described(taken)}")
        return {**(record_of_weights(weights) or {}), **asdict(taken)}

    def check_validation(self) -> None:
        """Raise an InputError unless the scenes can be validated behind the camera, in the precision of the run."""
        RunOptions(self.processes.device, self.config.precision).check(self.learner.network)
        camera = self.batches.camera
        for index in spread_evenly(len(self.validation), self.config.validation.scenes):
            height, width = self.validation.size(index)
            if camera.height < height or camera.width < width:
                name = f"scene {self.validation.names[index]} of {self.validation.name}"
                raise InputError(
                    f"the mask has {camera.height}×{camera.width} pixels, too few to validate on {name} with "
                    f"{height}×{width}",
                    "set camera.mask to a larger one, or crop the scenes",
                )

    def check_learning(self) -> None:
        """Raise an InputError if nothing is learnt, or not what the best weights are chosen by."""
        config, learner = self.config, self.learner
        has_classes = bool(learner.network.class_count and self.scenes.class_names)
        if config.loss.balance == "uncertainty" and not has_classes:
            raise InputError("there are no classes to balance with the cube", "set loss.balance to fixed")
        for phase in learner.phases:
            learns_classes = phase.learns != "reconstruction" and phase.loss.cross_entropy_weight > 0 and has_classes
            if not (learns_classes or learner.learns_cube(phase)):
                raise InputError(
                    "nothing is learnt: the loss has neither a cube nor classes to learn from",
                    "set loss.cube, or give scenes with labels and set loss.cross_entropy_weight",
                )
        if config.validation.criterion == "psnr" and not learner.learns_cube(learner.phases[-1]):
            raise InputError(
                "the cubes do not get better in this run, so the best weights cannot be chosen by them",
                "set validation.criterion to miou or loss",
            )

    def run(self) -> TrainingResult:
        """One session: up to the last step, the time limit or a signal."""
        began = time.monotonic()
        with locked(self.folder) if self.processes.rank == 0 else nullcontext():
            return self.session(began)

    def session(self, began: float) -> TrainingResult:
        """The session, while no other run can write into the folder."""
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
        """Take steps; returns why it stopped before the last one, or None."""
        config, first, before = self.config, self.step, self.seconds
        if self.observer.progress:
            self.observer.progress(first, config.steps)
        if self.shortened:
            self.validate(log)
            self.checkpoint()
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
                self.say_missing(figures.missing, batch.cube.numel() * self.processes.count)
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
        """Start training the next part of a two-stage system once the first has done its steps."""
        phase = phase_at(self.step, self.learner.phases)
        if phase is self.learner.phase:
            return False
        self.learner.enter(phase)
        self.observer.notify(f"step {self.step} of {self.config.steps}: from here on {phase.description}")
        return True

    # -- resuming --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        # A process that was killed during its very first write leaves hidden files.
        visible = [path for path in self.folder.glob("*") if not path.name.startswith(".")]
        checkpoint = read_checkpoint(self.folder / "checkpoints", self.observer.notify)
        if visible and checkpoint is None and not (self.folder / RECORD).exists():
            raise InputError(
                f"{self.folder} holds files but no {RECORD}, so it is not a training run", "choose another out"
            )
        # All processes read the folder before the first of them writes into it.
        steps = self.processes.gather(checkpoint.header.step if checkpoint else 0)
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes see checkpoints of steps {steps}", "out must be one folder shared by all machines"
            )
        if checkpoint is None:
            self.check_learning()
            self.weigh_classes()
            return
        header = checkpoint.header
        Origin(header.config, header.data, header.files).check(self.origin)
        self.check_steps(header)
        self.learner.enter(phase_at(header.step, self.learner.phases))
        self.learner.restore(checkpoint.tensors)
        self.step, self.seconds, self.figures = header.step, header.seconds, header.figures
        self.best = -math.inf if header.best is None else header.best
        was_last = self.step == header.config.steps or self.step % self.config.validation.every == 0
        self.shortened = self.step == self.config.steps and not was_last
        finished = self.step == self.config.steps
        state = "has done all its steps" if finished else f"goes on from step {self.step} of {self.config.steps}"
        self.observer.notify(f"{self.folder} {state}")

    def check_steps(self, header: CheckpointHeader) -> None:
        """Raise an InputError if the run cannot have another number of steps; say so if it has."""
        before, now = header.config.steps, self.config.steps
        if before == now:
            return
        if len(self.learner.phases) > 1:
            raise InputError(
                f"{self.folder} is a run of {before} steps, whose two parts have shares of them that are not {now}'s",
                "change steps back, or start a new run with another out",
            )
        if now < header.step:
            raise InputError(
                f"{self.folder} has done {header.step} steps already, more than {now}", "set steps to as many or more"
            )
        rate = self.learner.rate(header.step)
        self.observer.notify(
            f"{self.folder} was a run of {before} steps and becomes one of {now}: the learning rate goes on from "
            f"{rate:.3g}, as if it had been one from the beginning"
        )

    def weigh_classes(self) -> None:
        """Count the classes of the main set for a loss that weighs them; the checkpoints keep the weights."""
        classes = self.learner.network.config.classes
        if isinstance(self.config.loss.classes, dict):
            weights = named_weights(self.config.loss.classes, self.scenes.class_names or ())
            self.learner.class_weights = weights.to(self.processes.device) if classes else None
        elif self.config.loss.classes == "frequency" and classes:
            counts = class_counts(self.scenes, classes) if self.processes.rank == 0 else None
            weights = frequency_weights(self.processes.gather(counts)[0])  # read once for all
            self.learner.class_weights = weights.to(self.processes.device)

    def checkpoint(self) -> None:
        """Write everything that resuming needs, in the first process."""
        if self.processes.rank == 0:
            header = CheckpointHeader(
                self.step,
                self.best if math.isfinite(self.best) else None,
                self.seconds,
                self.figures,
                self.config,
                self.origin.data,
                self.origin.files,
            )
            write_checkpoint(self.folder / "checkpoints", Checkpoint(self.learner.tensors(), header))

    def agreed(self, interrupted: bool, seconds: float) -> str | None:
        """Why to stop, if any process has a reason; only the first looks at the clock."""
        late = self.processes.rank == 0 and seconds > 60 * (self.config.minutes or math.inf)
        reasons = self.processes.sum(
            torch.tensor([interrupted, late], dtype=torch.float32, device=self.processes.device)
        )
        return next((why for why, count in zip(("signal", "time"), reasons.tolist(), strict=True) if count), None)

    # -- reporting -------------------------------------------------------------------------------------------

    def open_log(self) -> RunLog:
        """Write the run record, and cut the log to the steps that count."""
        record = {
            "config": plain(self.config),
            "seed": self.config.seed,
            "network": {"parameters": sum(each.numel() for each in self.learner.network.parameters())},
            "data": self.hashes,
            "files": self.origin.files,
        }
        if self.learner.class_weights is not None:
            record["class_weights"] = self.learner.class_weights.tolist()
        session = {
            "started": now(),
            "from_step": self.step,
            "steps": self.config.steps,
            "versions": versions(),
            "hardware": hardware(self.processes.device, self.processes.count),
        }
        write_record(self.folder, record, session, self.observer.notify)
        return RunLog(self.folder, self.step, self.observer.notify)

    def show(self, loss: float, seconds_each: float) -> None:
        """Move the progress bar; without one, notify once a minute."""
        if self.observer.progress:
            self.observer.progress(self.step, self.config.steps)
        elif time.monotonic() - self.last_notice > 60:
            self.last_notice = time.monotonic()
            minutes = math.ceil((self.config.steps - self.step) * seconds_each / 60)
            left = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
            self.observer.notify(f"step {self.step} of {self.config.steps}, loss {loss:.4g}, {left} left")

    def say_missing(self, missing: int, voxels: int) -> None:
        """Notify once that scenes lack data."""
        if missing and not self.said_missing:
            self.said_missing = True
            self.observer.notify(
                f"step {self.step} of {self.config.steps}: {missing} of the {voxels} voxels of this batch hold no "
                "data; losses and metrics leave such voxels out"
            )

    def row(self, figures: StepFigures, seconds: float) -> dict[str, Any]:
        """A row of the log."""
        samples = float(self.batches.scenes.main_share) * self.step * self.config.sampling.batch
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": samples / len(self.scenes),
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
        """Validate the weights, and keep them if they are the best so far."""
        learner = self.learner
        validation = validate(learner, self.validation, self.exposure)
        self.figures, value = validation.figures, validation.value(self.config.validation.criterion)
        # Never where the value is NaN, or while a part has not begun to learn.
        better = value > self.best and learner.phase is learner.phases[-1]
        if better:
            self.best = value
        if log is None:
            return
        picture = None
        if self.observer.render and validation.truth and validation.estimate:
            picture = self.observer.render(validation.truth, validation.estimate)
        log.validation({"step": self.step, **self.figures}, picture)
        if self.config.validation.keep:
            self.save(self.folder / weights_at(self.step))
        if better:
            self.save(self.folder / BEST)
        summary = ", ".join(f"{name} {figure:.4g}" for name, figure in self.figures.items() if figure is not None)
        self.observer.notify(f"step {self.step} of {self.config.steps}: {summary}{' (best)' if better else ''}")

    def save(self, path: Path) -> None:
        """Write the network with a model card that records how it was trained."""
        scenes = self.scenes
        provenance = {
            "recipe": plain(self.config),
            "data": self.origin.data,
            "files": self.origin.files,
            "from": self.from_weights,
            "step": self.step,
            "validation": finite(self.figures),
            "hours": self.seconds / 3600,
            "versions": versions(),
            "hardware": hardware(self.processes.device, self.processes.count),
        }
        network = self.learner.trained
        names = scenes.class_names if network.config.classes else None
        card: dict[str, Any] = {
            "wavelengths": scenes.wavelengths,
            "class_names": names,
            "step": self.config.camera.step,
        }
        random = self.config.camera.random
        if random is not None:
            steps, own = random.step_ranges(), self.config.camera.step
            if random.plain and not is_learnt_step(ModelCard(steps=steps), own):
                steps = (*steps, (own, own))
            card |= {"steps": steps, "grids": random.grid_range(scenes.wavelengths)}
        save(network, path, **card, provenance=provenance)

    def not_finite(self, batch: Batch, figures: StepFigures) -> InputError:
        """Save the batch that broke the run; the error names its file."""
        part = f"_process_{self.processes.rank}" if self.processes.count > 1 else ""
        path = self.folder / f"not_finite_step_{self.step + 1}{part}.safetensors"
        tensors = {
            "cube": batch.cube,
            "classes": batch.classes,
            "measurement": batch.measurement,
            "mask": batch.camera.mask.contiguous(),
        }
        description = {"step": self.step + 1, "scenes": batch.names, "figures": repr(figures)}
        on_cpu = {name: each.cpu() for name, each in tensors.items()}
        with atomic_file(path) as file:
            file.write_bytes(to_bytes(on_cpu, metadata={"batch": json.dumps(description)}))
        what = "the loss" if not math.isfinite(figures.loss) else "the gradient"
        return InputError(
            f"{what} is not finite at step {self.step + 1} (scenes {', '.join(batch.names)})",
            f"the batch is in {path}, and the last checkpoint is intact: look for broken values in the scenes, or "
            "start a new run with another out and a lower optimiser.rate, or with an optimiser.clip of 1",
        )


def weights_at(step: int) -> str:
    """The name of the file that keeps the weights after so many steps."""
    return f"at_step_{step}.safetensors"


def kept_steps(folder: Path) -> list[int]:
    """After how many steps a run has kept its weights."""
    steps = (path.stem.removeprefix("at_step_") for path in folder.glob("at_step_*.safetensors"))
    return sorted(int(each) for each in steps if each.isdigit())


def described(taken: Transfer) -> str:
    """What a network has of another's weights, in words."""
    new = ", ".join(taken.new_classes)
    words = "" if taken.fresh or taken.partly else "; all of its tensors fit"
    if taken.fresh:
        words += f"; {len(taken.fresh)} tensors are fresh: {', '.join(taken.fresh[:3])}"
        words += " …" if len(taken.fresh) > 3 else ""
    if taken.partly:
        words += f"; {len(taken.partly)} tensors are fresh in what belongs to new classes: {new}"
    elif new:
        words += f"; new classes: {new}"
    if taken.resampled:
        words += f"; {len(taken.resampled)} tensors were interpolated to other bands"
    return words


def open_sets(data: DataConfig, sets: Sets | None = None) -> tuple[SceneSet, SceneSet, list[tuple[SceneSet, float]]]:
    """Scenes to learn from, to validate on (in place of both: ``sets``), and others to mix in with their shares.

    Raises:
        InputError: as ``open_set``, or they do not fit together.
    """
    scenes, validation = sets or (open_set(data.source, split) for split in (data.train, data.validation))
    check_sets(scenes, validation)
    return scenes, validation, open_others(scenes, data.mix)


def check_sets(scenes: SceneSet, validation: SceneSet) -> None:
    """Raise an InputError unless both sets hold scenes, with the same bands and classes."""
    for each in (scenes, validation):
        if len(each) == 0:
            raise InputError(f"{each.name} holds no scenes")
        if each.split == "test":
            raise InputError(f"{each.name} is for the final test only", "train and validate on the other splits")
    for what in ("bands", "wavelengths", "class_names"):
        if getattr(scenes, what) != getattr(validation, what):
            raise InputError(f"{scenes.name} and {validation.name} differ in their {what.replace('_', ' ')}")


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and SIGHUP let the step end and its checkpoint be written; a second one interrupts at once.

    SIGHUP stays ignored where it is, as under ``nohup``.

    Yields:
        Whether there has been a signal.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
