"""Named arrays in the file formats of the field: what a file holds, without asking yet what it means."""

from crsdun.scenes.formats.array_file import ArrayFile
from crsdun.scenes.formats.table import (
    FORMATS,
    SUFFIXES,
    files_of,
    in_memory,
    is_result_folder,
    open_arrays,
    read_arrays,
    write_arrays,
)

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "ArrayFile",
    "files_of",
    "in_memory",
    "is_result_folder",
    "open_arrays",
    "read_arrays",
    "write_arrays",
]
