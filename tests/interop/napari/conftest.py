"""The real napari, in a window on a screen that nobody sees.

Its pictures are drawn by OpenGL, which Qt has only on a screen: the tests start one of their own (Xvfb, with Mesa's
software renderer).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

XVFB = shutil.which("Xvfb")
PACKAGES = (
    "xvfb libgl1-mesa-dri libegl1 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0"
)
SIZE = (800, 600)  # pixels of the window


@pytest.fixture(scope="session")
def screen() -> Iterator[None]:
    """A screen for Qt; where there is no Xvfb, tests are skipped, but not in CI, which must have it."""
    if XVFB is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no Xvfb; .ci/run installs it")
        pytest.skip(f"there is no Xvfb to show napari on; on Debian: apt-get install {PACKAGES}")
    command = [XVFB, "-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
        patch.setenv("QT_QPA_PLATFORM", "xcb")
        patch.setenv("NAPARI_CONFIG", "")  # settings that are kept nowhere
        yield
    server.terminate()
    server.wait()
    server.stdout.close()


def check_qt() -> None:
    """Fail where Qt would abort all tests: PySide6 6.12.0 takes a reference to None with every call."""
    import PySide6

    if sys.version_info < (3, 12) and PySide6.__version__ == "6.12.0":
        pytest.fail("PySide6 6.12.0 ends Python 3.11 by and by: install what the extra napari asks for")


@pytest.fixture(scope="session")
def window(screen: None) -> Iterator[Any]:
    """One viewer for all tests, with the plugins that are installed."""
    check_qt()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari defines its own models as pydantic no longer likes it
        import napari
        from qtpy.QtWidgets import QApplication

        viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    yield viewer
    viewer.close()
    QApplication.instance().shutdown()  # before its screen goes


@pytest.fixture
def viewer(window: Any) -> Iterator[Any]:
    """The viewer, with nothing in it before and after."""
    from qtpy.QtCore import QThreadPool

    yield window
    QThreadPool.globalInstance().waitForDone()
    window.window.remove_dock_widget("all")
    window.layers.clear()
    window.dims.reset()
    settle()


@pytest.fixture
def dock(viewer: Any) -> Callable[[str], Any]:
    """Opens a dock of the plugin by its name in napari's menu."""
    return lambda name: viewer.window.add_plugin_dock_widget("crsdun", name)[1]


def settle() -> None:
    """Let Qt do what it has put off."""
    from qtpy.QtCore import QCoreApplication, QEvent

    for _ in range(3):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let Qt work until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"not so after {seconds} seconds"
        settle()
        time.sleep(0.01)
