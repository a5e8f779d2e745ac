"""What the explorer holds to when many things happen at once, and with files and links that mean no good."""

import asyncio
import errno
import io
import json
import socket
import struct
import threading
import time
import webbrowser
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import crsdun
from crsdun.cli import main
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import simulate
from crsdun.scenes import write_measurement, write_scene
from crsdun.scenes.formats import guard, table
from crsdun.storage import HIDDEN
from crsdun.viewing.app import server, spectra, uploads
from crsdun.web import answers
from crsdun.web.listening import listen
from tests.viewing.explorer import Client, running
from tests.viewing.test_app import BANDS, NAMES, WAVELENGTHS, H, W, scene


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a measurement with its mask, its truth, and weights of two names that look alike."""
    folder = tmp_path_factory.mktemp("given")
    write_measurement(simulate(scene(), Exposure(random_mask(H, W, seed=1))), folder / "y.npz")
    write_scene(scene(), folder / "truth.npz")
    for name in ("net a", "net-a"):
        network = crsdun.create("crsdun_2stg", BANDS, 2, width=4)
        crsdun.save(network, folder / f"{name}.safetensors", wavelengths=WAVELENGTHS, class_names=NAMES, step=2)
    return folder


@pytest.fixture(scope="module")
def link(given):
    with running([given / "y.npz", given / "truth.npz", *given.glob("*.safetensors")]) as link:
        yield link


@pytest.fixture
def visitor(link):
    return Client(link)


def in_a_loop(function):
    """What a coroutine returns; in a thread, because this one may run the loop of a browser."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


def array(shape=(4, 5)):
    file = io.BytesIO()
    np.save(file, np.ones(shape, np.float32))
    return file.getvalue()


# -- speed -----------------------------------------------------------------------------------------------------


