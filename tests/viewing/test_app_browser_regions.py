"""Regions, swipe, fingers, undo, reference spectra and the list of methods, as a person uses them in Chromium."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, open_method, simulate
from crsdun.runtime import decode as runtime_decode
from crsdun.scenes.produce import ProduceSet
from crsdun.viewing.result_folder import write_results
from tests.viewing.browser import watched_page
from tests.viewing.explorer import running
from tests.viewing.test_app_browser import come, on_picture, shows, slide

SIDE = 48
PHONE = {"width": 390, "height": 844}


def truth():
    return ProduceSet("test")[0].cropped(96, 96, SIDE, SIDE)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """An explorer with two results of one small scene."""
    folder = tmp_path_factory.mktemp("results")
    prepared = Preparation().prepare(simulate(truth(), Exposure(random_mask(SIDE, SIDE))), truth())
    for name, iterations in (("few", 2), ("many", 12)):
        write_results(runtime_decode(prepared, open_method("gap-tv", iterations=iterations)), folder / name)
    with running([folder / "few", folder / "many"]) as link:
        yield link


def draw(page, *vertices, pane=0):
    """Draw a polygon through places in fractions of the picture."""
    page.wait_for_load_state("networkidle")
    page.click("[data-tool=polygon]")
    for count, vertex in enumerate(vertices, 1):
        page.mouse.click(*at_rest(page, pane, *vertex))
        waits(page, "parseInt(document.querySelector('#draft-text').textContent) === arg", count)
    page.click("#draft-finish")


def at_rest(page, pane, x, y):
    """A place on a picture, once what comes from the server no longer moves it."""
    before = None
    while (place := on_picture(page, pane, x, y)) != before:
        before = place
        page.wait_for_timeout(150)
    return place


def waits(page, expression, arg=None):
    # By the clock, not by frames: a browser without a window stops painting a page that does not change.
    page.wait_for_function(f"arg => {expression}", arg=arg, polling=100)


def regions(page):
    return page.evaluate("decodeURIComponent(new URLSearchParams(location.hash.slice(1)).get('points') ?? '')")


SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5))


def test_a_polygon_is_drawn_moved_and_removed(page, results):
    come(page, results)
    draw(page, *SQUARE)
    waits(page, "document.querySelectorAll('#points li').length === 1")
    page.mouse.move(5, 5)
    waits(page, "document.querySelector('#where').textContent.includes('288 pixels')")
    assert page.locator("#points input").input_value() == "polygon 1"
    assert page.locator("#plot polygon").count() == 1, "the standard deviation around the mean"
    waits(page, "decodeURIComponent(location.hash).includes('p12+12+36+12+36+24+12+24')")

    # by its number, with the mouse: down by 12 pixels, and no further than the scene reaches
    grip = page.locator(".view").first.locator("[data-region='0']").bounding_box()
    page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    page.mouse.down()
    down = 0.25 * page.locator(".stack").first.bounding_box()["height"]
    page.mouse.move(grip["x"] + 5, grip["y"] + 5 + down, steps=4)
    page.mouse.up()
    waits(page, "decodeURIComponent(location.hash).includes('p12+24+36+24+36+36+12+36')")
    # by its number in the list, with the keyboard
    page.locator("#points .badge").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    waits(page, "decodeURIComponent(location.hash).includes('p13+36+37+36+37+48+13+48')")
    page.keyboard.press("Delete")
    waits(page, "document.querySelectorAll('#points li').length === 0")


def test_a_polygon_is_drawn_with_the_keyboard_alone(page, results):
    come(page, results)
    page.keyboard.press("p")
    view = page.locator(".view").first
    view.focus()
    for key in (
        "ArrowUp",
        "ArrowDown",
        "Enter",
        "Shift+ArrowRight",
        "Enter",
        "Shift+ArrowDown",
        "Enter",
        "ArrowUp",
        "Enter",
        "Backspace",
    ):
        page.keyboard.press(key)
    assert page.locator("#draft-text").inner_text() == "3 vertices"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")  # on the last one again: closed
    waits(page, "document.querySelectorAll('#points li').length === 1")
    waits(page, "decodeURIComponent(location.hash).includes('p24.5+24.5+34.5+24.5+34.5+34.5')")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.locator("#draft-finish").is_disabled()
    assert page.locator("#points li").count() == 1


def test_regions_are_saved_and_loaded(page, results, tmp_path):
    come(page, results)
    draw(page, *SQUARE)
    page.click("[data-tool=point]")
    page.mouse.click(*on_picture(page, 0, 0.9, 0.9))
    waits(page, "document.querySelectorAll('#points li').length === 2")
    waits(page, "location.hash.includes('point')")
    before = regions(page)
    for button, name in (("#geojson", "regions.geojson"), ("#envi", "regions.txt")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        page.click("#clear-points")
        waits(page, "document.querySelectorAll('#points li').length === 0")
        page.set_input_files("#regions-file", tmp_path / name)
        waits(page, "document.querySelectorAll('#points li').length === 2")
        assert "2 regions of" in page.locator("#status").inner_text()
    feature = json.loads((tmp_path / "regions.geojson").read_text())["features"][0]
    assert feature["properties"]["name"] == "polygon 1"
    # the pixels of the polygon are a box, which is what ENVI's text says of them
    waits(page, "location.hash.includes('12%2C12%2C12%2C24')")
    assert before.startswith("p12")
    # What comes at once is one change: the page waits, in whose time it is.
    page.evaluate("new Promise(resume => setTimeout(resume, 600))")
    steps = page.evaluate(STEPS)
    page.set_input_files("#chosen", tmp_path / "regions.geojson")  # as if it were dropped
    waits(page, "document.querySelectorAll('#points li').length === 4")
    noted(page, steps + 1)
    page.click("#undo")
    waits(page, "document.querySelectorAll('#points li').length === 2")
    (tmp_path / "bad.txt").write_text("; ENVI Output of ROIs\n; File Dimension: 7 x 7\n")
    page.set_input_files("#regions-file", tmp_path / "bad.txt")
    waits(page, "document.querySelector('#status').textContent.includes('of an image of 7 x 7')")
    assert page.locator("#points li").count() == 2


def test_the_csv_holds_the_mean_of_the_polygon(page, results):
    come(page, results)
    draw(page, *SQUARE)
    waits(page, "document.querySelectorAll('#points li').length === 1")
    with page.expect_download() as download:
        page.click("#csv")
    rows = [line.split(",") for line in download.value.path().read_text().splitlines()]
    means = [float(row[rows[0].index("mean")]) for row in rows[1:] if row[5] == "truth"]
    np.testing.assert_allclose(means, truth().cube[:, 12:24, 12:36].mean((1, 2)), rtol=1e-4)


# -- swipe -----------------------------------------------------------------------------------------------------


def pixels(page):
    picture = page.locator("#panes").screenshot()
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def test_two_pictures_are_swiped_with_mouse_keyboard_and_finger(page, results):
    come(page, results)
    page.select_option("select[aria-label='first picture shows']", "truth")
    page.select_option("select[aria-label='second picture shows']", "gap-tv · many")
    page.click("[data-swipe]")
    handle = page.get_by_role("slider", name="border between the two pictures")
    shows(page, 1, "layer=gap-tv")
    assert handle.get_attribute("aria-valuenow") == "50"
    places = "views => views.map(view => Object.values(view.getBoundingClientRect().toJSON()))"
    boxes = page.locator(".view").evaluate_all(places)
    assert boxes[0] == boxes[1], "one lies over the other"

    frame, picture = page.locator("#panes").bounding_box(), page.locator(".stack").first.bounding_box()
    page.mouse.move(5, 5)

    def left_and_right(split):
        """The parts of the picture beside a border at this share of the width."""
        shown = pixels(page)
        border = round(split * frame["width"])
        first, last = round(picture["x"] - frame["x"]), round(picture["x"] - frame["x"] + picture["width"])
        rows = slice(40, -10)
        return shown[rows, first + 2 : max(first + 2, border - 24)], shown[rows, border + 24 : last - 2]

    half = left_and_right(0.5)
    handle.focus()
    page.keyboard.press("Home")
    assert handle.get_attribute("aria-valuenow") == "0"
    estimate = pixels(page)
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuetext") == "100 % truth, the rest gap-tv · many"
    page.mouse.move(5, 5)
    original = pixels(page)
    assert np.abs(original - estimate).mean() > 2, "two different pictures"
    middle = round(0.5 * frame["width"])
    first, last = round(picture["x"] - frame["x"]) + 2, round(picture["x"] - frame["x"] + picture["width"]) - 2
    np.testing.assert_array_equal(half[0], original[40:-10, first : middle - 24])
    np.testing.assert_array_equal(half[1], estimate[40:-10, middle + 24 : last])

    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.3 * frame["width"], box["y"] + 70, steps=3)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "30"
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "32"
    with page.expect_download() as download:
        page.click("#save-view")
    width, height = page.locator(".view").first.evaluate("view => [view.clientWidth, view.clientHeight]")
    with Image.open(download.value.path()) as saved:
        assert saved.size == (2 * width, 2 * (height + 44))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert handle.is_visible(), "the address keeps it"
    page.click("#count [data-count='1']")
    assert handle.is_hidden()


# -- fingers ---------------------------------------------------------------------------------------------------


def test_fingers_enlarge_move_swipe_and_draw(browser, results):
    with watched_page(browser, PHONE, has_touch=True, is_mobile=True) as page:
        come(page, results)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        touches = page.context.new_cdp_session(page)

        def touch(kind, *places):
            points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
            touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        page.locator(".view").first.scroll_into_view_if_needed()
        before = page.locator(".stack").first.bounding_box()
        x, y = on_picture(page, 0, 0.5, 0.5)
        touch("touchStart", (x - 30, y))
        touch("touchStart", (x - 30, y), (x + 30, y))
        for step in range(1, 7):
            touch("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
        for step in range(1, 5):  # and both to the right
            touch("touchMove", (x - 90 + 10 * step, y), (x + 90 + 10 * step, y))
        touch("touchEnd")
        after = page.locator(".stack").first.bounding_box()
        assert after["width"] / before["width"] == pytest.approx(3, abs=0.1)
        middle = after["x"] + after["width"] / 2
        assert middle == pytest.approx(before["x"] + before["width"] / 2 + 40, abs=4)
        assert page.locator("#points li").count() == 0, "two fingers draw nothing"

        page.locator(".view").first.focus()
        page.keyboard.press("0")
        page.locator("[data-tool=polygon]").tap()
        page.locator(".view").first.scroll_into_view_if_needed()
        for place in (*SQUARE, SQUARE[0]):
            page.touchscreen.tap(*on_picture(page, 0, *place))
        waits(page, "document.querySelectorAll('#points li').length === 1")
        page.locator("[data-swipe]").tap()
        handle = page.get_by_role("slider", name="border between the two pictures")
        handle.scroll_into_view_if_needed()
        box, frame = handle.bounding_box(), page.locator("#panes").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch("touchStart", (x, y))
        for share in (0.6, 0.7, 0.8):
            touch("touchMove", (frame["x"] + share * frame["width"], y))
        touch("touchEnd")
        assert handle.get_attribute("aria-valuenow") == "80"


# -- undo ------------------------------------------------------------------------------------------------------


STEPS = "Number(document.getElementById('undo').dataset.steps)"


def noted(page, changes):
    """Wait until there are so many changes to undo: what comes at once is one."""
    waits(page, f"{STEPS} === arg", changes)


def test_undo_and_redo(page, results):
    come(page, results)
    assert page.locator("#undo").is_disabled()
    page.mouse.click(*on_picture(page, 0, 0.25, 0.5))
    noted(page, 1)
    draw(page, *SQUARE)
    noted(page, 2)
    page.mouse.move(5, 5)
    slide(page, "#band", 7)
    noted(page, 3)
    page.click("#clear-points")
    noted(page, 4)
    names = "[...document.querySelectorAll('#points input')].map(input => input.value).join()"
    for key, kept, band in (
        ("Control+z", "point 1,polygon 2", "mode=band&bands=7"),
        ("Control+z", "point 1,polygon 2", "mode=colour"),
        ("Control+z", "point 1", "mode=colour"),
        ("Control+Shift+z", "point 1,polygon 2", "mode=colour"),
        ("Control+y", "point 1,polygon 2", "mode=band&bands=7"),
        ("Control+Shift+z", "", "mode=band&bands=7"),
        ("Control+z", "point 1,polygon 2", "mode=band&bands=7"),
    ):
        page.keyboard.press(key)
        waits(page, f"{names} === arg", kept)
        shows(page, 1, band)
    # in a field, it undoes what was typed
    page.locator("#points input").first.fill("renamed")
    page.locator("#points input").first.press("Control+z")
    assert page.locator("#points li").count() == 2
    assert page.locator("#redo").is_enabled()
    page.click("#undo")
    page.click("#samples button >> nth=1")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_007')")
    assert page.locator("#undo").is_disabled(), "nothing of another scene comes back"


# -- reference spectra and methods -----------------------------------------------------------------------------


def test_reference_spectra_are_drawn_beside_those_of_the_scene(page, results, tmp_path):
    come(page, results)
    page.mouse.click(*on_picture(page, 0, 0.25, 0.5))
    page.mouse.move(5, 5)
    waits(page, "document.querySelectorAll('#plot polyline').length === 3")
    table = "Wavelength (um),brick\n0.41,0.1\n0.55,0.2\n0.6,\n0.65,0.5\n0.72,0.6\n0.9,0.7\n"
    (tmp_path / "brick.csv").write_text(table)
    page.set_input_files("#chosen", tmp_path / "brick.csv")  # its only spectrum is drawn at once
    waits(page, "document.querySelectorAll('#plot polyline').length === 5")  # in two parts, around the gap
    assert "brick" in page.locator("#lines").inner_text()
    (tmp_path / "more.csv").write_text("nm,moss,clay\n400,0.1,0.2\n700,0.3,0.4\n")
    page.set_input_files("#chosen", tmp_path / "more.csv")
    page.wait_for_selector("select[aria-label='add a spectrum of more.csv']")
    page.select_option("select[aria-label='add a spectrum of more.csv']", label="clay")
    waits(page, "document.querySelectorAll('#reference-list li').length === 2")
    waits(page, "location.hash.includes('more.csv')")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    waits(page, "document.querySelectorAll('#reference-list li').length === 2")
    page.get_by_role("button", name="remove brick").click()
    waits(page, "!document.querySelector('#lines').textContent.includes('brick')")
    assert "clay" in page.locator("#lines").inner_text()
    (tmp_path / "far.csv").write_text("nm,ice\n1500,0.1\n1700,0.3\n")
    page.set_input_files("#chosen", tmp_path / "far.csv")
    waits(page, "document.querySelector('#status').textContent.includes('where the scene is')")
    assert page.locator("#reference-list li").count() == 1


def test_the_list_of_methods_follows_the_wavelengths_that_are_typed(page, tmp_path):
    scene = ProduceSet("test")[0].cropped(96, 96, 64, 64)
    np.save(tmp_path / "frame.npy", simulate(scene, Exposure(random_mask(64, 64))).frame)
    np.save(tmp_path / "mask.npy", random_mask(64, 64))
    with running([tmp_path / "frame.npy", tmp_path / "mask.npy"]) as link:
        page.goto(link)
        page.wait_for_selector("body[data-ready]")
        chosen, hint = "document.querySelector('#method-name').value", page.locator("#method-hint")
        assert page.evaluate(chosen) == "lr-tv"
        group = "document.querySelector('#method-name option[value=crsdun_small]').parentElement.label"
        assert page.evaluate(group) == "networks that do not fit"
        assert hint.text_content() == (
            "crsdun_small does not fit: the wavelengths of the bands are not known. "
            "crsdun_tiny does not fit: the wavelengths of the bands are not known."
        )
        page.fill("[name=wavelengths]", "350-700:28")
        waits(page, "document.querySelector('#typed').textContent.includes('the camera has one at 388.889 nm')")
        page.fill("[name=wavelengths]", "nbk")
        waits(page, "document.querySelector('#typed').textContent.includes('cannot read the wavelengths')")
        page.fill("[name=wavelengths]", "nbk7")
        waits(page, "document.querySelector('#typed').textContent === 'crsdun_small fits. crsdun_tiny fits.'")
        assert page.evaluate(group) == "networks that fit"
        assert page.evaluate(chosen) == "crsdun_small"
        assert hint.text_content() == ""
        # what is decoded is what was typed
        page.click("#tab-decode")
        page.select_option("#method-name", "gap-tv")
        page.fill("#iterations", "2")
        page.click("#decode-button")
        shows(page, 0, "layer=gap-tv")
        assert "400–730 nm" in page.locator("#scene").inner_text()
