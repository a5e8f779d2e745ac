"""How many threads a command computes with, and how they wait beside another process."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from crsdun import threads
from crsdun.cli import main

SOURCES = Path(threads.__file__).parents[1]


def run(code: str, **environment: str) -> str:
    """What a program prints in a fresh process, with no more about threads in its environment than is given."""
    names = (*threads.COUNTS, *threads.WAITING)
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**inherited, "PYTHONPATH": str(SOURCES), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_library_leaves_the_environment_as_it_is():
    code = """
        import importlib, os, pkgutil, threading
        before = dict(os.environ)
        import crsdun
        for module in pkgutil.iter_modules(crsdun.__path__, "crsdun."):
            if module.ispkg:
                importlib.import_module(module.name)
        import torch
        crsdun.create("crsdun_tiny", 5, 3)
        print({name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)})
        print(threading.active_count())
    """
    changed, running = run(code).splitlines()
    assert changed == "set()"
    assert running == "1"


# What a command sees: a fresh process, whose command ``info`` tells about it in place of its work.
SEEN = """
    import json, os, sys
    from crsdun.cli import info, main
    def tell(options):
        import torch, threading
        watching = any("_watch" in thread.name for thread in threading.enumerate())
        print(json.dumps([torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), watching]))
    info.run = tell
    before = dict(os.environ)
    assert main(["info", "x", *sys.argv[1:]]) == 0
    assert dict(os.environ) == before
"""


def seen(*options: str, **environment: str) -> list:
    code = SEEN.replace("*sys.argv[1:]", ", ".join(map(repr, options)))
    return json.loads(run(code, **environment))


def test_as_many_threads_as_are_asked_for():
    assert seen("--threads", "3") == [3, "3", True]
    assert seen("--threads", "3", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1") == [3, "3", True]
    assert seen(OMP_NUM_THREADS="1") == [1, "1", True]


@pytest.mark.parametrize("name", threads.WAITING)
def test_who_decides_how_threads_wait_is_left_alone(name):
    value = {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "1000"}[name]
    assert seen("--threads", "3", **{name: value}) == [3, "3", False]


def test_where_pytorch_is_loaded_already_its_threads_are_set_and_set_back():
    before, environment = torch.get_num_threads(), dict(os.environ)
    with threads.computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    assert dict(os.environ) == environment


@pytest.mark.parametrize("count", ["0", "-1", "1025", "two", "1.5"])
def test_what_is_no_number_of_threads_is_refused(capsys, count):
    with pytest.raises(SystemExit) as refused:
        main(["info", "x", f"--threads={count}"])
    assert refused.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{count} is not a number of threads from 1 to 1024" in line


# How often threads meet in a second, from half a second on, when the watch has seen what is going on.
MEETINGS = """
    import time
    from crsdun.threads import computing_with
    with computing_with(None):
        import torch
        a, b = torch.rand(1 << 17), torch.rand(1 << 17)
        start, meetings = time.perf_counter(), 0
        while time.perf_counter() < start + 1.5:
            torch.add(a, b, out=a)
            meetings += time.perf_counter() > start + 0.5
    print(meetings)
"""


@pytest.mark.skipif(threads.cores() < 2 or not threads.TASKS.exists(), reason="needs two cores, and Linux")
def test_beside_a_process_that_wants_all_cores_a_command_gives_way():
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(threads.cores())]
    try:
        meetings = int(run(MEETINGS))
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert meetings > 1000  # about 20,000 here; 43 where threads spin as long as OpenMP lets them
