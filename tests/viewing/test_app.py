"""The explorer's server: who may talk to it, what it opens, computes, shows and gives away."""

import ast
import csv
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import crsdun
from crsdun.cli import main, parser
from crsdun.errors import SETTING
from crsdun.optics import Exposure, RandomMask, moved_mask, random_mask
from crsdun.runtime import Preparation, simulate
from crsdun.scenes import Box, Scene, spectra_in, write_arrays, write_measurement, write_scene
from crsdun.storage import HIDDEN
from crsdun.viewing.app import server, uploads, workspace_store
from crsdun.viewing.app.jobs import Job
from crsdun.viewing.app.open_scene import OpenScene
from crsdun.viewing.app.pictures import ValueMap
from crsdun.viewing.app.requests import SpectraRequest
from crsdun.viewing.app.spectra import spectra_at, spectra_csv
from crsdun.viewing.app.wording import CONTROLS, page_message
from crsdun.viewing.figures import save_png
from crsdun.viewing.regions import Region
from tests.viewing.explorer import KEY, Client, running

BANDS, H, W = 6, 24, 20
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0)
NAMES = ("soil", "leaf")


def scene() -> Scene:
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(BANDS)])
    return Scene(cube, WAVELENGTHS, (cube[0] > 0.5).astype(int), NAMES, "waves")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a measurement, its mask, its truth and fresh weights for them."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    mask = random_mask(H, W, seed=1)
    write_measurement(simulate(scene(), Exposure(mask)), folder / "y.npz")
    np.save(folder / "mask.npy", mask)
    write_scene(scene(), folder / "truth.npz")
    network = crsdun.create("crsdun_2stg", BANDS, 2, width=4)
    crsdun.save(network, folder / "fresh.safetensors", wavelengths=WAVELENGTHS, class_names=NAMES, step=2)
    return folder


@pytest.fixture(scope="module")
def link(given):
    files = [given / name for name in ("y.npz", "truth.npz", "fresh.safetensors")]
    with running(files) as link:
        yield link


@pytest.fixture
def visitor(link):
    return Client(link)


# -- who may talk to it ----------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_only_unless_told_otherwise(capsys):
    assert parser().parse_args(["app"]).host == "127.0.0.1"
    assert main(["app", "--host", "192.0.2.1", "--port", "1"]) == 2  # an address that is nobody's
    expected = "crsdun: '192.0.2.1' is not an address of this machine; choose another --host\n"
    assert capsys.readouterr().err == expected
    command = [sys.executable, "-m", "crsdun", "app", "--no-browser", "--port", "0", "--host"]
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        with subprocess.Popen(
            [*command, host], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as explorer:
            assert explorer.stdout.readline().startswith(f"open http://{host}:")
            explorer.terminate()
            assert (f"WARNING: listening on {host}: " in explorer.stderr.read()) == warned


def test_nobody_gets_in_without_the_key(link):
    stranger = Client(link, key=None)
    for path in ("/", "/?key=guess"):
        status, headers, _ = stranger.request("GET", path)
        assert status == 403
        assert "set-cookie" not in headers
    assert "open the link" in stranger.refused("GET", "/api/state")
    stranger.cookie = f"crsdun_{link.split(':')[2].partition('/')[0]}=guess"
    assert "open the link" in stranger.refused("GET", "/api/state")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "attacker.example"},  # DNS rebinding
        {"host": "attacker.example:8628"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"x-crsdun": ""},  # a form can be sent from anywhere, this header cannot
    ],
)
def test_other_pages_are_refused(visitor, headers):
    status, _, _ = visitor.request("POST", "/api/cancel", "{}", **headers)
    assert status == 403


def test_other_pages_read_nothing(visitor):
    other = ({"host": "attacker.example"}, {"origin": "http://attacker.example"}, {"sec-fetch-site": "cross-site"})
    for headers in other:
        assert visitor.request("GET", "/api/state", **headers)[0] == 403
    own = {"host": f"localhost:{visitor.host.rpartition(':')[2]}"}
    assert visitor.request("GET", "/api/state", **own)[0] == 200


