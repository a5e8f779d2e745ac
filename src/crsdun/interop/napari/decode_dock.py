"""The dock that decodes a measurement among the layers: fields, a thread, a bar, and what it has to say."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit, ProgressBar, PushButton
from napari import Viewer
from napari.qt.threading import FunctionWorker
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QSizePolicy

from crsdun.errors import InputError
from crsdun.interop.napari.decoding import FILE, Decoding, Job, may_be_measurement, measurement_of, methods
from crsdun.interop.napari.layers import add_to, result_layers
from crsdun.interop.napari.presence import Presence
from crsdun.interop.napari.wording import FIELDS, message
from crsdun.methods.verdict import describe_fit
from crsdun.runtime import Reconstruction

FILES = ("mask", "camera")
OFTEN = ("mask", "camera", "step")  # the other fields appear when they are asked for
TICK = 100  # ms between looks at how far the thread is


class DecodeDock(Container):
    """Decodes the chosen layer and adds cube, picture and classes as layers.

    Attributes:
        job: the last decoding; None before the first one.
    """

    def __init__(self, napari_viewer: Viewer):  # the name by which napari gives it
        self.viewer = viewer = napari_viewer
        self.job: Job | None = None
        self._worker: FunctionWorker | None = None
        self.measurement = ComboBox(
            label="Measurement", choices=self._measurements, tooltip="A layer in shades of grey, or a stack of them."
        )
        self.method = ComboBox(label="Method", choices=methods(), tooltip="Shipped weights, or a solver.")
        self.weights = FileEdit(label="Weights file", nullable=True, visible=False)
        self.fields: dict[str, Any] = {name: _field(name) for name in FIELDS}
        self.more = CheckBox(text="More about the camera")
        self.decode = PushButton(text="Decode")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(visible=False)
        self.says = Label(value="")
        often = [self.fields[name] for name in OFTEN]
        rare = [each for name, each in self.fields.items() if name not in OFTEN]
        buttons = Container(widgets=[self.decode, self.cancel], layout="horizontal", labels=False)
        fields = Container(widgets=[self.measurement, self.method, self.weights, *often])
        seldom = Container(widgets=rare, visible=False)
        super().__init__(
            widgets=[fields, self.more, seldom, buttons, self.bar, self.says], labels=False, scrollable=False
        )
        self.says.native.setWordWrap(True)
        self.says.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding)
        self.says.native.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.says.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._timer = QTimer(self.native)
        self._timer.timeout.connect(self._show_progress)
        self.method.changed.connect(lambda chosen: setattr(self.weights, "visible", chosen == FILE))
        self.more.changed.connect(lambda wanted: setattr(seldom, "visible", wanted))
        self.decode.changed.connect(self.start)
        self.cancel.changed.connect(self.stop)
        self._presence = Presence(self.native, self._abandon)
        viewer.layers.selection.events.active.connect(self._follow)
        self._follow()

    # -- choosing -----------------------------------------------------------------------------------------------

    def _measurements(self, _: Any = None) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in self.viewer.layers if may_be_measurement(layer)]

    def _follow(self, _: Any = None) -> None:
        """Choose the layer that is selected, if it may be a measurement."""
        self.measurement.reset_choices()
        active = self.viewer.layers.selection.active
        if active in self.measurement.choices:
            self.measurement.value = active

    def chosen(self) -> Decoding:
        """What was chosen and typed."""
        files = {name: self.fields[name].value for name in FILES}
        typed = {name: each.value.strip() for name, each in self.fields.items() if name not in FILES}
        return Decoding(self.method.value, self.weights.value, **files, typed=typed)

    # -- decoding -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Decode in a thread."""
        if self._worker is not None:
            return
        layer = self.measurement.value
        try:
            if layer is None:
                raise InputError("there is no measurement among the layers", "open one first")
            self.job = Job(self.chosen(), measurement_of(layer, self.viewer.dims.point))
        except InputError as error:
            self.say(message(error), is_problem=True)
            return
        self.say("Decoding …")
        self._show_progress()
        self.decode.enabled, self.cancel.enabled, self.bar.visible = False, True, True
        self._worker = worker = FunctionWorker(self.job.run)
        self.job.unwanted = lambda: worker.abort_requested  # by ``stop``, or by napari when it quits
        self._worker.finished.connect(self._finish)
        self._worker.start()
        self._timer.start(TICK)

    def stop(self) -> None:
        """End a decoding at its next step; the layers stay as they are."""
        if self._worker is not None:
            self._worker.quit()

    def _show_progress(self) -> None:
        if self.job is not None:
            self.bar.max, self.bar.value = self.job.total, self.job.done  # 0 of 0 is a bar that moves

    def _finish(self) -> None:
        """Add the layers of what was decoded, or say why there are none."""
        if self._worker is None:  # the dock was closed meanwhile
            return
        job, self._worker = self.job, None
        assert job is not None
        self._timer.stop()
        self.decode.enabled, self.cancel.enabled, self.bar.visible = True, False, False
        if job.result is None:
            self.say(job.problem, is_problem=True)
            return
        cube, *_ = add_to(self.viewer, result_layers(job.result))
        self.viewer.layers.selection.active = cube
        lines = [outcome(job.result), *job.notes]
        if job.result.warning is not None:
            lines.insert(1, f"Do not rely on this result: {job.result.warning}")
        self.say("\n".join(lines), is_problem=job.result.warning is not None)

    def _abandon(self) -> None:
        """End what runs when the dock goes, and hear nothing more of it and of the viewer."""
        self.stop()
        self._worker = None
        self.viewer.layers.selection.events.active.disconnect(self._follow)

    def say(self, text: str, is_problem: bool = False) -> None:
        """Show a text below the buttons, in the colour of a warning if it is a problem."""
        self.says.native.setTextFormat(Qt.TextFormat.PlainText)
        self.says.native.setStyleSheet("color: #e69f00" if is_problem else "")
        self.says.value = text


def outcome(result: Reconstruction) -> str:
    """A result in one line."""
    metrics, record = result.metrics, result.record
    line = f"{record['method']} in {record['seconds']:.1f} s, data residual {metrics['data_residual']:.2%}"
    return f"{line}: {describe_fit(metrics)}" if "fit" in metrics else line


def _field(name: str) -> FileEdit | LineEdit:
    label, tooltip = FIELDS[name]
    if name in FILES:
        return FileEdit(label=label, tooltip=tooltip, nullable=True)
    return LineEdit(label=label, tooltip=tooltip)
