"""A method on a split of a data set: every scene is measured by a simulated camera, estimated and compared."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from crsdun import __version__
from crsdun.errors import InputError
from crsdun.evaluation.metrics import class_scores, data_residual
from crsdun.evaluation.protocols import get_protocol
from crsdun.networks import Network, fit_to_card
from crsdun.optics import CassiCamera, Estimate, SensorNoise, random_mask
from crsdun.provenance import fingerprint
from crsdun.scenes import Scene

if TYPE_CHECKING:
    from crsdun.evaluation.score import Score
    from crsdun.scenes.scene_set import SceneSet

Method = Callable[[Tensor, CassiCamera], Estimate]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Setup:
    """The camera that measures the scenes.

    Attributes:
        mask: coded aperture, (H,W) or (C,H,W); of a larger one the upper left part is used, as ``crsdun simulate``
            does. None makes a random one of each scene's size.
        mask_seed: of the random mask.
        step: dispersion in pixels per band.
        noise: of the detector; as it stands, none.
        noise_seed: from it and its name follows the noise of a scene, whichever scenes came before.
    """

    mask: np.ndarray | None = None
    mask_seed: int = 0
    step: float = 2
    noise: SensorNoise = field(default_factory=SensorNoise)
    noise_seed: int = 0

    def camera(self, height: int, width: int, bands: int, wavelengths: tuple[float, ...] | None) -> CassiCamera:
        """The camera for scenes of this size.

        Raises:
            InputError: the mask is smaller, or calibrated for another number of bands.
        """
        mask = random_mask(height, width, seed=self.mask_seed) if self.mask is None else self.mask
        if mask.shape[-2] < height or mask.shape[-1] < width:
            raise InputError(
                f"the mask ({mask.shape[-2]}×{mask.shape[-1]}) is smaller than the scenes ({height}×{width})",
                "take a larger one, or a random one (<mask> random:SEED)",
            )
        return CassiCamera(mask[..., :height, :width], bands=bands, wavelengths=wavelengths, step=self.step)

    def measure(self, cube: np.ndarray, camera: CassiCamera, name: str) -> Tensor:
        """The exposure of a cube (C,H,W), (H,Wm), on the CPU; ``name`` is the scene's."""
        frame = camera.forward(torch.from_numpy(cube))
        if self.noise == SensorNoise():
            return frame
        seed = hashlib.sha256(f"{self.noise_seed} {name}".encode()).digest()[:7]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "little"))
        # A detector counts nothing below its black level.
        return self.noise(frame, camera.bands, generator).clamp(min=0)

    def described(self) -> dict[str, Any]:
        """All that decides what is measured, as plain values; ``noise`` is empty where there is none."""
        mask = f"random:{self.mask_seed}"
        if self.mask is not None:
            mask = f"{'×'.join(map(str, self.mask.shape))}, SHA-256 {hashlib.sha256(self.mask.tobytes()).hexdigest()}"
        silent = asdict(SensorNoise())
        noise = {name: value for name, value in asdict(self.noise).items() if value != silent[name]}
        noise |= {"seed": self.noise_seed} if noise else {}
        return {"mask": mask, "step": self.step, "noise": noise}


@dataclass(frozen=True)
class SceneResult:
    """One scene and what a method made of its measurement.

    Attributes:
        name: of the scene in its set.
        scene: the truth.
        frame: the measurement, (H,Wm), on the CPU.
        estimate: on the device it was computed on, batch of 1.
        camera: on that device too.
        seconds: that the method took.
    """

    name: str
    scene: Scene
    frame: Tensor
    estimate: Estimate
    camera: CassiCamera
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """How good a method is on a split, as plain JSON values.

    Attributes:
        method: its name.
        protocol: in ``PROTOCOLS``.
        data: ``name`` of the set, ``bands``, ``wavelengths_nm``, ``class_names``, ``fingerprint`` (SHA-256 of the
            hashes of all it consists of).
        camera: as ``Setup.described``.
        stages: the figures over all scenes (``Score.compute``) of each stage, first to last; the last one counts.
        classes: of each class its number, name and ``class_scores`` in the last stage; empty where not judged.
        confusion: (N,N), pixels, true × estimated class; empty where not judged.
        scenes: of each scene ``name``, ``seconds``, ``data_residual``, its own figures in the last stage and, where
            judged, its confusion matrix as ``[true, estimated, pixels]`` of the entries that are not 0.
        record: how the figures were made.
    """

    method: str
    protocol: str
    data: dict[str, Any]
    camera: dict[str, Any]
    stages: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    confusion: list[list[int]]
    scenes: list[dict[str, Any]]
    record: dict[str, Any]

    @property
    def figures(self) -> dict[str, Any]:
        """Of the answer, the last stage."""
        return self.stages[-1]


