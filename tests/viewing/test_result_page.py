"""The report of a result: alone in the world, small, safe, right in its numbers, and alive in a browser."""

import base64
import csv
import io
import shlex

import numpy as np
import pytest
from PIL import Image

from crsdun.errors import InputError
from crsdun.runtime import read_results
from crsdun.storage import write_text
from crsdun.viewing import result_page as pages
from crsdun.viewing.pages import command_line, plain_text
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_picture
from crsdun.viewing.result_folder import write_results
from crsdun.viewing.result_page import Whole, result_page
from tests.viewing.reports import HOSTILE, WAVELENGTHS, check_self_contained, cubes_in, doubted, small_reconstruction


def image(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))) as stored:
        return np.asarray(stored.convert("RGB"))


@pytest.fixture(scope="module")
def result():
    return small_reconstruction()


@pytest.fixture(scope="module")
def text(result):
    return result_page(result)


def test_unknown_pixels_are_grey_and_counted(result):
    unsure = doubted(result)
    text = result_page(unsure)
    page = check_self_contained(text)
    shown = image(page.data["pictures"]["estimate"]["classes"])
    H = len(shown)
    assert (shown[: H // 2] == UNLABELLED_COLOUR).all()
    np.testing.assert_array_equal(shown[H // 2 :], class_picture(result.scene.classes)[H // 2 :])
    assert page.data["classes"][-1] == {"name": "unknown", "colour": "#cccccc"}
    assert {"confidence", "doubt", "expected error"} <= page.data["pictures"]["estimate"].keys()
    bright = image(page.data["pictures"]["estimate"]["confidence"]).sum(-1)
    assert bright[-1].min() > bright[0].max()
    assert "50.0 % of the pixels are unknown" in " ".join(page.texts)
    assert {"0.01 expected RMS error over bands", "1 probability of the class"} <= {
        text.removeprefix("0 ") for text in page.texts
    }


def test_confidences_that_are_not_calibrated_are_said_to_be(result):
    page = check_self_contained(result_page(doubted(result, calibrated=False)))
    pictures = page.data["pictures"]["estimate"]
    assert "doubt" not in pictures
    np.testing.assert_array_equal(image(pictures["classes"]), class_picture(result.scene.classes))
    assert any("not calibrated: they are no probabilities" in text for text in page.texts)


def test_the_page_needs_nothing_and_escapes_everything(text):
    page = check_self_contained(text)
    assert page.data["classes"][1]["name"] == HOSTILE
    assert HOSTILE in page.texts
    assert f"<b>{HOSTILE}" in page.texts
    assert f"crsdun reconstruct {shlex.quote(f'{HOSTILE}.npz')}" in page.texts


def test_the_check_sees_what_it_shall_see(text):
    for bad in ('<img src="x.png">', "<script>1</script>", '<p onclick="x">', '<a href="https://a.b">'):
        with pytest.raises(AssertionError):
            check_self_contained(text.replace("</main>", f"{bad}</main>"))


def test_the_embedded_numbers_are_those_of_the_cubes(result, text):
    data = check_self_contained(text).data
    assert data["spectra"]["factor"] == 1
    assert data["wavelengths"] == list(WAVELENGTHS)
    for name, scene in (("estimate", result.scene), ("truth", result.truth)):
        np.testing.assert_allclose(cubes_in(data)[name], scene.cube, atol=0.51 * data["spectra"]["step"])
    assert data["spectra"]["step"] < 2e-5


def test_bands_and_classes_are_pictures_of_the_cube(result, text):
    data = check_self_contained(text).data
    for band, url in enumerate(data["bands"]["estimate"]):
        shown = (image(url)[..., 0] / 255) ** data["gamma"] * data["bands"]["white"][band]
        assert np.abs(shown - result.scene.cube[band]).mean() < 0.02
    np.testing.assert_array_equal(image(data["pictures"]["estimate"]["classes"]), class_picture(result.scene.classes))


def test_class_table_and_figures(result, text):
    texts = check_self_contained(text).texts
    for expected in ("300", "62.5 %", "37.5 %", "180", f"{result.metrics['psnr_db']:.2f}", "12.50"):
        assert expected in texts, expected
    # 180 of the 240 pixels of the second class are found, nothing else is taken for it.
    place = len(texts) - 1 - texts[::-1].index("180")
    assert texts[place + 1 : place + 6] == ["37.5 %", "240", "75.0", "100.0", "75.0"]


def test_a_large_cube_is_averaged_until_it_fits(monkeypatch):
    monkeypatch.setattr(pages, "MAX_BYTES", 260_000)
    monkeypatch.setattr(pages, "BANDS_ROOM", 60_000)
    result = small_reconstruction(130, 99, 9)
    noise = np.random.default_rng(0).random(result.scene.cube.shape, dtype=np.float32)
    np.copyto(result.scene.cube, noise)
    text = result_page(result)
    assert 130_000 < len(text.encode()) < 260_000
    data = check_self_contained(text).data
    factor = data["spectra"]["factor"]
    assert factor > 1
    assert f"square of {factor}×{factor} pixels" in text
    estimate = cubes_in(data)["estimate"]
    assert estimate.shape == (9, -(-130 // factor), -(-99 // factor))
    step = data["spectra"]["step"]
    np.testing.assert_allclose(
        estimate[4, 2, 3], noise[4, 2 * factor :, 3 * factor :][:factor, :factor].mean(), atol=step
    )
    rest = noise[8, (estimate.shape[1] - 1) * factor :, (estimate.shape[2] - 1) * factor :]
    np.testing.assert_allclose(estimate[8, -1, -1], rest.mean(), atol=step)
    assert max(image(data["bands"]["estimate"][0]).shape) < 130


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 40, 2), (5, 4, 4)])
def test_any_size_without_truth_classes_and_wavelengths(size):
    height, width, bands = size
    result = small_reconstruction(height, width, bands, truth=False, classes=False, known=False)
    data = check_self_contained(result_page(result)).data
    assert data["wavelengths"] is None
    np.testing.assert_allclose(cubes_in(data)["estimate"], result.scene.cube, atol=1e-4)


def test_a_folder_is_read_as_it_was_written(result, tmp_path):
    write_results(result, tmp_path / "out")
    again = read_results(tmp_path / "out")
    np.testing.assert_array_equal(again.scene.cube, result.scene.cube)
    np.testing.assert_array_equal(again.truth.cube, result.truth.cube)
    np.testing.assert_array_equal(again.measurement.frame, result.measurement.frame)
    np.testing.assert_array_equal(again.camera.mask, result.camera.mask)
    assert (again.camera.offsets, again.camera.wavelengths) == (result.camera.offsets, result.camera.wavelengths)
    assert again.scene.class_names == result.scene.class_names
    assert result_page(again) == (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_folders_that_are_not_whole(result, tmp_path):
    with pytest.raises(InputError, match="not a complete folder of crsdun reconstruct"):
        read_results(tmp_path)
    write_results(result, tmp_path / "out")
    (tmp_path / "out" / "measurement.npz").unlink()
    with pytest.raises(InputError, match=r"measurement\.npz"):
        read_results(tmp_path / "out")


def test_plain_text():
    assert command_line(["/x/crsdun/__main__.py", "info", "a b"]) == "crsdun info 'a b'"
    assert plain_text({"a": None, "b": [1.0, True]}) == "a –, b 1, yes"


def test_a_page_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "page.html"
    path.parent.mkdir()
    write_text(path, "one", overwrite=False)
    with pytest.raises(InputError, match="allow it with overwrite"):
        write_text(path, "two", overwrite=False)
    assert path.read_text() == "one"
    write_text(path, "two")
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(InputError, match="could not write"):
        write_text(path / "below", "x")


# -- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture
def open_page(page, tmp_path):
    def opened(text: str):
        (tmp_path / "report.html").write_text(text, encoding="utf-8")
        page.goto((tmp_path / "report.html").as_uri())
        return page

    return opened


def spectra_as_csv(page) -> list[list[str]]:
    with page.expect_download() as download:
        page.click("#csv")
    return list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))


def test_a_click_shows_the_spectrum_there(open_page, result, text):
    page = open_page(text)
    assert page.title() != "taken"
    page.click("#clear")
    assert page.locator("#spectra polyline").count() == 0
    box = page.locator(".picture").first.bounding_box()
    page.mouse.click(box["x"] + 13.5 / 20 * box["width"], box["y"] + 17.5 / 24 * box["height"])
    page.wait_for_function("document.querySelectorAll('#points td').length > 1")
    cells = page.locator("#points tr").first.locator("td").all_inner_texts()
    assert cells[:2] == ["17, 13", HOSTILE]
    assert page.locator("#spectra polyline").count() == 2
    page.fill("#points input", "=a leaf")
    header, estimate, truth = spectra_as_csv(page)
    assert header[4:6] == ["450 nm", "500 nm"]
    assert estimate[:4] == ["'=a leaf", "17", "13", "estimate"]
    np.testing.assert_allclose(np.array(estimate[4:], float), result.scene.cube[:, 17, 13], atol=2e-5)
    np.testing.assert_allclose(np.array(truth[4:], float), result.truth.cube[:, 17, 13], atol=2e-5)


def test_where_squares_are_shown_class_and_spectrum_are_those_of_the_square(open_page, result):
    """A pixel of the result for each square of 3 pixels, of which the last ones are cut."""
    page = open_page(result_page(result, Whole(70, 58, 3)))
    assert page.locator(".lead").inner_text().startswith("6 bands of 70×58 pixels")
    page.click("#clear")
    picture = page.locator(".picture").first
    box = picture.bounding_box()
    places = [(5, 5), (34, 29), (35, 30), (36, 31), (37, 38), (44, 39), (50, 44), (62, 47), (69, 57)]
    for row, column in places:
        picture.click(position={"x": (column + 0.5) / 58 * box["width"], "y": (row + 0.5) / 70 * box["height"]})
    rows = [cells.locator("td").all_inner_texts() for cells in page.locator("#points tr").all()]
    names = [result.scene.class_names[result.scene.classes[row // 3, column // 3]] for row, column in places]
    assert [cells[:2] for cells in rows] == [
        [f"{row}, {column}", name] for (row, column), name in zip(places, names, strict=True)
    ]
    assert len(set(names)) > 1
    _, *spectra = [line for line in spectra_as_csv(page) if line[3] in ("cube", "estimate")]
    for line, (row, column) in zip(spectra, places, strict=True):
        np.testing.assert_allclose(np.array(line[4:], float), result.scene.cube[:, row // 3, column // 3], atol=2e-5)


def test_views_bands_and_errors(open_page, text):
    page = open_page(text)
    data = page.evaluate("JSON.parse(document.getElementById('data').textContent)")
    shown = page.locator(".picture img")
    page.locator("#band").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#band-words") == "band 2 of 6 · 500.0 nm"
    assert shown.nth(0).get_attribute("src") == data["bands"]["estimate"][1]
    assert shown.nth(1).get_attribute("src") == data["bands"]["truth"][1]
    assert page.inner_text("#at-band") == "at 500.0 nm"
    page.check("#one-scale")
    assert "brightness" in shown.nth(0).get_attribute("style")
    page.get_by_text("Classes", exact=True).first.click()
    assert shown.nth(0).get_attribute("src") == data["pictures"]["estimate"]["classes"]
    page.get_by_text("Error", exact=True).click()
    assert shown.nth(0).get_attribute("src") == data["error"]
    assert page.is_visible("#error-scale")
    chart = page.locator("#spectra").bounding_box()
    page.mouse.click(chart["x"] + 0.97 * chart["width"], chart["y"] + 50)
    assert page.inner_text("#band-words").startswith("band 6 of 6")


def test_everything_can_be_done_with_the_keyboard(open_page, text):
    page = open_page(text)
    page.locator(".picture").first.focus()
    for key in ("ArrowDown", "Shift+ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert page.locator("#points tr").last.locator("td").first.inner_text() == "13, 18"
    assert page.inner_text("#said") == "point 4 at row 13, column 18"
    page.locator("#points button").last.focus()
    page.keyboard.press("Enter")
    assert page.locator("#points tr").count() == 3


def test_a_page_without_truth_classes_and_wavelengths(open_page):
    page = open_page(result_page(small_reconstruction(truth=False, classes=False, known=False)))
    assert page.locator(".picture").count() == 1
    assert page.locator("#spectra polyline").count() == 3
    page.locator("#band").focus()
    page.keyboard.press("End")
    assert page.inner_text("#band-words") == "band 6 of 6"
    header, *rows = spectra_as_csv(page)
    assert header[4] == "band 1"
    assert len(rows) == 3
