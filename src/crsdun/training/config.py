"""The complete configuration of a training run: a YAML file, with changes by ``key=value`` on the command line.

The same dataclasses are what the command line prints, what a checkpoint holds and what the model card records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crsdun.errors import InputError
from crsdun.optics import CameraRandomisation, Exposure, SensorNoise
from crsdun.plain_yaml import NotYamlError, parse_yaml
from crsdun.scenes import parse_mask
from crsdun.training.losses import CUBE_LOSSES, LossConfig
from crsdun.training.mixture import exact
from crsdun.typed import typed


@dataclass(frozen=True)
class DataConfig:
    """Which scenes to use.

    Attributes:
        source: as for ``crsdun.scenes.open_set``: ``produce``, a folder, a ``.yaml``.
        train, validation: the splits to learn from and to choose the best weights on; never the test split.
        mix: other data sets by source, with the share of all samples that comes from their training split; the rest
            comes from ``source``.
    """

    source: str
    train: Literal["train", "validation"] = "train"
    validation: Literal["train", "validation"] = "validation"
    mix: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkConfig:
    """Which network: its name and settings as for ``crsdun.create``; bands and classes come from the data.

    Attributes:
        weights: file, name or address (``hf://owner/name``) of weights to begin with, as far as they fit
            (``crsdun.networks.take_over``); null for fresh ones. ``from=WEIGHTS`` on the command line is the same.
        frozen: names of parts that keep their weights, as in ``network.named_modules()``, with ``*`` for any text:
            ``[stages.0]``, or ``["*.cube_network"]``.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class CameraConfig:
    """The camera that is simulated in the loop.

    Attributes:
        mask: a file, or ``random:SEED`` for a random mask as large as the largest scene.
        step: dispersion in pixels per band.
        random_crops: use a random part of the mask in every step, as published; otherwise always its top left corner.
        noise: of the detector.
        random: draw another camera for every step instead, see ``CameraRandomisation``; validation has the fixed one.
    """

    mask: str = "random:0"
    step: float = 2
    random_crops: bool = True
    noise: SensorNoise = field(default_factory=SensorNoise)
    random: CameraRandomisation | None = None

    def exposure(self) -> Exposure:
        """How scenes are measured; errors as ``parse_mask``."""
        mask, wavelengths = parse_mask(self.mask)
        return Exposure(mask, self.step, noise=self.noise, mask_wavelengths=wavelengths)


@dataclass(frozen=True)
class SamplingConfig:
    """What a batch consists of.

    Attributes:
        crop: height and width in pixels; the width should exceed the dispersion, or most of a crop mixes with its
            border.
        batch: samples per step, of all processes together.
        flips: left–right (``horizontal``), also top–bottom (``both``), or none; each with probability ½.
        quarter_turns: rotate by a random number of them.
        mosaic: probability that a sample is composed of parts of four scenes that meet at a random point.
        workers: threads that prepare batches in advance; 0 prepares each batch when it is needed.
    """

    crop: tuple[int, int] = (256, 256)
    batch: int = 4
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    quarter_turns: bool = False
    mosaic: float = 0.0
    workers: int = 1


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights are updated.

    Attributes:
        name: Adam, or AdamW with decoupled weight decay (of kernels and matrices only), or Muon for kernels and
            matrices that mix channels, with AdamW for everything else.
        rate: learning rate after the warm-up.
        muon_rate: that of the matrices under Muon, which follows the same schedule; no effect on other optimisers.
        warm_up: number of steps over which the rate rises linearly from 0.
        schedule: ``cosine`` falls to ``final_rate`` at the last step; ``constant`` keeps the rate.
        clip: largest norm of the gradient, or null.
    """

    name: Literal["adam", "adamw", "muon"] = "adam"
    rate: float = 4e-4
    muon_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warm_up: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: float = 1e-6
    clip: float | None = None


@dataclass(frozen=True)
class TwoStageTrainingConfig:
    """How a two-stage system (``ssr_9stg+seg``) is trained; no effect on other networks.

    Attributes:
        order: ``joint`` trains both parts at once, like any network, and ``detached`` too, but without a gradient
            from the classes to the reconstruction. Otherwise the reconstruction is trained first, on ``loss`` without
            its class part, and then frozen while the segmenter is trained on the cross-entropy: from the
            reconstruction's output (``frozen``) or from the true cube (``clean``).
        reconstruction_share: share of the steps for the reconstruction; the rest are for the segmenter. Each part has
            the optimiser's whole schedule. Behind a solver, which has nothing to learn, the segmenter gets all steps.
    """

    order: Literal["joint", "detached", "frozen", "clean"] = "joint"
    reconstruction_share: float = 0.5


@dataclass(frozen=True)
class ValidationConfig:
    """When and how the best weights are chosen.

    Attributes:
        every: steps between two validations; there is also one after the last step.
        scenes: how many scenes of the split to use, evenly spread over it; null for all.
        criterion: the best weights have the highest ``psnr`` or ``miou``, or the lowest ``loss``.
        keep: the weights of every validation, as ``at_step_N.safetensors``.
    """

    every: int = 1000
    scenes: int | None = None
    criterion: Literal["psnr", "miou", "loss"] = "psnr"
    keep: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        steps: of the whole run, and of the schedule.
        out: folder of the run.
        seed: of initial weights, order, crops, augmentation, mask crops and noise.
        ema: decay of the moving average of the weights, which is validated and saved in their place; null for none.
        precision: of products and convolutions; ``bfloat16`` where the device supports it.
        log_every: steps between two rows of the log.
        checkpoint_every: steps between two checkpoints, in addition to those after validations.
        minutes: stop cleanly after this time; the same command then resumes the run. Null for no limit.
    """

    data: DataConfig
    network: NetworkConfig
    steps: int
    out: str
    camera: CameraConfig = field(default_factory=CameraConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    two_stage: TwoStageTrainingConfig = field(default_factory=TwoStageTrainingConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    seed: int = 0
    ema: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    log_every: int = 10
    checkpoint_every: int = 200
    minutes: float | None = None

    def __post_init__(self) -> None:
        for allowed, key, expected in (
            (self.steps >= 1, "steps", "1 or more"),
            (
                not {"name", "bands", "classes"} & self.network.settings.keys(),
                "network.settings",
                "without name, bands and classes (the last two come from the data)",
            ),
            (
                all(share > 0 for share in self.data.mix.values()) and sum(map(exact, self.data.mix.values())) < 1,
                "data.mix",
                "positive shares that sum to less than 1",
            ),
            (self.seed >= 0, "seed", "0 or more"),
            (self.ema is None or 0 < self.ema < 1, "ema", "between 0 and 1, or null"),
            (self.log_every >= 1, "log_every", "1 or more"),
            (self.checkpoint_every >= 1, "checkpoint_every", "1 or more"),
            (self.minutes is None or self.minutes > 0, "minutes", "positive, or null"),
            (min(self.sampling.crop) >= 1, "sampling.crop", "1 or more pixels each way"),
            (self.sampling.batch >= 1, "sampling.batch", "1 or more"),
            (0 <= self.sampling.mosaic <= 1, "sampling.mosaic", "a probability"),
            (0 <= self.sampling.workers <= 1000, "sampling.workers", "between 0 and 1000"),
            (self.optimiser.rate > 0, "optimiser.rate", "positive"),
            (self.optimiser.muon_rate > 0, "optimiser.muon_rate", "positive"),
            (all(0 <= beta < 1 for beta in self.optimiser.betas), "optimiser.betas", "in 0..1, 1 excluded"),
            (self.optimiser.weight_decay >= 0, "optimiser.weight_decay", "0 or more"),
            (0 <= self.optimiser.warm_up < self.steps, "optimiser.warm_up", "0 or more and less than steps"),
            (0 <= self.optimiser.final_rate <= self.optimiser.rate, "optimiser.final_rate", "in 0..optimiser.rate"),
            (self.optimiser.clip is None or self.optimiser.clip > 0, "optimiser.clip", "positive, or null"),
            (self.loss.cube in CUBE_LOSSES, "loss.cube", f"one of {', '.join(CUBE_LOSSES)}"),
            (self.loss.stage_decay > 0, "loss.stage_decay", "positive"),
            (self.loss.cross_entropy_weight >= 0, "loss.cross_entropy_weight", "0 or more"),
            (self.loss.focal >= 0, "loss.focal", "0 or more"),
            (
                not isinstance(self.loss.classes, dict)
                or min(self.loss.classes.values(), default=-1) >= 0 < max(self.loss.classes.values()),
                "loss.classes",
                "names of classes with weights, none of them negative and not all 0",
            ),
            (0 <= self.loss.label_smoothing < 1, "loss.label_smoothing", "in 0..1, 1 excluded"),
            (
                self.loss.balance == "fixed" or self.loss.cross_entropy_weight > 0,
                "loss.cross_entropy_weight",
                "positive if the balance is learnt",
            ),
            (
                self.loss.stage_weights is None
                or (len(self.loss.stage_weights) and min(self.loss.stage_weights) >= 0),
                "loss.stage_weights",
                "one or more numbers, none negative, or null",
            ),
            (
                self.loss.balance == "fixed" or (self.loss.cube != "none" and self.two_stage.order == "joint"),
                "loss.balance",
                "fixed unless cube and classes are learnt together",
            ),
            (0 < self.two_stage.reconstruction_share < 1, "two_stage.reconstruction_share", "between 0 and 1"),
            (
                self.two_stage.order == "joint" or self.validation.criterion != "psnr",
                "validation.criterion",
                "miou or loss if the segmenter is trained last, since the cubes no longer change then",
            ),
            (self.validation.every >= 1, "validation.every", "1 or more"),
            (
                self.validation.scenes is None or self.validation.scenes >= 1,
                "validation.scenes",
                "1 or more, or null",
            ),
        ):
            if not allowed:
                raise InputError(f"{key} must be {expected}, not {_at(self, key)!r}")


# What keys were called before, and short names of keys: each may be given in place of the other.
OTHER_NAMES = {"loss.class_weight": "loss.cross_entropy_weight", "from": "network.weights"}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read the configuration in a YAML file.

    Args:
        path: of the file.
        overrides: ``key=value`` with dotted keys and YAML values, such as ``optimiser.rate=1e-3``.

    Raises:
        InputError: the file is missing or not YAML; a key is unknown (similar ones are named), missing or of the
            wrong type; a value is out of range.
    """
    return config_from(load_values(path, overrides))


def load_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of a YAML file, with overrides; arguments and errors about the file as for ``load_config``."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a folder or a device", "name a file such as those in configs/")
    try:
        values = parse_yaml(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"there is no configuration {path}") from None
    except NotYamlError as error:
        raise InputError(f"{path} {error}", "see configs/ for examples") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold keys with values", "see configs/ for examples")
    return changed(values, overrides)


def changed(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values with overrides put into them; arguments and errors about these as for ``load_config``."""
    renamed(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{override!r} is not key=value, such as optimiser.rate=1e-3")
        try:
            value = parse_yaml(text)
        except NotYamlError as error:
            raise InputError(f"the value in {override!r} {error}", "quote it") from error
        _put(values, present_name(key.strip()).split("."), value)
    return values


def present_name(key: str) -> str:
    """The present name of a key of a run, or of a table's ``train`` or that of one of its rows."""
    for other, name in OTHER_NAMES.items():
        if key == other or key.endswith(f"train.{other}"):
            return key.removesuffix(other) + name
    return key


def config_from(values: dict[str, Any], kind: Any = TrainConfig) -> Any:
    """A configuration, of a run or another kind, from plain values of YAML or JSON; errors as ``load_config``."""
    return typed(kind, renamed(values), "the configuration", "add it to the file or to the command")


def renamed(values: Any) -> Any:
    """Plain values of a run, in place, with each key of ``OTHER_NAMES`` under its present name.

    Raises:
        InputError: a key is given under both names.
    """
    for other, key in OTHER_NAMES.items():
        *sections, name = other.split(".")
        section = values
        for each in sections:
            section = section.get(each) if isinstance(section, dict) else None
        if not isinstance(section, dict) or name not in section:
            continue
        if key in dict(flat(values)):
            raise InputError(f"{other} is another name of {key}, and both are given", f"omit {other}")
        _put(values, key.split("."), section.pop(name))
    return values


def plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    return json.loads(json.dumps(asdict(config)))


def flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted key."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value, creating sections on the way."""
    for name in path[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            inner = values[name] = {}
        values = inner
    values[path[-1]] = value


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config