def test_the_page_keeps_to_itself(visitor):
    for path in ("/", "/page/main.js", "/api/state"):
        _, headers, _ = visitor.request("GET", path)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
    page = Path(crsdun.__file__).parent / "viewing" / "app" / "page"
    for file in page.iterdir():
        outside = file.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
        assert "http:" not in outside
        assert "https:" not in outside


def test_visitors_do_not_see_each_other(link, given):
    one, other = Client(link), Client(link)
    same_browser = Client(link, visitor=one)
    one.put("secret.npz", (given / "truth.npz").read_bytes())
    one.post("/api/open", truth={"file": "secret.npz", "key": "cube"})
    assert not one.state()["scene"]["detector"]
    theirs = other.state()
    assert "secret.npz" not in [file["name"] for file in theirs["files"]]
    assert "secret.npz" not in [file["name"] for file in same_browser.state()["files"]], "each tab has its own"
    other.workspace, own = one.workspace, other.workspace
    assert "reload the page" in other.refused("GET", "/api/state"), "knowing the id of a tab is not enough"
    other.workspace = own
    assert theirs["scene"]["detector"] == [H, W + 2 * (BANDS - 1)]
    assert "there is no file" in other.refused("POST", "/api/open", json.dumps({"truth": {"file": "secret.npz"}}))
    one.post("/api/forget")
    assert "secret.npz" not in [file["name"] for file in one.state()["files"]]


def test_what_was_uploaded_goes_when_it_ends(given):
    before = set(Path(tempfile.gettempdir()).glob(f"{HIDDEN}*"))
    with running() as link:
        Client(link).put("y.npz", (given / "y.npz").read_bytes())
        (folder,) = set(Path(tempfile.gettempdir()).glob(f"{HIDDEN}*")) - before
        assert oct(folder.stat().st_mode)[-2:] == "00"  # nobody else of this machine may look
        assert list(folder.glob("*/uploads/y.npz"))
    assert not folder.exists()


def test_what_a_killed_explorer_left_goes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one = workspace_store.WorkspaceStore()
    dead = tmp_path / one.folder.name.replace(f"-{os.getpid()}-", "-999999999-")
    dead.mkdir()
    workspace_store.WorkspaceStore().close()
    assert not dead.exists()
    assert one.folder.exists()
    one.close()


def test_the_least_recently_used_workspace_goes_unless_it_computes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(workspace_store, "MOST_WORKSPACES", 2)
    store = workspace_store.WorkspaceStore(limit=1 << 20)
    visitor, _ = store.admit()
    first, second = store.create(visitor), store.create(visitor)
    folder = store.find(visitor, second).folder
    assert store.find(visitor, first), "which is now the one that was used last"
    third = store.create(visitor)
    assert store.find(visitor, second) is None
    assert not folder.exists()
    finish = threading.Event()
    computing = [store.find(visitor, each) for each in (first, third)]
    computing[0].job = Job("waits", lambda job: str(finish.wait(60)))
    fourth = store.create(visitor)
    assert store.find(visitor, first), "it computes"
    assert store.find(visitor, third) is None
    store.find(visitor, fourth).job = Job("waits too", lambda job: "")
    with pytest.raises(crsdun.InputError, match="all 2 workspaces are computing"):
        store.create(visitor)
    finish.set()
    store.close()


# -- what comes in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mat", ".npz", ".h5", ".tif", ".npy", ".hdr"])
def test_every_format_opens(given, visitor, tmp_path, suffix):
    visitor.post("/api/forget")
    measurement = simulate(scene(), Exposure(RandomMask(1)))
    write_arrays(tmp_path / f"frame{suffix}", {"measurement": measurement.frame}, {})
    for path in sorted(tmp_path.glob("frame*"), reverse=True):  # .img before its .hdr
        told = visitor.put(path.name, path.read_bytes())
    assert not told["problem"]
    visitor.put("mask.npy", (given / "mask.npy").read_bytes())
    state = visitor.state()
    assert {"bands": BANDS, "step": 2} in state["fits"]
    roles = {role: state["suggested"][role] for role in ("measurement", "mask")}
    assert roles["measurement"]["file"].startswith("frame")
    visitor.post("/api/open", **roles, wavelengths="450-700:6")
    subject = visitor.state()["scene"]
    assert (subject["bands"], subject["height"], subject["width"]) == (BANDS, H, W)
    assert subject["wavelengths"] == list(WAVELENGTHS)


