"""Camera files and saved classifiers in the explorer: what they do, and how bad ones are refused."""

import io
import json

import numpy as np
import pytest
import torch

from crsdun.classifiers import fit_classifier
from crsdun.classifiers.files import HEADER, to_bytes
from crsdun.optics import CameraFile, CassiCamera, random_mask, write_camera
from crsdun.scenes import Scene, write_scene
from tests.classifiers.scenes import BANDS, NM, SIDE, marked, painted
from tests.viewing.explorer import Client, running

DARK, LEVEL = 100, 3000
OFFSETS = tuple((0.25 * band, 1.5 * band) for band in range(BANDS))


def stored() -> CameraFile:
    """A tilted prism, with dark and white, and two dead pixels."""
    camera = CassiCamera(random_mask(SIDE, SIDE), offsets=OFFSETS)
    valid = np.ones(camera.measurement_shape, bool)
    valid[5, 5] = valid[11, 20] = False
    dark = np.full(valid.shape, DARK, np.float32)
    said = {"warnings": ["450 nm lies 1.2 pixels off the curve of the other bands"]}
    return CameraFile(
        camera.mask.numpy(), OFFSETS, NM, dark=dark, white=dark + LEVEL, valid=valid, measured=said,
        provenance={"made_by": "a test"},
    )  # fmt: skip


def frame() -> np.ndarray:
    """Counts of this camera, of a painted scene."""
    camera = stored()
    y = CassiCamera.load(camera).forward(torch.from_numpy(painted().cube)).numpy()
    return np.where(camera.valid, DARK + y * LEVEL / BANDS, 65535).round().astype(np.uint16)


def file_of(camera: CameraFile, path) -> bytes:
    write_camera(camera, path, overwrite=True)
    return path.read_bytes()


def array(values) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cube")
    write_scene(painted(), folder / "painted.npz")
    with running([folder / "painted.npz"], limit=1 << 20) as link:
        yield link


@pytest.fixture
def visitor(link):
    return Client(link)


# -- cameras -------------------------------------------------------------------------------------------------------


def test_a_camera_file_takes_the_place_of_a_mask(visitor, tmp_path):
    told = visitor.put("mine.npz", file_of(stored(), tmp_path / "mine.npz"))
    assert (told["format"], told["problem"], told["arrays"]) == ("camera file", "", [])
    assert told["wavelengths"] == [BANDS, 450, 650]
    assert told["camera"]["detector"] == [SIDE + 2, SIDE + 12]
    outline, detector, frames = told["camera"]["lines"]
    (doubt,) = told["camera"]["doubts"]
    assert (
        outline
        == f"9 bands, a mask of {SIDE}×{SIDE}, dispersed at 9.5° to the rows by 12.17 pixels in all, 1.52 per band"
    )
    assert detector == f"takes frames of {SIDE + 2}×{SIDE + 12} pixels, 2 of which cannot be used"
    assert frames == "knows its dark and its white"
    assert doubt.startswith("450 nm lies 1.2 pixels off")
    assert visitor.state()["suggested_camera"] is None, "there is no measurement yet"

    visitor.put("y.npy", array(frame()))
    state = visitor.state()
    assert state["suggested_camera"] == "mine.npz"
    visitor.post("/api/open", measurement={"file": "y.npy"}, truth={"file": "painted.npz", "key": "cube"},
                 camera="mine.npz")  # fmt: skip
    scene = visitor.state()["scene"]
    assert (scene["bands"], scene["height"], scene["width"]) == (BANDS, SIDE, SIDE)
    assert scene["detector"] == [SIDE + 2, SIDE + 12]
    assert scene["wavelengths"] == pytest.approx(NM)
    assert scene["step"] is None
    visitor.post("/api/decode", method="lr-tv")
    job = visitor.wait()
    assert job["state"] == "done", job
    assert visitor.state()["scene"]["layers"][-1]["metrics"]["psnr_db"] > 24
    for mode in ("residual", "trust", "measurement"):
        visitor.get(f"/api/picture?layer=lr-tv&mode={mode}&version={visitor.version}")
    dead = visitor.get(f"/api/value?layer=lr-tv&mode=residual&top=5&left=5&version={visitor.version}")
    assert json.loads(dead)["value"] == 0, "what does not count is not unexplained"


