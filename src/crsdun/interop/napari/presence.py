"""When a dock goes: napari takes its widget out of the window, but what still refers to the widget keeps it alive."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class Presence(QObject):
    """Calls ``leave`` once, when a widget is taken out of its window or goes with it."""

    def __init__(self, widget: QWidget, leave: Callable[[], None]):
        super().__init__(widget)
        self._leave: Callable[[], None] | None = leave
        widget.installEventFilter(self)
        widget.destroyed.connect(lambda *_: self._gone())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._gone()
        return False

    def _gone(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