def test_counts_are_opened_with_their_dark_and_white_levels(given, visitor):
    frame = simulate(scene(), Exposure(random_mask(H, W, seed=1))).frame
    white = 4000  # of one band; a white reference without the mask adds up all of them
    counts = io.BytesIO()
    np.save(counts, np.rint(100 + frame * (white - 100) / BANDS).astype(np.uint16))
    visitor.put("counts.npy", counts.getvalue())
    visitor.put("mask.npy", (given / "mask.npy").read_bytes())
    roles = {"measurement": {"file": "counts.npy", "key": "image"}, "mask": {"file": "mask.npy"}}
    visitor.post("/api/open", **roles)
    visitor.post("/api/decode", method="gap-tv", iterations=2)
    assert visitor.wait()["state"] == "done", "a solver takes counts as they are"
    visitor.put("truth.npz", (given / "truth.npz").read_bytes())
    visitor.post("/api/open", **roles, truth={"file": "truth.npz", "key": "cube"}, wavelengths="450-700:6")
    visitor.post("/api/decode", method="gap-tv", iterations=2)
    problem = visitor.wait()["message"]
    assert all(words in problem for words in ("the bit depth", "the white level", "the dark level"))
    (note,) = visitor.state()["scene"]["notes"]
    assert note.startswith("unlit pixels read about ")
    assert ": set the dark level to " in note
    visitor.post("/api/open", **roles, dark="100", white=str(white))
    assert not visitor.state()["scene"]["notes"]
    (value,) = (json.loads(visitor.get("/api/value?mode=measurement&top=9&left=9"))["value"],)
    assert value == pytest.approx(frame[9, 9], rel=0.02)


def test_a_long_name_keeps_its_beginning(visitor):
    name = visitor.put("beginning" + "x" * 300 + ".npy", b"x")["name"]
    assert name.startswith("beginningx")
    assert name.endswith(".npy")
    assert len(name) < 140


def refused_file(visitor, name, content):
    told = visitor.put(name, content)
    assert visitor.state()["scene"], "what was open is still open"
    return told["problem"]


def test_broken_files_are_named(visitor, given):
    assert "damaged or incomplete" in refused_file(visitor, "cut.npz", (given / "y.npz").read_bytes()[:200])
    assert "is empty" in refused_file(visitor, "empty.npy", b"")
    problem = refused_file(visitor, "odd.npy", pickle.dumps([1, 2]))
    assert "pickle, which crsdun never opens" in problem
    assert problem.startswith("odd.npy"), "no path of the server"
    told = io.BytesIO()
    np.save(told, np.array([{"a": 1}]), allow_pickle=True)
    assert "pickled Python objects" in refused_file(visitor, "object.npy", told.getvalue())


def test_other_kinds_of_files_are_refused(visitor):
    for name in ("run.py", "weights.pkl", ".hidden", "a.onnx"):
        assert "is not a file that can be opened here" in visitor.refused("PUT", f"/api/files/{name}", b"x")


def test_a_name_stays_in_its_folder(visitor):
    assert visitor.put("..%5C..%5Cescaped.npy", b"x")["name"] == "escaped.npy"
    assert visitor.request("PUT", "/api/files/..%2F..%2Fescaped.npy", b"x")[0] == 404


def test_too_large_is_said(visitor):
    assert "larger than 8 MB" in visitor.refused("PUT", "/api/files/big.npy", bytes((8 << 20) + 1))
    chunks = (bytes(1 << 20) for _ in range(20))  # nobody announced how many
    assert "larger than 8 MB" in visitor.refused("PUT", "/api/files/big.npy", chunks)
    packed = io.BytesIO()
    np.savez_compressed(packed, cube=np.zeros((1, 6000, 6000), np.uint8))
    assert packed.tell() < 1 << 20
    assert "needs 0.036 GB of memory" in refused_file(visitor, "bomb.npz", packed.getvalue())


