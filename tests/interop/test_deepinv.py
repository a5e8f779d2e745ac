"""The examination with the real deepinv, in a process of its own.

``make test`` installs deepinv and torchvision into a folder beside the packages of the environment, not among them: a
torchvision that does not match the build of PyTorch would break whatever else asks for it. Where deepinv is installed
like any other package, that one is examined.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from crsdun.errors import InputError

ROOT = Path(__file__).parents[2]
FOLDER = Path(sys.prefix) / "deepinv"  # as in the Makefile
INSTALLED = find_spec("deepinv") is not None


def test_what_is_promised_holds_with_the_real_deepinv():
    if not INSTALLED and not FOLDER.is_dir():
        pytest.fail(f"there is no {FOLDER}, so nothing of deepinv was tested: make .venv/deepinv/ready")
    paths = [ROOT / "src", ROOT, *([] if INSTALLED else [FOLDER])]
    paths = [*map(str, paths), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    examination = Path(__file__).with_name("deepinv_examination.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", examination]
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    settings["CRSDUN_NATIVE"] = "0"  # compiling the layers in C, which others examine, would take half a minute
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout  # none skipped, none expected to fail
    assert int(passed[1]) >= 40


@pytest.mark.skipif(INSTALLED, reason="deepinv is installed")
def test_without_deepinv_the_remedy_is_told():
    with pytest.raises(InputError, match=r"deepinv is not installed .*; pip install 'crsdun\[deepinv\]'"):
        import crsdun.interop.deepinv  # noqa: F401
