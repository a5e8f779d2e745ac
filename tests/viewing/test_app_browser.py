"""The explorer as a person uses it, in Chromium: open, decode, look, click, take home, and read what went wrong."""

import zipfile

import numpy as np
import pytest
import torch

import crsdun
from crsdun.optics import random_mask
from crsdun.scenes import read_scene
from crsdun.scenes.produce import CLASS_NAMES, ProduceSet
from tests.viewing.browser import TABLET, watched_page
from tests.viewing.explorer import LATENCIES, running

# Generous, for machines that do other things too; benchmarks/explorer.py measures.
MOST_FOR_A_PICTURE_MS, MOST_FOR_A_SPECTRUM_MS = 1500, 1000


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """An explorer with fresh weights that fit its samples."""
    path = tmp_path_factory.mktemp("weights") / "fresh.safetensors"
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", 28, len(CLASS_NAMES), width=4)
    crsdun.save(network, path, wavelengths=ProduceSet("test").wavelengths, class_names=CLASS_NAMES, step=2)
    with running([path]) as link:
        yield link


def come(page, link):
    page.goto(link)
    page.wait_for_selector("body[data-ready]")
    shows(page, 0, "mode=colour")


def shows(page, pane, words):
    """Wait until a picture shows what its address says."""
    page.wait_for_function(
        "([pane, words]) => document.querySelectorAll('.view')[pane].dataset.shown?.includes(words)",
        arg=[pane, words],
    )


