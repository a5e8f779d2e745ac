"""``crsdun data check``: what a person reads, what a program gets, and the exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from crsdun.cli import main
from crsdun.scenes import produce
from crsdun.scenes.produce import ProduceFiles, StoredSplit
from tests.scenes.datasets import SIZE, names_of, write_release


@pytest.fixture
def copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_release(tmp_path / "fvgnet")


def test_a_good_copy_and_its_manifest(copy, capsys):
    assert main(["data", "check", "fvgnet", "--manifest", "manifest.txt"]) == 0
    printed = capsys.readouterr().out
    for expected in ("authors' release", "28×32×32", "as the labels", "22 fake unknown", "nothing is wrong"):
        assert expected in printed
    assert "28 hashes written to manifest.txt" in printed
    assert main(["data", "check", "fvgnet", "--manifest", "manifest.txt"]) == 0
    assert "28 hashes compared with manifest.txt" in capsys.readouterr().out


def test_what_changed_is_named_until_it_is_accepted(copy, capsys):
    check = ["data", "check", "fvgnet", "--manifest", "manifest.txt"]
    assert main(check) == 0
    path = copy / "visible_28" / f"{names_of(1)[0]}.npy"
    np.save(path, np.load(path) * 0.9)
    capsys.readouterr()
    assert main(check) == 1
    assert "changed since manifest.txt: visible_28/2021-11-03_000.npy" in capsys.readouterr().out
    assert main([*check, "--overwrite"]) == 0
    assert main(check) == 0


def test_what_is_wrong_gives_exit_code_1(copy, capsys):
    np.save(copy / "visible_28" / f"{names_of(3)[2]}.npy", np.ones((SIZE, SIZE, 27)))
    (copy / "labels" / f"{names_of(12)[11]}.png").unlink()
    assert main(["data", "check", "fvgnet"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("wrong: ") == 2
    assert "2 things are wrong" in printed
    assert main(["data", "check", "fvgnet", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["problems"]) == 2
    assert facts["splits"]["test"]["scenes"] == 2
    assert facts["manifest"] == {}


def test_written_files_are_listed(monkeypatch, capsys):
    """Rendering all of Produce-23 takes too long, so its result is given."""
    files = {"produce-23_test.h5": StoredSplit(12_345_678, 50, "ab" * 32)}
    references = {"split": "test", "references": {"true cube": {"miou": 0.98765}, "GAP-TV": {"psnr_db": 25.0}}}
    calls = []
    written = ProduceFiles(Path("made"), "1", files, references)
    monkeypatch.setattr(produce, "make_produce", lambda *arguments: calls.append(arguments) or written)
    assert main(["data", "make", "produce", "--out", "made", "--overwrite"]) == 0
    assert calls[0][:2] == (Path("made"), True)
    printed = capsys.readouterr().out
    for expected in ("made/produce-23_test.h5: 50 scenes, 12 MB, SHA-256 abab", "0.9877", "GAP-TV", "psnr_db"):
        assert expected in printed
    assert main(["data", "make", "produce", "--out", "made", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": "made",
        "version": "1",
        "files": {"produce-23_test.h5": {"bytes": 12_345_678, "scenes": 50, "sha256": "ab" * 32}},
        "references": references,
    }


def test_what_is_no_data_set_gives_exit_code_2(copy, capsys):
    assert main(["data", "check", "fvgnot"]) == 2
    assert "fvgnot is not a data set; expected produce, indian-pines" in capsys.readouterr().err
    (copy / "list.txt").write_text("nothing\n")
    assert main(["data", "check", "fvgnet", "--manifest", "fvgnet/list.txt"]) == 2
    assert "is not a manifest" in capsys.readouterr().err
