"""The figure of a paper: in its formats, with fonts that publishers take, showing what was requested."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.evaluation import cube_metrics
from crsdun.scenes import Box, Scene
from crsdun.viewing.colour import NO_DATA
from crsdun.viewing.paper_figure import PROTOCOL, choose_bands, choose_boxes, paper_figure
from crsdun.viewing.sheet import Sheet
from tests.viewing.reports import WAVELENGTHS, png_pixels, small_reconstruction

RESULT = small_reconstruction(30, 40)
FRAME = RESULT.measurement.frame


def draw(path, scene=RESULT.scene, **given) -> np.ndarray:
    truth = given.pop("truth", RESULT.truth)
    paper_figure({"net": scene, "other $x$": RESULT.scene}, FRAME, [path], truth, **given)
    return png_pixels(path)


def test_png_and_pdf_with_real_fonts(tmp_path):
    paper_figure({"net": RESULT.scene}, FRAME, [tmp_path / "f.png", tmp_path / "f.pdf"], RESULT.truth)
    assert png_pixels(tmp_path / "f.png").shape[1] == 3000
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_an_error_in_a_box_is_seen_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("crsdun.viewing.paper_figure.SHARPNESS", 1)
    box = Box(5, 25, 8, 8)
    settings = {"bands": [2], "boxes": [box], "pixels": []}
    cube = RESULT.scene.cube.copy()
    cube[2, box.top : box.top + 8, box.left : box.left + 8] = 0
    plain = draw(tmp_path / "a.png", **settings)
    wrong = draw(tmp_path / "b.png", replace(RESULT.scene, cube=cube), **settings)
    changed = np.abs(plain - wrong).sum(-1) > 60
    columns = np.flatnonzero(changed.any(0))
    # The square in the band and its enlargement, a gap between them; and nothing in the other method's column.
    assert (np.diff(columns) > 20).sum() >= 1
    assert columns.max() < 0.45 * plain.shape[1]
    assert changed.sum() > 8 * 8 * 50


def test_figures_without_truth_classes_or_wavelengths(tmp_path):
    bare = small_reconstruction(9, 50, 4, truth=False, classes=False, known=False)
    paper_figure({"a": bare.scene}, bare.measurement.frame, [tmp_path / "bare.png"])
    paper_figure({"a": bare.scene}, bare.measurement.frame, [tmp_path / "none.png"], boxes=[], pixels=[])
    assert (tmp_path / "none.png").stat().st_size > 1000


def test_the_psnr_is_that_of_the_protocol(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(Sheet, "write", lambda sheet, x, middle, text, *style, **properties: texts.append(text))
    truth = torch.from_numpy(RESULT.truth.cube)
    estimates = {"perfect": replace(RESULT.truth), "net": RESULT.scene}
    paper_figure(estimates, FRAME, [tmp_path / "f.png"], RESULT.truth, bands=[2])
    written = [text for text in texts if text.endswith(" dB")]
    estimate = torch.from_numpy(RESULT.scene.cube)
    psnr = [cube_metrics(estimate[part], truth[part], PROTOCOL)["psnr_db"] for part in (slice(None), slice(2, 3))]
    assert written == ["100.00 dB", f"{psnr[0]:.2f} dB", "100.00 dB", f"{psnr[1]:.2f} dB"]


def test_a_class_map_of_another_legend_is_not_drawn(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(Sheet, "write", lambda sheet, x, middle, text, *style, **properties: texts.append(text))
    other = replace(RESULT.truth, class_names=("oak", "elm"))
    paper_figure({"net": RESULT.scene}, FRAME, [tmp_path / "f.png"], other)
    assert texts.count("none") == 1
    assert not {"oak", "elm"} & set(texts)


def test_a_truth_that_lacks_data(tmp_path):
    cube = RESULT.truth.cube.copy()
    cube[:, 5:12, 5:12] = np.nan
    pixels = draw(tmp_path / "f.png", truth=replace(RESULT.truth, cube=cube))
    assert (pixels == NO_DATA).all(-1).sum() > 1000


def test_bands_by_wavelength_or_number():
    assert choose_bands(RESULT.scene) == [1, 3, 5]
    assert choose_bands(RESULT.scene, [455, 690, 700]) == [0, 5]
    unknown = replace(RESULT.scene, wavelengths=None)
    assert choose_bands(unknown, [1, 6]) == [0, 5]
    for scene, wanted, message in ((RESULT.scene, 800, "at nm 450 to 700"), (unknown, 7, "numbered 1 to 6")):
        with pytest.raises(InputError, match=message):
            choose_bands(scene, [wanted])


def test_boxes_lie_where_the_detail_is():
    cube = np.full((3, 50, 60), 0.5, np.float32)
    cube[:, 8:16, 40:48] += np.random.default_rng(0).random((8, 8), dtype=np.float32)
    first, second = choose_boxes(cube)
    assert first.height == first.width == 10
    assert first.top <= 8 < first.top + 10
    assert first.left <= 41 < first.left + 10
    assert max(abs(first.top - second.top), abs(first.left - second.left)) >= 10
    for box in (first, second):
        Scene(cube).cropped(*box)
    assert choose_boxes(np.ones((1, 1, 1), np.float32)) == [Box(0, 0, 1, 1)]


def test_what_cannot_be_drawn(tmp_path):
    path = tmp_path / "f.png"
    for given, message in (
        ({"boxes": [Box(25, 0, 10, 10)]}, "leaves the 30×40 scene"),
        ({"pixels": [(0, 40)]}, "row 0, column 40 lies outside the scene of 30×40"),
        ({"truth": small_reconstruction(30, 41).truth}, "6 bands of 30×41"),
        ({"truth": replace(RESULT.truth, wavelengths=tuple(nm + 1 for nm in WAVELENGTHS))}, "at 451–701 nm"),
    ):
        with pytest.raises(InputError, match=message):
            draw(path, **given)
    with pytest.raises(InputError, match="at least one estimate"):
        paper_figure({}, FRAME, [path])
    assert not path.exists()
