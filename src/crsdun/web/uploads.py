"""Files that come in from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

LARGEST_LIMIT_MB = 1_000_000  # of an upload, which has to fit on the disk
MEGABYTE = 1 << 20
# What a file may unpack to, in multiples of the largest upload.
UNPACKED = 4
MOST_STEM_BYTES = 120  # of a name


def file_name(name: str) -> str:
    """A name for a file that somebody elsewhere calls ``name``: its last part, without odd letters, not too long."""
    name = re.sub(r"[^\w.\- ()+]", "_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return Path(name).stem.encode()[:MOST_STEM_BYTES].decode(errors="ignore") + Path(name).suffix
