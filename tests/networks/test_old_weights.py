"""Weights files that crsdun 0.1.0 wrote before its classes had the names of today: loaded, with the outputs it gave.

``weights_of_0.1.0.npz`` holds, for each network, the bytes of its file (weights rounded, so that they compress) and
what 0.1.0 computed from ``measurement`` and ``mask``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.networks import read_header

STORED = np.load(Path(__file__).with_name("weights_of_0.1.0.npz"))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("crsdun_1stg", "crsdun", {"bands": 4, "classes": 3, "stages": 1, "width": 4}),
        ("ssr_1stg+seg", "joined", {"method": "ssr", "reconstruction": {"bands": 4, "stages": 1, "width": 2}}),
        ("gap_tv+seg", "joined", {"method": "gap-tv"}),
    ],
)
def test_old_weights_compute_what_they_did(name, kind, settings, tmp_path):
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(STORED[f"{name}/file"].tobytes())
    header = read_header(path)
    assert (header.kind, header.version, header.export) == (kind, "0.1.0", None)
    assert settings.items() <= header.config.items()

    network = crsdun.load(path)
    assert network.name == path.name
    assert network.card.wavelengths == (450, 500, 550, 600)
    assert network.card.class_names == ("soil", "leaf", "fruit")
    assert (network.card.step, network.card.provenance) == (2, {"data": "none", "hours": 0.5})

    camera = crsdun.CassiCamera(STORED["mask"], bands=4)
    estimate = network(torch.from_numpy(STORED["measurement"])[None], camera)
    for ours, expected in ((estimate.cube, "cube"), (estimate.logits[-1], "logits")):
        stored = torch.from_numpy(STORED[f"{name}/{expected}"])
        assert (ours - stored).abs().max() <= 5e-6 * stored.abs().max()  # processors add up in different orders

    # Written again, the file says the same, and of settings that came later what they are.
    crsdun.save(network, tmp_path / "again.safetensors")
    again = read_header(tmp_path / "again.safetensors")
    assert (again.kind, again.card) == (header.kind, header.card)
    assert header.config.items() <= again.config.items()
    assert again.config == network.settings