def test_a_mask_that_came_later_is_meant_instead_of_the_camera(visitor, tmp_path):
    visitor.put("mine.npz", file_of(stored(), tmp_path / "mine.npz"))
    visitor.put("y.npy", array(frame()))
    visitor.put("mask.npy", array(random_mask(SIDE, SIDE, seed=3)))
    assert visitor.state()["suggested_camera"] is None
    other = file_of(CameraFile(random_mask(9, 9), ((0, 0), (0, 1))), tmp_path / "other.npz")
    visitor.put("other.npz", other)
    assert visitor.state()["suggested_camera"] is None, "it takes frames of another size"
    message = visitor.refused(
        "POST", "/api/open", json.dumps({"measurement": {"file": "y.npy"}, "camera": "other.npz"})
    )
    assert "the measurement has 26 rows but the mask has 9" in message
    visitor.put("mine.npz", (tmp_path / "mine.npz").read_bytes())
    assert visitor.state()["suggested_camera"] == "mine.npz", "what is dropped again is the newest"


def test_trials_behind_other_masks_differ(visitor, tmp_path):
    visitor.put("mine.npz", file_of(stored(), tmp_path / "mine.npz"))
    camera = CameraFile(random_mask(SIDE, SIDE), tuple((0, 3 * band) for band in range(BANDS)), NM)
    visitor.put("wide.npz", file_of(camera, tmp_path / "wide.npz"))
    visitor.put("mask.npy", array(random_mask(SIDE, SIDE, seed=3)))
    masks = {None: 1, "mask.npy": 1, "mine.npz": None, "wide.npz": 3}
    for mask in masks:
        visitor.post("/api/simulate", scene="open", method="gap-tv", iterations="1", mask=mask, step=1)
        assert visitor.wait()["state"] == "done"
    assert [(trial["mask"], trial["step"]) for trial in visitor.state()["trials"]] == list(masks.items())


