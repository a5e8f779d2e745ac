"""Where cubes and labels come from: the scene type and its file formats."""

from crsdun.scenes.scene import UNLABELLED, Scene

__all__ = ["UNLABELLED", "Scene"]
