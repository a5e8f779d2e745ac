"""What a run writes down: rows that go on where the run does, and what identifies data."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.provenance import fingerprint
from crsdun.training.run_log import RECORD, RunLog, read_record, write_record


def log(folder, step, rows):
    run_log = RunLog(folder, step)
    for row in rows:
        run_log.step(row)
    run_log.close()


def test_rows_behind_the_checkpoint_and_a_torn_row_are_dropped(tmp_path):
    path = tmp_path / "log.csv"
    log(tmp_path, 0, [{"step": step, "loss": step / 3} for step in (1, 2, 3, 4)])
    path.write_text(path.read_text()[:-3])  # the process died within the last row
    log(tmp_path, 4, [])
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "1", "2", "3"]
    log(tmp_path, 2, [{"step": 3, "loss": None}])
    assert path.read_text() == "step,loss\n1,0.3333333\n2,0.6666667\n3,\n"


def test_a_full_disk_is_one_line_wherever_it_fills_up(tmp_path, monkeypatch):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    run_log, row = RunLog(tmp_path, 0), {"step": 1, "loss": 0.5}
    run_log.close()
    for name, call in (
        ("add_scalar", lambda: run_log.step(row)),
        ("add_image", lambda: run_log.validation({"step": 1}, np.zeros((4, 4, 3), np.uint8))),
        ("close", run_log.close),
        ("__init__", lambda: RunLog(tmp_path, 0)),
    ):
        monkeypatch.setattr(tensorboard.SummaryWriter, name, full)
        with pytest.raises(InputError, match=r"could not write .*tensorboard: .*No space left"):
            call()


def test_a_log_that_holds_no_whole_row_begins_anew(tmp_path):
    for torn in ("", "st", "step,loss\n", "step,loss\n1,0.", "step,loss\n5,0.1\n"):
        (tmp_path / "log.csv").write_text(torn)
        log(tmp_path, 1, [{"step": 2, "loss": 1.0}])
        assert (tmp_path / "log.csv").read_text() == "step,loss\n2,1\n"


def test_a_fingerprint_depends_on_every_name_and_hash_but_not_on_their_order():
    one = fingerprint({"a": "1", "b": "2"})
    assert one == fingerprint({"b": "2", "a": "1"})
    assert len({one, fingerprint({"a": "1", "b": "3"}), fingerprint({"a": "1", "c": "2"})}) == 3


@pytest.mark.parametrize("damage", [b"", b"\0" * 30, b"2,\xff", b",", b"None,None", b"2,0.1,0.2", b"2"])
def test_damaged_rows_are_dropped_and_counted(tmp_path, damage):
    path = tmp_path / "log.csv"
    path.write_bytes(b"step,loss\n1,0.5\n" + damage + b"\n3,0.25\n")
    lines = []
    RunLog(tmp_path, 3, lines.append).close()
    assert path.read_text() == "step,loss\n1,0.5\n3,0.25\n"
    assert lines == [f"1 damaged row of {path} dropped"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff", b'{"sittings": 5}', b'{"config": {}}', b"[" * 9999]
)
def test_a_damaged_record_begins_anew(tmp_path, damage):
    (tmp_path / RECORD).write_bytes(damage)
    lines = []
    record, session = {"config": {"network": {"name": "n"}, "steps": 2}}, {"started": "now", "from_step": 0}
    write_record(tmp_path, record, session, lines.append)
    assert read_record(tmp_path) == {**record, "sittings": [session]}
    assert len(lines) == 1
    assert "begins anew" in lines[0]
    write_record(tmp_path, record, session, lines.append)
    assert len(read_record(tmp_path)["sittings"]) == 2
    assert len(lines) == 1
