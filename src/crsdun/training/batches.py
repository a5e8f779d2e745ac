"""The batches of a run: crops of scenes, measured by a simulated camera, which may be another one in every step.

Sample (step, slot) is a pure function of the seed: its scene, its crop, its augmentation, its noise. So a run resumes
from its step number alone, threads that prepare batches in advance change nothing, and processes that share a batch
divide its slots.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Exposure, RandomExposure
from crsdun.scenes import Scene
from crsdun.scenes.augmentation import flipped, mosaic, turned
from crsdun.scenes.scene_set import SceneSet
from crsdun.spread import spread_evenly
from crsdun.training.config import CameraConfig, TrainConfig
from crsdun.training.losses import IGNORED
from crsdun.training.mixture import Mixture

# One stream of random numbers for each purpose, so that none affects another.
ORDER, SAMPLE, MASK, CAMERA, NETWORK = range(5)


@dataclass(frozen=True)
class Batch:
    """The samples of one step in one process.

    Attributes:
        step: counted from 0.
        names: of the scenes.
        cube: x, (B,C,H,W), NaN where there is no data.
        classes: (B,H,W) int64, ``IGNORED`` where unknown.
        measurement: y, (B,H,Wm).
        camera: that took them, as far as it is known; on whose bands the cubes are.
        begun: what the network begins with (``Network.begin``), or None.
    """

    step: int
    names: tuple[str, ...]
    cube: Tensor
    classes: Tensor
    measurement: Tensor
    camera: CassiCamera
    begun: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        moved = {name: getattr(self, name).to(device) for name in ("cube", "classes", "measurement", "camera")}
        return replace(self, **moved, begun=None if self.begun is None else self.begun.to(device))


class Batches:
    """The batches of a run, by step.

    Args:
        main: scenes of the training split.
        exposure: with a mask at least as large as the crops.
        config: of the run.
        slots: the samples of every batch that belong to this process.
        others: sets of which ``data.mix`` takes samples, each with its share.
        begin: what a network begins with, computed with each batch; None if nothing.

    Raises:
        InputError: the crops do not fit into a scene or into the mask.
    """

    def __init__(
        self,
        main: SceneSet,
        exposure: Exposure,
        config: TrainConfig,
        slots: Sequence[int],
        others: Sequence[tuple[SceneSet, float]] = (),
        begin: Callable[[Tensor, CassiCamera], Tensor | None] | None = None,
    ):
        self.scenes = scenes = Mixture(main, others)
        self.exposure, self.config, self.slots, self.begin = exposure, config, slots, begin
        self.camera = camera = exposure.whole_camera(scenes.bands, scenes.wavelengths)
        height, width = config.sampling.crop
        high = wide = max(height, width)
        if not config.sampling.quarter_turns:
            high, wide = height, width
        for index, name in enumerate(scenes.names):
            rows, columns = scenes.size(index)
            if rows < high or columns < wide:
                raise InputError(
                    f"scene {name} has {rows}×{columns} pixels, crops need {high}×{wide}",
                    "choose a smaller sampling.crop",
                )
        if camera.height < height or camera.width < width:
            raise InputError(
                f"the mask has {camera.height}×{camera.width} pixels, crops have {height}×{width}",
                "choose a smaller sampling.crop or a larger mask",
            )

    def stream(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches start .. stop − 1 in order, prepared in advance by threads."""
        workers = self.config.sampling.workers
        if workers == 0:
            yield from map(self.batch, range(start, stop))
            return
        steps = iter(range(start, stop))
        with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
            ahead = deque(pool.submit(self.batch, step) for step in islice(steps, workers + 1))
            try:
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(pool.submit(self.batch, step) for step in islice(steps, 1))
                    yield batch
            finally:
                pool.shutdown(cancel_futures=True)

    def batch(self, step: int) -> Batch:
        """The samples of this process at a step, behind that step's part of the mask or random camera."""
        drawn = self.random_exposure_at(step)
        camera = self.camera_at(step) if drawn is None else drawn.told
        batches = self.on_grid(camera.wavelengths)
        samples = [batches.sample(step, slot) for slot in self.slots]
        cube = torch.from_numpy(np.stack([scene.cube for scene, _ in samples]))
        classes = torch.from_numpy(np.stack([class_targets(scene) for scene, _ in samples]))
        measurements = [
            self.exposure.measure(scene.cube, camera, seed) if drawn is None else drawn.measure(scene.cube, seed)
            for scene, seed in samples
        ]
        names = tuple(scene.name for scene, _ in samples)
        measurement = torch.stack(measurements)
        begun = self.begin(measurement, camera) if self.begin else None
        return Batch(step, names, cube, classes, measurement, camera, begun)

    def camera_at(self, step: int) -> CassiCamera:
        """The camera with the part of the mask that all samples of a step share."""
        height, width = self.config.sampling.crop
        top = left = 0
        if self.config.camera.random_crops:
            rng = np.random.default_rng([self.config.seed, MASK, step])
            top = int(rng.integers(self.camera.height - height + 1))
            left = int(rng.integers(self.camera.width - width + 1))
        return self.camera.crop(top, left, height, width)

    def random_exposure_at(self, step: int) -> RandomExposure | None:
        """The random camera that all samples of a step share; None where it is the configured one."""
        random = self.config.camera.random
        if random is None:
            return None
        rng = np.random.default_rng([self.config.seed, CAMERA, step])
        if rng.random() < random.plain:
            return None
        grid = random.grid(rng, self.scenes.wavelengths)
        return random.draw(rng, *self.config.sampling.crop, self.scenes.bands, grid)

    def on_grid(self, wavelengths: tuple[float, ...] | None) -> Batches:
        """The batches with the scenes on these bands (nm)."""
        if wavelengths is None or wavelengths == self.scenes.wavelengths:
            return self
        other = copy.copy(self)
        other.scenes = self.scenes.on_grid(wavelengths)
        return other

    @property
    def span(self) -> int:
        """The most columns by which a camera of the run widens a crop."""
        random = self.config.camera.random
        return self.camera.span if random is None else random.span(self.scenes.bands)

    def sample(self, step: int, slot: int) -> tuple[Scene, int]:
        """The scene of one slot of the whole batch, and the seed of its noise."""
        seed, sampling = self.config.seed, self.config.sampling
        # Every epoch has all scenes once, in an order of its own.
        index = self.scenes.drawn(step * sampling.batch + slot, [seed, ORDER])

        rng = np.random.default_rng([seed, SAMPLE, step, slot])
        height, width = sampling.crop
        if rng.random() < sampling.mosaic and min(height, width) > 1:
            alike = self.scenes.neighbours(index)
            others = alike.start + rng.integers(len(alike), size=3)
            row, column = int(rng.integers(1, height)), int(rng.integers(1, width))
            sizes = [(r, c) for r in (row, height - row) for c in (column, width - column)]
            scene = mosaic([self.part(int(i), *size, rng) for i, size in zip([index, *others], sizes, strict=True)])
        else:
            scene = self.part(index, height, width, rng)
        return scene, int(rng.integers(2**63))

    def part(self, index: int, height: int, width: int, rng: np.random.Generator) -> Scene:
        """A random crop of a scene, rotated and flipped at random; only the crop is read."""
        sampling = self.config.sampling
        quarters = int(rng.integers(4)) if sampling.quarter_turns else 0
        if quarters % 2:
            height, width = width, height
        rows, columns = self.scenes.size(index)
        top, left = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
        scene = turned(self.scenes.crop(index, top, left, height, width), quarters)
        if sampling.flips != "none" and rng.random() < 0.5:
            scene = flipped(scene, -1)
        if sampling.flips == "both" and rng.random() < 0.5:
            scene = flipped(scene, -2)
        return scene


