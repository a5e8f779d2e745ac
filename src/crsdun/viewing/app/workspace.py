"""One tab of the browser: its files, what is open in it, and everything that can be done with that."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crsdun.classifiers import load_classifier
from crsdun.classifiers.files import to_bytes
from crsdun.errors import InputError
from crsdun.networks import pretrained_weights
from crsdun.optics import CameraFile, CassiCamera, read_camera
from crsdun.scenes import Scene, StoredMask, read_measurement, read_scene, read_stored_mask
from crsdun.scenes.formats import is_result_folder
from crsdun.scenes.inspection import ArrayDescription, cameras_that_fit
from crsdun.viewing.app.classes import classify
from crsdun.viewing.app.classes import summary as classes_summary
from crsdun.viewing.app.jobs import Job, JobStatus, decode, forget_networks, refine, simulate, summary
from crsdun.viewing.app.open_scene import OpenScene, open_cube, open_exposure, open_folders
from crsdun.viewing.app.references import read_library
from crsdun.viewing.app.requests import (
    ROLES,
    ArrayChoice,
    ClassifyRequest,
    DecodeRequest,
    OpenRequest,
    SimulatedCamera,
    SimulateRequest,
)
from crsdun.viewing.app.samples import SAMPLES, read_sample
from crsdun.viewing.app.uploads import WEIGHTS, FileSummary, Uploads, summarise
from crsdun.viewing.app.wording import page_message
from crsdun.viewing.result_folder import write_results
from crsdun.web.archives import pack, plain_name

MOST_TRIALS = 200
# What an array looks like → the role it probably has.
LIKELY_ROLES = {"measurement": "measurement", "mask": "mask", "cube": "truth", "class map": "labels"}


class StaleRequest(InputError):
    """A request speaks of something that is no longer open."""


@dataclass(frozen=True)
class Trial:
    """A simulation that was decoded: its settings and its figures, None where they are unknown.

    ``mask`` is the name of its file, or of that of the camera, None for a random one; ``step`` that of the camera.
    """

    scene: str
    method: str
    mask: str | None
    step: float | None
    camera: SimulatedCamera
    psnr_db: float | None
    ssim: float | None
    miou_present: float | None
    data_residual: float | None


class Workspace:
    """A tab.

    Args:
        folder: for the uploads and results of this tab alone; it is there and empty.
        paths: files and result folders of the command line, open in every tab.
        limit: bytes of the largest upload.

    Attributes:
        files: measurements, masks, scenes, camera files and spectra, by name.
        weights: networks, by name.
        libraries: files of reference spectra, by name.
        classifiers: files of saved ones, by name.
        summaries: of the files and weights that were added, by name.
        scene: what is open.
        version: grows whenever ``scene`` changes; requests name the version that they speak of.
        problem: why ``paths`` could not be opened; empty where they could.
        job: the last computation.
        last_used: as ``time.monotonic``.
    """

    def __init__(self, folder: Path, paths: Sequence[Path], limit: int):
        self.folder, self.paths, self.limit = folder, paths, limit
        self.version = 0
        self.last_used = time.monotonic()
        self.lock = threading.RLock()
        self._writing = threading.Lock()  # of results
        self._results = folder / "results"
        self._start_empty()

    def _start_empty(self) -> None:
        self.uploads = Uploads(self.folder / "uploads", self.limit)
        self.files: dict[str, Path] = {}
        self.weights: dict[str, Path] = {}
        self.libraries: dict[str, Path] = {}
        self.classifiers: dict[str, Path] = {}
        self.summaries: dict[str, FileSummary] = {}
        self.trials: list[Trial] = []
        self.scene: OpenScene | None = None
        self.problem = ""
        self.job: Job | None = None

    @property
    def folders(self) -> list[Path]:
        """Where its files lie, which is nobody's business on the page."""
        return [self.uploads.folder, self._results, self.folder, *(path.parent for path in self.paths)]

    @property
    def computing(self) -> bool:
        return self.job is not None and self.job.running

    # -- opening ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open what was named on the command line, or else a sample."""
        self.weights |= pretrained_weights()
        result_folders = [path for path in self.paths if is_result_folder(path)]
        for path in self.paths:
            if path not in result_folders:
                self.add_file(path)
        try:
            if result_folders:
                self._show(open_folders(result_folders))
            elif self._images():
                self.open(self.suggested_request())
        except (InputError, OSError) as error:
            self.problem = page_message(error, self.folders)
        if self.scene is None and not self._images():
            self.open(OpenRequest(sample=next(iter(SAMPLES))))

    def add_file(self, path: Path) -> FileSummary:
        """A file that was uploaded, or named on the command line."""
        is_upload = path.parent == self.uploads.folder
        # What was named on the command line may be larger than an upload.
        summary = summarise(
            path, self.limit if is_upload or not path.exists() else max(self.limit, path.stat().st_size)
        )
        with self.lock:
            self.summaries.pop(path.name, None)
            self.summaries[path.name] = summary  # the newest, even if it was here before
            self.classifiers.pop(path.name, None)
            if self.weights.get(path.stem) == path:
                del self.weights[path.stem]
            if path.suffix.lower() not in WEIGHTS:
                self.files[path.name] = path
            elif summary.classes:
                self.classifiers[path.name] = path
            elif not summary.problem:
                self.weights[path.stem] = path
            # The data of an ENVI pair may have come before its header, or after.
            for name, known in self.summaries.items():
                partner = self.files.get(name)
                if partner is not None and known.problem and partner.stem == path.stem and partner != path:
                    self.summaries[name] = summarise(partner, self.limit)
            # Of an ENVI pair the header alone: both files hold the same spectra.
            self.libraries = {
                name: self.files[name]
                for name, known in self.summaries.items()
                if known.spectra and not (name != (header := f"{Path(name).stem}.hdr") and header in self.files)
            }
        return summary

    def suggestions(self) -> dict[str, ArrayChoice]:
        """Which array probably has which role, the newest file first."""
        roles: dict[str, ArrayChoice] = {}
        for file in reversed(self.summaries.values()):
            for array in file.arrays:
                if array.looks_like in LIKELY_ROLES:
                    roles.setdefault(LIKELY_ROLES[array.looks_like], ArrayChoice(file.name, array.key))
        if "truth" not in roles:
            roles.pop("labels", None)  # labels of nothing
        return roles

    def suggested_camera(self) -> str | None:
        """The newest camera file that takes the suggested measurement, unless a mask file came later."""
        roles = self.suggestions()
        measurement, mask = roles.get("measurement"), roles.get("mask")
        if measurement is None:
            return None
        names = list(self.summaries)
        own_mask = mask is not None and mask.file != measurement.file
        for name in reversed(names):
            camera = self.summaries[name].camera
            if camera is not None and self._array(measurement).shape[-2:] == camera.detector:
                return None if own_mask and mask is not None and names.index(mask.file) > names.index(name) else name
        return None

    def suggested_request(self) -> OpenRequest:
        """What is opened where nobody chooses."""
        roles, camera = self.suggestions(), self.suggested_camera()
        return OpenRequest(
            arrays={role: choice for role, choice in roles.items() if camera is None or role != "mask"}, camera=camera
        )

    def fitting_cameras(self) -> list[dict[str, int]]:
        """Cameras with whole steps (bands and step) that fit the suggested measurement and mask."""
        roles = self.suggestions()
        if not {"measurement", "mask"} <= roles.keys():
            return []
        shapes = (self._array(roles[role]).shape for role in ("measurement", "mask"))
        return [{"bands": bands, "step": step} for bands, step in cameras_that_fit(*shapes)]

    def open(self, request: OpenRequest) -> None:
        """Open a sample, or arrays of the files.

        Raises:
            InputError: they do not fit together; the message says what would.
        """
        self._show(self.prepare(request))

    def prepare(self, request: OpenRequest) -> OpenScene:
        """What ``open`` would show; raises as it does."""
        if request.sample is not None:
            # As the paper's camera: a random mask and a step of 2.
            return simulate(read_sample(request.sample), SimulatedCamera())
        measurement, mask, truth, labels = (request.arrays.get(role) for role in ROLES)
        scene = None
        if truth is not None:
            classes = (None, None) if labels is None else (self._path(labels), labels.key)
            scene = read_scene(self._path(truth), truth.key, None, *classes)
        if measurement is not None:
            exposure = read_measurement(self._path(measurement), measurement.key, request.wavelengths)
            return open_exposure(exposure, self._mask_or_camera(mask, request.camera), scene, request)
        if scene is not None:
            return open_cube(scene, request)
        raise InputError("choose which array is the measurement, or which is a cube to look at")

    def _mask_or_camera(self, mask: ArrayChoice | None, camera: str | None) -> StoredMask | CameraFile | None:
        if mask is not None and camera is not None:
            raise InputError("a camera file already says the mask", "choose no mask, or no camera")
        if camera is not None:
            return read_camera(self._path(ArrayChoice(camera)))
        return None if mask is None else read_stored_mask(self._path(mask), mask.key)

    def _mask_of(self, choice: ArrayChoice) -> StoredMask | CassiCamera:
        """The mask in a file, or the camera in a camera file."""
        path = self._path(choice)
        return read_stored_mask(path) if self.summaries[choice.file].camera is None else CassiCamera.load(path)

    def current(self, version: int | None) -> OpenScene:
        """What is open, for a request that speaks of this version of it.

        Raises:
            StaleRequest: it speaks of an earlier one.
            InputError: nothing is open.
        """
        with self.lock:
            if version != self.version:
                raise StaleRequest("what is open in this tab has changed meanwhile")
            if self.scene is None:
                raise InputError("nothing is open", "choose a sample or drop a file")
            return self.scene

    def _show(self, scene: OpenScene, job: Job | None = None) -> None:
        """Put a scene in place of what is open, which ends a computation on that; or the result of this ``job``."""
        with self.lock:
            if job is None:
                self.cancel()
                shutil.rmtree(self._results, ignore_errors=True)
            else:
                job.progress(job.done, job.total)  # raises if the job was cancelled
            self.scene, self.version = scene, self.version + 1

    def _images(self) -> list[str]:
        """The files that hold something to open, or were meant to: all but those of spectra and cameras."""
        known = self.summaries
        return [name for name in self.files if not known[name].spectra and known[name].camera is None]

    def _array(self, choice: ArrayChoice) -> ArrayDescription:
        return next(array for array in self.summaries[choice.file].arrays if array.key == choice.key)

    def _path(self, choice: ArrayChoice) -> Path:
        if choice.file not in self.files:
            raise InputError(f"there is no file {choice.file!r} here", "drop it again")
        if self.summaries[choice.file].problem:
            raise InputError(self.summaries[choice.file].problem)
        return self.files[choice.file]

    # -- computing ----------------------------------------------------------------------------------------------

    def decode(self, request: DecodeRequest, version: int | None) -> JobStatus:
        """Start to decode what is open; raises as ``current``, or an InputError where something is being computed."""

        def work(job: Job) -> str:
            layers = decode(scene, request, self.weights, job)
            self._show(scene.with_layers(layers), job)
            return summary(layers[0])

        with self.lock:
            scene = self.current(version)
            return self._begin(request.method, work)

    def refine(self, version: int | None) -> JobStatus:
        """Start to refine the camera of what is open; raises as ``decode``."""

        def work(job: Job) -> str:
            refined = refine(scene, job)
            self._show(refined, job)
            return (
                "the camera is refined"
                if refined.measurement is not scene.measurement
                else "the camera stays as it is"
            )

        with self.lock:
            scene = self.current(version)
            return self._begin("refining the camera", work)

    def simulate(self, request: SimulateRequest, version: int | None) -> JobStatus:
        """Start to measure a scene anew and to decode it, one more trial; raises as ``decode``, or for its scene."""
        mask = None if request.mask is None else self._mask_of(ArrayChoice(request.mask))
        sample = None if request.scene is None else read_sample(request.scene)

        def work(scene: Scene, job: Job) -> str:
            simulated = simulate(scene, request.camera, mask)
            layers = decode(simulated, request.decode, self.weights, job)
            figures = (layers[0].metrics.get(name) for name in ("psnr_db", "ssim", "miou_present", "data_residual"))
            step = None if simulated.camera is None else simulated.camera.step
            trial = Trial(scene.name, layers[0].name, request.mask, step, request.camera, *figures)
            with self.lock:
                self._show(simulated.with_layers(layers), job)
                self.trials = [*self.trials, trial][-MOST_TRIALS:]
            return summary(layers[0])

        with self.lock:
            scene = sample or self.current(version).truth
            if scene is None:
                raise InputError("what is open has no true scene to simulate from", "choose a sample")
            return self._begin(f"{request.decode.method} on a simulated measurement", partial(work, scene))

    def classify(self, request: ClassifyRequest, version: int | None) -> JobStatus:
        """Start to make classes from regions, or by a saved classifier; raises as ``decode``, or for its file."""
        file = request.classifier
        if file is not None and file not in self.classifiers:
            raise InputError(f"there is no classifier {file!r} here", "drop it again")
        saved = None if file is None else load_classifier(self.classifiers[file])

        def work(job: Job) -> str:
            job.step = "learning the classes" if saved is None else "telling the classes apart"
            changed, layer = classify(scene, request, saved)
            self._show(changed, job)
            return classes_summary(layer)

        with self.lock:
            scene = self.current(version)
            return self._begin("classes from regions" if file is None else f"classes of {file}", work)

    def classifier(self, name: str, version: int | None) -> bytes:
        """The file of the classifier that gave the classes of a layer.

        Raises:
            InputError: as ``current``, there is no such layer, or no classifier gave its classes.
        """
        layer, _ = self.current(version).layer(name)
        if layer.classifier is None:
            raise InputError("the classes of this result are not by a classifier", "make one from regions first")
        return to_bytes(layer.classifier)

    def _begin(self, title: str, work: Callable[[Job], str]) -> JobStatus:
        with self.lock:
            if self.computing:
                raise InputError("a computation is already running", "cancel it, or wait")
            self.job = Job(title, work, self.folders)
        return self.job.status()

    def cancel(self) -> None:
        """End the computation, if there is one."""
        if self.job is not None:
            self.job.cancel()

    # -- keeping and forgetting ---------------------------------------------------------------------------------

    def result_folder(self, name: str, version: int | None) -> Path:
        """The folder that ``crsdun reconstruct`` would have written for a layer, written when first requested.

        Raises:
            InputError: as ``current``, there is no such layer, or it was not decoded.
        """
        layer, _ = self.current(version).layer(name)
        if layer.result is None:
            raise InputError("only results of decoding can be downloaded", "decode first")
        folder = self._results / str(layer.serial) / plain_name(name)
        with self._writing:
            if not folder.is_dir():
                # Files by their names alone: directories of this machine do not leave it.
                command = [Path(argument).name for argument in layer.result.record["command"]]
                write_results(replace(layer.result, record={**layer.result.record, "command": command}), folder)
        return folder

    def archive(self, name: str, version: int | None) -> Path:
        """The same as a .zip; raises as ``result_folder``, or where there is no space for it."""
        folder = self.result_folder(name, version)
        archive = folder.with_name(f"{folder.name}.zip")
        with self._writing:
            return archive if archive.exists() else pack(folder)

    def forget(self) -> None:
        """Drop everything that was opened, uploaded or computed, and start afresh."""
        with self.lock:
            self.close()
            forget_networks()
            read_library.cache_clear()
            self._start_empty()
            self.version += 1
            self.start()

    def close(self) -> None:
        self.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)
