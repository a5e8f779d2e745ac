"""How networks are trained: losses, batches, the loop, and checkpoints from which a run resumes exactly."""

from crsdun.training.config import TrainConfig, config_from, load_config
from crsdun.training.loop import RunObserver, TrainingResult, train
from crsdun.training.losses import IGNORED, LossConfig, joint_loss, register_loss

__all__ = [
    "IGNORED",
    "LossConfig",
    "RunObserver",
    "TrainConfig",
    "TrainingResult",
    "config_from",
    "joint_loss",
    "load_config",
    "register_loss",
    "train",
]
