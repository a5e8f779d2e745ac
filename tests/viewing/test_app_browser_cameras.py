"""A camera file and a saved classifier as a person brings them to the explorer, in Chromium."""

import numpy as np
import pytest

from crsdun.classifiers import fit_classifier, save_classifier
from crsdun.classifiers.files import to_bytes
from crsdun.optics import CameraFile, random_mask, write_camera
from crsdun.scenes import write_scene
from tests.classifiers.scenes import SIDE, marked, painted
from tests.viewing.explorer import running
from tests.viewing.test_app_browser import come, shows
from tests.viewing.test_app_cameras import frame, stored


@pytest.fixture
def link():
    with running() as link:
        yield link


def status(page, words):
    page.wait_for_function(
        "words => document.querySelector('#status').textContent.includes(words)", arg=words, polling=100
    )


def test_from_a_camera_file_to_classes(page, link, tmp_path):
    write_camera(stored(), tmp_path / "mine.npz")
    write_camera(CameraFile(random_mask(9, 9), ((0, 0), (0, 1))), tmp_path / "other.npz")
    np.save(tmp_path / "y.npy", frame())
    write_scene(painted(), tmp_path / "truth.npz")
    come(page, link)
    assert page.locator("#roles [name=camera]").is_hidden()
    page.set_input_files("#chosen", tmp_path / "mine.npz")
    status(page, f"mine.npz takes frames of {SIDE + 2}×{SIDE + 12} pixels: now add one")
    held = page.locator(".file", has_text="mine.npz").inner_text()
    assert "dispersed at 9.5° to the rows" in held
    assert "450 nm lies 1.2 pixels off the curve" in held, "what its calibration doubted"

    page.set_input_files("#chosen", tmp_path / "y.npy")
    page.wait_for_function("() => document.querySelector('#scene').textContent.includes('24×24')", polling=100)
    assert "9 bands, 450–650 nm" in page.locator("#scene").inner_text()
    assert page.locator("#roles [name=camera]").input_value() == "mine.npz"
    for name in ("mask", "step", "bands", "wavelengths"):
        assert page.locator(f"#roles [name={name}]").is_disabled(), "the camera file says it"

    # another camera does not fit, and says so; the choice stays what it is
    page.set_input_files("#chosen", tmp_path / "other.npz")
    page.select_option("#roles [name=camera]", "other.npz")
    page.click("#roles button.main")
    status(page, "the measurement has 26 rows but the mask has 9")
    page.select_option("#roles [name=camera]", "")
    assert page.locator("#roles [name=step]").is_enabled()
    page.select_option("#roles [name=camera]", "mine.npz")
    page.click("#roles button.main")
    status(page, "y is open")

    page.click("#tab-decode")
    page.select_option("#method-name", "lr-tv")
    page.click("#decode-button")
    page.wait_for_selector("#results .result")
    assert page.locator("#roles [name=camera]").input_value() == "mine.npz"

    assert page.locator("#apply-classifier").is_hidden()
    save_classifier(fit_classifier(painted(1), marked(painted(1)), kind="lda"), tmp_path / "leaf.safetensors")
    page.click("#tab-open")
    page.set_input_files("#chosen", tmp_path / "leaf.safetensors")
    status(page, "leaf.safetensors can now be applied to a result, below the regions")
    page.click("#apply-classifier")
    status(page, "3 classes by lda, from leaf.safetensors")
    shows(page, 1, "leaf.safetensors&stage=1")
    assert page.locator("#opacity").input_value() == "70", "the map is seen"
    assert "fruit" in page.locator("#classes").inner_text()
    with page.expect_download() as download:
        page.click("#save-classifier")
    assert download.value.path().read_bytes() == (tmp_path / "leaf.safetensors").read_bytes()
    page.click("#download")
    page.wait_for_selector("#download-files a >> text=classes.npy")


def test_broken_cameras_and_classifiers_are_explained(page, link, tmp_path):
    come(page, link)
    whole = to_bytes(fit_classifier(painted(1), marked(painted(1)), kind="lda"))
    edited = whole.replace(rb"\"given\": [0, 1, 2]", rb"\"given\": [0, 1, 9]")
    assert edited != whole
    for name, content in (("camera.npz", b"PK\x03\x04 and no more"), ("classes.safetensors", edited)):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#chosen", tmp_path / name)
        page.wait_for_function(
            "name => document.querySelector('#found').textContent.includes(name)", arg=name, polling=100
        )
        assert page.locator("#status.bad").inner_text().startswith(name)
        assert page.locator(".file", has_text=name).locator(".bad").is_visible()
    assert page.locator("#saved").is_hidden()
    assert page.locator("#roles").is_hidden()
