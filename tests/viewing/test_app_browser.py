"""The explorer as a person uses it, in Chromium: open, decode, look, click, take home, and read what went wrong."""

import json
import zipfile

import numpy as np
import pytest
import torch

import crsdun
from crsdun.scenes import read_scene
from crsdun.scenes.produce import CLASS_NAMES, ProduceSet
from tests.viewing.browser import TABLET, watched_page
from tests.viewing.explorer import running

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
    assert "test_000" in page.locator("#subject").inner_text()
    assert "real peach" in page.locator("#classes").inner_text()

    # simulate a part of it and let a network decode it, GAP-TV beside it
    page.click("#tab-simulate")
    page.select_option("[name=size]", "64")
    page.select_option("#method-name", "fresh")
    page.click("#try")
    page.wait_for_selector("#trials tbody tr")
    shows(page, 1, "of=fresh")
    assert "PSNR" in page.locator("#status").inner_text()
    assert page.locator("#job").is_hidden()

    # the sliders: a band, a stage, the classes over it
    slide(page, "#band", 20)
    shows(page, 1, "mode=band&bands=20")
    assert "21/28" in page.locator("#band-told").inner_text()
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
    assert "test_000" in page.locator("#subject").inner_text(), "what was open is still open"

    # a file that is fine, dropped: opened at once
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).random((30, 40, 8), np.float32))
    page.set_input_files("#chosen", tmp_path / "cube.npy")
    page.wait_for_function("() => document.querySelector('#subject').textContent.includes('30×40')")
    assert page.locator("#mode option[value=error]").is_enabled()
    assert not page.locator("#mode option[value=residual]").is_enabled()


def test_cancel(page, link):
    come(page, link)
    page.click("#tab-decode")
    page.select_option("#method-name", "gap-tv")
    page.fill("#iterations", "100000")
    page.click("#run")
    page.wait_for_function("() => document.querySelector('#bar').value > 0")
    page.click("#cancel")
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('cancelled')")
    assert page.locator("#run").is_enabled()


def test_two_visitors(browser, page, link):
    come(page, link)
    page.click("#samples button >> nth=1")
    page.wait_for_function("() => document.querySelector('#subject').textContent.includes('test_007')")
    with watched_page(browser, TABLET) as other:
        come(other, link)
        assert "test_000" in other.locator("#subject").inner_text()
        # on a tablet nothing sticks out to the side
        assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")
        other.goto(link.partition("?")[0])  # the key is needed once
        other.wait_for_selector("body[data-ready]")


def test_it_feels_immediate(page, link):
    """Loosely; ``benchmarks/explorer.py`` measures on a cube of 28×512×512."""
    come(page, link)
    measured = json.loads(page.evaluate(LATENCIES))
    assert np.median(measured["band"]) < MOST_FOR_A_PICTURE_MS
    assert np.median(measured["spectrum"]) < MOST_FOR_A_SPECTRUM_MS


# From the event to the frame in which the change is seen, over bands and pixels that were not asked for before.
LATENCIES = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const soon = () => new Promise((resume) => setTimeout(resume, 1));
  const until = async (done) => { while (!done()) await soon(); await frame(); };
  const view = document.querySelector(".view"), slider = document.getElementById("band");
  const told = { band: [], spectrum: [] };
  for (let band = 0; band < 10; band++) {
    const start = performance.now();
    slider.value = band;
    slider.dispatchEvent(new Event("input"));
    await until(() => view.dataset.shown.includes(`bands=${band}&`));
    told.band.push(performance.now() - start);
  }
  const box = document.querySelector(".stack").getBoundingClientRect(), where = document.getElementById("where");
  for (let step = 0; step < 10; step++) {
    const before = where.textContent, start = performance.now();
    const at = { clientX: box.x + box.width * (0.1 + step / 13), clientY: box.y + box.height / 2, bubbles: true };
    view.dispatchEvent(new PointerEvent("pointermove", at));
    await until(() => where.textContent !== before);
    told.spectrum.push(performance.now() - start);
  }
  return JSON.stringify(told);
}"""
