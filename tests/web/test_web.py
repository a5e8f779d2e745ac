"""What the explorer and the service have in common."""

import time
import zipfile

import pytest

from crsdun.cli.printing import error_line
from crsdun.errors import InputError
from crsdun.service.door import Door
from crsdun.service.wording import in_json
from crsdun.viewing.app.guard import Guard
from crsdun.viewing.app.jobs import Job
from crsdun.web.archives import pack, plain_name
from crsdun.web.guarding import FORBIDDEN, HEADERS
from crsdun.web.listening import address
from crsdun.web.origin import foreign
from crsdun.web.uploads import MOST_STEM_BYTES, file_name
from crsdun.web.wording import plain_message


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("y.npz", "y.npz"),
        ("../../etc/passwd.npy", "passwd.npy"),
        ("C:\\data\\y (1).mat", "y (1).mat"),
        ("..hidden.h5", "hidden-27b2a2.h5"),
        ("a\x00b<c>.tif", "a_b_c_-b08073.tif"),
        ("y.#", "y._-5eec9f"),
        ("", ""),
        ("/", ""),
    ],
)
def test_names_of_files_that_come_in(called, name):
    assert file_name(called) == name


def test_long_names_are_cut_between_letters():
    name = file_name("é" * 300 + ".npy")
    assert name[:-11].endswith("é")
    assert name.endswith(".npy")
    assert len(name.encode()) <= MOST_STEM_BYTES + len("-123456.npy")
    assert len(file_name("y." + "x" * 300).encode()) <= MOST_STEM_BYTES + len("-123456")


def test_names_that_differ_stay_different_and_pairs_together():
    long = "x" * 300
    names = [f"{long}1.npy", f"{long}2.npy", "a#b.npy", "a$b.npy", "a_b.npy", f"y.{long}", f"y.{long}x"]
    assert len({file_name(name) for name in names}) == len(names)
    assert file_name("a#b.hdr").removesuffix(".hdr") == file_name("a#b.img").removesuffix(".img")
    assert file_name("a#b.img.hdr") == file_name("a#b.img") + ".hdr"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "127.0.0.1:80"}, None),
        ({"host": "[::1]:80"}, None),
        ({"host": "localhost"}, None),
        ({"host": "lab.example"}, None),
        ({"host": "127.0.0.1:80", "origin": "http://127.0.0.1:80"}, None),
        ({"host": "evil.example"}, "this server is not called 'evil.example'; ask elsewhere"),
        ({"host": "["}, "this server is not called ''"),
        ({}, "this server is not called ''"),
        ({"host": "127.0.0.1:80", "origin": "http://127.0.0.1:81"}, "a page of http://127.0.0.1:81"),
        ({"host": "127.0.0.1:80", "origin": "null"}, "a page of null"),
        ({"host": "127.0.0.1:80", "sec-fetch-site": "cross-site"}, "another page"),
    ],
)
def test_who_a_request_comes_from(headers, words):
    told = foreign("POST", headers, "lab.example", "this server", "ask elsewhere")
    assert told == words if words is None else told.startswith(words)


def test_an_address_of_ipv6_stands_in_brackets():
    assert address("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert address("::1", 80) == "http://[::1]:80"


def test_a_folder_is_packed_so_that_it_unpacks_into_one_of_its_own(tmp_path):
    folder = tmp_path / plain_name("y (1)/gap-tv")
    folder.mkdir()
    (folder / "a").write_text("1")
    archive = pack(folder)
    assert archive == tmp_path / "y-1-gap-tv.zip"
    assert set(zipfile.ZipFile(archive).namelist()) == {"y-1-gap-tv/", "y-1-gap-tv/a"}


@pytest.mark.parametrize("guard", [Guard, Door])
def test_answers_are_isolated_alike(guard):
    assert guard.headers.items() >= HEADERS.items()
    assert FORBIDDEN in guard.headers["content-security-policy"]


def test_messages_name_no_folder(tmp_path):
    error = InputError(f"{tmp_path}/my files/y.npz and /srv/data/other.npz are damaged", "set <bits>")
    assert plain_message(error, str.upper, [tmp_path / "my files"]) == "y.npz and other.npz are damaged; set BITS"
    error = OSError(28, "No space left on device", f"{tmp_path}/y.npz")
    assert plain_message(error, str) == "y.npz: No space left on device"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_is_said_alike_everywhere(error):
    job = Job("decodes", lambda _: (_ for _ in ()).throw(error))
    while job.running:
        time.sleep(0.01)
    said = {plain_message(error, str), in_json(error)["error"], error_line(error), job.message}
    assert said == {"there is not enough memory for this size"}


def test_an_error_that_says_nothing_is_not_taken_for_too_little_memory():
    assert plain_message(AssertionError(), str) == "AssertionError"
