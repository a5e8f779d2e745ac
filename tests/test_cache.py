"""The cache: where it lies, what leaves it, and that without one nothing is kept."""

import os
import shutil

import pytest

from crsdun import cache
from tests.test_storage import full_disk


@pytest.mark.parametrize(
    ("platform", "variables", "place"),
    [
        ("linux", {}, ".cache/crsdun"),
        ("linux", {"XDG_CACHE_HOME": "{home}/caches"}, "caches/crsdun"),
        ("linux", {"XDG_CACHE_HOME": "caches"}, ".cache/crsdun"),  # which the standard says to ignore
        ("darwin", {}, "Library/Caches/crsdun"),
        ("win32", {}, "AppData/Local/crsdun"),
        ("win32", {"LOCALAPPDATA": "{home}/local"}, "local/crsdun"),
        ("linux", {"CRSDUN_CACHE": "{home}/mine"}, "mine"),
        ("win32", {"CRSDUN_CACHE": "~/mine"}, "mine"),
    ],
)
def test_where_the_cache_is(tmp_path, monkeypatch, platform, variables, place):
    for name in ("CRSDUN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # home on Windows
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    monkeypatch.setattr(cache.sys, "platform", platform)
    folder = cache.cache_folder("things")
    assert folder == tmp_path / place / "things"
    assert folder.is_dir()


def no_home():
    raise RuntimeError("Could not determine home directory.")  # as Path.home does


def test_without_a_place_for_it_there_is_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for value in ("", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        monkeypatch.setenv("CRSDUN_CACHE", value)
        assert cache.cache_folder("things") is None
    monkeypatch.delenv("CRSDUN_CACHE")
    monkeypatch.setattr(cache, "_system_cache", no_home)
    assert cache.cache_folder("things") is None


def test_what_was_not_used_for_longest_leaves_the_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(cache, "CACHE_BYTES", 250)

    def keep(key):
        (tmp_path / "made.bin").write_bytes(key.encode() * 100)
        cache.keep_cached(tmp_path / "made.bin", folder, key)

    def age(key, seconds):
        os.utime(cache.find_cached(folder, key), (seconds, seconds))

    mine = folder / "mine.bin"
    mine.write_bytes(bytes(1000))
    for seconds, key in enumerate("ab"):
        keep(key)
        age(key, seconds)
    assert cache.find_cached(folder, "a").read_bytes() == b"a" * 100  # so that b was not used for longest
    keep("c")
    assert [cache.find_cached(folder, key) is not None for key in "abc"] == [True, False, True]
    assert mine.exists()


def test_a_damaged_file_leaves_the_cache(tmp_path):
    (tmp_path / "made.bin").write_bytes(b"whole")
    folder = tmp_path / "cache"
    folder.mkdir()
    cache.keep_cached(tmp_path / "made.bin", folder, "a")
    cache.find_cached(folder, "a").write_bytes(b"whale")
    assert cache.find_cached(folder, "a") is None
    assert not list(folder.iterdir())


def test_on_a_full_disk_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "made.bin").write_bytes(b"whole")
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    cache.keep_cached(tmp_path / "made.bin", folder, "a")
    assert not list(folder.iterdir())
