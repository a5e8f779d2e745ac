"""The libraries of other engines: imported when needed, with their telemetry switched off.

ONNX Runtime (since 1.32 also on Linux) sends events to Microsoft unless its environment variable forbids it, and
openvino reports every import to Intel if its telemetry package is installed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from crsdun.errors import InputError

TELEMETRY = "openvino_telemetry"


def library(name: str) -> Any:
    """The module ``name`` of the extra ``engines``, without telemetry.

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
