"""How good and how costly an estimate is: metrics by named protocol, whole splits, parameters and multiply-adds."""

from crsdun.evaluation.comparing import Comparison, compare
from crsdun.evaluation.cost import multiply_adds, parameters
from crsdun.evaluation.metrics import class_metrics, cube_metrics, data_residual, spectral_angles
from crsdun.evaluation.protocols import PROTOCOLS, Protocol, protocol_by_name
from crsdun.evaluation.published import MAIN_TABLE, PUBLISHED, Published, Setting, published
from crsdun.evaluation.scoring import Evaluation, Setup, Trial, evaluate, try_scene
from crsdun.evaluation.writing import FIGURES, read_evaluation, write_tables

__all__ = [
    "FIGURES",
    "MAIN_TABLE",
    "PROTOCOLS",
    "PUBLISHED",
    "Comparison",
    "Evaluation",
    "Protocol",
    "Published",
    "Setting",
    "Setup",
    "Trial",
    "class_metrics",
    "compare",
    "cube_metrics",
    "data_residual",
    "evaluate",
    "multiply_adds",
    "parameters",
    "protocol_by_name",
    "published",
    "read_evaluation",
    "spectral_angles",
    "try_scene",
    "write_tables",
]
