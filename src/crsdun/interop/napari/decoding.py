"""From a layer and what was typed in the dock to a reconstruction; nothing here knows Qt."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.budget import explained
from crsdun.errors import InputError
from crsdun.interop.napari.layers import SOURCE, as_loaded
from crsdun.interop.napari.wording import CONTROLS, message
from crsdun.methods import Progress
from crsdun.networks import pretrained_weights
from crsdun.optics import read_camera
from crsdun.runtime import Pipeline, Preparation, Reconstruction, open_method
from crsdun.scenes import Exposures, Measurement, read_stored_mask
from crsdun.solvers import SOLVERS
from crsdun.viewing.app.requests import DecodeRequest, OpenRequest
from crsdun.web.values import Values

if TYPE_CHECKING:
    from napari.layers import Image

AUTOMATIC, FILE = "what fits the camera", "weights from a file"


def methods() -> list[str]:
    """What can be chosen to decode with."""
    return [AUTOMATIC, *pretrained_weights(), *SOLVERS, FILE]


def may_be_measurement(layer: Any) -> bool:
    """Whether a layer is a picture in shades of grey, or a stack of them, and nothing else of ours."""
    from napari.layers import Image

    source = layer.metadata.get(SOURCE)
    ours = source is not None and not isinstance(source, Measurement | Exposures)
    return isinstance(layer, Image) and not layer.rgb and not ours


def measurement_of(layer: Image, point: Sequence[float]) -> Measurement:
    """The measurement that a layer shows, with what its file told of the camera; where it was edited, as it is shown.

    Args:
        point: where the sliders of the viewer stand, in the viewer's coordinates; of a stack, they choose the
            exposure.

    Raises:
        InputError: the layer is no picture in shades of grey, or holds NaN or infinity.
    """
    if not may_be_measurement(layer):
        raise InputError(f"{layer.name!r} is no measurement but a picture or a cube", "choose another layer")
    data = layer.data[0] if layer.multiscale else layer.data
    here = layer.world_to_data(point[len(point) - layer.ndim :])[:-2]
    place = tuple(int(np.clip(round(float(at)), 0, count - 1)) for at, count in zip(here, data.shape, strict=False))
    known = layer.metadata.get(SOURCE)
    if known is not None and as_loaded(layer):
        return known[place[0]] if isinstance(known, Exposures) else known
    frame = np.asarray(data[place])
    if isinstance(known, Exposures):  # whose layer shows the numbers of the file
        known = known.edited(frame, layer.name)
        frame = known.frame
    origin = getattr(known, "provenance", {}) | {"layer": layer.name} | ({"frame": place[-1] + 1} if place else {})
    told = {name: getattr(known, name, None) for name in ("wavelengths", "mask", "step", "counts", "valid")}
    if told["valid"] is not None and told["valid"].shape != frame.shape:
        told["valid"] = None
    return Measurement(frame, name=layer.name, provenance=origin, **told)


@dataclass(frozen=True)
class Decoding:
    """How to decode, as it was chosen and typed.

    Attributes:
        method: one of ``methods``.
        weights: the file of them, where the method is ``FILE``.
        mask, camera: files; None for what the measurement brings with it.
        typed: what stands in the other fields of ``wording.FIELDS``, by name; empty where nothing does.
    """

    method: str = AUTOMATIC
    weights: Path | None = None
    mask: Path | None = None
    camera: Path | None = None
    typed: Mapping[str, str] = field(default_factory=dict)

    def of(self, measurement: Measurement, progress: Progress, notify: Callable[[str], None]) -> Reconstruction:
        """The reconstruction of a measurement.

        Args:
            progress: called now and then; what it raises ends the computation.
            notify: called with each line about what was decided automatically.

        Raises:
            InputError: a field cannot be read, or the parts do not fit together; the message says what would.
        """
        preparation = self.preparation()
        prepared = preparation.prepare(measurement)
        pipeline = Pipeline(self._method(), preparation, notify=notify, control=CONTROLS.__getitem__)
        return pipeline.decode(prepared, progress)

    def preparation(self) -> Preparation:
        """What is known of the camera besides what the measurement brings with it; errors as ``of``."""
        told = OpenRequest.parse(Values(self.typed))
        names = ("bands", "wavelengths", "step", "bits", "dark", "white")
        settings: dict[str, Any] = {name: getattr(told, name) for name in names}
        if self.mask is not None:
            settings |= read_stored_mask(self.mask)._asdict()
        if self.camera is not None:
            settings["camera_file"] = read_camera(self.camera)
        return Preparation(**settings)

    def _method(self) -> Any:
        """The method; None for what fits."""
        iterations = DecodeRequest.parse(Values(self.typed)).iterations
        settings: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
        if self.method == AUTOMATIC:
            if settings:
                raise InputError("only a solver has a number of iterations", "choose one, or omit <iterations>")
            return None
        if self.method != FILE:
            return open_method(self.method, **settings)
        if self.weights is None:
            raise InputError("no file of weights is named", "set <weights>")
        return open_method(self.weights, **settings)


class Cancelled(Exception):
    """Raised by the progress callback to end a computation."""


class Job:
    """A decoding while it runs in a thread, and how it ended.

    Attributes:
        done, total: steps; 0 while their number is unknown.
        notes: what was decided automatically.
        result: None before the end, and where there is none.
        problem: why there is no result, for a person to read; empty where there is one.
        unwanted: asked at every step whether to end.
    """

    def __init__(self, decoding: Decoding, measurement: Measurement):
        self.decoding, self.measurement = decoding, measurement
        self.done = self.total = 0
        self.notes: list[str] = []
        self.result: Reconstruction | None = None
        self.problem = ""
        self.unwanted: Callable[[], bool] = lambda: False

    def run(self) -> None:
        """Decode; nothing is raised, and no library warns."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # napari would show them
                self.result = self.decoding.of(self.measurement, self._progress, self.notes.append)
        except Cancelled:
            self.problem = "Cancelled."
        except Exception as error:
            told = explained(error)
            if told:
                self.problem = message(told)
                return
            traceback.print_exc()
            self.problem = (
                f"{type(error).__name__}: {error}; this is a fault of crsdun, not yours: please report it with what "
                "the terminal of napari shows"
            )

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.unwanted():
            raise Cancelled
