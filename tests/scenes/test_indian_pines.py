"""The scene that comes along: sorted, scaled, labelled and attributed; or a word on how to get it."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from crsdun.optics import InputError
from crsdun.scenes import UNLABELLED, indian_pines

needs_tensorly = pytest.mark.skipif(find_spec("tensorly") is None, reason="tensorly (crsdun[demo]) is not installed")


@needs_tensorly
def test_indian_pines():
    scene = indian_pines()
    assert scene.cube.shape == (200, 145, 145)
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (400.02, 2498.96)
    assert scene.cube.min() == 0
    assert 0.9 < np.quantile(scene.cube, 0.9999) < scene.cube.max() < 1.08
    counts = np.bincount(scene.classes[scene.classes != UNLABELLED], minlength=16)
    assert dict(zip(scene.class_names, counts.tolist(), strict=True)) == {
        "alfalfa": 46, "corn-notill": 1428, "corn-mintill": 830, "corn": 237, "grass-pasture": 483,
        "grass-trees": 730, "grass-pasture-mowed": 28, "hay-windrowed": 478, "oats": 20, "soybean-notill": 972,
        "soybean-mintill": 2455, "soybean-clean": 593, "wheat": 205, "woods": 1265,
        "buildings-grass-trees-drives": 386, "stone-steel-towers": 93,
    }  # fmt: skip
    assert "10.4231/R7RX991C" in scene.provenance["source"]
    assert scene.provenance["licence"].startswith("CC BY 3.0")


@needs_tensorly
def test_indian_pines_on_other_bands():
    scene = indian_pines((450.0, 550.0, 650.0))
    assert scene.wavelengths == (450, 550, 650)
    assert scene.cube.shape == (3, 145, 145)


def test_without_tensorly_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorly.datasets", None)
    with pytest.raises(InputError, match=r"pip install crsdun\[demo\]"):
        indian_pines()
