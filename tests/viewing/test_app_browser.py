"""The explorer as a person uses it, in Chromium: open, decode, look, click, take home, and read what went wrong."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import crsdun
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, open_method, simulate
from crsdun.runtime import decode as runtime_decode
from crsdun.scenes import Scene, read_scene, write_measurement
from crsdun.scenes.produce import CLASS_NAMES, ProduceSet
from crsdun.viewing.result_folder import write_results
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
        polling=100,  # by the clock: a browser without a window stops painting a page that does not change
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
    page.wait_for_function("() => document.querySelectorAll('#points li').length === 3", polling=100)
    page.mouse.move(5, 5)
    page.locator("#points input").nth(1).fill("a box of cabbage")
    page.wait_for_function("() => document.querySelectorAll('#plot polyline').length === 3", polling=100)
    told = page.locator("#lines").inner_text()
    assert all(name in told for name in ("truth", "fresh", "gap-tv", "r = "))
    assert page.locator("#probabilities .bars > div").count() == 5
    assert page.locator("#attention img").count() == 4  # two branches at two sizes
    page.wait_for_function(
        "() => [...document.querySelectorAll('#attention img')].every(image => image.naturalWidth === 64)",
        polling=100,
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
    page.wait_for_function(
        "() => document.querySelector('#scene').textContent.includes('12×20 · 6 bands')", polling=100
    )
    assert "6 bands, step 2" in page.locator("#fits").inner_text()
    np.save(tmp_path / "cube.npy", rng.random((30, 40, 8), np.float32))
    page.click("#forget")
    assert page.locator("#forget-box").is_visible(), "it asks first"
    assert "frame.npy" in page.locator("#found").inner_text()
    with page.expect_navigation():
        page.click("#forget-all")
    page.wait_for_selector("body[data-ready]")
    page.wait_for_function("() => !document.querySelector('#found').textContent.includes('frame.npy')", polling=100)
    page.wait_for_load_state("networkidle")  # the page has asked for all that it shows
    page.set_input_files("#chosen", tmp_path / "cube.npy")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('30×40')", polling=100)
    assert page.locator("#notes").inner_text().startswith("a cube without a measurement: ")
    assert page.locator("#mode option[value=error]").is_enabled()
    assert not page.locator("#mode option[value=residual]").is_enabled()


def test_cancel(page, link):
    come(page, link)
    page.click("#tab-decode")
    page.select_option("#method-name", "gap-tv")
    page.fill("#iterations", "100000")
    page.click("#decode-button")
    page.wait_for_function("() => document.querySelector('#bar').value > 0", polling=100)
    page.click("#cancel")
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('cancelled')", polling=100)
    assert page.locator("#decode-button").is_enabled()


def test_refine_the_camera(page, link, tmp_path):
    produce = ProduceSet("validation")[0]
    scene = Scene(produce.cube[::7, 60:108, 60:124], wavelengths=produce.wavelengths[::7], name="four")
    write_measurement(simulate(scene, Exposure(step=4, moved=(1, 0.5))), tmp_path / "y.npz")
    come(page, link)
    page.set_input_files("#chosen", tmp_path / "y.npz")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('48×64')", polling=100)
    page.click("#tab-decode")
    page.select_option("#method-name", "gap-tv")
    page.fill("#iterations", "2")
    page.click("#decode-button")
    page.wait_for_selector("#results .result")
    page.click("#refine-button")
    page.wait_for_function("() => document.querySelector('#refined').textContent.includes('refined')", polling=100)
    told = page.locator("#refined").inner_text()
    assert "camera refined: mask moved by +1.0" in told
    assert "instead of" in told, "the fit before and after"
    assert page.locator("#results .result").count() == 0, "nothing was decoded behind this camera yet"
    page.click("#decode-button")
    page.wait_for_selector("#results .result")
    assert page.locator("#refine-button").is_enabled()


def test_two_tabs_of_a_browser(page, link):
    come(page, link)
    with page.context.expect_page() as opened:
        page.evaluate("link => { window.open(link); }", link)  # which copies the session storage, as duplicating does
    other = opened.value
    other.wait_for_selector("body[data-ready]")
    other.click("#samples button >> nth=2")
    other.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_019')", polling=100)

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
        tab.bring_to_front()
        tab.wait_for_function("() => location.hash.includes('band=15')", polling=100)
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        assert name in tab.locator("#scene").inner_text(), "a reload keeps the workspace"
    page.bring_to_front()
    shows(page, 0, "mode=band&bands=15")
    assert pixels(page) == band, "still scene 0, and the band that was shown"
    other.close()


def test_two_visitors(browser, page, link):
    come(page, link)
    page.click("#samples button >> nth=1")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_007')", polling=100)
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


# -- looking ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """An explorer with two results of one small scene."""
    folder = tmp_path_factory.mktemp("results")
    scene = ProduceSet("test")[0].cropped(96, 96, 48, 48)
    prepared = Preparation().prepare(simulate(scene, Exposure(random_mask(48, 48))), scene)
    for name, iterations in (("few", 2), ("many", 12)):
        result = runtime_decode(prepared, open_method("gap-tv", iterations=iterations))
        write_results(result, folder / name)
    with running([folder / "few", folder / "many"]) as link:
        yield link


def test_a_result_that_should_not_be_believed_says_so(page, tmp_path):
    scene = ProduceSet("test")[0].cropped(96, 96, 48, 48)
    measurement = simulate(scene, Exposure(random_mask(48, 48)))
    prepared = Preparation(mask=np.roll(measurement.mask, 1, axis=1)).prepare(measurement)
    result = runtime_decode(prepared, open_method("crsdun_tiny_1"))
    write_results(result, tmp_path / "off")
    with running([tmp_path / "off"]) as link:
        come(page, link)
        page.wait_for_selector("#results .bad", state="attached")
        words = page.locator("#results .bad").text_content()
    assert words == f"Do not rely on this result: {result.warning}."


def legend_limits(page):
    return [float(page.locator(name).input_value()) for name in ("#low", "#high")]


def test_values_under_the_cursor_are_shown_and_said(page, results):
    come(page, results)
    slide(page, "#band", 7)
    shows(page, 1, "bands=7")
    page.mouse.move(*on_picture(page, 0, 0.5, 0.25))
    page.wait_for_function("() => document.querySelector('#values').textContent.includes('truth')", polling=100)
    text = page.locator("#values").inner_text()
    truth = ProduceSet("test")[0].cropped(96, 96, 48, 48).cube[7, 12, 24]
    assert text.startswith("row 12, column 24, ")
    assert float(text.split("truth ")[1].split(",")[0]) == pytest.approx(truth, rel=1e-3)
    assert "gap-tv · many" in text
    page.wait_for_function("text => document.querySelector('#spoken').textContent === text", arg=text, polling=100)
    for mode, words in (("error", "RMSE over bands"), ("residual", "y − A x on the detector")):
        page.select_option("#mode", mode)
        shows(page, 1, f"mode={mode}")
        page.mouse.move(*on_picture(page, 1, 0.3, 0.5 + 0.01 * len(mode)))
        page.wait_for_function(
            "words => document.querySelector('#values').textContent.includes(words)", arg=words, polling=100
        )


def test_both_pictures_have_one_scale_that_can_be_set(page, results):
    come(page, results)
    page.select_option("select[aria-label='first picture shows']", "gap-tv")
    page.select_option("select[aria-label='second picture shows']", "gap-tv · many")
    page.select_option("#mode", "error")
    shows(page, 0, "mode=error")
    for pane in (0, 1):
        shows(page, pane, "mode=error")
    shows(page, 1, "&low=")  # the better one on the scale of the worse one
    low, high = legend_limits(page)
    assert low == 0
    assert page.locator("#ramp svg rect").count() == 64
    page.fill("#high", str(high / 2))
    page.keyboard.press("Enter")
    for pane in (0, 1):
        shows(page, pane, f"&high={high / 2}")
    page.select_option("#colours", "viridis")
    for pane in (0, 1):
        shows(page, pane, "&colours=viridis")
    page.click("#auto-contrast")
    page.wait_for_function("high => Number(document.querySelector('#high').value) === high", arg=high, polling=100)
    page.select_option("#mode", "difference")
    shows(page, 1, "mode=difference")
    assert legend_limits(page)[0] == -legend_limits(page)[1]


def test_all_points_are_drawn_with_a_legend(page, results):
    come(page, results)
    for place in ((0.2, 0.3), (0.7, 0.6)):
        page.mouse.click(*on_picture(page, 0, *place))
    page.mouse.move(5, 5)
    page.check("#all-points")
    page.wait_for_function("() => document.querySelectorAll('#plot polyline').length === 6", polling=100)
    legend = page.locator("#lines").inner_text()
    assert all(name in legend for name in ("point 1", "point 2", "truth", "gap-tv", "gap-tv · many"))
    styles = page.locator("#plot polyline").evaluate_all(
        "lines => lines.map(line => line.style.stroke + line.style.strokeDasharray)"
    )
    assert len(set(styles)) == 6
    assert "reflectance" in page.locator("#plot text").all_text_contents()


def test_the_address_keeps_the_view(page, results):
    come(page, results)
    assert "key" not in page.url
    assert "code" not in page.url
    page.mouse.click(*on_picture(page, 0, 0.25, 0.5))
    page.locator("#points input").fill("a, b; c")
    slide(page, "#band", 9)
    slide(page, "#opacity", 30)
    page.wait_for_function(
        "() => location.hash.includes('band=9') && location.hash.includes('opacity=30')", polling=100
    )
    link = page.url

    def is_as_it_was():
        page.wait_for_selector("body[data-ready]")
        shows(page, 1, "mode=band&bands=9")
        assert page.locator("#points input").input_value() == "a, b; c"
        assert page.locator("#opacity").input_value() == "30"

    page.reload()
    is_as_it_was()
    page.goto("about:blank")
    page.goto(link)
    is_as_it_was()
    page.goto("about:blank")
    page.goto(
        link.partition("#")[0]
        + "#mode=band&band=1e9&points=5,5,999,1,x;a,b;1,1,1,1,%25E0%25A&layers=no|way&rgb=9,x&low=x"
    )
    page.wait_for_selector("body[data-ready]")
    shows(page, 0, "mode=band&bands=14")


def test_the_picture_that_is_saved_is_what_is_seen(page, results):
    come(page, results)
    for _ in range(4):
        page.locator(".view").first.press("+")
    page.mouse.click(*on_picture(page, 0, 0.5, 0.5))
    page.mouse.move(5, 5)
    boxes = page.locator(".view").evaluate_all("views => views.map(view => [view.clientWidth, view.clientHeight])")
    with page.expect_download() as download:
        page.click("#save-view")
    saved = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    (width, height), _ = boxes
    assert saved.shape[:2] == (2 * (height + 44), 2 * (2 * width + 10))
    seen = np.asarray(Image.open(io.BytesIO(page.locator(".view").nth(1).screenshot())).convert("RGB")).astype(int)
    pane = saved[44 : 44 + 2 * height : 2, 2 * (width + 10) :: 2]
    part = [slice(5, height - 5), slice(5, width - 5)]
    assert np.median(np.abs(pane[tuple(part)] - seen[: pane.shape[0], : pane.shape[1]][tuple(part)])) <= 2


def test_the_keyboard_moves_an_enlarged_picture(page, results):
    come(page, results)
    view = page.locator(".view").first
    for _ in range(4):
        view.press("+")
    before = page.locator(".stack").nth(1).evaluate("stack => stack.style.left")
    view.press("Control+ArrowRight")
    after = page.locator(".stack").nth(1).evaluate("stack => stack.style.left")
    assert float(after.removesuffix("px")) < float(before.removesuffix("px"))


def test_every_control_has_a_name_in_light_and_dark(page, results):
    page.emulate_media(color_scheme="light")
    come(page, results)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert light != page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#tab-simulate")
    for name in ("mask seed", "photons at y = 1", "read-out noise", "dispersion in pixels per band"):
        assert page.get_by_role("slider", name=name).count() == 1


def test_a_cube_without_wavelengths_shows_band_numbers(page, link, tmp_path):
    come(page, link)
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).random((30, 40, 5), np.float32))
    page.set_input_files("#chosen", tmp_path / "cube.npy")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('30×40')", polling=100)
    assert page.locator("#band-name").inner_text() == "Band"
    page.mouse.move(*on_picture(page, 0, 0.5, 0.5))
    page.wait_for_function("() => document.querySelectorAll('#plot polyline').length === 1", polling=100)
    labels = page.locator("#plot text").all_text_contents()
    assert {"1", "2", "3", "4", "5", "band"} <= set(labels)


def test_a_tab_that_is_behind_says_so(page, link):
    come(page, link)
    page.evaluate("""async () => {
      const headers = { "x-crsdun": "page", "x-crsdun-workspace": sessionStorage.getItem("workspace") };
      await fetch("/api/open", { method: "POST", headers, body: JSON.stringify({ sample: "produce-33" }) });
    }""")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('test_033')", polling=100)
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('has changed meanwhile')", polling=100
    )
    shows(page, 0, "mode=")
