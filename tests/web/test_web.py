"""What the explorer and the service have in common."""

import pytest

from crsdun.errors import InputError
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


def test_messages_name_no_folder(tmp_path):
    error = InputError(f"{tmp_path}/my files/y.npz and /srv/data/other.npz are damaged", "set <bits>")
    assert plain_message(error, str.upper, [tmp_path / "my files"]) == "y.npz and other.npz are damaged; set BITS"
    assert "memory" in plain_message(MemoryError(), str)
