"""What a run writes down: rows that go on where the run does, and what identifies data."""

from crsdun.provenance import fingerprint
from crsdun.training.run_log import RunLog


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


def test_a_log_that_holds_no_whole_row_begins_anew(tmp_path):
    for torn in ("", "st", "step,loss\n", "step,loss\n1,0.", "step,loss\n5,0.1\n"):
        (tmp_path / "log.csv").write_text(torn)
        log(tmp_path, 1, [{"step": 2, "loss": 1.0}])
        assert (tmp_path / "log.csv").read_text() == "step,loss\n2,1\n"


def test_a_fingerprint_depends_on_every_name_and_hash_but_not_on_their_order():
    one = fingerprint({"a": "1", "b": "2"})
    assert one == fingerprint({"b": "2", "a": "1"})
    assert len({one, fingerprint({"a": "1", "b": "3"}), fingerprint({"a": "1", "c": "2"})}) == 3
