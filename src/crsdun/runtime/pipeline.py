"""From measurement files to reconstructions: one call for one measurement, one pipeline for many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crsdun.classifiers import SpectralClassifier
from crsdun.errors import InputError, worded
from crsdun.methods import Method, Progress, RunOptions, Tiles, available_memory
from crsdun.methods.run import choose_tiles
from crsdun.optics import read_camera
from crsdun.optics.masks import check_transmission
from crsdun.runtime.batch import Item, find_truth
from crsdun.runtime.classification import classified
from crsdun.runtime.engines import first_use
from crsdun.runtime.fingerprint import fingerprint_of
from crsdun.runtime.preparation import Preparation, PreparedMeasurement
from crsdun.runtime.reconstruction import DEFAULT_SOLVER, Reconstruction, choose_weights, decode, open_method
from crsdun.scenes import Measurement, Scene, StoredMask, read_frame, read_stored_mask
from crsdun.scenes.array_roles import doubts, unit_range
from crsdun.scenes.formats import ArrayFile
from crsdun.scenes.mask_io import transmission
from crsdun.scenes.measurement import unmasked
from crsdun.solvers import Refinement, refine_camera

# In a record: the fingerprint of what decided on the result.
INPUTS = "inputs_sha256"


def reconstruct(
    measurement: str | Path | np.ndarray | Measurement,
    mask: str | Path | np.ndarray | None = None,
    method: str | Path | Method | None = None,
    truth: str | Path | Scene | np.ndarray | None = None,
    refine: bool = False,
    **settings: Any,
) -> Reconstruction:
    """Reconstruct in one call: ``crsdun.reconstruct(frame, mask, wavelengths=wavelengths).scene.cube``.

    What is decided automatically is printed.

    Args:
        measurement: the exposure, (H,Wm), or a file with it.
        mask: coded aperture, (H,W) or (C,H,W), or a file with it; None takes the one stored with the exposure. Its
            numbers mean what they mean in a file (``scenes.read_mask``): of 0 and 255, 255 is open.
        method: a name (``gap-tv``, ``crsdun_tiny``), a file of weights, or a method; None takes shipped weights if
            they fit the camera, and otherwise a solver.
        truth: the true scene, for metrics, or its cube (C,H,W) on the bands of the camera, or a file with it.
        refine: find from the exposure how the camera deviates from what is told, first (``solvers.refine_camera``).
        **settings: of ``Preparation`` (``wavelengths``, ``bits``, ``dark``, ``white`` and ``camera_file``, which may
            be names of files, …) and of ``RunOptions`` (``device``, ``tiles``, …).

    Raises:
        InputError: the inputs do not fit together; the message says what would.
    """
    run_names = {each.name for each in fields(RunOptions)}
    unknown = settings.keys() - run_names - {each.name for each in fields(Preparation)}
    if unknown:
        raise InputError(f"reconstruct has no setting {', '.join(sorted(unknown))}")
    _check_are_for_files(settings, measurement, mask, truth)
    if isinstance(settings.get("tiles"), int):
        settings["tiles"] = Tiles(settings["tiles"])
    options = RunOptions(**{name: settings.pop(name) for name in run_names & settings.keys()})
    if isinstance(mask, str | Path):
        settings |= read_stored_mask(mask, settings.pop("mask_key", None))._asdict()
    elif mask is not None:
        given = _transmission(unmasked(mask, "the mask"))
        settings |= {"mask": given.mask, "mask_divisor": given.mask_divisor}
    for name in ("dark", "white"):
        if isinstance(settings.get(name), str | Path):
            settings[name] = read_frame(settings[name], name, settings.get("key"))
    if isinstance(measurement, np.ma.MaskedArray):
        settings["bad"] = np.ma.getmaskarray(measurement) | np.asarray(settings.get("bad", False))
        measurement = measurement.filled(0)
    if isinstance(settings.get("camera_file"), str | Path):
        settings["camera_file"] = read_camera(settings["camera_file"])
    preparation = Preparation(**settings)
    if isinstance(measurement, str | Path):
        measurement = preparation.open(measurement).one(preparation.frame)
    elif not isinstance(measurement, Measurement):
        measurement = Measurement(np.asarray(measurement))
    if isinstance(truth, str | Path):
        truth = preparation.read_truth(truth)
    elif truth is not None and not isinstance(truth, Scene):
        truth = _true_scene(truth, preparation.divisor)
    opened = open_method(method, options.device) if isinstance(method, str | Path) else method
    pipeline = Pipeline(opened, options=options, refine=refine)
    return pipeline.decode(pipeline.refined(preparation.prepare(measurement, truth)))


def _check_are_for_files(settings: Mapping[str, Any], measurement: Any, mask: Any, truth: Any) -> None:
    """Raise an InputError for a setting that says something of a file where there is none."""
    of_a_file = {
        "key": measurement, "frame": measurement, "mask_key": mask if mask is not None else measurement,
        "truth_key": truth, "unlabelled": truth,
    }  # fmt: skip
    for name, given in of_a_file.items():
        if settings.get(name) is not None and not isinstance(given, str | Path):
            raise InputError(f"{name} is for a file, and none is given for it", f"omit <{name}>")


def _true_scene(truth: Any, divisor: float | None) -> Scene:
    """A true cube (C,H,W) in memory, on the scale that its numbers have in a file; NaN where it is masked."""
    is_masked = isinstance(truth, np.ma.MaskedArray)
    array = np.ma.filled(truth.astype(np.float32), np.nan) if is_masked else np.asarray(truth)
    file = ArrayFile(Path("the truth"), "array", {"truth": array}, {})
    doubt = doubts(array, file, "truth", divisor=divisor)
    if doubt is not None:
        doubt.tell()
    return Scene(unit_range(array, file, "truth", divisor)[0], name="truth")


def _transmission(mask: np.ndarray) -> StoredMask:
    """A mask in memory as transmissions, and what its numbers were divided by, as ``scenes.read_mask`` does it.

    Fractions may be those of a calibration, which has no file here that says so (``check_transmission``).
    """
    if not mask.size:  # what is wrong is for the camera to refuse
        return StoredMask(mask)
    try:
        check_transmission(mask)
        return StoredMask(mask)
    except InputError:
        file = ArrayFile(Path("memory"), "array", {"mask": mask}, {"axes": "CHW"})
        return transmission("mask", file)


@dataclass
class Pipeline:
    """Reads and decodes any number of measurements in the same way.

    Attributes:
        method: that decodes; None chooses for each measurement what fits its camera (``choose_weights``).
        preparation: how measurements are read.
        truth: file of the true scene, or a folder with one for each measurement.
        options: how the method is run.
        engine: that runs automatically chosen weights.
        notify: called once with each line about what was decided automatically.
        control: what a setting of a given name is called in these lines.
        refine: find from the first measurement of each camera how it deviates from what is told; all are then
            decoded behind the camera that was found.
        classes: a classifier made by example, which gives the class map in place of the method.
        files: what else decides on results (``deciding_files``), for their fingerprints.

    Raises:
        InputError: the method cannot be run with these options.
    """

    method: Method | None = None
    preparation: Preparation = field(default_factory=Preparation)
    truth: Path | None = None
    options: RunOptions = field(default_factory=RunOptions)
    engine: str | None = None
    notify: Callable[[str], None] = print
    control: Callable[[str], str] = str
    refine: bool = False
    classes: SpectralClassifier | None = None
    files: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method is not None:
            self.options.check(self.method)
        if self.options.memory is None:  # measured before the first computation, whose memory would count as used
            self.options = replace(self.options, memory=available_memory(self.options.device))
        self.notes: set[str] = set()
        self.opened: dict[str | None, Method] = {}
        self.refinements: list[Refinement] = []

    def read(self, file: Path) -> PreparedMeasurement:
        """A measurement from its file, with its truth; errors as ``Preparation.read``."""
        truth = None if self.truth is None else find_truth(file, self.truth)
        return self.refined(self.preparation.read(file, truth))

    def read_item(self, item: Item, progress: Progress | None = None) -> PreparedMeasurement:
        """The same for one of many; of a stack, the truth has the name of its results."""
        measurement, truth = item.read(), None
        if self.truth is not None:
            truth = self.preparation.read_truth(find_truth(item.file, self.truth, item.truth))
        return self.refined(self.preparation.prepare(measurement, truth), progress)

    def refined(self, prepared: PreparedMeasurement, progress: Progress | None = None) -> PreparedMeasurement:
        """A measurement behind its refined camera, if it is to be ``refine``d."""
        if not self.refine:
            return prepared
        camera = prepared.camera
        found = next((each for each in self.refinements if each.is_of(camera)), None)
        if found is None:
            frame = torch.from_numpy(prepared.measurement.frame)[None].to(self.options.device)
            found = refine_camera(frame, camera, progress)
            self.refinements.append(found)
            self.note(str(found))
        return prepared.refined(found)

    def decode(self, prepared: PreparedMeasurement, progress: Progress | None = None) -> Reconstruction:
        """The reconstruction, in tiles if there is not enough memory for the whole frame.

        If chosen weights give a cube that should not be believed (``methods.verdict``), the solver decodes again.
        """
        self.tell(prepared)
        if self.method is not None:
            return self.run(prepared, self.method, progress)
        method = self.choose(prepared, progress)
        result = self.run(prepared, method, progress)
        if result.warning is None or method.name == DEFAULT_SOLVER:
            return result
        self.note(f"{result.warning}; {DEFAULT_SOLVER} decodes instead")
        return self.run(prepared, self.open(None), progress)

    def tell(self, prepared: PreparedMeasurement) -> None:
        """Note what there is to say of a measurement before it is decoded."""
        for remark in prepared.remarks():
            self.note(remark)

    def run(self, prepared: PreparedMeasurement, method: Method, progress: Progress | None) -> Reconstruction:
        """The reconstruction by one method."""
        camera = prepared.camera
        if self.classes is not None:  # before what takes long
            self.classes.check_bands(camera.bands, method.fit(camera).wavelengths, prepared.measurement.name)
        tiles = choose_tiles(method, camera, self.options)
        if tiles is not None and tiles.automatic:
            self.note(
                f"there is not enough memory for {camera.height}×{camera.width} pixels at once: tiles of "
                f"{tiles.rows} rows, overlapping by {tiles.overlap}"
            )
        result = decode(prepared, method, replace(self.options, tiles=tiles), progress)
        result.record[INPUTS] = self.fingerprint(prepared)
        return result if self.classes is None else classified(result, self.classes, prepared.truth)

    def fingerprint(self, prepared: PreparedMeasurement) -> str:
        """SHA-256 of what decides on the result of a measurement, besides the command and its options."""
        return fingerprint_of(prepared, self.files)

    def choose(self, prepared: PreparedMeasurement, progress: Progress | None) -> Method:
        """The method that fits, opened once for all measurements."""
        name, reason = choose_weights(prepared)
        self.note(reason)
        return self.open(name, self.engine, prepared.camera.step, progress)

    def open(
        self,
        weights: str | None,
        engine: str | None = None,
        step: float | None = None,
        progress: Progress | None = None,
    ) -> Method:
        """Shipped weights, or the solver that needs none, opened once for all measurements."""
        if weights not in self.opened:
            first = first_use(weights, engine, step) if weights else None
            if first:
                self.note(first)
            name = weights or DEFAULT_SOLVER
            self.opened[weights] = open_method(name, self.options.device, engine, step, progress)
        return self.opened[weights]

    def note(self, line: str) -> None:
        """Notify, but only once for many frames of the same kind; settings are called as ``control`` says."""
        line = worded(line, self.control)
        if line not in self.notes:
            self.notify(line)
        self.notes.add(line)
