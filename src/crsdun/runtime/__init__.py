"""From measurement files to results, for any number of frames of any size."""

from crsdun.runtime.batch import Batch, Item, check_parent, check_truth_folder, find_measurements, find_truth, stream
from crsdun.runtime.classification import classified
from crsdun.runtime.engines import Engine, first_use, open_engine
from crsdun.runtime.explanation import (
    AttentionMaps,
    CrossAggregationRecord,
    Explanation,
    RegionAttention,
    StageEstimate,
    explain,
)
from crsdun.runtime.fingerprint import deciding_files
from crsdun.runtime.graph_export import export
from crsdun.runtime.large_frame import LargeFrame, open_large
from crsdun.runtime.large_run import LargeRun, is_large
from crsdun.runtime.pipeline import Pipeline, reconstruct
from crsdun.runtime.preparation import Preparation, PreparedMeasurement, match_bands
from crsdun.runtime.reconstruction import (
    DEFAULT_SOLVER,
    Reconstruction,
    choose_weights,
    decode,
    decode_batch,
    fit_of_weights,
    list_methods,
    open_method,
)
from crsdun.runtime.result_files import METRICS, finished_before, read_results, write_data
from crsdun.runtime.sequence import SequenceOptions, SequenceRun, open_frames
from crsdun.runtime.sharing import HubCard, Published, push
from crsdun.runtime.simulation import simulate

__all__ = [
    "DEFAULT_SOLVER",
    "METRICS",
    "AttentionMaps",
    "Batch",
    "CrossAggregationRecord",
    "Engine",
    "Explanation",
    "HubCard",
    "Item",
    "LargeFrame",
    "LargeRun",
    "Pipeline",
    "Preparation",
    "PreparedMeasurement",
    "Published",
    "Reconstruction",
    "RegionAttention",
    "SequenceOptions",
    "SequenceRun",
    "StageEstimate",
    "check_parent",
    "check_truth_folder",
    "choose_weights",
    "classified",
    "deciding_files",
    "decode",
    "decode_batch",
    "explain",
    "export",
    "find_measurements",
    "find_truth",
    "finished_before",
    "first_use",
    "fit_of_weights",
    "is_large",
    "list_methods",
    "match_bands",
    "open_engine",
    "open_frames",
    "open_large",
    "open_method",
    "push",
    "read_results",
    "reconstruct",
    "simulate",
    "stream",
    "write_data",
]