def test_answers_leave_at_once():
    async def accepted():
        options = asyncio.Queue()

        async def answer(reader, writer):
            accepted = writer.get_extra_info("socket")
            await options.put(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(answer, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                option = await options.get()
                writer.close()
                await writer.wait_closed()
                return option

    assert in_a_loop(accepted) == 1


def test_long_work_leaves_the_explorer_responsive_and_is_bounded(visitor, monkeypatch):
    finish, lock, counts = threading.Event(), threading.Lock(), {"now": 0, "most": 0}

    def slow(*_):
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        finish.wait(20)
        with lock:
            counts["now"] -= 1
        return []

    monkeypatch.setattr(spectra, "spectra_at", slow)
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(visitor.request, "POST", "/api/spectra", '{"points": []}') for _ in range(50)]
        while counts["now"] < server.MOST_AT_ONCE:
            time.sleep(0.01)
        for _ in range(5):
            start = time.monotonic()
            visitor.get("/api/job")
            assert time.monotonic() - start < 2
        finish.set()
        assert {answer.result()[0] for answer in answers} == {200}
    assert counts["most"] == server.MOST_AT_ONCE


# -- what a request speaks of ----------------------------------------------------------------------------------


def test_a_request_about_what_was_open_before_is_refused(visitor):
    before = visitor.version
    visitor.post("/api/open", sample="produce-0")
    assert visitor.version > before
    old = {"x-crsdun-version": str(before)}
    points = json.dumps({"points": [{"top": 1, "left": 1}]})
    requests = [
        ("GET", "/api/picture?layer=truth", None),
        ("GET", "/api/classes?layer=truth", None),
        ("POST", "/api/attention", '{"layer": "truth", "map": "sources", "top": 1, "left": 1}'),
        ("POST", "/api/spectra", points),
        ("POST", "/api/spectra.csv", points),
        ("PUT", "/api/regions", "{}"),
        ("POST", "/api/regions.geojson", points),
        ("POST", "/api/regions.txt", points),
        ("POST", "/api/references", "{}"),
        ("GET", "/api/downloads?layer=truth", None),
        ("GET", "/api/download/everything.zip?layer=truth", None),
        ("POST", "/api/decode", '{"method": "gap-tv"}'),
        ("POST", "/api/simulate", '{"method": "gap-tv"}'),
    ]
    for method, path, body in requests:
        for version in (old, {"x-crsdun-version": ""}):  # or it does not say what it speaks of
            status, _, answer = visitor.request(method, path, body, **version)
            assert status == 409, (path, answer)
            assert "has changed meanwhile" in json.loads(answer)["error"]
    assert visitor.request("GET", f"/api/picture?layer=truth&version={visitor.version}")[0] == 200


def test_opening_another_scene_ends_a_computation_on_the_first(visitor):
    visitor.post("/api/decode", method="gap-tv", iterations="1000000")
    while json.loads(visitor.get("/api/job"))["job"]["done"] < 3:
        time.sleep(0.01)
    visitor.post("/api/open", sample="produce-7")
    version = visitor.version
    assert visitor.wait()["state"] == "cancelled"
    state = visitor.state()
    assert state["version"] == version
    assert [layer["name"] for layer in state["scene"]["layers"]] == ["truth"]
    assert state["scene"]["bands"] == 28
    visitor.post("/api/simulate", method="gap-tv", iterations="2", size=64)
    assert visitor.wait()["state"] == "done"


# -- memory ----------------------------------------------------------------------------------------------------


def mat_of_cells(path):
    cells = np.empty((1, 200_000), object)
    cells[:] = [[np.zeros((0, 0))]]
    savemat(path, {"x": cells}, do_compression=True)


def mat_of_a_struct(path):
    savemat(path, {"x": {"inside": np.zeros((3000, 1000))}}, do_compression=True)


def weights_with_text_in_a_shape(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": ["x" * 1000, 1_000_000], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def deep_groups(path):
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(200):
            group = group.create_group("g")
        group["x"] = np.zeros(3)


def external_link(path):
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("/etc/hostname", "/y")


def claims_too_much(path):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<U100000000", "fortran_order": False, "shape": (100,)})
    path.write_bytes(file.getvalue())


def entry_claims_too_much(path):
    with zipfile.ZipFile(path, "w") as archive:
        claims_too_much(path.with_suffix(".npy"))
        archive.write(path.with_suffix(".npy"), "cube.npy")


def nothing_is_read(monkeypatch):
    formats = [replace(format, open=lambda path: pytest.fail("it was read")) for format in table.FORMATS]
    monkeypatch.setattr(table, "FORMATS", formats)
    monkeypatch.setattr(table, "MAT5", formats[0])


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.mat", mat_of_cells, "GB of memory"),
        ("a.mat", mat_of_a_struct, "GB of memory"),
        ("a.safetensors", weights_with_text_in_a_shape, "a whole number"),
        ("a.h5", deep_groups, "groups within groups"),
        ("a.h5", external_link, "refers to another file"),
        ("a.npy", claims_too_much, "damaged"),
        ("a.npz", entry_claims_too_much, "damaged"),
    ],
)
def test_what_would_take_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch, name, write, words):
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 4_000_000
    nothing_is_read(monkeypatch)
    assert words in uploads.summarise(tmp_path / name, 4_000_000).problem


def test_a_check_that_fails_refuses(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros(3))
    monkeypatch.setitem(guard.CHECKS, "NumPy .npy", lambda *_: {}["no such type"])
    nothing_is_read(monkeypatch)
    assert "damaged or incomplete" in uploads.summarise(tmp_path / "a.npy", 1 << 20).problem


def test_a_file_with_a_problem_cannot_be_opened(visitor):
    packed = io.BytesIO()
    np.savez_compressed(packed, cube=np.zeros((1, 6000, 6000), np.uint8))
    visitor.put("bomb.npz", packed.getvalue())
    for role in ("truth", "measurement"):
        body = json.dumps({role: {"file": "bomb.npz", "key": "cube"}})
        assert "needs 0.036 GB of memory" in visitor.refused("POST", "/api/open", body)
    body = json.dumps({"measurement": {"file": "y.npz"}, "bands": 10**9})
    assert visitor.refused("POST", "/api/open", body) == "bands must lie between 1 and 10000"


