"""How good and how costly an estimate is: metrics by named protocol, parameters and multiply-adds."""

from crsdun.evaluation.cost import multiply_adds, parameters

__all__ = ["multiply_adds", "parameters"]
