"""How good and how costly an estimate is: metrics by named protocol, parameters and multiply-adds."""

from crsdun.evaluation.cost import multiply_adds, parameters
from crsdun.evaluation.metrics import class_metrics, cube_metrics, data_residual, spectral_angles

__all__ = ["class_metrics", "cube_metrics", "data_residual", "multiply_adds", "parameters", "spectral_angles"]
