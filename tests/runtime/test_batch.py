"""Which files are meant, and how they stream through."""

import glob
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.runtime import check_parent, check_truth_folder, find_measurements, find_truth, stream
from crsdun.scenes.formats import write_arrays
from crsdun.storage import RECORD


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("b.npz", "a.mat", "c.hdr", "c.img", "mask.npy", ".a.mat", "notes.txt", "deep/d.npz"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_a_folder_is_its_measurements(folder):
    found = find_measurements([folder], [Path("mask.npy"), None, 4.5])
    assert {name: path.name for name, path in found.items()} == {"a": "a.mat", "b": "b.npz", "c": "c.hdr"}
    assert list(found) == sorted(found)


def test_patterns_and_several_arguments(folder):
    assert list(find_measurements(["*.npz"])) == ["b"]
    assert list(find_measurements(["?.npz", "deep", "b.npz", Path("missing.npz")])) == ["b", "d", "missing"]
    assert find_measurements(["b.npz"]) is None
    assert find_measurements(["missing.npz"]) is None
    Path("a[1].npz").write_text("")
    assert find_measurements(["a[1].npz"]) is None


def test_a_folder_may_have_the_signs_of_patterns_in_its_name(folder):
    for name in ("shot [1]", "shot 1"):
        Path(name, "deep").mkdir(parents=True)
        Path(name, "deep", "y.npz").write_text("")
    path = Path("shot [1]/deep/y.npz")
    for given in ("shot [1]/deep", "shot [1]/*/*.npz", folder / "shot [1]" / "**" / "*.npz"):
        found = find_measurements([given])
        assert {name: each.resolve() for name, each in found.items()} == {"y": path.resolve()}


def test_names_stay_different(folder):
    Path("b.tif").write_text("")
    assert list(find_measurements(["b.*", "a.mat"])) == ["b.npz", "b.tif", "a"]
    Path("deep/b.npz").write_text("")
    with pytest.raises(InputError, match=r"2 measurements are called b\.npz"):
        find_measurements(["b.npz", "deep/b.npz"])


def test_nothing_found_is_refused(folder):
    Path("empty").mkdir()
    for given in (["empty"], ["*.nothing"], ["b.npz", "empty"]):
        with pytest.raises(InputError, match="holds no measurement"):
            find_measurements(given)


def test_numbers_in_names_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("f10", "f2", "f1", "f02", "e3"):
        Path(f"{name}.npz").write_text("")
    expected = ["e3", "f1", "f02", "f2", "f10"]
    assert list(find_measurements(["."])) == expected
    assert list(find_measurements(["*.npz"])) == expected
    expanded = sorted(glob.glob("*.npz"))  # by the shell
    assert list(find_measurements(expanded)) == expected
    assert list(find_measurements(["f10.npz", "e3.npz", "f2.npz"])) == ["f10", "e3", "f2"]  # as they are listed


@pytest.mark.parametrize("data", ["f{}.img", "f{}", "f{}.hdr.dat"])
def test_a_header_and_its_data_are_one_measurement(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        header = f"{data.format(number)}.hdr" if data.endswith(".dat") else f"f{number}.hdr"
        Path(header).write_text("")
        Path(data.format(number)).write_text("")
    Path("alone.img").write_text("")
    expanded = sorted(glob.glob("*"))
    assert find_measurements(["*"]) == find_measurements(expanded)
    assert [path.suffix for path in find_measurements(["*"]).values()] == [".img", ".hdr", ".hdr"]


def test_the_truth_beside(folder):
    assert find_truth(Path("b.npz"), Path("a.mat")) == Path("a.mat")
    Path("deep/b.mat").write_text("")
    assert find_truth(Path("b.npz"), Path("deep")) == Path("deep/b.mat")
    with pytest.raises(InputError, match=r"holds no a\.\*"):
        find_truth(Path("a.mat"), Path("deep"))
    with pytest.raises(InputError, match=r"holds no a\.\*"):
        find_truth(Path("a.mat"), Path("."))
    Path("deep/b.tif").write_text("")
    with pytest.raises(InputError, match=r"b\.mat and b\.tif"):
        find_truth(Path("b.npz"), Path("deep"))


def test_a_truth_may_be_a_store_or_a_folder_of_results(tmp_path):
    cube = np.full((3, 4, 5), 0.5, np.float32)
    (tmp_path / "truths").mkdir()
    write_arrays(tmp_path / "truths" / "b.zarr", {"cube": cube}, {})
    for name in ("a", "c.1"):
        (tmp_path / "truths" / name).mkdir()
        write_arrays(tmp_path / "truths" / name / "cube.npz", {"cube": cube}, {})
        (tmp_path / "truths" / name / RECORD).write_text("{}")
    truths = tmp_path / "truths"
    check_truth_folder(truths)
    for name, measurement in (("a", "a.npy"), ("b.zarr", "b.npz"), ("c.1", "c.1.mat")):
        (tmp_path / measurement).write_text("")
        assert find_truth(tmp_path / measurement, truths) == truths / name
        assert find_truth(tmp_path / "y.npy", truths / name) == truths / name
        with pytest.raises(InputError, match=r"is one scene|is not a folder"):
            check_truth_folder(truths / name)


def test_places_for_many(folder):
    check_parent(folder)
    check_parent(Path("not/there/yet"))
    with pytest.raises(InputError, match="is a file"):
        check_parent(Path("b.npz"))
    Path("record.json").write_text("{}")
    with pytest.raises(InputError, match="results of one measurement"):
        check_parent(folder)


# -- the stream ------------------------------------------------------------------------------------------------


def test_everything_comes_in_order_and_failures_in_place():
    def read(item):
        return 1 / 0 if item is None else item

    def fail(error):
        def step(value):
            if value == error[0]:
                raise error[1]
            return value * 10

        return step

    broken, full = InputError("broken"), OSError("full")
    outcomes = list(stream([1, 2, 3, 4], read, fail((2, broken)), fail((30, full))))
    assert outcomes == [(1, 100), (2, broken), (3, full), (4, 400)]
    assert list(stream([], read, read, read)) == []
    (_, outcome), after = stream([None, 1], read, read, read)
    assert isinstance(outcome, ZeroDivisionError)
    assert after == (1, 1)


def test_one_ahead_one_behind_and_no_more():
    lock, alive, most = threading.Lock(), 0, 0
    threads = {"read": set(), "compute": set(), "write": set()}

    def step(name, change, seconds):
        def run(item):
            nonlocal alive, most
            with lock:
                alive += change
                most = max(most, alive)
            threads[name].add(threading.get_ident())
            time.sleep(seconds)
            return item

        return run

    steps = step("read", 1, 0.001), step("compute", 0, 0.002), step("write", -1, 0.005)
    assert [outcome for _, outcome in stream(range(12), *steps)] == list(range(12))
    assert 2 <= most <= 3
    assert threads["compute"] == {threading.get_ident()}
    assert all(len(used) == 1 for used in threads.values())
    assert len(set.union(*threads.values())) == 3


def test_an_interruption_lets_what_is_being_written_end(tmp_path):
    def compute(item):
        if item == 2:
            raise KeyboardInterrupt
        return item

    def write(item):
        time.sleep(0.05)
        (tmp_path / str(item)).write_text("whole")

    with pytest.raises(KeyboardInterrupt):
        list(stream(range(5), lambda item: item, compute, write))
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]
    assert (tmp_path / "1").read_text() == "whole"
