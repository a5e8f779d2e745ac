"""Records and fingerprints."""

import hashlib
import json
import subprocess
from datetime import datetime
from types import SimpleNamespace

import pytest

import crsdun
from crsdun import provenance
from crsdun.provenance import fingerprint, hardware, made_by, record, sha256_of


def test_a_record_holds_what_made_a_result():
    made = record(method="gap-tv", settings={"iterations": 3})
    assert made["made_by"] == f"crsdun {crsdun.__version__}"
    assert (made["method"], made["settings"]) == ("gap-tv", {"iterations": 3})
    assert datetime.fromisoformat(made["when"]).utcoffset().total_seconds() == 0
    assert {"crsdun", "python", "torch", "numpy"} <= made["versions"].keys()
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_the_command_is_recorded_inside_its_block_only():
    assert record()["command"] == []
    with made_by(["crsdun", "demo"]):
        with made_by(("crsdun", "train")):
            assert record()["command"] == ["crsdun", "train"]
        assert record()["command"] == ["crsdun", "demo"]
    with pytest.raises(ZeroDivisionError), made_by(["crsdun"]):
        raise ZeroDivisionError
    assert record()["command"] == []


def test_a_fingerprint_does_not_depend_on_the_order():
    hashes = {"b": "2", "a": "1"}
    assert fingerprint(hashes) == fingerprint(dict(sorted(hashes.items())))
    assert fingerprint(hashes) != fingerprint({"a": "2", "b": "1"})
    # Evaluations that were written before are compared by it: it must stay what it was.
    assert fingerprint(hashes) == hashlib.sha256(b'[["a", "1"], ["b", "2"]]').hexdigest()


def test_the_hash_of_a_file_larger_than_a_block(tmp_path):
    data = b"crsdun" * 300_000
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_hardware_is_plain():
    machine = hardware(SimpleNamespace(type="cpu"), processes=2)
    assert (machine["device"], machine["processes"]) == ("cpu", 2)
    assert "gpu" not in machine
    json.dumps(machine)


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert provenance._commit.__wrapped__() is None
    monkeypatch.setattr(provenance, "_commit", lambda: None)
    assert "git" not in provenance.versions()
