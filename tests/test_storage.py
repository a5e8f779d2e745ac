"""Files and folders are complete or absent, whatever happens while they are written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from crsdun import storage
from crsdun.errors import InputError
from crsdun.storage import (
    RECORD,
    WRITTEN,
    atomic_file,
    atomic_folder,
    check_file,
    check_folder,
    lasting_folder,
    make_room,
    write_bytes_durably,
    write_json,
    write_text,
)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too but for the note of what was written, with its text."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != WRITTEN)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def run(place, write) -> None:
    """``write(part)`` inside the block of ``atomic_file`` or ``atomic_folder``."""
    with place as part:
        write(part)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_links(*_, **__):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=[True, False], ids=["hard links", "no hard links"])
def links(request, monkeypatch):
    """Some file systems have no hard links."""
    if not request.param:
        monkeypatch.setattr(os, "link", no_links)


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_appears_when_it_is_complete(tmp_path, overwrite):
    with atomic_file(tmp_path / "a.txt", overwrite) as part:
        assert part.name == "a.txt"  # some formats write their own name into the file
        part.write_text("half")
        assert not (tmp_path / "a.txt").exists()
        part.write_text("whole")
    assert contents(tmp_path) == {"a.txt": "whole"}


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt(), InputError("wrong")])
def test_an_error_while_writing_leaves_everything_as_it_was(tmp_path, failure):
    (tmp_path / "a.txt").write_text("old")

    def write(part):
        part.write_text("new")
        raise failure

    with pytest.raises(type(failure)):
        run(atomic_file(tmp_path / "a.txt"), write)
    assert contents(tmp_path) == {"a.txt": "old"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_exists_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(InputError, match=r"a\.txt exists already; choose another out, or allow it with overwrite"):
        write_text(tmp_path / "a.txt", "new", overwrite=False)
    with pytest.raises(InputError, match="is a folder"):
        write_text(tmp_path, "new")
    with pytest.raises(InputError, match=r"could not write .*there is no folder .*missing; create it first"):
        write_text(tmp_path / "missing" / "a.txt", "new")
    check_file(tmp_path / "a.txt", overwrite=True)
    assert contents(tmp_path) == {"a.txt": "old"}


@pytest.mark.usefixtures("links")
def test_a_file_that_appears_while_writing_is_not_replaced(tmp_path):
    def write(part):
        part.write_text("ours")
        (tmp_path / "a").write_text("theirs")

    with pytest.raises(InputError, match="has appeared in the meantime"):
        run(atomic_file(tmp_path / "a", overwrite=False), write)
    assert contents(tmp_path) == {"a": "theirs"}


@pytest.mark.usefixtures("links")
def test_companions_come_together(tmp_path):
    for text in ("first", "second"):
        with atomic_file(tmp_path / "a.hdr", overwrite=text == "second", companion=".img") as part:
            part.write_text(text)
            part.with_suffix(".img").write_text(f"{text} pixels")
    assert contents(tmp_path) == {"a.hdr": "second", "a.img": "second pixels"}
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(InputError, match=r"a\.img exists already"), atomic_file(tmp_path / "a.hdr", False, ".img"):
        pass


@pytest.mark.usefixtures("links")
def test_half_a_pair_is_taken_back(tmp_path):
    def write(part):
        part.write_text("ours")
        part.with_suffix(".img").write_text("our pixels")
        (tmp_path / "a.hdr").write_text("theirs")

    with pytest.raises(InputError, match="in the meantime"):
        run(atomic_file(tmp_path / "a.hdr", False, ".img"), write)
    assert contents(tmp_path) == {"a.hdr": "theirs"}


def test_a_new_companion_never_stands_beside_an_old_file(tmp_path, monkeypatch):
    for name in ("a.hdr", "a.img"):
        (tmp_path / name).write_text("old")
    replace = os.replace

    def replace_pixels(part, target):
        return replace(part, target) if target.suffix == ".img" else full_disk()

    def write(part):
        part.write_text("new")
        part.with_suffix(".img").write_text("new")

    monkeypatch.setattr(os, "replace", replace_pixels)
    with pytest.raises(InputError, match="no space"):
        run(atomic_file(tmp_path / "a.hdr", companion=".img"), write)
    assert contents(tmp_path) == {}


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(InputError, match=r"could not write .*a\.json: no space is left there; free some") as caught:
        write_json(tmp_path / "a.json", {"a": 1})
    assert storage.HIDDEN not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_library_may_report_a_full_disk_in_its_own_way(tmp_path):
    def write(part):
        raise RuntimeError("Unable to\n flush")

    with pytest.raises(InputError, match=r"could not write .*a: Unable to flush; check the free space"):
        run(atomic_file(tmp_path / "a"), write)


def test_permissions_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
        write_text(tmp_path / "b", "", overwrite=False)
        write_bytes_durably(tmp_path / "c", b"")
        with atomic_folder(tmp_path / "folder") as part:
            write_text(part / "d", "")
    finally:
        os.umask(mask)
    for name in ("a", "b", "c", "folder/d"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_json_is_readable_and_plain(tmp_path):
    write_json(tmp_path / "a.json", {"name": "épi", "values": [1, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "épi" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"name": "épi", "values": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_durable_bytes_keep_the_last_file(tmp_path, monkeypatch):
    for data in (b"1", b"2", b"3"):
        write_bytes_durably(tmp_path / "last", data, keep=tmp_path / "previous")
    assert contents(tmp_path) == {"last": "3", "previous": "2"}
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_durably(tmp_path / "last", b"4", keep=tmp_path / "previous")
    assert contents(tmp_path) == {"last": "3", "previous": "2"}


# -- folders ---------------------------------------------------------------------------------------------------


def write_result(out: Path, text: str, overwrite: bool = False) -> None:
    with atomic_folder(out, overwrite) as part:
        write_text(part / RECORD, text)


def test_a_folder_appears_when_it_is_complete(tmp_path):
    out = tmp_path / "new" / "result"
    with atomic_folder(out) as part:
        (part / "deep").mkdir()
        write_text(part / "deep" / "a", "a")
        assert not out.exists()
    assert contents(tmp_path) == {"new/result/deep/a": "a"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result"]


def test_only_our_own_results_are_replaced(tmp_path):
    write_result(tmp_path / "result", "1")
    with pytest.raises(InputError, match=r"result exists already; .*overwrite"):
        write_result(tmp_path / "result", "2")
    write_result(tmp_path / "result", "3", overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("years of work")
    with pytest.raises(InputError, match="crsdun did not create it"):
        write_result(tmp_path / "mine", "4", overwrite=True)
    with pytest.raises(InputError, match="thesis is a file"):
        check_folder(tmp_path / "mine" / "thesis")
    (tmp_path / "empty").mkdir()
    write_result(tmp_path / "empty", "5")
    assert contents(tmp_path) == {f"result/{RECORD}": "3", "mine/thesis": "years of work", f"empty/{RECORD}": "5"}


def test_what_was_added_to_results_is_never_deleted(tmp_path):
    out = tmp_path / "result"
    with atomic_folder(out) as part:
        (part / "deep").mkdir()
        write_text(part / "deep" / "ours", "")
        write_text(part / RECORD, "1")
    for added, named in (("notes.txt", "notes.txt"), ("deep/theirs", "deep/theirs"), ("plots/a.png", "plots")):
        file = out / added
        file.parent.mkdir(exist_ok=True)
        file.write_text("years of work")
        with pytest.raises(InputError, match=f"crsdun did not write, and would be lost: {named}; move it elsewhere"):
            write_result(out, "2", overwrite=True)
        assert file.read_text() == "years of work"
        file.unlink()
        if file.parent.name == "plots":
            with pytest.raises(InputError, match="would be lost: plots;"):
                check_folder(out, overwrite=True)
            file.parent.rmdir()
    for name in "abcd":
        (out / name).write_text("years of work")
    with pytest.raises(InputError, match="would be lost: a, b, c and 1 more"):
        check_folder(out, overwrite=True)
    for name in "abcd":
        (out / name).unlink()
    (out / ".DS_Store").write_text("left by the system")
    (out / "deep" / "ours").unlink()
    write_result(out, "3", overwrite=True)
    assert contents(tmp_path) == {f"result/{RECORD}": "3"}
    (out / WRITTEN).unlink()
    with pytest.raises(InputError, match="does not say which of its files crsdun wrote"):
        write_result(out, "4", overwrite=True)


def test_a_store_with_something_added_is_not_replaced(tmp_path):
    out, mark = tmp_path / "scene.zarr", "zarr.json"

    def write(overwrite):
        with atomic_folder(out, overwrite, mark) as part:
            for name in (mark, f"cube/{mark}", "cube/c/0/0/0"):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_text(name)

    write(overwrite=False)
    write(overwrite=True)
    for name in ("notes.txt", "cube/notes.txt"):
        (out / name).write_text("years of work")
        with pytest.raises(InputError, match=f"would be lost: {name}; move it"):
            write(overwrite=True)
        (out / name).unlink()
    write(overwrite=True)
    assert not (out / WRITTEN).exists(), "which would be no part of a store"


def test_what_is_added_while_results_are_written_stays_too(tmp_path):
    write_result(tmp_path / "result", "1")

    def write(part):
        write_text(part / RECORD, "2")
        (tmp_path / "result" / "notes").write_text("years of work")

    with pytest.raises(InputError, match="would be lost: notes"):
        run(atomic_folder(tmp_path / "result", overwrite=True), write)
    assert contents(tmp_path) == {f"result/{RECORD}": "1", "result/notes": "years of work"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_appears_while_writing_is_not_replaced(tmp_path, overwrite):
    def write(part):
        write_text(part / RECORD, "ours")
        (tmp_path / "result").mkdir()
        (tmp_path / "result" / "thesis").write_text("theirs")

    with pytest.raises(InputError, match="did not create it" if overwrite else "in the meantime"):
        run(atomic_folder(tmp_path / "result", overwrite), write)
    assert contents(tmp_path) == {"result/thesis": "theirs"}


def test_an_empty_folder_that_appears_while_writing_is_not_taken_over(tmp_path):
    def write(part):
        write_text(part / RECORD, "ours")
        (tmp_path / "result").mkdir()

    with pytest.raises(InputError, match="it has appeared in the meantime"):
        run(atomic_folder(tmp_path / "result"), write)
    assert list(tmp_path.iterdir()) == [tmp_path / "result"]
    assert contents(tmp_path) == {}


def test_a_place_that_was_taken_is_given_up_where_the_results_cannot_be_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(InputError, match="no space is left"):
        write_result(tmp_path / "result", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_folders_that_were_made_go_with_an_error_unless_they_are_in_use(tmp_path, failure):
    def write(part):
        raise failure

    with pytest.raises(InputError if isinstance(failure, OSError) else type(failure)):
        run(atomic_folder(tmp_path / "a" / "b" / "result"), write)
    assert list(tmp_path.iterdir()) == []

    def write_beside(part):
        (tmp_path / "a" / "theirs").write_text("theirs")
        raise failure

    with pytest.raises(InputError if isinstance(failure, OSError) else type(failure)):
        run(atomic_folder(tmp_path / "a" / "b" / "result"), write_beside)
    assert contents(tmp_path) == {"a/theirs": "theirs"}
    assert not (tmp_path / "a" / "b").exists()


def test_there_is_room_or_an_error(tmp_path, monkeypatch):
    make_room(tmp_path / "a", 1000)
    assert (tmp_path / "a").stat().st_size == 1000
    with pytest.raises(OSError, match=r"space|large|argument"):
        make_room(tmp_path / "a", 1 << 60)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # not on every system
    make_room(tmp_path / "b", 1000)
    with pytest.raises(OSError, match="No space left"):
        make_room(tmp_path / "b", 1 << 60)


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt()])
def test_an_error_leaves_the_old_results(tmp_path, failure):
    write_result(tmp_path / "result", "old")

    def write(part):
        write_text(part / RECORD, "new")
        raise failure

    with pytest.raises(type(failure)):
        run(atomic_folder(tmp_path / "result", overwrite=True), write)
    assert contents(tmp_path) == {f"result/{RECORD}": "old"}


def test_the_old_results_come_back_where_the_new_ones_cannot_be_moved(tmp_path, monkeypatch):
    write_result(tmp_path / "result", "old")
    rename = Path.rename

    def refuse_new(path, target):
        return full_disk() if path.name == "result" and path.parent != tmp_path else rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(InputError, match="no space is left"):
        write_result(tmp_path / "result", "new", overwrite=True)
    assert contents(tmp_path) == {f"result/{RECORD}": "old"}


def test_a_full_disk_is_reported_for_the_folder_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(InputError, match=r"could not write .*result: no space is left there") as caught:
        write_result(tmp_path / "result", "new")
    assert storage.HIDDEN not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_to_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="is not a folder that can be written to"):
        check_folder(tmp_path / "result")


def test_two_writers_of_one_folder_do_not_disturb_each_other(tmp_path):
    def write(part):
        write_text(part / RECORD, "first")
        write_result(tmp_path / "result", "second")

    with pytest.raises(InputError, match="in the meantime"):
        run(atomic_folder(tmp_path / "result"), write)
    assert contents(tmp_path) == {f"result/{RECORD}": "second"}
    shutil.rmtree(tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


LOCKING = """
import sys, time
from crsdun.storage import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_lock_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "write", full)
    with pytest.raises(InputError, match="no space is left there"), storage.locked(tmp_path / "run"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_has_locked_is_refused_until_that_dies(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", LOCKING, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"locked\n"
        holder = f"process {process.pid} on .* is writing into"
        with pytest.raises(InputError, match=holder), storage.locked(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with storage.locked(tmp_path):
        pass


def test_scratch_folders_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with storage.scratch_folder(tmp_path) as alive:
        left = tmp_path / alive.name.replace(str(os.getpid()), str(dead.pid))
        left.mkdir()
        elsewhere = tmp_path / f"{storage.HIDDEN}00000000-{dead.pid}-abc"
        elsewhere.mkdir()
        with storage.scratch_folder(tmp_path):
            assert not left.exists()
            assert alive.exists()
            assert elsewhere.exists()
    assert list(tmp_path.iterdir()) == [elsewhere]


def test_those_of_a_container_of_the_same_name_are_not(tmp_path, monkeypatch):
    with storage.scratch_folder(tmp_path) as ours:
        theirs = tmp_path / ours.name.replace(f"-{os.getpid()}-", "-999999999-")
        theirs.mkdir()
        monkeypatch.setattr(os, "readlink", lambda _: "pid:[1]")
        with storage.scratch_folder(tmp_path):
            assert theirs.exists()


def test_a_link_to_itself_is_no_place_for_results(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError):
        storage.check_folder(tmp_path / "loop")


# -- folders that outlive an interruption --------------------------------------------------------------------------


def begin(out: Path, job: dict, failure: BaseException) -> None:
    with suppress(type(failure)), lasting_folder(out, job) as folder:
        (folder / "deep").mkdir()
        write_text(folder / "deep" / "half", "1")
        raise failure


def test_a_lasting_folder_is_gone_on_with(tmp_path):
    out, job = tmp_path / "out", {"command": ["a"], "limit": 1.5}
    begin(out, job, KeyboardInterrupt())
    assert not out.exists()
    with lasting_folder(out, job) as folder:
        assert (folder / "deep" / "half").read_text() == "1"
        write_text(folder / RECORD, "{}")
    assert {each.name for each in out.iterdir()} == {"deep", RECORD, WRITTEN}
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_lasting_folder_without_contents_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), lasting_folder(tmp_path / "out", {}):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_another_job_left_is_only_replaced_on_request(tmp_path):
    out = tmp_path / "out"
    begin(out, {"job": 1}, ZeroDivisionError())
    with pytest.raises(InputError, match="unfinished results of another command"), lasting_folder(out, {"job": 2}):
        pass
    with lasting_folder(out, {"job": 2}, overwrite=True) as folder:
        assert not (folder / "deep").exists()
        write_text(folder / RECORD, "{}")
    assert contents(out) == {RECORD: "{}"}


def test_a_folder_that_is_called_unfinished_by_chance_is_never_deleted(tmp_path):
    (tmp_path / "out.unfinished").mkdir()
    (tmp_path / "out.unfinished" / "notes").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="another command"), lasting_folder(tmp_path / "out", {}, overwrite):
            pass
    assert (tmp_path / "out.unfinished" / "notes").read_text() == "precious"