@pytest.mark.parametrize("name", ["a.h5", "a.mat", "a.tif", "a.png", "a.npz"])
def test_what_unpacks_to_too_much_is_found_before_it_is_read(tmp_path, name):
    path, array = tmp_path / name, np.zeros((3000, 1000), np.uint8)
    if name == "a.h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=array, compression="gzip")
    elif name == "a.mat":
        from scipy.io import savemat

        savemat(path, {"x": array}, do_compression=True)
    elif name == "a.tif":
        import tifffile

        tifffile.imwrite(path, array, compression="zlib")
    elif name == "a.png":
        Image.fromarray(array).save(path)
    else:
        np.savez_compressed(path, x=array)
    assert path.stat().st_size < 100_000
    assert not uploads.summarise(path, 25_000_000 // uploads.UNPACKED).problem
    problem = uploads.summarise(path, 2_000_000 // uploads.UNPACKED).problem
    assert "GB of memory, more than the 0.002 GB allowed" in problem
    assert "allow more with the upload limit" in problem


def test_a_file_reads_no_other_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (8, 8), "u1", external=[(str(tmp_path / "secret"), 0, 64)])
    assert "refers to another file" in uploads.summarise(tmp_path / "a.h5", 1 << 20).problem


def test_messages_know_no_options(visitor, given):
    visitor.post("/api/forget")
    frame = np.random.default_rng(0).random((H, W + 10)).astype(np.float32)
    file = io.BytesIO()
    np.save(file, frame)
    visitor.put("alone.npy", file.getvalue())
    chosen = {"measurement": {"file": "alone.npy", "key": "image"}}
    for said, words in (
        (chosen, "set a mask"),
        ({**chosen, "step": "x"}, "must be a number"),
        ({**chosen, "wavelengths": "blue"}, "cannot read the wavelengths"),
        ({}, "choose which array is the measurement"),
    ):
        problem = visitor.refused("POST", "/api/open", json.dumps(said))
        assert words in problem
        assert "--" not in problem


def test_every_setting_that_a_remedy_names_has_a_name_on_the_page():
    package, named = Path(crsdun.__file__).parent, set()
    above = {"cli", "service", "cluster", "interop", "experiments"}  # what the explorer does not use
    no_remedies = {"errors.py", "hub.py", "sharing.py", "notebook.py"}  # patterns, HTML, and what only publishes
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] not in above and path.name not in no_remedies:
            strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            named |= {name for text in strings if isinstance(text, str) for name in SETTING.findall(text)}
    assert {"mask", "bits", "limit"} <= named
    assert named <= CONTROLS.keys()


def test_paths_of_this_machine_never_reach_the_page(given, tmp_path):
    folder = tmp_path / "a private folder"
    folder.mkdir()
    (folder / "cut.npz").write_bytes((given / "y.npz").read_bytes()[:200])
    np.save(folder / "frame.npy", np.zeros((H, W + 10), np.float32))
    np.save(folder / "mask.npy", np.load(given / "mask.npy")[:, :-1])
    with running(sorted(folder.iterdir())) as link:
        visitor = Client(link)
        texts = [json.dumps(visitor.state())]
        arrays = {"measurement": {"file": "frame.npy", "key": "nothing"}, "mask": {"file": "mask.npy"}}
        texts.append(visitor.refused("POST", "/api/open", json.dumps(arrays)))
        texts.append(visitor.refused("POST", "/api/open", json.dumps({"measurement": {"file": "cut.npz"}})))
        visitor.post("/api/open", sample="produce-0")
        visitor.post("/api/simulate", method="gap-tv", iterations="2", size=64)
        assert visitor.wait()["state"] == "done"
        layer = "gap-tv%20%C2%B7%202%20iterations"
        for name in ("record.json", "report.html"):
            texts.append(visitor.get(f"/api/download/{name}?layer={layer}").decode())
    for text in texts:
        for private in ("private", str(tmp_path), tempfile.gettempdir() + "/", str(Path.home()) + "/"):
            assert private not in text
    error = OSError(2, "No such file or directory", "/home/somebody/data/y.npz")
    assert page_message(error) == "y.npz: No such file or directory"
    assert page_message(crsdun.InputError(r"no C:\Users\somebody\y.npz")) == "no y.npz"