# Of a single scene, where most classes do not occur, the paper's mean over all classes says nothing.
SCENE_FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse", "miou_present", "accuracy")


def evaluate(
    method: Method,
    scenes: SceneSet,
    setup: Setup | None = None,
    protocol: str = "crsdun",
    name: str = "network",
    device: str | torch.device = "cpu",
    first: int | None = None,
    cubes_only: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a network or a solver on a split, one scene in memory at a time.

    In a process group (``torch.distributed``) every process computes a share of the scenes and all return the same.

    Args:
        method: a network (on ``device``; its mode is left as it was) or a training-free solver.
        scenes: of any sizes; without labels only the cubes are judged, and so they are of a method without classes.
        setup: the camera; None takes a random mask and step 2, without noise.
        protocol: a name in ``PROTOCOLS``.
        name: of the method, for tables.
        device: where to compute.
        first: judge only so many scenes, from the beginning of the split.
        cubes_only: judge no classes.
        progress: called with (done, total) after each scene of this process.

    Raises:
        InputError: method, scenes and camera do not belong together, there is no such protocol, a mask too small for
            a scene, an estimate that is not finite, or more processes than scenes.
    """
    from crsdun.evaluation.score import Score  # torchmetrics takes a second to import

    setup = setup or Setup()
    get_protocol(protocol)
    class_names = () if cubes_only else check_fit(method, scenes, setup)
    chosen = len(scenes) if first is None else min(first, len(scenes))
    rank, processes = _place()
    if chosen < 1:
        raise InputError(f"the first {chosen} scenes of {scenes.name} are none", "judge at least one")
    if processes > chosen:
        raise InputError(f"{chosen} scenes cannot be shared by {processes} processes", "take fewer processes")

    data = {
        "name": scenes.name,
        "bands": scenes.bands,
        "wavelengths_nm": scenes.wavelengths,
        "class_names": scenes.class_names,
        "fingerprint": fingerprint(scenes.hashes()),
    }
    share = range(rank, chosen, processes)
    stages: list[Score] = []
    rows: dict[int, dict[str, Any]] = {}
    start = time.perf_counter()
    for done, index in enumerate(share, start=1):
        trial = evaluate_scene(method, scenes, index, setup, device)
        if not stages:
            names = class_names if trial.estimate.logits else ()
            stages = [Score(protocol, names).to(device) for _ in trial.estimate.cubes]
        rows[index] = _judge(trial, stages, device)
        del trial  # or two scenes would be in memory while the next one is estimated
        if progress is not None:
            progress(done, len(share))

    pooled = [score.compute() for score in stages]
    confusion = pooled[-1][1].cpu()
    rows = _of_all_processes(rows)
    return Evaluation(
        method=name,
        protocol=protocol,
        data=data,
        camera=setup.described(),
        stages=[figures for figures, _ in pooled],
        classes=_class_rows(confusion, stages[-1].class_names),
        confusion=confusion.tolist(),
        scenes=[rows[index] for index in sorted(rows)],
        record={
            "made_by": f"crsdun {__version__}",
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": sys.argv,
            "seconds": round(time.perf_counter() - start, 2),
            "settings": asdict(method.config) if isinstance(method, Network) else dict(vars(method)),
            "device": str(device),
            "processes": processes,
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in ("torch", "torchmetrics", "numpy")}
            | {"python": platform.python_version()},
        },
    )


def check_fit(method: Method, scenes: SceneSet, setup: Setup) -> tuple[str, ...]:
    """The names of the classes that can be judged, none where the scenes or the method know no classes.

    Raises:
        InputError: the network was trained for other bands, another dispersion or other classes.
    """
    if not isinstance(method, Network):
        return ()
    config, card = method.config, method.card
    if scenes.bands != config.bands:
        raise InputError(
            f"these weights are for {config.bands} bands but the scenes of {scenes.name} have {scenes.bands}",
            "use weights for such scenes, or gap-tv, which needs none",
        )
    # A camera of one pixel has the bands and the dispersion, and that is all that is compared.
    fit_to_card(setup.camera(1, 1, scenes.bands, scenes.wavelengths), card, config.bands)
    if not scenes.class_names or not config.classes:
        return ()
    if len(scenes.class_names) != config.classes:
        raise InputError(
            f"these weights know {config.classes} classes but {scenes.name} has {len(scenes.class_names)}",
            "use weights for these classes, or judge the cubes alone (<cubes_only>)",
        )
    if card.class_names not in (None, scenes.class_names):
        pairs = zip(card.class_names, scenes.class_names, strict=True)
        ours, theirs = next((ours, theirs) for ours, theirs in pairs if ours != theirs)
        raise InputError(
            f"{theirs!r} of {scenes.name} has the place of {ours!r} in these weights",
            "use weights for these classes, or judge the cubes alone (<cubes_only>)",
        )
    return scenes.class_names


def evaluate_scene(
    method: Method, scenes: SceneSet, index: int, setup: Setup, device: str | torch.device = "cpu"
) -> SceneResult:
    """Measure one scene of a set and let a method estimate it.

    Raises:
        InputError: the mask is too small, or the estimate not finite.
    """
    scene, name = scenes[index], scenes.names[index]
    height, width = scene.cube.shape[1:]
    camera = setup.camera(height, width, scene.bands, scenes.wavelengths)
    frame = setup.measure(scene.cube, camera, name)
    camera, y = camera.to(device), frame[None].to(device)
    with torch.inference_mode(), evaluating(method):
        start = time.perf_counter()
        estimate = method(y, camera)
        finite = bool(torch.isfinite(estimate.cube).all())  # which also waits for a GPU
        seconds = time.perf_counter() - start
    if not finite:
        raise InputError(f"the estimate of {name} holds values that are not finite", "are these weights whole?")
    return SceneResult(name, scene, frame, estimate, camera, seconds)


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """A network in evaluation mode, and afterwards as it was."""
    was_training = isinstance(method, nn.Module) and method.training
    if isinstance(method, nn.Module):
        method.eval()
    try:
        yield
    finally:
        if isinstance(method, nn.Module):
            method.train(was_training)


def _judge(trial: SceneResult, stages: list[Score], device: str | torch.device) -> dict[str, Any]:
    """Add a scene to the scores of every stage; its own row."""
    scene, estimate = trial.scene, trial.estimate
    truth = torch.from_numpy(scene.cube).to(device)
    classes = None if scene.classes is None else torch.from_numpy(scene.classes).to(device)
    # A two-stage system segments in its last stages only.
    unsegmented = [None] * (len(estimate.cubes) - len(estimate.logits))
    with torch.inference_mode():
        for score, x, theta in zip(stages, estimate.cubes, [*unsegmented, *estimate.logits], strict=True):
            figures, confusion = score(x[0], truth, None if theta is None else theta[0], classes)
        residual = data_residual(trial.frame.to(device), estimate.cube[0], trial.camera)
    row = {"name": trial.name, "seconds": round(trial.seconds, 4), "data_residual": residual}
    row |= {name: value for name, value in figures.items() if name in SCENE_FIGURES}
    if "accuracy" in figures:
        row["confusion"] = [[*place, int(confusion[tuple(place)])] for place in confusion.nonzero().tolist()]
    return row


def _class_rows(confusion: Tensor, class_names: Sequence[str]) -> list[dict[str, Any]]:
    columns = {name: values.tolist() for name, values in class_scores(confusion).items()}
    columns["pixels"] = confusion.sum(1).tolist()
    return [
        {"class": place, "name": name, **{column: values[place] for column, values in columns.items()}}
        for place, name in enumerate(class_names)
    ]


def _place() -> tuple[int, int]:
    """Number of this process and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _of_all_processes(rows: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    _, processes = _place()
    if processes == 1:
        return rows
    gathered: list[Any] = [None] * processes
    distributed.all_gather_object(gathered, rows)
    return {index: row for part in gathered for index, row in part.items()}
