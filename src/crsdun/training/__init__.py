"""How networks learn: the loss, the loop, and checkpoints from which a run goes on as if nothing had happened."""

from crsdun.training.config import TrainConfig, config_from, load_config
from crsdun.training.loop import RunObserver, TrainingResult, train
from crsdun.training.losses import IGNORED, joint_loss, register_loss

__all__ = [
    "IGNORED",
    "RunObserver",
    "TrainConfig",
    "TrainingResult",
    "config_from",
    "joint_loss",
    "load_config",
    "register_loss",
    "train",
]
