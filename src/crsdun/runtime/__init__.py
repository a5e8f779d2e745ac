"""A measurement file in, a folder of results out; any number of them, of any size."""

from crsdun.runtime.decoding import Decoder, Prepared, check_truth_of_many
from crsdun.runtime.engines import Engine, open_engine
from crsdun.runtime.explaining import CrossAggregationRecord, Explanation, Look, Looks, Stage, explain
from crsdun.runtime.exporting import export
from crsdun.runtime.folder import RECORD, check_folder, new_folder
from crsdun.runtime.many import check_parent, find_measurements, stream, truth_of
from crsdun.runtime.memory import available_memory, keep_freed_memory
from crsdun.runtime.precision import PRECISIONS
from crsdun.runtime.reconstruction import (
    WITHOUT_WEIGHTS,
    Progress,
    Reconstruction,
    camera_for,
    check_method,
    fitting_weights,
    method_from,
    on_bands_of,
    on_scale,
    reconstruct,
)
from crsdun.runtime.simulation import simulate
from crsdun.runtime.tiles import Tiles, automatic_tiles

__all__ = [
    "PRECISIONS",
    "RECORD",
    "WITHOUT_WEIGHTS",
    "CrossAggregationRecord",
    "Decoder",
    "Engine",
    "Explanation",
    "Look",
    "Looks",
    "Prepared",
    "Progress",
    "Reconstruction",
    "Stage",
    "Tiles",
    "automatic_tiles",
    "available_memory",
    "camera_for",
    "check_folder",
    "check_method",
    "check_parent",
    "check_truth_of_many",
    "explain",
    "export",
    "find_measurements",
    "fitting_weights",
    "keep_freed_memory",
    "method_from",
    "new_folder",
    "on_bands_of",
    "on_scale",
    "open_engine",
    "reconstruct",
    "simulate",
    "stream",
    "truth_of",
]
