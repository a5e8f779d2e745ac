"""A solver, a network, a loss and a data set of your own: each is known to every command once this is installed."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import crsdun
from crsdun.networks import Network, ReconstructionConfig
from crsdun.scenes import Scene, SceneSet
from crsdun.solvers import Solver

# -- a solver: crsdun reconstruct y.npz --method back-projection -----------------------------------------------------


@dataclass(frozen=True)
class BackProjection(Solver):
    """Aᵀ(y ⊘ D), a few times over."""

    iterations: int = 3

    def __call__(self, measurement, camera, progress=None):
        D, x = camera.diagonal.clamp(min=1), 0
        for done in range(1, self.iterations + 1):
            x = x + camera.adjoint((measurement - (camera.forward(x) if done > 1 else 0)) / D)
            if progress is not None:
                progress(done, self.iterations)
        return crsdun.Estimate([x])


crsdun.register_solver("back-projection", BackProjection)


# -- a network: network.name=sharpener in a training, sharpener+seg with a segmenter behind it -----------------------


@dataclass(frozen=True)
class SharpenerConfig(ReconstructionConfig):
    bands: int
    width: int = 16


class Sharpener(Network):
    """Back-projection, then two layers that sharpen it."""

    def __init__(self, config):
        super().__init__(config)
        C, d = config.bands, config.width
        self.layers = nn.Sequential(nn.Conv2d(C, d, 3, padding=1), nn.GELU(), nn.Conv2d(d, C, 3, padding=1))

    def forward(self, measurement, camera):
        z = camera.adjoint(measurement / camera.diagonal.clamp(min=1))
        return crsdun.Estimate([z + self.layers(z)])


crsdun.register_network("sharpener", SharpenerConfig, Sharpener)


# -- a loss: loss.cube=smooth_l1 -------------------------------------------------------------------------------------


def smooth_l1(errors):
    """Absolute error of every stage, squared near 0; of a batch that several processes share, this one's part."""
    return errors.share * torch.stack([F.smooth_l1_loss(x, errors.truth) for x in errors.cubes])


crsdun.register_loss("smooth_l1", smooth_l1)


# -- a data set: crsdun evaluate gap-tv stripes ----------------------------------------------------------------------


class Stripes(SceneSet):
    """Three small scenes of coloured stripes, computed when they are asked for."""

    def __init__(self, split):
        self.name, self.split = f"stripes {split}", split
        self.names = tuple(f"{split}_{index}" for index in range(3))
        self.wavelengths, self.class_names = tuple(np.linspace(450, 650, 8)), ("background", "stripe")

    @property
    def bands(self):
        return len(self.wavelengths)

    def size(self, index):
        return 48, 64

    def crop(self, index, top, left, height, width):
        width_of_stripes = 4 + index + len(self.names) * ("train", "validation", "test").index(self.split)
        stripe = (np.arange(48)[:, None] + np.arange(64)) // width_of_stripes % 2
        spectra = np.stack([np.full(8, 0.2), np.linspace(0.1, 0.9, 8)])
        cube = spectra[stripe].transpose(2, 0, 1)
        scene = Scene(cube, self.wavelengths, stripe, self.class_names, self.names[index])
        return scene.cropped(top, left, height, width)

    def hashes(self):
        return dict.fromkeys(self.names, f"{self.name} of version 1")


crsdun.register_dataset("stripes", Stripes)