# -- what it computes ------------------------------------------------------------------------------------------


def test_a_network_and_gap_tv_beside_it(visitor):
    visitor.post("/api/decode", method="fresh", add_gap_tv=True, iterations="")
    job = visitor.wait()
    assert job["state"] == "done", job
    subject = visitor.state()["scene"]
    _, network, yardstick = subject["layers"]
    assert [layer["name"] for layer in subject["layers"]] == ["truth", "fresh", "gap-tv"]
    assert network["stages"] == 2
    assert network["segments"] == [True, True]
    assert not yardstick["segments"][0]
    assert network["stage_metrics"][1]["psnr_db"] == pytest.approx(network["metrics"]["psnr_db"])
    assert "miou_present" in network["metrics"]
    assert [each["name"] for each in subject["classes"]] == list(NAMES)

    # class probabilities at a pixel, of each stage
    for stage in (1, 2):
        (told,) = visitor.post("/api/spectra", points=[{"top": 3, "left": 4}], stage=stage)
        shares = told["fresh"]["classes"]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        classes = np.frombuffer(visitor.get(f"/api/classes?layer=fresh&stage={stage}"), np.uint8).reshape(H, W)
        assert classes[3, 4] == int(np.argmax(shares))
    # where the network looks, in both branches
    blocks = network["blocks"]
    assert {block["branch"] for block in blocks if block["stage"] == 2} == {"cube", "class"}
    for what in ("association", "attention", "sources"):
        query = {"layer": "fresh", "block": 0, "map": what, "top": 3, "left": 4}
        status, _, body = visitor.request("POST", "/api/attention", json.dumps(query))
        assert status == 200, body
        assert Image.open(io.BytesIO(body)).size == (W, H)
    query = {"layer": "gap-tv", "block": 0, "map": "sources", "top": 1, "left": 1}
    assert "no such cross-aggregation" in visitor.refused("POST", "/api/attention", json.dumps(query))


def test_cancel_leaves_what_was_there(visitor):
    visitor.post("/api/decode", method="gap-tv", iterations="1000000")
    assert "already running" in visitor.refused("POST", "/api/decode", json.dumps({"method": "gap-tv"}))
    while json.loads(visitor.get("/api/job"))["job"]["done"] < 3:
        pass
    job = json.loads(visitor.get("/api/job"))["job"]
    assert (job["state"], job["total"]) == ("running", 1000000)
    visitor.post("/api/cancel")
    assert visitor.wait()["state"] == "cancelled"
    assert [layer["name"] for layer in visitor.state()["scene"]["layers"]] == ["truth"]


def test_a_network_can_be_cancelled_between_its_layers():
    network = crsdun.create("crsdun_2stg", BANDS, 2, width=4).eval()
    measurement = simulate(scene(), Exposure())
    prepared = Preparation().prepare(measurement)
    told = []

    def progress(done, total):
        told.append((done, total))
        if len(told) == 5:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        crsdun.runtime.decode(prepared, network, progress=progress)
    assert told[-1][0] < told[-1][1]
    before = len(told)
    crsdun.runtime.decode(prepared, network)
    assert len(told) == before, "nothing stays hooked"


def test_what_cannot_be_computed_is_said(visitor):
    for said, words in (
        ({"method": "magic"}, "no method or network called 'magic'"),
        ({"method": "gap-tv", "iterations": "-3"}, "iterations"),
        ({"method": "gap-tv", "iterations": "0"}, "iterations"),
    ):
        visitor.post("/api/decode", **said)
        job = visitor.wait()
        assert job["state"] == "failed"
        assert words in job["message"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/open", "[1]", "not a JSON object"),
        ("/api/open", "[" * 100_000, "not JSON"),
        ("/api/open", '{"measurement": {"file": ["y.npz"]}}', "file must be text"),
        ("/api/open", '{"measurement": "y.npz"}', "not a JSON object"),
        ("/api/open", '{"sample": "produce-0", "bands": 2.5}', "bands must be a whole number"),
        ("/api/decode", '{"method": "gap-tv", "iterations": "x"}', "iterations must be a whole number"),
        ("/api/decode", '{"method": {}}', "method must be text"),
        ("/api/decode", '{"method": "gap-tv", "engine": "steam"}', "no engine 'steam'"),
        ("/api/decode", '{"method": "gap-tv", "add_gap_tv": 3}', "must be true or false"),
        ("/api/simulate", '{"method": "gap-tv", "step": NaN}', "step must be a number"),
        ("/api/simulate", '{"method": "gap-tv", "seed": true}', "seed must be a whole number"),
        ("/api/spectra", '{"points": {}}', "points must be a list"),
        ("/api/spectra", '{"points": [3]}', "not a JSON object"),
        ("/api/spectra", '{"points": [], "stage": "last"}', "stage must be a whole number"),
    ],
)
def test_wrong_types_are_refused(visitor, path, body, words):
    assert words in visitor.refused("POST", path, body)


