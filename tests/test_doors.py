"""What no input may do to the command line: a traceback, several lines, a result in spite of an error, a leftover."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crsdun.cli import main
from crsdun.cli.printing import error_line, one_line
from crsdun.errors import InputError
from tests.refusing import refuse

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("scene.npz", cube=rng.random((5, 16, 20)), wavelengths=np.arange(5) * 50.0 + 450)
    Path("loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        "simulate scene.npz --out y.npz --seed 99999999999999999999 --photons 100",
        "simulate scene.npz --out y.npz --mask random:²",
        "simulate scene.npz --out y.npz --wavelengths nbk7:0",
        "simulate scene.npz --out y.npz --wavelengths nbk7:100000000",
        "simulate scene.npz --out y.npz --wavelengths nbk7:²",
        "simulate scene.npz --out y.npz --wavelengths 450-650:9999 --memory 0.1",
        "simulate scene.npz --out y.npz --step 19999 --memory 0.01",
        "simulate scene.npz --out y.npz --step nan",
        "simulate scene.npz --out loop/y.npz",
        "simulate /dev/zero --out y.npz",
        "simulate scene.npz --out /dev/zero --overwrite",
        "reconstruct scene.npz --key cube --out loop",
        "cost crsdun_9999999999stg",
        "cost crsdun_1stg --bands 1000000000",
        "app --port 99999",
        "app --port -1",
        "app --limit 0",
        "app --limit 99999999999999999999",
        "bench --repetitions 99999999999999999999",
        "bench --repetitions 0",
        "figure nowhere --out .",
        "train /dev/zero",
        "info loop",
        "info scene.npz --memory 0",
        "cost /dev/zero",
    ],
)
def test_odd_values_of_options_are_refused_in_one_line(capsys, arguments):
    refuse(capsys, *arguments.split())


@pytest.mark.parametrize(
    "change",
    [
        "sampling.workers=1e22",
        "sampling.workers=10000000000000000000000",
        "sampling.batch=100000000",
        "steps=99999999999999999999999",
        "optimiser.rate=.nan",
        "camera.step=.nan",
        "network.name=crsdun_9999999999stg",
        "network.settings.lista=5",
        "network.settings.cross_cube=maybe",
        'out="a\\0b"',
        "5=3",
        "~=3",
        f"steps={'9' * 5000}",
        f"steps={'[' * 5000}",
    ],
)
def test_odd_settings_of_a_training_are_refused_in_one_line(capsys, change):
    Path("c.yaml").write_text(
        "data: {source: set.yaml}\nnetwork: {name: crsdun_1stg, settings: {width: 4}}\nsteps: 1\nout: run\n"
        "sampling: {crop: [16, 16], batch: 1}\n"
    )
    refuse(capsys, "train", "c.yaml", change)


def test_names_with_line_breaks_and_surrogates_are_printed_in_one_line(capsys):
    for name in ("a\nb", "a\x1b[31mb", os.fsdecode(b"a\xffb")):
        assert name not in refuse(capsys, "info", name)


def test_one_line_is_short_and_printable():
    assert one_line("a\n  b\x07\ud800") == "a b\\x07\\ud800"
    assert len(one_line("x" * 10**6)) < 1100


def test_long_doubles_and_what_is_not_finite_are_json(capsys):
    most = np.finfo(np.longdouble).max
    np.savez("long.npz", x=np.linspace(0, 1, 12, dtype=np.longdouble).reshape(3, 4), big=np.full((3, 4), most))
    assert main(["info", "long.npz", "--json"]) == 0
    x, big = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["arrays"]
    assert (x["min"], x["max"], x["mean"]) == (0, 1, 0.5)
    assert (big["min"], big["max"]) == (None, None)
    assert main(["info", "long.npz"]) == 0


def test_a_truth_of_zeros_has_fewer_figures(capsys):
    np.savez("zeros.npz", cube=np.zeros((5, 16, 20)))
    assert main(["simulate", "scene.npz", "--out", "y.npz"]) == 0
    assert main(["reconstruct", "y.npz", "--iterations", "1", "--truth", "zeros.npz", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert "dB" in printed
    assert "SAM" not in printed


def test_every_kind_of_error_is_a_line():
    assert error_line(InputError("no", "set <memory>")) == "no; set --memory GB"
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("bad_alloc"),
    ):
        assert error_line(error) == "there is not enough memory for this size"
    assert error_line(FileNotFoundError(2, "No such file", "x")) == "x: No such file"
    assert "this is a fault of crsdun" in error_line(KeyError("x"))


def test_an_unexpected_exception_is_a_line_and_with_traceback_more(capsys, monkeypatch):

    def fail(options):
        raise ZeroDivisionError("by zero")

    from crsdun.cli import info

    monkeypatch.setattr(info, "run", fail)
    assert main(["info", "scene.npz"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["info", "scene.npz", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_what_json_cannot_say_in_a_note_is_found_before_anything_is_made(capsys):
    frame, mask = np.random.default_rng(0).random((16, 28)), np.ones((16, 20))
    for notes, problem in (
        ('{"provenance": {"camera": ["\\ud800"]}}', "provenance.camera.0 holds half of a surrogate pair"),
        ('{"more": "\\ud800"}', "more holds half of a surrogate pair"),
        ('{"\\ud800": 1}', "ud800 holds half of a surrogate pair"),
    ):
        np.savez("y.npz", y=frame, mask=mask, crsdun=notes)
        line = refuse(capsys, "reconstruct", "y.npz", "--bands", "5", "--iterations", "1", "--out", "out")
        assert problem in line


def test_one_file_of_a_batch_stops_no_other(capsys):
    os.mkdir("in")
    frame, mask = np.random.default_rng(0).random((16, 28)), np.ones((16, 20))
    for name in ("s1", "s4"):
        np.savez(f"in/{name}.npz", y=frame, mask=mask)
    np.savez("in/s2.npz", y=frame, mask=mask, crsdun='{"step": "x"}')
    np.savez("in/s3.npz", y=frame, mask=mask, crsdun='{"name": "\\ud800"}')
    Path("in", os.fsdecode(b"s\xff5.npz")).write_bytes(b"junk")
    assert main(["reconstruct", "in", "--bands", "5", "--iterations", "1", "--out", "out"]) == 1
    captured = capsys.readouterr()
    assert "2 of 5 measurements reconstructed" in captured.out
    assert captured.err.count("\n") == 3
    assert sorted(os.listdir("out")) == ["s1", "s4"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_command_leaves_nothing_behind(number):
    script = (
        "import signal, sys, time\nfrom crsdun.cli import main, info\nfrom crsdun.storage import atomic_folder\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # nohup would have it ignored
        "def run(options):\n    with atomic_folder('out'):\n        print('ready', flush=True); time.sleep(60)\n"
        "info.run = run\nsys.exit(main(['info', 'x']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == b"ready\n"
    assert any(name.startswith(".crsdun-") for name in os.listdir())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert sorted(os.listdir()) == ["loop", "scene.npz"]


def test_a_slice_of_the_fuzzer():
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import fuzz; outcomes, failures = fuzz.fuzz(7, 60, 12); "
        "[print(problem, case.arguments, printed[-300:], file=sys.stderr) for problem, case, printed in failures]; "
        "sys.exit(bool(failures))"
    )
    environment = {**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
