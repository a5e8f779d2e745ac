import os
import platform
import subprocess
import sys

import pytest

from crsdun import budget
from crsdun.methods import memory
from crsdun.methods.memory import available_memory, keep_freed_memory


def test_the_memory_of_this_machine_is_told(monkeypatch, tmp_path):
    assert available_memory() > 1 << 20
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   7 kB\n")
    monkeypatch.setattr(budget, "MEMINFO", tmp_path / "meminfo")
    assert available_memory("cpu") == 7 * 1024


def test_other_systems_tell_all_or_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(budget, "MEMINFO", tmp_path / "none")
    assert available_memory() > 1 << 20
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() is None


def test_systems_without_glibc_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    keep_freed_memory()


FAULTS = """
import resource, torch, crsdun.methods
torch.set_num_threads(1)
if {keep}:
    crsdun.methods.keep_freed_memory()
def work():
    for _ in range(20):  # the first ones still find their places
        torch.ones(8 << 20)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_reused_without_faults():
    told, plain = (
        int(subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True).stdout)
        for keep in (True, False)
    )
    assert told < 100
    assert told < plain / 10
