"""The libraries of other engines: imported when they are needed, and kept from reporting home.

ONNX Runtime (since 1.32 on Linux too) sends events to Microsoft unless its environment variable says no, and
openvino tells Intel of every import where its telemetry package is found.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from crsdun.errors import InputError

TELEMETRY = "openvino_telemetry"


def library(name: str) -> Any:
    """The module ``name`` of the extra ``engines``, silent.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    hidden = TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed ({error})", "pip install 'crsdun[engines]'") from error
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
