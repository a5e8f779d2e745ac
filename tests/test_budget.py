"""How much memory may be taken: of the machine, of a container, of a process, of one caller."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crsdun import budget, machine
from crsdun.budget import also_limited_to, available_memory, check_budget, limited_to, memory_budget
from crsdun.errors import InputError

ROOT = Path(__file__).parents[1]
MEGABYTE = 1 << 20


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes control groups as the kernel shows them: {folder: (limit, used, reclaimable)}, of version 1 or 2."""

    def write(version, entry, groups):
        root = tmp_path / "memory" if version == 1 else tmp_path
        limit_file, used_file, reclaimable_name = budget.CGROUP_FILES[version]
        for name, (limit, used, reclaimable) in groups.items():
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / limit_file).write_text(f"{limit}\n")
            (folder / used_file).write_text(f"{used}\n")
            (folder / "memory.stat").write_text(f"anon 5\n{reclaimable_name} {reclaimable}\n")
        (tmp_path / "cgroup").write_text(entry)
        monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "CGROUPS", tmp_path)

    return write


def test_the_limit_of_a_container_counts(groups):
    groups(2, "0::/\n", {"": (300 * MEGABYTE, 120 * MEGABYTE, 20 * MEGABYTE)})
    assert available_memory() == 200 * MEGABYTE  # files that are cached make room
    assert memory_budget() == 50 * MEGABYTE


def test_so_does_that_of_a_group_around_it(groups):
    groups(
        2,
        "0::/machine/job/step\n",
        {
            "machine": (200 * MEGABYTE, 50 * MEGABYTE, 0),
            "machine/job": ("max", 0, 0),
            "machine/job/step": ("max", 0, 0),
        },
    )
    assert available_memory() == 150 * MEGABYTE


def test_a_group_that_is_full_leaves_nothing(groups):
    groups(2, "0::/\n", {"": (MEGABYTE, 2 * MEGABYTE, 0)})
    assert available_memory() == 0
    with pytest.raises(InputError, match="GB allowed"):
        check_budget(1, "it")


def test_version_1_has_a_controller_for_memory_and_no_limit_is_a_large_number(groups):
    entry = "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n"
    groups(1, entry, {"": (2**63 - 4096, 0, 0), "job": (100 * MEGABYTE, 90 * MEGABYTE, 40 * MEGABYTE)})
    assert available_memory() == 50 * MEGABYTE


def test_in_a_container_the_name_may_be_that_on_the_host(groups):
    groups(1, "4:memory:/docker/0123abc\n", {"": (100 * MEGABYTE, 0, 0)})
    assert available_memory() == 100 * MEGABYTE


def test_without_control_groups_the_machine_counts(groups, tmp_path):
    groups(2, "0::/\n", {})
    assert available_memory() > 0
    (tmp_path / "cgroup").unlink()
    assert available_memory() > 0


def test_a_real_group():
    limit_file = budget.CGROUP_FILES[1][0]
    group = machine.CGROUPS / "memory" / f"crsdun-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit_file).write_text(str(256 * MEGABYTE))
    except OSError:
        pytest.skip("this account may not make control groups")
    script = (
        f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
        "from crsdun.budget import available_memory; print(available_memory())"
    )
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
        assert 200 * MEGABYTE < int(done.stdout) <= 256 * MEGABYTE
    finally:
        group.rmdir()


def test_the_limit_of_the_process_holds_in_all_threads_and_that_of_a_caller_in_its_own():
    seen = []
    with limited_to(8 * MEGABYTE), also_limited_to(2 * MEGABYTE, "limit"):
        thread = threading.Thread(target=lambda: seen.append(memory_budget()))
        thread.start()
        thread.join()
        seen.append(memory_budget())
        with pytest.raises(InputError, match="allow more with limit"):
            check_budget(3 * MEGABYTE, "it")
    assert seen == [8 * MEGABYTE, 2 * MEGABYTE]
    refused = pytest.raises(InputError, match="allow more with memory")
    with limited_to(MEGABYTE), also_limited_to(2 * MEGABYTE, "limit"), refused:
        check_budget(3 * MEGABYTE, "it")