# -- quota and races -------------------------------------------------------------------------------------------


def test_parallel_uploads_stay_within_the_quota():
    with running(limit=1 << 20) as link:
        visitor = Client(link)

        def send(index):
            chunks = (bytes(1 << 16) for _ in range(15))  # just below the limit, and nobody announced it
            return visitor.request("PUT", f"/api/files/{index}.npy", chunks)[0]

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(send, range(40)))
        assert statuses.count(200) == 4
        assert set(statuses) == {200, 400}
        assert "no room" in visitor.refused("PUT", "/api/files/more.npy", bytes(1 << 19))
        assert visitor.request("PUT", "/api/files/small.npy", b"x")[0] == 200, "what was refused gave its room back"
        visitor.post("/api/forget")
        assert visitor.request("PUT", "/api/files/more.npy", bytes(1 << 19))[0] == 200


def test_results_do_not_count_as_uploads(given):
    with running([given / "y.npz", given / "truth.npz"], limit=1 << 20) as link:
        visitor = Client(link)
        visitor.post("/api/decode", method="gap-tv", iterations="2")
        assert visitor.wait()["state"] == "done"
        visitor.get("/api/download/everything.zip?layer=gap-tv%20%C2%B7%202%20iterations")
        for index in range(4):
            visitor.put(f"{index}.npy", bytes((1 << 20) - 100))


def test_two_uploads_of_one_name_do_not_mix(visitor):
    barrier = threading.Barrier(2)

    def send(value):
        def chunks():
            for _ in range(40):
                yield bytes([value]) * 10_000
                if not barrier.broken:
                    barrier.wait(10)

        return visitor.request("PUT", "/api/files/same.npy", chunks())[0]

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(send, (1, 2))) == {200}
    (stored,) = Path(uploads.tempfile.gettempdir()).glob(f"{HIDDEN}*/*/uploads/same.npy")
    content = stored.read_bytes()
    assert content in (bytes([1]) * 400_000, bytes([2]) * 400_000)
    assert not list(stored.parent.glob(".*")), "nothing partial is left"


@pytest.fixture
def decoded(visitor):
    for name in ("net a", "net-a"):
        visitor.post("/api/decode", method=name)
        assert visitor.wait()["state"] == "done"
    return visitor


def test_results_of_names_that_look_alike_are_apart(decoded):
    cubes = [decoded.get(f"/api/download/cube.npz?layer={name}") for name in ("net%20a", "net-a")]
    first, second = (np.load(io.BytesIO(cube))["cube"] for cube in cubes)
    assert not np.array_equal(first, second)


