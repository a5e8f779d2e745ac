"""Files elsewhere: in fsspec's memory, as in any store that it knows."""

import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.remote import Remote, delete, exists, fetch, is_folder, listed, place, send
from crsdun.runtime import Batch, Preparation, check_parent, find_measurements
from crsdun.scenes import write_arrays
from crsdun.storage import RECORD, UNSENT, WRITTEN, atomic_file, atomic_folder, check_folder, local_copy

OUT = Remote("memory://bucket/results/one")


@pytest.fixture(autouse=True)
def store():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def write(address: str, text: str = "") -> None:
    with fsspec.open(address, "w") as file:
        file.write(text)


def names(folder: Remote) -> set[str]:
    return {each.name for each in listed(folder)}


def write_whole(text: str, overwrite: bool = False) -> None:
    with atomic_folder(OUT, overwrite) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / f"{text}.txt").write_text(text)
        (folder / RECORD).write_text("{}")


def test_an_address_has_the_names_and_parts_of_a_path():
    path = place("s3://bucket/frames/one.npz")
    assert (path.name, path.stem, path.suffix) == ("one.npz", "one", ".npz")
    assert str(path.parent / "two.npz") == "s3://bucket/frames/two.npz"
    assert str(path.with_suffix(".hdr")) == f"{path.parent}/one.hdr"
    assert pickle.loads(pickle.dumps(path)) == path == Remote(str(path)) == path.resolve()
    assert f"{path}" == "s3://bucket/frames/one.npz"
    for text in ("frames/one.npz", "C://frames", "/s3://x", "s3:///x"):
        assert type(place(text)) is type(Path())


def test_files_are_fetched_and_sent(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("b")
    folder = Remote("memory://bucket/folder")
    send([tmp_path / "a.txt", tmp_path / "deep" / "b.txt"], tmp_path, folder)
    assert names(folder) == {"a.txt", "deep"}
    assert is_folder(folder)
    assert not is_folder(folder / "a.txt")
    assert listed(folder / "*.txt") == [folder / "a.txt"]
    with local_copy(folder) as copy:
        assert copy.name == "folder"
        assert (copy / "deep" / "b.txt").read_text() == "b"
    assert not copy.exists()
    with local_copy(tmp_path) as same:
        assert same == tmp_path
    with pytest.raises(InputError, match="there is no memory://bucket/nothing"):
        fetch(Remote("memory://bucket/nothing"), tmp_path)


def test_the_data_of_a_header_comes_along(tmp_path):
    write_arrays(tmp_path / "frame.hdr", {"measurement": np.ones((4, 6), np.float32)}, {})
    there = Remote("memory://bucket/frame.hdr")
    send(sorted(tmp_path.iterdir()), tmp_path, there.parent)
    assert find_measurements([there]) == {"frame": there}
    (item,) = Batch({"frame": there}, Preparation().open)
    assert item.read().frame.shape == (4, 6)


def test_signs_of_patterns_in_names_are_none(store, tmp_path):
    shots, others = Remote("memory://bucket/shot [1]"), Remote("memory://bucket/shot 1")
    write_arrays(tmp_path / "y?[0]*.hdr", {"measurement": np.ones((4, 6), np.float32)}, {})
    for folder in (shots, others):
        send(sorted(tmp_path.iterdir()), tmp_path, folder)
        (header,) = listed(folder / "*.hdr")
        assert header == folder / "y?[0]*.hdr"
        for given in ([folder], [folder / "*.hdr"], [header]):
            assert find_measurements(given) == {"y?[0]*": header}
        (item,) = Batch({"y": header}, Preparation().open)
        assert item.read().frame.shape == (4, 6)
    with local_copy(shots) as copy:
        assert {each.name for each in copy.iterdir()} == {each.name for each in tmp_path.iterdir()}
    delete(shots)
    assert not exists(shots / "y?[0]*.hdr")
    assert exists(others / "y?[0]*.hdr")


def test_a_file_whose_name_leaves_its_folder_is_not_fetched(store, tmp_path, monkeypatch):
    write("memory://bucket/folder/a.txt")
    monkeypatch.setattr(type(store), "find", lambda *_: ["/bucket/folder/../../a.txt"])
    with pytest.raises(InputError, match="which would lie outside it"):
        fetch(Remote("memory://bucket/folder"), tmp_path)


def test_a_folder_is_whole_once_its_record_is_there():
    write_whole("first")
    assert names(OUT) == {"deep", RECORD, WRITTEN}
    with pytest.raises(InputError, match="exists already"):
        check_folder(OUT)
    write_whole("second", overwrite=True)
    assert names(OUT / "deep") == {"second.txt"}
    with pytest.raises(ZeroDivisionError), atomic_folder(OUT.parent / "two"):
        1 / 0  # noqa: B018
    assert names(OUT.parent) == {"one"}


def test_what_others_added_is_not_deleted():
    write_whole("first")
    write(f"{OUT}/deep/notes.txt", "years of work")
    with pytest.raises(InputError, match=r"would be lost: deep/notes\.txt"):
        write_whole("second", overwrite=True)
    assert names(OUT / "deep") == {"first.txt", "notes.txt"}


def test_what_a_dead_process_was_sending_is_replaced_and_what_others_made_is_not():
    write(f"{OUT}/{UNSENT}")
    write(f"{OUT}/cube.npz")
    write_whole("again")
    assert names(OUT) == {"deep", RECORD, WRITTEN}
    write("memory://bucket/results/theirs/file.txt")
    with pytest.raises(InputError, match="crsdun did not create it"):
        check_folder(OUT.parent / "theirs", overwrite=True)


def test_a_sending_that_fails_leaves_no_record(store, monkeypatch):
    write_whole("first")
    put = store.put_file

    def fail(self, source, target, *more, **how):
        if source.endswith(".txt"):
            raise OSError("the line is dead")
        put(source, target, *more, **how)

    monkeypatch.setattr(type(store), "put_file", fail)
    with pytest.raises(InputError, match="cannot be reached: the line is dead"):
        write_whole("second", overwrite=True)
    assert RECORD not in names(OUT)
    assert UNSENT in names(OUT)
    monkeypatch.undo()
    write_whole("second")
    assert names(OUT / "deep") == {"second.txt"}


def test_single_files():
    sheet = Remote("memory://bucket/sheet.png")
    with atomic_file(sheet, overwrite=False) as part:
        part.write_text("picture")
    assert exists(sheet)
    with pytest.raises(InputError, match=r"sheet\.png exists already"), atomic_file(sheet, overwrite=False):
        pass
    with atomic_file(sheet) as part:
        part.write_text("another")
    with fsspec.open(str(sheet), "r") as file:
        assert file.read() == "another"


def test_measurements_elsewhere():
    for name in ("f10.npz", "f2.npz", "notes.txt", ".hidden.npz", "mask.npz"):
        write(f"memory://bucket/in/{name}")
    folder = Remote("memory://bucket/in")
    assert list(find_measurements([folder], [folder / "mask.npz"])) == ["f2", "f10"]
    assert list(find_measurements([folder / "f*.npz"])) == ["f2", "f10"]
    assert find_measurements([folder / "f2.npz"]) == {"f2": folder / "f2.npz"}
    with pytest.raises(InputError, match="holds no measurement"):
        find_measurements([folder / "*.mat"])
    check_parent(folder)
    write(f"{folder}/{RECORD}")
    with pytest.raises(InputError, match="results of one measurement"):
        check_parent(folder)


def test_stores_that_are_not_known():
    with pytest.raises(InputError, match="Protocol not known: nowhere"):
        exists(Remote("nowhere://bucket/x"))