def test_simulation_shows_what_noise_and_a_shifted_mask_cost(visitor):
    settings = {"scene": "open", "method": "gap-tv", "iterations": "12", "step": 2}
    figures = []
    for change in ({}, {"photons": 5}, {"shift_down": 1}, {"step": 1}, {"mask_seed": 3}):
        visitor.post("/api/simulate", **{**settings, **change})
        assert visitor.wait()["state"] == "done"
        state = visitor.state()
        figures.append(state["trials"][-1]["psnr_db"])
    assert len(state["trials"]) == 5
    clean, noisy, shifted, other_step, other_mask = figures
    assert noisy < clean - 0.5
    assert shifted < clean - 0.5
    assert other_step != clean
    assert other_mask != clean
    problem = visitor.refused("POST", "/api/simulate", json.dumps({**settings, "photons": -1}))
    assert problem == "photons must lie between 0 and 1e+09"


def test_a_sample_is_at_hand(visitor):
    visitor.post("/api/open", sample="produce-0")
    subject = visitor.state()["scene"]
    assert (subject["bands"], subject["height"], subject["width"]) == (28, 256, 256)
    assert subject["detector"] == [256, 256 + 54]
    assert len(subject["classes"]) == 23
    assert "no sample" in visitor.refused("POST", "/api/open", json.dumps({"sample": "produce-1000"}))


# -- what it shows ---------------------------------------------------------------------------------------------


def picture(visitor, **asked):
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    status, headers, body = visitor.request("GET", f"/api/picture?{query}")
    assert status == 200, body
    return np.array(Image.open(io.BytesIO(body)).convert("RGB")), json.loads(headers["x-legend"])


@pytest.fixture
def decoded(visitor):
    visitor.post("/api/decode", method="gap-tv")
    assert visitor.wait()["state"] == "done"
    return visitor


