"""What the tests of pages and figures share: a small reconstruction with hostile names, readers of pages and PNGs."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import torch
from PIL import Image

from crsdun.evaluation import cube_metrics
from crsdun.evaluation.metrics import class_figures, confusion_matrix
from crsdun.methods.doubt import Doubt
from crsdun.optics import CassiCamera, random_mask
from crsdun.runtime import Reconstruction
from crsdun.scenes import Measurement, Scene

HOSTILE = "</script><script>document.title='taken'</script>"
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0)


def small_reconstruction(height=24, width=20, bands=6, truth=True, classes=True, known=True) -> Reconstruction:
    """An estimate that is the truth with an error that grows with the band; two classes, one with a hostile name."""
    rows, columns = np.mgrid[:height, :width]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(bands)]).astype(
        "float32"
    )
    error = np.linspace(0.01, 0.05, bands, dtype="float32")[:, None, None]
    wavelengths = tuple(np.linspace(450, 700, bands)) if known else None
    labels = (columns >= width // 2).astype(np.int64)
    names = ("soil & stone", HOSTILE)
    true = Scene(cube, wavelengths, labels, names, "truth")
    guess = np.where(rows < height // 4, 0, labels)
    scene = Scene(cube + error, wavelengths, guess if classes else None, names if classes else None, f"<b>{HOSTILE}")
    camera = CassiCamera(random_mask(height, width), bands=bands, wavelengths=wavelengths)
    frame = camera.forward(torch.from_numpy(cube)).numpy()
    metrics = {"data_residual": 0.125}
    if truth:
        metrics |= cube_metrics(torch.from_numpy(scene.cube), torch.from_numpy(cube))
        if classes:
            confusion = confusion_matrix(torch.from_numpy(guess), torch.from_numpy(labels), 2)
            metrics |= {name: float(value) for name, value in class_figures(confusion).items()}
    record = {
        "made_by": "crsdun 0", "when": "today", "command": ["/bin/crsdun", "reconstruct", f"{HOSTILE}.npz"],
        "method": "gap-tv", "settings": {"iterations": 3}, "seconds": 1.25, "device": "cpu", "engine": "torch",
        "precision": "float32", "tiles": None, "threads": 1, "versions": {"torch": "2"},
        "camera": {"offsets_pixels": list(camera.offsets)},
        "measurement": {"name": scene.name, "file": HOSTILE}, "truth": {"name": "truth"} if truth else None,
    }  # fmt: skip
    measurement = Measurement(frame, name=scene.name)
    return Reconstruction(measurement, camera, scene, true if truth else None, metrics, record)


def doubted(result, calibrated=True):
    """The result with confidences, an upper half that is unknown, and expected errors."""
    ramp = np.linspace(1, 0, result.scene.classes.size, dtype="float32").reshape(result.scene.classes.shape)
    found = {"calibrated": calibrated} | ({"coverage": 0.5, "unknown": 0.5} if calibrated else {})
    return replace(
        result,
        doubt=Doubt(1 - ramp, ramp if calibrated else None, 0.5),
        error=0.01 + 0 * result.scene.cube,
        metrics=result.metrics | found,
    )


def png_pixels(path) -> np.ndarray:
    """The picture in the file, (H,W,3) int, after checking that it is a PNG that shows something."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.std() > 10
    return pixels


class Page(HTMLParser):
    """What a page consists of: its scripts by type, its texts, and all attributes by name."""

    def __init__(self, text: str):
        super().__init__()
        self.scripts: list[tuple[str | None, str]] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    @property
    def data(self):
        return json.loads(next(text for kind, text in self.scripts if kind == "application/json"))

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append((dict(attributes).get("type"), ""))

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, text):
        if self._inside and self._inside[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + text)
        elif text.strip():
            self.texts.append(" ".join(text.split()))


def check_self_contained(text: str) -> Page:
    """The page, after checking that it loads nothing, runs one script, and that no name got out of its place."""
    page = Page(text)
    assert [kind for kind, _ in page.scripts] == ["application/json", "module"]
    assert not re.search(r"https?:|url\(|@import|\bimport\s*\(|fetch\(|XMLHttpRequest|WebSocket", text)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "action", "data", "poster", "srcset"):
            assert value.startswith(("data:image/", "#")), (tag, name, value[:50])
    return page


def cubes_in(data) -> dict[str, np.ndarray]:
    """The embedded cubes, (C,h,w)."""
    spectra = data["spectra"]
    shape = spectra["height"], spectra["width"], -1
    return {
        name: (spectra["low"] + spectra["step"] * np.frombuffer(base64.b64decode(spectra[name]), "<u2"))
        .reshape(shape)
        .transpose(2, 0, 1)
        for name in ("estimate", "truth")
        if name in spectra
    }