def slide(page, name, value):
    page.locator(name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def on_picture(page, pane, across, down):
    """A place on the scene, as fractions of it, in pixels of the page."""
    box = page.locator(".stack").nth(pane).bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def test_from_a_sample_to_files(page, link, tmp_path):
    come(page, link)
    assert page.locator("#samples button").count() >= 3
    assert "test_000" in page.locator("#scene").inner_text()
    assert "real peach" in page.locator("#classes").inner_text()

    # simulate a part of it and let a network decode it, GAP-TV beside it
    page.click("#tab-simulate")
    page.select_option("[name=size]", "64")
    page.select_option("#method-name", "fresh")
    page.click("#simulate-button")
    page.wait_for_selector("#trials tbody tr")
    shows(page, 1, "layer=fresh")
    assert "PSNR" in page.locator("#status").inner_text()
    assert page.locator("#job").is_hidden()

    # the sliders: a band, a stage, the classes over it
    slide(page, "#band", 20)
    shows(page, 1, "mode=band&bands=20")
    assert "21/28" in page.locator("#band-value").inner_text()
    assert page.locator("#stage").get_attribute("max") == "2"
    slide(page, "#stage", 1)
    shows(page, 1, "stage=1&mode=band")
    slide(page, "#stage", 2)
    slide(page, "#opacity", 60)
    assert page.locator(".over").nth(1).evaluate("canvas => canvas.style.opacity") == "0.6"
    for mode in ("error", "trust", "residual", "false", "confidence"):
        page.select_option("#mode", mode)
        shows(page, 1, f"mode={mode}")
    page.select_option("#mode", "colour")
    shows(page, 1, "mode=colour")

    # click a pixel, draw a box, by mouse; then a point by keyboard
    page.mouse.click(*on_picture(page, 0, 0.25, 0.5))
    page.wait_for_selector("#points li")
    page.mouse.move(*on_picture(page, 1, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*on_picture(page, 1, 0.6, 0.7), steps=3)
    page.mouse.up()
    page.locator(".view").first.focus()
    for key in ("ArrowRight", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("() => document.querySelectorAll('#points li').length === 3")
    page.mouse.move(5, 5)
    page.locator("#points input").nth(1).fill("a box of cabbage")
    page.wait_for_function("() => document.querySelectorAll('#plot polyline').length === 3")
    told = page.locator("#lines").inner_text()
    assert all(name in told for name in ("truth", "fresh", "gap-tv", "r = "))
    assert page.locator("#probabilities .bars > div").count() == 5
    assert page.locator("#attention img").count() == 4  # two branches at two sizes
    page.wait_for_function(
        "() => [...document.querySelectorAll('#attention img')].every(image => image.naturalWidth === 64)"
    )

    # the spectrum that is drawn is that of the scene
    with page.expect_download() as download:
        page.click("#csv")
    rows = [line.split(",") for line in download.value.path().read_text().splitlines()]
    first = [float(row[9]) for row in rows[1:] if row[0] == "point 1" and row[5] == "truth"]
    scene = ProduceSet("test")[0].cropped(96, 96, 64, 64)
    np.testing.assert_allclose(first, scene.cube[:, 32, 16], rtol=1e-5)
    assert "a box of cabbage" in {row[0] for row in rows}

    # take everything home
    page.click("#download")
    page.wait_for_selector("#download-files a >> text=cube.npz")
    assert "report.html" in page.locator("#download-files").inner_text()
    with page.expect_download() as download:
        page.click("#download-files a >> nth=0")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    (found,) = tmp_path.glob("*/cube.npz")
    assert read_scene(found).cube.shape == (28, 64, 64)
    page.keyboard.press("Escape")
    assert page.locator("#downloads").is_hidden()


def test_a_broken_file_is_explained(page, link, tmp_path):
    come(page, link)
    (tmp_path / "broken.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    page.set_input_files("#chosen", tmp_path / "broken.mat")
    page.wait_for_selector("#status.bad")
    assert "damaged or incomplete" in page.locator("#status").inner_text()
    assert "broken.mat" in page.locator("#found").inner_text()
    assert "test_000" in page.locator("#scene").inner_text(), "what was open is still open"

    # files that are fine, dropped on the page: opened at once
    drop = """files => {
      const carried = new DataTransfer();
      for (const [name, bytes] of files) carried.items.add(new File([new Uint8Array(bytes)], name));
      document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
    }"""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "frame.npy", rng.random((12, 30), np.float32))
    np.save(tmp_path / "mask.npy", random_mask(12, 20))
    page.evaluate(drop, [[name, list((tmp_path / name).read_bytes())] for name in ("frame.npy", "mask.npy")])
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('12×20 · 6 bands')")
    assert "6 bands, step 2" in page.locator("#fits").inner_text()
    np.save(tmp_path / "cube.npy", rng.random((30, 40, 8), np.float32))
    page.click("#forget")
    page.wait_for_function("() => !document.querySelector('#found').textContent.includes('frame.npy')")
    page.set_input_files("#chosen", tmp_path / "cube.npy")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('30×40')")
    assert page.locator("#mode option[value=error]").is_enabled()
    assert not page.locator("#mode option[value=residual]").is_enabled()


def test_cancel(page, link):
    come(page, link)
    page.click("#tab-decode")
    page.select_option("#method-name", "gap-tv")
    page.fill("#iterations", "100000")
    page.click("#decode-button")
    page.wait_for_function("() => document.querySelector('#bar').value > 0")
    page.click("#cancel")
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('cancelled')")
    assert page.locator("#decode-button").is_enabled()


def test_two_tabs_of_a_browser(page, link):
    come(page, link)
    with page.context.expect_page() as opened:
        page.evaluate("link => { window.open(link); }", link)  # which copies the session storage, as duplicating does
    other = opened.value
    other.wait_for_selector("body[data-ready]")
    other.click("#samples button >> nth=2")
    other.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_019')")

    def pixels(tab):
        return tab.locator(".stack canvas").first.evaluate("canvas => canvas.toDataURL()")

    page.bring_to_front()
    page.keyboard.press("]")
    shows(page, 0, "mode=band&bands=15")
    other.bring_to_front()
    other.keyboard.press("]")
    shows(other, 0, "mode=band&bands=15")
    assert "test_000" in page.locator("#scene").inner_text()
    band = pixels(page)
    assert band != pixels(other)
    for tab, name in ((page, "test_000"), (other, "test_019")):
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        assert name in tab.locator("#scene").inner_text(), "a reload keeps the workspace"
    page.bring_to_front()
    page.keyboard.press("]")
    shows(page, 0, "mode=band&bands=15")
    assert pixels(page) == band, "still scene 0"
    other.close()


def test_two_visitors(browser, page, link):
    come(page, link)
    page.click("#samples button >> nth=1")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_007')")
    with watched_page(browser, TABLET) as other:
        come(other, link)
        assert "test_000" in other.locator("#scene").inner_text()
        # on a tablet nothing sticks out to the side
        assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")
        other.goto(link.partition("?")[0])  # the key is needed once
        other.wait_for_selector("body[data-ready]")


def test_it_feels_immediate(page, link):
    come(page, link)
    measured = page.evaluate(LATENCIES)
    assert np.median(measured["band"]) < MOST_FOR_A_PICTURE_MS
    assert np.median(measured["spectrum"]) < MOST_FOR_A_SPECTRUM_MS
