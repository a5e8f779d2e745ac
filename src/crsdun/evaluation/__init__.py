"""How good and how costly methods are: metrics by named protocol, whole splits, parameters and multiply-adds."""

from crsdun.evaluation.calibration import calibrate
from crsdun.evaluation.comparison import Comparison, compare
from crsdun.evaluation.cost import multiply_adds, parameters
from crsdun.evaluation.evaluator import Evaluation, EvaluationOptions, SceneResult, evaluate, evaluate_scene
from crsdun.evaluation.metrics import cube_metrics, spectral_angles
from crsdun.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from crsdun.evaluation.published import MAIN_TABLE, PUBLISHED, ProblemSize, Published, published
from crsdun.evaluation.tables import FIGURES, read_evaluation, write_tables

__all__ = [
    "FIGURES",
    "MAIN_TABLE",
    "PROTOCOLS",
    "PUBLISHED",
    "Comparison",
    "Evaluation",
    "EvaluationOptions",
    "ProblemSize",
    "Protocol",
    "Published",
    "SceneResult",
    "calibrate",
    "compare",
    "cube_metrics",
    "evaluate",
    "evaluate_scene",
    "get_protocol",
    "multiply_adds",
    "parameters",
    "published",
    "read_evaluation",
    "spectral_angles",
    "write_tables",
]
