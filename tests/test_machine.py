"""What this machine is said to be, and what of it a process may use."""

import pytest

from crsdun import machine

CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f {}

"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CPUINFO.format("avx512_bf16"), "AMD EPYC (family 26 model 2, AVX-512, BF16)"),
        (2 * CPUINFO.format("amx_tile avx512_bf16"), "AMD EPYC (family 26 model 2, AVX-512, BF16, AMX)"),
        (CPUINFO.format("").replace("avx512f", ""), "AMD EPYC (family 26 model 2)"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n", "AMD EPYC"),
        (None, "AMD EPYC"),
    ],
)
def test_the_processor_is_named_with_what_decides_its_speed(text, words, tmp_path, monkeypatch):
    monkeypatch.setattr(machine.platform, "processor", lambda: "AMD EPYC")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        machine.CPUINFO.write_text(text)
    assert machine.processor_in_words() == words


@pytest.mark.parametrize(
    ("entry", "files", "share"),
    [
        ("0::/box", {"box/cpu.max": "150000 100000", "cpu.max": "max 100000"}, [1.5]),
        ("0::/box/inner", {"box/inner/cpu.max": "max 100000", "box/cpu.max": "400000 100000"}, [4.0]),
        ("0::/elsewhere", {"cpu.max": "50000 100000"}, [0.5]),  # named as on the host of a container
        ("3:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "200000", "cpu/box/cpu.cfs_period_us": "100000"}, [2.0]),
        ("3:cpu:/box", {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, []),
        ("4:memory:/box", {"cpu.max": "100000 100000"}, []),
    ],
)
def test_a_container_may_have_a_share_of_the_cores(tmp_path, monkeypatch, entry, files, share):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(entry + "\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    assert list(machine.shares_of_cores()) == share
    monkeypatch.setattr(machine, "visible_cores", lambda: 3)
    assert machine.cores() == min([3, *(2 if each == 1.5 else max(1, round(each)) for each in share)])