def test_cameras_that_cannot_be_used_are_refused(visitor, tmp_path):
    whole = file_of(stored(), tmp_path / "mine.npz")
    assert visitor.put("half.npz", whole[: len(whole) // 2])["problem"].startswith(
        "half.npz begins like NumPy .npz but cannot"
    )
    closed = file_of(CameraFile(-random_mask(9, 9), ((0, 0), (0, 1))), tmp_path / "negative.npz")
    assert "negative, NaN or infinite values" in visitor.put("negative.npz", closed)["problem"]
    with np.load(tmp_path / "mine.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays["crsdun"]))
    for change, words in (({"format": 99}, "upgrade crsdun"), ({"offsets": [[0, 0]]}, "of 1, 9 bands")):
        np.savez(tmp_path / "edited.npz", **{**arrays, "crsdun": np.array(json.dumps({**header, **change}))})
        told = visitor.put("edited.npz", (tmp_path / "edited.npz").read_bytes())
        assert words in told["problem"]
        assert told["camera"] is None
        message = visitor.refused(
            "POST", "/api/open", json.dumps({"measurement": {"file": "y"}, "camera": "edited.npz"})
        )
        assert message
    visitor.put("y.npy", array(frame()))
    request = {"measurement": {"file": "y.npy"}, "camera": "edited.npz"}
    assert "of 1, 9 bands" in visitor.refused("POST", "/api/open", json.dumps(request))
    request["camera"] = "gone.npz"
    assert "there is no file 'gone.npz' here" in visitor.refused("POST", "/api/open", json.dumps(request))
    request["camera"] = "y.npy"
    assert "y.npy is no camera file" in visitor.refused("POST", "/api/open", json.dumps(request))
    visitor.put("mine.npz", whole)
    both = {**request, "camera": "mine.npz", "mask": {"file": "y.npy"}}
    assert "already says the mask" in visitor.refused("POST", "/api/open", json.dumps(both))
    both = {**request, "camera": "mine.npz", "step": 2}
    assert "already says the step; omit the step, or the camera" in visitor.refused(
        "POST", "/api/open", json.dumps(both)
    )
    large = bytes((1 << 20) + 1)
    assert "larger than 1 MB" in visitor.refused("PUT", "/api/files/large.npz", large)


def test_a_camera_file_on_the_command_line(tmp_path):
    write_camera(stored(), tmp_path / "mine.npz")
    np.save(tmp_path / "y.npy", frame())
    with running([tmp_path / "mine.npz", tmp_path / "y.npy"]) as link:
        scene = Client(link).state()["scene"]
    assert scene["detector"] == [SIDE + 2, SIDE + 12]
    assert scene["bands"] == BANDS


# -- classifiers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved() -> bytes:
    return to_bytes(fit_classifier(painted(1), marked(painted(1)), kind="lda"))


def test_a_saved_classifier_gives_classes_to_a_result(visitor, saved):
    told = visitor.put("leaf.safetensors", saved)
    assert told["classes"] == ["background", "leaf", "fruit"]
    assert (told["format"], told["problem"], told["is_weights"]) == ("classifier (lda)", "", False)
    state = visitor.state()
    assert state["classifiers"] == ["leaf.safetensors"]
    assert "leaf" not in state["weights"], "it is no network"
    visitor.post("/api/classify", layer="truth", classifier="leaf.safetensors")
    job = visitor.wait()
    assert job["message"].startswith("3 classes by lda, from leaf.safetensors, mIoU ")
    layer = visitor.state()["scene"]["layers"][-1]
    assert layer["name"] == "truth · leaf.safetensors"
    query = f"layer=truth%20%C2%B7%20leaf.safetensors&version={visitor.version}"
    labels = np.frombuffer(visitor.get(f"/api/classes?{query}"), np.uint8).reshape(SIDE, SIDE)
    assert (labels == painted().classes).mean() > 0.95
    assert visitor.get(f"/api/classifier?{query}") == saved
    visitor.post("/api/classify", layer=layer["name"], classifier="leaf.safetensors")
    visitor.wait()
    assert len(visitor.state()["scene"]["layers"]) == 2, "of the same cube, in its own place"


def test_classifiers_that_cannot_be_used_are_refused(visitor, saved):
    assert visitor.put("half.safetensors", saved[: len(saved) // 2])["problem"]
    edited = saved.replace(b'\\"kind\\": \\"lda\\"', b'\\"kind\\": \\"xyz\\"')
    assert edited != saved
    told = visitor.put("edited.safetensors", edited)
    assert "was damaged or edited: there is no kind 'xyz'" in told["problem"]
    assert told["classes"] == []
    assert HEADER not in told["problem"]
    state = visitor.state()
    assert state["classifiers"] == []
    assert not {"half", "edited"} & set(state["weights"])
    body = json.dumps({"layer": "truth", "classifier": "edited.safetensors"})
    assert (
        visitor.refused("POST", "/api/classify", body)
        == "there is no classifier 'edited.safetensors' here; drop it again"
    )

    wide = Scene(painted(nm=tuple(np.linspace(700, 900, BANDS))).cube, tuple(np.linspace(700, 900, BANDS)))
    other = to_bytes(fit_classifier(wide, marked(painted()), kind="angle"))
    visitor.put("infrared.safetensors", other)
    visitor.post("/api/classify", layer="truth", classifier="infrared.safetensors")
    job = visitor.wait()
    assert job["state"] == "failed"
    assert "the classifier needs 700–900 nm, but 'painted 0' covers 450–650 nm" in job["message"]
    visitor.put("infrared.safetensors", edited)
    assert visitor.state()["classifiers"] == [], "the later upload counts"
