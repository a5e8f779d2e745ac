"""How measurements are decoded, told once for as many as there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.methods.memory import available_memory
from crsdun.methods.tiles import Tiles, automatic_tiles
from crsdun.optics import CassiCamera
from crsdun.runtime.batch import find_truth
from crsdun.runtime.reconstruction import (
    Method,
    Progress,
    Reconstruction,
    camera_for,
    check_method,
    choose_weights,
    open_method,
    reconstruct,
    to_measurement_scale,
)
from crsdun.scenes import Measurement, Scene, read_measurement, read_scene


@dataclass(frozen=True)
class PreparedMeasurement:
    """A measurement that was read, with the camera that took it and the true scene, where there is one."""

    measurement: Measurement
    camera: CassiCamera
    truth: Scene | None


@dataclass
class Pipeline:
    """Reads measurements and decodes them, all in the same way.

    Attributes:
        method: name and callable, as ``open_method`` gives them; None takes for each measurement what fits its
            camera (``choose_weights``).
        mask: (H,W) or (C,H,W); None takes that of each file.
        key: of the exposure in its file.
        camera: settings of ``camera_for`` (bands, wavelengths, step, offsets); None there for what each file tells.
        calibration: settings of ``normalise_frame`` (dark, white, bit_depth, exposure).
        truth: file of the true scene, or a folder with one for each measurement.
        truth_key: of the true cube in its file.
        engine: that computes the weights which fit.
        device, tiles, precision: as ``reconstruct``; where ``tiles`` is None, a frame is cut if the memory would not
            suffice.
        tell: is told once what was decided without being asked.

    Raises:
        InputError: the method takes no tiles, or the device no such precision.
    """

    method: tuple[str, Method] | None = None
    mask: np.ndarray | None = None
    key: str | None = None
    camera: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    truth_key: str | None = None
    engine: str | None = None
    device: str = "cpu"
    tiles: Tiles | None = None
    precision: str = "float32"
    tell: Callable[[str], None] = print

    def __post_init__(self) -> None:
        if self.method is not None:
            check_method(*self.method, self.tiles, self.precision, self.device)
        # Asked before the first computation, whose memory would count as taken.
        self.memory = available_memory(self.device)
        self.told: set[str] = set()
        self.methods: dict[str | None, tuple[str, Method]] = {}

    def read(self, file: Path) -> PreparedMeasurement:
        """A measurement from its file.

        Raises:
            InputError: what is in the files does not fit together; the message says what would.
        """
        measurement = read_measurement(file, self.key, self.camera.get("wavelengths"))
        camera = camera_for(measurement, self.mask, **self.camera)
        measurement = to_measurement_scale(measurement, camera.bands, **self.calibration)
        truth = None if self.truth is None else read_scene(find_truth(file, self.truth), self.truth_key)
        return PreparedMeasurement(measurement, camera, truth)

    def decode(self, given: PreparedMeasurement, progress: Progress | None = None) -> Reconstruction:
        """What ``reconstruct`` makes of it, in tiles where the memory would not suffice."""
        camera = given.camera
        name, method = self.method or self.choose(given)
        tiles = self.tiles or automatic_tiles(method, camera, self.memory)
        if tiles is not None and tiles.automatic:
            self.say(
                f"the memory does not suffice for {camera.height}×{camera.width} pixels at once: tiles of "
                f"{tiles.rows} rows, overlapping by {tiles.overlap} (choose with <tile>)"
            )
        return reconstruct(
            given.measurement,
            camera,
            method,
            name,
            given.truth,
            self.device,
            progress,
            tiles,
            self.precision,
        )

    def choose(self, given: PreparedMeasurement) -> tuple[str, Method]:
        """The method that fits, made once for all measurements."""
        name, why = choose_weights(given.measurement, given.camera)
        self.say(why)
        if name not in self.methods:
            self.methods[name] = open_method(name, device=self.device, engine=self.engine, step=given.camera.step)
        return self.methods[name]

    def say(self, note: str) -> None:
        """Tell something, once for many frames of the same kind."""
        if note not in self.told:
            self.tell(note)
        self.told.add(note)


def check_truth_folder(truth: Path | None) -> None:
    """Raise an InputError where the truth of many measurements is no folder."""
    if truth is not None and not truth.is_dir():
        raise InputError(f"{truth} is no folder", "give <truth> with one file for each measurement")