def test_an_archive_is_whole_or_an_error(decoded, monkeypatch):
    def full_disk(base, kind, *_):
        Path(f"{base}.{kind}").write_bytes(b"PK half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = "/api/download/everything.zip?layer=net-a"
    with monkeypatch.context() as patched:
        patched.setattr("shutil.make_archive", full_disk)
        assert "no space is left" in decoded.refused("GET", path)
    with ThreadPoolExecutor(4) as pool:
        archives = list(pool.map(decoded.get, [path] * 4))
    for archive in archives:
        assert zipfile.ZipFile(io.BytesIO(archive)).testzip() is None


def test_forgetting_closes_everything(decoded):
    decoded.put("mine.npy", array())
    workspace = decoded.workspace
    decoded.get("/api/downloads?layer=net-a")
    decoded.post("/api/forget")
    state = decoded.state()
    assert "mine.npy" not in [file["name"] for file in state["files"]]
    assert [layer["name"] for layer in state["scene"]["layers"]] == ["truth"]
    assert (state["trials"], state["job"], workspace) == ([], None, decoded.workspace)
    assert not list(Path(uploads.tempfile.gettempdir()).glob(f"{HIDDEN}*/*/uploads/mine.npy"))


def test_a_removed_file_locks_nobody_out(given, tmp_path):
    (tmp_path / "gone.npy").write_bytes(array())
    with running([tmp_path / "gone.npy", given / "truth.npz"]) as link:
        (tmp_path / "gone.npy").unlink()
        visitor = Client(link)
        assert visitor.state()["scene"]["name"]
        visitor.post("/api/forget")
        (problem,) = (file["problem"] for file in visitor.state()["files"] if file["name"] == "gone.npy")
        assert "there is no file gone.npy" in problem


# -- secrets ---------------------------------------------------------------------------------------------------


def test_a_link_opens_once(monkeypatch):
    links = []

    def config(*args, **_):
        return server.ServerConfig(*args, announce=links.append)

    monkeypatch.setattr("tests.viewing.explorer.ServerConfig", config)
    with running():
        (first,) = links
        stranger = Client(first, key=None)
        path = "/" + first.rpartition("/")[2]
        assert stranger.request("HEAD", path)[0] == 403, "a preview does not use it up"
        assert stranger.request("GET", path)[0] == 303
        assert stranger.request("GET", path)[0] == 403
        assert len(links) == 2, "another link for another browser"
        assert stranger.request("GET", "/" + links[1].rpartition("/")[2])[0] == 303


def test_the_cookie_alone_opens_nothing(link):
    """It goes to every server of this host; the token stays with the page."""
    honest, thief = Client(link), Client(link, key=None)
    thief.cookie = honest.cookie
    assert honest.cookie.startswith(f"crsdun_{link.split(':')[2].partition('/')[0]}=")
    assert "not opened by its link" in thief.refused("POST", "/api/workspace", "{}")
    assert "has been used" in thief.refused("POST", "/api/token", '{"code": ""}')
    assert thief.request("GET", "/api/state")[0] == 400
    status, headers, _ = honest.request("GET", f"/?key={link.partition('=')[2]}")
    code = headers["location"].rpartition("=")[2]
    assert honest.post("/api/token", code=code)["token"] == honest.token
    assert "has been used" in honest.refused("POST", "/api/token", json.dumps({"code": code}))
    assert status == 303


def test_the_command_line_of_the_browser_holds_no_key(monkeypatch, capsys):
    opened = []

    def look(address):
        page = Path(address.removeprefix("file://"))
        opened.append((address, page.read_text(), oct(page.parent.stat().st_mode)[-2:]))

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setattr(server, "_serve", lambda config: [config.announce_key(key) for key in ("first", "second")])
    assert main(["app", "--port", "1"]) == 0
    printed = capsys.readouterr().out
    ((address, text, mode),) = opened
    assert "first" not in address
    assert "http://127.0.0.1:1/?key=first" in text
    assert mode == "00"
    assert not Path(address.removeprefix("file://")).exists()
    assert "with another browser, open http://127.0.0.1:1/?key=second" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--port=99999", "port 99999"),
        ("--port=65536", "port 65536"),
        ("--port=-1", "port -1"),
        ("--host=nonsense.invalid", "is not an address"),
        ("--host=203.0.113.1", "is not an address of this machine; choose another --host"),
        ("--host=::zz", "is not an address"),
        ("--host=", "is not an address"),
        ("--limit=0", "1 to 1,000,000 MB"),
        ("--limit=99999999999999999999", "1 to 1,000,000 MB"),
    ],
)
def test_addresses_and_limits_that_cannot_be(options, words, capsys):
    assert main(["app", "--no-browser", options]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_downloads_are_whole_even_if_they_are_removed_meanwhile(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(3 * answers.CHUNK))
    response = answers.file_answer(path, "a.bin")
    path.unlink()

    async def read():
        return b"".join([chunk async for chunk in response.body_iterator])

    assert len(in_a_loop(read)) == int(response.headers["content-length"]) == 3 * answers.CHUNK
