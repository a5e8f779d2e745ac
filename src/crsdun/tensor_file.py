"""A safetensors file as a whole: its header and its tensors. Nothing in such a file is ever executed."""

from __future__ import annotations

import os
from typing import Any, Literal


def read_tensors(
    path: str | os.PathLike, framework: Literal["pt", "numpy"] = "pt"
) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts of the header of a file, and its tensors by name.

    Raises:
        OSError, safetensors.SafetensorError: it cannot be read.
    """
    from safetensors import safe_open

    with safe_open(path, framework=framework) as file:
        names = file.keys()
        return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