def test_a_band_is_what_the_cube_holds(visitor):
    image, legend = picture(visitor, layer="truth", mode="band", bands=2)
    low, high = legend["low"], legend["high"]
    expected = np.clip((scene().cube[2] - low) / (high - low), 0, 1) * 255
    assert np.abs(image[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("mode", ["colour", "band", "false", "error", "angle", "trust", "measurement", "residual"])
def test_every_look(decoded, mode):
    image, legend = picture(decoded, layer="gap-tv", mode=mode, bands="4,2,1" if mode == "false" else "1")
    assert image.shape == ((H, W + 10, 3) if mode in ("measurement", "residual") else (H, W, 3))
    assert image.std() > 1
    assert legend["text"]


def test_the_error_map_is_the_error(decoded):
    _, legend = picture(decoded, layer="gap-tv", mode="error")
    spectra = decoded.post("/api/spectra", points=[{"top": 0, "left": 0, "height": H, "width": W}])
    layers = spectra[0]
    assert legend["low"] == 0
    means = zip(layers["truth"]["mean"], layers["gap-tv"]["mean"], strict=True)
    assert legend["high"] > max(abs(a - b) for a, b in means)


def test_looks_that_cannot_be(visitor):
    for query, words in (
        ("layer=nobody", "nothing called 'nobody'"),
        ("layer=truth&mode=magic", "no display mode 'magic'"),
        ("layer=truth&mode=band&bands=99", "no such band"),
    ):
        assert words in visitor.refused("GET", f"/api/picture?{query}")


def test_spectra_and_their_csv(decoded):
    points = [
        {"name": "=SUM(A1)", "top": 2, "left": 3},
        {"name": "box", "top": 4, "left": 5, "height": 3, "width": 2},
    ]
    one, box = decoded.post("/api/spectra", points=points)
    cube = scene().cube
    np.testing.assert_allclose(one["truth"]["mean"], cube[:, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(box["truth"]["mean"], cube[:, 4:7, 5:7].mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(box["truth"]["spread"], cube[:, 4:7, 5:7].std((1, 2)), atol=1e-6)
    assert sum(box["truth"]["classes"]) == pytest.approx(1)

    text = decoded.text("/api/spectra.csv", points=points)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 2 * BANDS
    assert rows[0]["point"] == "'=SUM(A1)", "no formula"
    assert [float(row["wavelength_nm"]) for row in rows[:BANDS]] == list(WAVELENGTHS)
    gap_tv = [float(row["mean"]) for row in rows if row["cube"] == "gap-tv" and row["point"] == "box"]
    np.testing.assert_allclose(gap_tv, box["gap-tv"]["mean"])
    for bad in ({"top": -1, "left": 0}, {"top": 0, "left": W}, {"top": 0, "left": 0, "height": 0}):
        assert "lies outside" in decoded.refused("POST", "/api/spectra", json.dumps({"points": [bad]}))
    assert "a point needs" in decoded.refused("POST", "/api/spectra", json.dumps({"points": [{"top": "x"}]}))


def test_pixels_without_data_count_in_no_spectrum():
    cube = scene().cube.copy()
    cube[:, 4, 5] = np.nan
    opened = OpenScene("gaps", WAVELENGTHS, truth=Scene(cube, WAVELENGTHS))
    regions = (Region("box", 4, 4, 3, 3), Region("gap", 4, 5))
    box, gap = (each["truth"] for each in spectra_at(opened, SpectraRequest(regions, None)))
    (told,) = spectra_in(Scene(cube, WAVELENGTHS), [Box(4, 4, 3, 3)])
    np.testing.assert_allclose((box.mean, box.spread), (told.mean, told.deviation), rtol=1e-6)
    np.testing.assert_allclose(told.mean, np.nanmean(cube[:, 4:7, 4:7], (1, 2)), rtol=1e-6)
    assert np.isnan(gap.mean).all()
    rows = list(csv.DictReader(io.StringIO(spectra_csv(opened, SpectraRequest(regions[1:], None)))))
    assert {(row["mean"], row["standard_deviation"]) for row in rows} == {("", "")}


def test_a_scale_can_be_set_and_a_value_read(decoded):
    error = np.sqrt(np.square(scene().cube - decoded_cube(decoded)).mean(0))
    image, legend = picture(decoded, layer="gap-tv", mode="error", low=0, high=0.5, colours="gray")
    assert (legend["low"], legend["high"], legend["map"]) == (0, 0.5, "gray")
    np.testing.assert_allclose(image[..., 0], np.clip(error / 0.5, 0, 1) * 255, atol=1.01)
    assert sum(legend["counts"]) == H * W
    assert legend["most"] == pytest.approx(error.max(), rel=1e-4)
    found = json.loads(decoded.get("/api/value?layer=gap-tv&mode=error&top=5&left=7"))
    assert found["value"] == pytest.approx(error[5, 7], rel=1e-4)
    frame = simulate(scene(), Exposure(random_mask(H, W, seed=1))).frame
    found = json.loads(decoded.get(f"/api/value?mode=measurement&top=3&left={W + 2}"))
    assert found["value"] == pytest.approx(frame[3, W + 2], rel=1e-4)
    _, legend = picture(decoded, layer="gap-tv", other="truth", mode="difference", bands=2)
    found = json.loads(decoded.get("/api/value?layer=gap-tv&other=truth&mode=difference&bands=2&top=5&left=7"))
    assert found["value"] == pytest.approx((decoded_cube(decoded) - scene().cube)[2, 5, 7], abs=1e-5)
    assert legend["low"] == -legend["high"]
    assert json.loads(decoded.get("/api/value?layer=truth&mode=colour"))["value"] is None
    assert "no colour map" in decoded.refused("GET", "/api/picture?layer=truth&mode=band&colours=jet")
    assert "top must lie between 0 and 23" in decoded.refused("GET", "/api/value?layer=truth&mode=band&top=24")


@pytest.mark.parametrize(
    "values", [[0.1, np.nextafter(np.float32(0.1), 1)], [5, 5], [-3e38, 3e38], [np.nan, 1], [0, 0]]
)
def test_values_that_hardly_differ_have_a_histogram_too(values):
    array = np.array([values], np.float32)
    with np.errstate(all="ignore"):  # as the server does
        picture = ValueMap(array, "x", 0, 1).picture(None, None, None)
    assert sum(picture.legend.counts) == np.isfinite(array).sum()


def decoded_cube(visitor):
    return np.load(io.BytesIO(visitor.get("/api/download/cube.npz?layer=gap-tv")))["cube"]


# -- what is taken home ----------------------------------------------------------------------------------------


def test_everything_can_be_downloaded(decoded):
    names = [file["name"] for file in json.loads(decoded.get("/api/downloads?layer=gap-tv"))]
    assert {"cube.hdr", "cube.img", "cube.npz", "picture.png", "metrics.json", "report.html"} <= set(names)
    status, headers, body = decoded.request("GET", "/api/download/everything.zip?layer=gap-tv")
    assert status == 200
    assert "attachment" in headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {Path(name).name for name in archive.namelist() if not name.endswith("/")} == set(names)
    cube = np.load(io.BytesIO(decoded.get("/api/download/cube.npz?layer=gap-tv")))["cube"]
    assert cube.shape == (BANDS, H, W)
    for name in ("..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "nothing.npz"):
        assert "no file" in decoded.refused("GET", f"/api/download/{name}?layer=gap-tv")
    assert "decode first" in decoded.refused("GET", "/api/downloads?layer=truth")


def test_a_folder_of_results_opens(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y, truth = str(given / "y.npz"), str(given / "truth.npz")
    for method in ("gap-tv", "admm-tv"):
        assert (
            main(["reconstruct", y, "--method", method, "--iterations", "3", "--truth", truth, "--out", method]) == 0
        )
    with running([tmp_path / "gap-tv", tmp_path / "admm-tv"]) as link:
        visitor = Client(link)
        subject = visitor.state()["scene"]
        assert [layer["name"] for layer in subject["layers"]] == ["truth", "gap-tv", "admm-tv"]
        assert subject["layers"][1]["metrics"]["psnr_db"] > 5
        assert picture(visitor, layer="admm-tv", mode="residual")[0].shape == (H, W + 10, 3)


def test_what_the_command_line_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for arguments, words in (
        (["nowhere.npz"], "there is no file or folder nowhere.npz"),
        (["empty"], "empty"),
        (["--limit", "0"], "the limit is 1 to 1,000,000 MB, not 0; set another --limit"),
    ):
        assert main(["app", "--no-browser", *arguments]) == 2
        captured = capsys.readouterr()
        assert words in captured.err
        assert captured.err.count("\n") == 1


def test_a_folder_with_a_picture_for_each_band_is_opened(tmp_path, monkeypatch):
    for band in range(3):
        save_png(np.full((6, 5, 3), 40 * band + 9, np.uint8), tmp_path / f"leaf_{band + 1}.png")
    taken = []
    monkeypatch.setattr(server, "_serve", lambda config: taken.append(config.paths))
    assert main(["app", "--no-browser", str(tmp_path)]) == 0
    with running(taken[0]) as link:
        assert Client(link).state()["scene"]["bands"] == 3


def test_a_shifted_mask():
    mask = random_mask(6, 5)
    np.testing.assert_allclose(moved_mask(mask, 1, 0)[1:], mask[:-1])
    np.testing.assert_allclose(moved_mask(mask, 0, -0.5)[:, :-1], (mask[:, :-1] + mask[:, 1:]) / 2, atol=1e-6)
    assert moved_mask(np.stack([mask, mask]), 1, 1).shape == (2, 6, 5)


def test_the_key_is_in_the_link(link):
    assert link.endswith(f"?key={KEY}")
