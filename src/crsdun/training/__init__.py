"""How networks learn: losses."""

from crsdun.training.losses import IGNORED, joint_loss

__all__ = ["IGNORED", "joint_loss"]
