"""A measurement file in, a folder of results out; any number of them, of any size."""

from crsdun.methods.memory import available_memory, keep_freed_memory
from crsdun.methods.precision import PRECISIONS
from crsdun.methods.tiles import Tiles, automatic_tiles
from crsdun.runtime.batch import check_parent, find_measurements, find_truth, stream
from crsdun.runtime.engines import Engine, open_engine
from crsdun.runtime.explanation import (
    AttentionMaps,
    CrossAggregationRecord,
    Explanation,
    RegionAttention,
    StageEstimate,
    explain,
)
from crsdun.runtime.graph_export import export
from crsdun.runtime.pipeline import Pipeline, PreparedMeasurement, check_truth_folder
from crsdun.runtime.reconstruction import (
    DEFAULT_SOLVER,
    Progress,
    Reconstruction,
    camera_for,
    check_method,
    choose_weights,
    match_bands,
    open_method,
    reconstruct,
    to_measurement_scale,
)
from crsdun.runtime.simulation import simulate

__all__ = [
    "DEFAULT_SOLVER",
    "PRECISIONS",
    "AttentionMaps",
    "CrossAggregationRecord",
    "Engine",
    "Explanation",
    "Pipeline",
    "PreparedMeasurement",
    "Progress",
    "Reconstruction",
    "RegionAttention",
    "StageEstimate",
    "Tiles",
    "automatic_tiles",
    "available_memory",
    "camera_for",
    "check_method",
    "check_parent",
    "check_truth_folder",
    "choose_weights",
    "explain",
    "export",
    "find_measurements",
    "find_truth",
    "keep_freed_memory",
    "match_bands",
    "open_engine",
    "open_method",
    "reconstruct",
    "simulate",
    "stream",
    "to_measurement_scale",
]
