"""Stored runs of published networks: random weights, inputs and outputs; and the keys of their checkpoints."""

import json
from pathlib import Path

import numpy as np
import torch

import crsdun
from crsdun.networks import from_published

FOLDER = Path(__file__).parent / "parity" / "two_stage"


class StoredRun:
    """A published network with random weights, our network with the same, and what went in."""

    def __init__(self, system: str, name: str):
        self.data = np.load(FOLDER / f"{name}.npz")
        self.weights = {
            key.removeprefix("weight/"): torch.from_numpy(self.data[key].astype(np.float32))
            for key in self.data.files
            if key.startswith("weight/")
        }
        self.network = from_published(system, self.weights).eval()
        self.cube = torch.from_numpy(self.data["cube"])
        self.measurement = torch.from_numpy(self.data["measurement"])
        self.camera = crsdun.CassiCamera(self.data["mask"], bands=self.cube.shape[1])

    def assert_equal(self, outputs: list[torch.Tensor]) -> None:
        """Every stage as published, to 5e-6 of its largest value: the limit that no other activation passes."""
        theirs = [self.data[key] for key in sorted(self.data.files) if key.startswith("eval/out_stage")]
        assert len(outputs) == len(theirs)
        for ours, expected in zip(outputs, map(torch.from_numpy, theirs), strict=True):
            assert (ours - expected).abs().max() <= 5e-6 * expected.abs().max()


def checkpoint(name: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """A state dict with the keys and shapes of a public checkpoint, and random values."""
    shapes = json.loads((FOLDER / f"{name}_checkpoint_keys.json").read_text())
    random = torch.Generator().manual_seed(0)
    return {prefix + key: torch.rand(shape, generator=random) for key, shape in shapes.items()}
