"""Classes by example as a person makes them, in Chromium: name, click, look at the map, take the classifier home."""

import pytest

from crsdun.classifiers import kinds, load_classifier
from crsdun.runtime import write_data
from crsdun.scenes import write_scene
from tests.classifiers.scenes import SIDE, painted
from tests.viewing.explorer import running
from tests.viewing.reports import doubted, small_reconstruction
from tests.viewing.test_app_browser import come, on_picture, shows, slide


@pytest.fixture
def link(tmp_path, monkeypatch):
    monkeypatch.setitem(kinds.TREES, "n_estimators", 4)
    write_scene(painted(), tmp_path / "painted.npz")
    with running([tmp_path / "painted.npz"]) as link:
        yield link


def test_regions_become_classes_and_a_file(page, link):
    come(page, link)
    assert page.locator("#classify").is_disabled()
    for name, column in (("background", 4), ("salad", 12), ("fruit", 20)):
        page.fill("#class-name", name)
        for row in (4, 20):
            page.mouse.click(*on_picture(page, 0, (column + 0.5) / SIDE, (row + 0.5) / SIDE))
    page.wait_for_function("() => document.querySelectorAll('#points li').length === 6", polling=100)
    assert page.locator("#points input").nth(2).input_value() == "salad", "new regions are called like the class"
    assert page.locator("#classify-hint").inner_text() == "3 classes: background, salad, fruit"
    assert page.locator("#save-classifier").is_hidden()

    page.click("#classify")
    page.wait_for_selector("#save-classifier:not([hidden])")
    shows(page, 1, "your%20classes&stage=1")
    assert "3 classes by" in page.locator("#status").inner_text()
    assert page.locator("#opacity").input_value() == "70", "the map is seen"
    assert "salad" in page.locator("#classes").inner_text()

    with page.expect_download() as download:
        page.click("#save-classifier")
    assert download.value.suggested_filename == "classes.safetensors"
    classifier = load_classifier(download.value.path())  # which ends in no suffix
    assert (classifier.classify(painted(1)).classes == painted(1).classes).mean() > 0.95
    assert classifier.class_names == ("background", "salad", "fruit")

    page.click("#clear-points")
    page.wait_for_function("() => document.getElementById('classify').disabled", polling=100)
    page.fill("#class-name", "")
    page.mouse.click(*on_picture(page, 0, 0.5, 0.5))
    page.wait_for_selector("#points li")
    assert page.locator("#points input").input_value() == "point 1"


def test_pixels_of_unknown_class_are_grey_and_counted_as_in_the_report(page, tmp_path):
    (tmp_path / "half").mkdir()
    write_data(doubted(small_reconstruction()), tmp_path / "half")
    with running([tmp_path / "half"]) as link:
        come(page, link)
        shows(page, 1, "layer=gap-tv")
        rows = page.locator("#classes tbody tr").evaluate_all("rows => rows.map((row) => row.innerText.split('\\t'))")
        assert [rows[0][0].strip(), rows[0][2]] == ["unknown", "50.0 %"]
        slide(page, "#opacity", 70)
        pixels = """(canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [[...data.slice(0, 4)], [...data.slice(-4)]];
        }"""
        page.wait_for_function(f"() => ({pixels})(document.querySelectorAll('.over')[1])[0][3] === 255", polling=100)
        first, last = page.locator(".over").nth(1).evaluate(pixels)
        assert first == [204, 204, 204, 255]
        assert last != first
        page.click("#classes tbody tr:first-child button")
        page.wait_for_function(f"() => ({pixels})(document.querySelectorAll('.over')[1])[0][3] === 0", polling=100)
