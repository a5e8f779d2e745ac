"""Files that come in from elsewhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

LARGEST_LIMIT_MB = 1_000_000  # of an upload, which has to fit on the disk
MEGABYTE = 1 << 20
ODD = re.compile(r"[^\w.\- ()+]")  # letters in names of files
RAW_SUFFIXES = (".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip")  # of the data of ENVI
# What a file may unpack to, in multiples of the largest upload.
UNPACKED = 4
MOST_STEM_BYTES, MOST_SUFFIX_BYTES = 120, 16  # of a name


def file_name(name: str) -> str:
    """A name for a file that somebody elsewhere calls ``name``: its last part, without odd letters, not too long.

    A changed stem ends in a mark of what it was, so that other names stay other names, and pairs of one stem pairs.
    """
    name = name.replace("\\", "/").rpartition("/")[2]
    suffix = Path(name).suffix
    if len(suffix.encode()) > MOST_SUFFIX_BYTES or ODD.search(suffix):
        suffix = ""  # no kind of file
    called = name.removesuffix(suffix)
    data = Path(called).suffix  # of NAME.img.hdr, which belongs to NAME.img
    if suffix.lower() == ".hdr" and data.lower() in RAW_SUFFIXES:
        called, suffix = called.removesuffix(data), data + suffix
    stem = ODD.sub("_", called.lstrip(".")).encode()[:MOST_STEM_BYTES].decode(errors="ignore")
    mark = "" if stem == called else f"-{hashlib.sha256(called.encode(errors='surrogatepass')).hexdigest()[:6]}"
    return f"{stem}{mark}{suffix}"