def exposure_for(config: CameraConfig, sets: Sequence[SceneSet]) -> Exposure:
    """How a run measures scenes, a random mask being as large as the largest scene; errors as ``parse_mask``."""
    sizes = [scenes.size(index) for scenes in sets for index in range(len(scenes))]
    return config.exposure().sized(max(height for height, _ in sizes), max(width for _, width in sizes))


def class_counts(scenes: SceneSet, classes: int, number: int = 32) -> Tensor:
    """How many labelled pixels of each class, (N,), there are in some scenes, evenly spread over a set.

    Raises:
        InputError: there is none.
    """
    counts = np.zeros(classes, np.int64)
    for index in spread_evenly(len(scenes), number):
        targets = class_targets(scenes[index])
        counts += np.bincount(targets[targets != IGNORED], minlength=classes)
    if not counts.any():
        raise InputError(
            f"loss.classes=frequency needs labels, and {scenes.name} shows none", "set loss.classes to uniform"
        )
    return torch.from_numpy(counts)


def class_targets(scene: Scene) -> np.ndarray:
    """The classes of a scene as the losses expect them, (H,W) int64."""
    if scene.classes is None:
        return np.full(scene.cube.shape[1:], IGNORED)
    return np.ascontiguousarray(scene.classes, dtype=np.int64)
