"""What any method makes of a measurement: the one result type of networks and solvers."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from crsdun.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """Cubes and class logits of every stage, first to last.

    Attributes:
        cubes: one (B,C,H,W) per stage, reflectance usually 0..1 (not clipped).
        logits: one (B,N,H,W) per stage; empty for a method that does not segment.
    """

    cubes: list[Tensor]
    logits: list[Tensor] = field(default_factory=list)

    @property
    def cube(self) -> Tensor:
        """The answer: x of the last stage, (B,C,H,W)."""
        return self.cubes[-1]

    @property
    def classes(self) -> Tensor:
        """The answer: the most probable class of each pixel in the last stage, (B,H,W) int64.

        Raises:
            InputError: the method does not segment.
        """
        if not self.logits:
            raise InputError("this method reconstructs a cube but has no class map")
        return self.logits[-1].argmax(1)
