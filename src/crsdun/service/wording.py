"""Error messages for whoever sends requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from crsdun.budget import explained, is_out_of_memory
from crsdun.errors import worded
from crsdun.service.settings import Settings
from crsdun.web.wording import plain_message, without_folders

OF_REQUESTS = {each.name for each in fields(Settings)}
# What only whoever starts the service can set.
AT_THE_START = {
    "limit", "memory", "workers", "batch", "queue", "timeout", "host", "port", "token_file", "weights", "engine",
    "precision", "offsets", "tile", "overlap",
}  # fmt: skip
PARTS = {"mask": "a mask as the part mask of the form", "truth": "no truth"}


def control(setting: str) -> str:
    """What a setting of the package is called in a request."""
    if setting in PARTS:
        return PARTS[setting]
    if setting in OF_REQUESTS:
        return f"the setting {setting}"
    if setting in AT_THE_START:
        return f"{setting.replace('_', ' ')} when starting crsdun serve"
    return f"the {setting.replace('_', ' ')} of crsdun reconstruct"


def in_json(error: Exception, folders: Iterable[Path] = ()) -> dict[str, str]:
    """An error as JSON: what is wrong, and what to do about it; without the folders of this machine."""
    told = explained(error)
    if not told:
        return {"error": plain_message(error, control, folders)}
    remedy = "crop it" if is_out_of_memory(error) else without_folders(worded(told.remedy, control), folders)
    return {"error": without_folders(told.message, folders)} | ({"remedy": remedy} if remedy else {})
