"""What a notebook shows: the right facts, a drawing that a browser draws, nothing that runs, and not much of it."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch

import crsdun
from crsdun import showing
from crsdun.optics import CassiCamera, Estimate, random_mask
from crsdun.scenes import Measurement, Scene
from crsdun.viewing.notebook import as_html

NM = tuple(np.linspace(420, 700, 8))
MOST_BYTES = 600_000


def scene(height: int = 40, width: int = 60, bands: int = 8) -> Scene:
    rows, columns = np.mgrid[:height, :width]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 9 + band) * np.cos(columns / 7) for band in range(bands)])
    classes = (columns > width // 2).astype(int)
    return Scene(cube, np.linspace(420, 700, bands), classes, ("paper", "leaf"), "bench")


def drawing(shown: str) -> ElementTree.Element:
    """The drawing in a piece of HTML, which must be well formed."""
    (url,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', shown)
    return ElementTree.fromstring(base64.b64decode(url))


def parts(shown: str, name: str) -> list[ElementTree.Element]:
    return drawing(shown).findall(f".//{{*}}{name}")


def words(shown: str) -> str:
    return " ".join(text.text for text in parts(shown, "text"))


def test_a_scene_shows_picture_classes_and_spectra():
    shown = scene()._repr_html_()
    assert "<b>Scene</b> bench" in shown
    assert "8 bands of 40×60 pixels, 420–700 nm · values 0.1" in shown
    assert "classes: paper, leaf" in shown
    assert len(parts(shown, "image")) == 2
    assert len(parts(shown, "polyline")) == 3
    assert "colour under D65 (8 bands, 420–700 nm)" in words(shown)
    assert "420 nm 700 nm" in words(shown)


def test_a_spectrum_is_drawn_where_it_says_and_as_high_as_it_is():
    shown = scene()._repr_html_()
    places = [tuple(map(int, place)) for place in re.findall(r"\d: x (\d+), y (\d+)", words(shown))]
    assert len(places) == 3
    values = np.stack([scene().cube[:, y, x] for x, y in places])
    for line, expected in zip(parts(shown, "polyline"), values, strict=True):
        y = np.array([float(corner.split(",")[1]) for corner in line.get("points").split()])
        np.testing.assert_allclose(y, 240 * (1 - expected / values.max()), atol=0.06)
    # The badges lie on these pixels, 320 px for 60 of them.
    for circle, (x, _) in zip(parts(shown, "circle"), places, strict=True):
        assert float(circle.get("cx")) == pytest.approx((x + 0.5) * 320 / 60, abs=0.06)


def test_spectra_have_gaps_where_there_is_no_data():
    cube = np.random.default_rng(0).random((6, 1, 1))
    cube[2] = np.nan
    shown = Scene(cube)._repr_html_()
    assert [line.get("points").count(",") for line in parts(shown, "polyline")] == [2, 3]
    assert "16.67% without data" in shown


def test_a_measurement_shows_frame_and_mask():
    frame = np.arange(40 * 74, dtype=np.uint16).reshape(40, 74)
    shown = Measurement(frame, NM, random_mask(40, 60), 2, "shot", valid=frame > 8)._repr_html_()
    assert "<b>Measurement</b> shot" in shown
    facts = "40×74 pixels, uint16", "values 0 to 2959", "mask 40×60", "2 pixels per band", "8 bands, 420–700 nm"
    for fact in facts:
        assert fact in shown
    assert "9 pixels lack light" in shown
    assert len(parts(shown, "image")) == 2
    assert len(parts(Measurement(frame)._repr_html_(), "image")) == 1


def test_an_estimate_shows_the_first_of_its_batch():
    camera = CassiCamera(random_mask(40, 60), wavelengths=NM[::-1])
    y = camera.forward(torch.from_numpy(scene().cube[::-1].copy()))[None].expand(2, -1, -1)
    network = crsdun.create("crsdun_2stg", bands=8, classes=3, width=4).train()
    shown = network(y, camera)._repr_html_()
    for fact in ("8 bands of 40×60 pixels, 420–700 nm", "3 classes", "the last of 2 stages", "the first of 2 in the"):
        assert fact in shown
    assert len(parts(shown, "image")) == 2
    assert "colour under D65" in words(shown)
    # Bands that a camera has from red to blue are shown from blue to red, as those of a scene.
    sorted_bands = Estimate([torch.from_numpy(scene().cube)[None]], wavelengths=NM)
    turned = Estimate([torch.from_numpy(scene().cube[::-1].copy())[None]], wavelengths=NM[::-1])
    assert sorted_bands._repr_html_() == turned._repr_html_()


@pytest.mark.parametrize(
    "odd",
    [
        Scene(np.full((3, 4, 5), np.nan)),
        Scene(np.zeros((1, 1, 1)), (550.0,)),
        Scene(np.full((2, 3, 3), -1.0)),
        Scene(np.zeros((300, 2, 2))),
        Measurement(np.zeros((1, 1))),
        Estimate([], [torch.rand(1, 3, 4, 5)]),
        Estimate([torch.full((1, 3, 4, 5), torch.inf)]),
        Estimate([torch.rand(1, 3, 4, 5, requires_grad=True).bfloat16()]),
    ],
    ids=["no data", "one voxel", "negative", "many bands", "one pixel", "classes alone", "infinite", "bfloat16"],
)
def test_odd_ones_are_shown_too(odd):
    shown = odd._repr_html_()
    assert drawing(shown) is not None
    assert "nan" not in "".join(line.get("points") for line in parts(shown, "polyline"))


def test_what_is_shown_is_small_and_runs_nothing():
    """Whatever is in it: noise, which cannot be compressed, and a name that would like to be a script."""
    name = '"><script>alert(1)</script>'
    noise = np.random.default_rng(0).random((40, 700, 900), dtype=np.float32)
    labels = np.random.default_rng(0).integers(0, 200, (700, 900))
    names = tuple(f"{name}{number}" for number in range(200))
    shown = Scene(noise, np.linspace(400, 700, 40), labels, names, name)._repr_html_()
    assert len(shown) < MOST_BYTES
    drawn = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1]).decode()
    for text in (shown, drawn):
        assert "<script" not in text
        assert not re.findall(r"\son\w+=", text)
    assert [each for each in re.findall(r'(?:href|src)="(.{10})', shown + drawn) if each != "data:image"] == []
    # Of so many pixels only some are looked at; places still count those of the scene.
    assert re.search(r"x \d+, y \d+", drawn)


def test_a_browser_draws_it(page):
    hostile = replace(scene(), name='<img src=x onerror="document.title=1">')
    page.set_content(scene()._repr_html_() + hostile._repr_html_())
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    sizes = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.naturalHeight])")
    assert len(sizes) == 2
    assert all(width > 900 and height > 200 for width, height in sizes)
    assert page.title() == ""


def test_nobody_shows_anything_else():
    with pytest.raises(TypeError, match="nobody knows how to show a int"):
        as_html(3)


def test_without_the_door_the_text_remains(monkeypatch):
    monkeypatch.setattr(showing, "_drawn", None)
    assert scene()._repr_html_() is None


def test_what_draws_is_loaded_when_something_is_shown():
    code = """
import sys, crsdun.scenes, numpy
scene = crsdun.scenes.Scene(numpy.zeros((3, 4, 4)))
assert "crsdun.viewing" not in sys.modules
assert "torch" not in sys.modules
assert "<img" in scene._repr_html_()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
