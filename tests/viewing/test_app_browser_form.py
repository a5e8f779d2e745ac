"""What a person has chosen stays chosen, in Chromium: files in their roles, the method, classes; also on a phone."""

from dataclasses import replace

import numpy as np
import pytest

from crsdun.optics import Exposure, random_mask
from crsdun.runtime import simulate
from crsdun.scenes import write_scene
from tests.viewing.browser import watched_page
from tests.viewing.explorer import running
from tests.viewing.test_app import H, W, scene
from tests.viewing.test_app_browser import come, shows

PHONE = {"width": 390, "height": 844}
# What reaches beyond the right edge of the page.
CUT_OFF = """() => [...document.querySelectorAll("button, select, input, output, #status, #values")]
  .filter((each) => each.offsetParent && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.id || each.getAttribute("aria-label") || each.textContent)"""


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """An explorer with two measurements of one mask, of which the second is open, and the truth of both."""
    folder, mask = tmp_path_factory.mktemp("files"), random_mask(H, W, seed=1)
    frame = simulate(replace(scene(), cube=scene().cube[:, ::-1].copy()), Exposure(mask)).frame
    for name, array in (("mask", mask), ("first", frame), ("second", frame[::-1].copy())):
        np.save(folder / f"{name}.npy", array)
    write_scene(scene(), folder / "truth.npz")
    with running([folder / f"{name}" for name in ("mask.npy", "first.npy", "second.npy", "truth.npz")]) as link:
        yield link


def file_of(page, role):
    return page.locator(f"#roles [name={role}]").evaluate("select => select.value && JSON.parse(select.value).file")


def test_what_was_chosen_is_decoded_and_stays_chosen(page, link):
    come(page, link)
    assert "second" in page.locator("#scene").inner_text()
    chosen = page.locator("#roles [name=measurement] option", has_text="first").get_attribute("value")
    page.select_option("#roles [name=measurement]", chosen)
    page.click("#roles button.main")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('first')", polling=100)
    assert file_of(page, "measurement") == "first.npy"
    assert file_of(page, "mask") == "mask.npy"

    # other wavelengths are typed, so that another scene is opened when Decode is pressed, twice in haste
    page.fill("#roles [name=wavelengths]", "500-700:6")
    page.click("#tab-decode")
    page.select_option("#method-name", "admm-tv")
    page.fill("#iterations", "3")
    page.evaluate("() => { for (const _ of [1, 2]) document.querySelector('#decode-button').click(); }")
    page.wait_for_selector("#results .result")
    assert page.locator("#results .result b").first.inner_text() == "admm-tv · 3 iterations"
    assert page.locator("#method-name").input_value() == "admm-tv"
    assert page.locator("#status.bad").count() == 0
    assert "500–700 nm" in page.locator("#scene").inner_text()

    # a class that is hidden comes back by undo, and is hidden still after a reload
    button = page.locator("#classes button.class").first
    button.click()
    page.wait_for_selector("#undo:not([disabled])")
    page.wait_for_function("() => location.hash.includes('hidden=')", polling=100)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert button.get_attribute("aria-pressed") == "false"
    assert file_of(page, "measurement") == "first.npy"
    assert page.locator("#roles [name=wavelengths]").input_value().startswith("500,540,")
    button.click()
    page.wait_for_selector("#undo:not([disabled])")
    page.click("#undo")
    page.wait_for_selector("#classes button.class[aria-pressed=false]")


def test_on_a_phone_nothing_is_cut_off_and_messages_stay_in_sight(browser, link):
    with watched_page(browser, PHONE) as page:
        come(page, link)
        assert page.evaluate(CUT_OFF) == []
        page.select_option("#mode", "measurement")
        shows(page, 0, "mode=measurement")
        page.locator("#contrast").wait_for()
        assert page.evaluate(CUT_OFF) == []
        page.click("#tab-simulate")
        page.evaluate(
            "() => { scrollTo(0, 1e6); document.querySelector('#status').textContent = 'a message '.repeat(9); }"
        )
        page.wait_for_function("() => scrollY > 0", polling=100)
        box = page.locator("#status").bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] < PHONE["height"] / 4
        assert page.locator("#status").evaluate("each => each.scrollHeight <= each.clientHeight + 1")
