"""Malformed inputs to the command line: edited headers, records, configurations, damaged files, odd options.

    python benchmarks/fuzz.py --seconds 300 --seed 0

Each command runs in a forked process with bounded memory and time. Wanted: exit 0, 1 or 2, and at most one line on
standard error after an error. Prints how many inputs gave what else, the first few commands of each kind, and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PRINTED = "printed.txt"
GIGABYTES = 6  # of address space; PyTorch alone takes about one
SECONDS = 60
ODD_NUMBERS = ("0", "-1", "1e400", "nan", "1e-9", "1000000000", "99999999999999999999", "²", "", "1.5", "-0")
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**25, float("nan"), float("inf"), "", "x", "1e25", [], {}, [[]], [None], {"a": None},
    "\ud800", "a\nb", "x" * 2000,
)  # fmt: skip


@dataclass
class Case:
    """A command, and the files that it needs besides the common ones.

    Attributes:
        files: name → contents.
    """

    arguments: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


# -- the inputs ------------------------------------------------------------------------------------------------


def make_inputs(folder: Path) -> None:
    """One small good file or folder of every kind that commands read."""
    import torch

    import crsdun
    from crsdun.cli import main
    from crsdun.scenes import Scene, write_scene

    rng = np.random.default_rng(0)
    scene = Scene(rng.random((5, 16, 20), dtype=np.float32), (450.0, 500.0, 550.0, 600.0, 650.0))
    for suffix in ("npz", "h5", "mat", "hdr", "tif"):
        write_scene(scene, folder / f"scene.{suffix}")
    torch.manual_seed(0)
    network = crsdun.create("crsdun_1stg", 5, 2, width=4)
    crsdun.save(network, folder / "w.safetensors", wavelengths=scene.wavelengths, step=2.0)
    (folder / "train.yaml").write_text(
        "data: {source: set.yaml}\nnetwork: {name: crsdun_1stg, settings: {width: 4}}\nsteps: 1\nout: run\n"
        "sampling: {crop: [16, 16], batch: 1}\n"
    )
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["simulate", "scene.npz", "--out", "y.npz"]) == 0
        result = ["reconstruct", "y.npz", "--iterations", "1", "--truth", "scene.npz", "--out", "result"]
        assert main(result) == 0
        # So that what they import is loaded once for all.
        assert main(["report", "result", "--overwrite"]) == 0
        assert main(["figure", "result", "--out", "figure"]) == 0
        assert main(["cost", "w.safetensors", "--size", "16", "16"]) == 0
        assert main(["train", "train.yaml", "--show"]) == 0
        assert main(["bench", "--repetitions", "0"]) == main(["app", "nowhere"]) == 2
        assert main(["train", "train.yaml"]) == 2
    finally:
        os.chdir(before)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Malformed inputs without end."""
    kinds: tuple[Callable[[random.Random, Path], Case], ...] = (
        edited_weights,
        edited_record,
        damaged_file,
        edited_config,
        edited_notes,
        odd_option,
    )
    while True:
        yield rng.choice(kinds)(rng, folder)


def edited(values: Any, rng: random.Random) -> Any:
    """Plain values with one of them, at any depth, replaced, removed or renamed."""
    values = json.loads(json.dumps(values))
    places = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                walk(inner[key])

    walk(values)
    inner, key = rng.choice(places)
    action = rng.randrange(4)
    if action == 0:
        del inner[key]
    elif action == 1 and isinstance(inner, dict):
        inner[f"{key}x"] = inner.pop(key)
    else:
        inner[key] = rng.choice(ODD_VALUES)
    return values


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Data that are cut off, or in which a few bytes differ."""
    if rng.random() < 0.3:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    reach = rng.choice((200, len(data)))  # half of them in the header
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(min(reach, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def edited_weights(rng: random.Random, folder: Path) -> Case:
    raw = (folder / "w.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    if rng.random() < 0.3:
        header = edited(header, rng)
    else:
        header["__metadata__"]["crsdun"] = json.dumps(edited(json.loads(header["__metadata__"]["crsdun"]), rng))
    text = json.dumps(header).encode()
    files = {"bad.safetensors": len(text).to_bytes(8, "little") + text + raw[8 + length :]}
    command = rng.choice(
        (
            ["info", "bad.safetensors"],
            ["cost", "bad.safetensors", "--size", "16", "16"],
            ["reconstruct", "y.npz", "--weights", "bad.safetensors", "--out", "new"],
        )
    )
    return Case(command, files)


def edited_record(rng: random.Random, folder: Path) -> Case:
    files = {}
    for path in sorted((folder / "result").iterdir()):
        if path.suffix in (".npz", ".json"):
            files[f"bad/{path.name}"] = path.read_bytes()
    name = rng.choice(("bad/record.json", "bad/metrics.json"))
    values = json.loads(files[name])
    files[name] = damaged(files[name], rng) if rng.random() < 0.2 else json.dumps(edited(values, rng)).encode()
    return Case(rng.choice((["report", "bad"], ["figure", "bad", "--out", "fig"])), files)


def damaged_file(rng: random.Random, folder: Path) -> Case:
    name = rng.choice(("scene.npz", "scene.h5", "scene.mat", "scene.hdr", "scene.tif", "y.npz", "w.safetensors"))
    files = {f"bad{Path(name).suffix}": damaged((folder / name).read_bytes(), rng)}
    if name == "scene.hdr":
        files["bad.img"] = (folder / "scene.img").read_bytes()
    bad = next(iter(files))
    command = rng.choice(
        (
            ["info", bad],
            ["simulate", bad, "--out", "new.npz"],
            ["reconstruct", bad, "--iterations", "1", "--out", "new"],
        )
    )
    return Case(command, files)


def edited_config(rng: random.Random, folder: Path) -> Case:
    import yaml

    from crsdun.training.config import load_config, plain

    values = plain(load_config(folder / "train.yaml"))
    text = yaml.safe_dump(edited(values, rng), allow_unicode=True) if rng.random() < 0.8 else "[" * 5000
    return Case(["train", "bad.yaml", *(["--show"] if rng.random() < 0.5 else [])], {"bad.yaml": _encoded(text)})


def edited_notes(rng: random.Random, folder: Path) -> Case:
    with np.load(folder / "y.npz") as file:
        arrays = dict(file)
    notes = json.loads(str(arrays["crsdun"]))
    text = json.dumps(edited({**notes, "class_names": ["a"], "palette": [[0, 0, 0]], "name": "y"}, rng))
    arrays["crsdun"] = np.array(text)
    path = folder / "notes.npz"
    np.savez(path, **arrays)
    command = rng.choice((["info", "bad.npz"], ["reconstruct", "bad.npz", "--iterations", "1", "--out", "new"]))
    return Case(command, {"bad.npz": path.read_bytes()})


def odd_option(rng: random.Random, folder: Path) -> Case:
    number = rng.choice(ODD_NUMBERS)
    good = {
        "reconstruct": (["y.npz", "--iterations", "1", "--out", "new"],
                        "bands step bits exposure dark white iterations tile overlap wavelengths offsets mask"),
        "simulate": (["scene.npz", "--out", "new.npz"], "step photons read-noise bits seed mask wavelengths"),
        "cost": (["crsdun_1stg", "--size", "16", "16"], "bands classes step"),
        "figure": (["result", "--out", "fig"], "bands titles"),
        "bench": (["--quick"], "repetitions"),
        "app": (["--no-browser"], "port limit"),
    }  # fmt: skip
    name = rng.choice(sorted(good))
    arguments, options = good[name]
    option = rng.choice(options.split())
    if option in ("wavelengths", "mask"):
        kinds = {"wavelengths": ("nbk7:", "400-700:", ""), "mask": ("random:", "/dev/", "scene.")}[option]
        number = rng.choice(kinds) + rng.choice((*ODD_NUMBERS, "zero", "npz"))
    if (name, option) in (("bench", "repetitions"), ("app", "port"), ("app", "limit")):
        number = rng.choice(("0", "-1", "²", "99999999999999999999"))
        number = "-1" if number == "0" and name == "app" else number
    if rng.random() < 0.2:
        arguments = [rng.choice((".", "/dev/zero", "a\nb", "loop", os.fsdecode(b"\xff"))), *arguments[1:]]
    return Case([name, *arguments, f"--{option}={number}"])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# -- running them ----------------------------------------------------------------------------------------------


def run(case: Case, folder: Path) -> tuple[str | None, str]:
    """What was wrong with the way in which a command ended, None if nothing; and what it printed."""
    made = [folder / name for name in case.files]
    for path, data in zip(made, case.files.values(), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    before = set(os.listdir(folder))
    child = os.fork()
    if child == 0:
        become(case.arguments, folder)
    end = time.monotonic() + SECONDS
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)  # and the processes that it started
            os.waitpid(child, 0)
            return "hung", ""
        time.sleep(0.01)
    printed = (folder / PRINTED).read_text(errors="replace")
    left = set(os.listdir(folder)) - before
    for name in left:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return verdict(os.waitstatus_to_exitcode(status[1]), printed, left), printed


def become(arguments: list[str], folder: Path) -> None:
    """Turn this process, a copy of one that has loaded everything, into a command; never returns."""
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        for descriptor, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, os.devnull, os.O_WRONLY),
            (2, PRINTED, os.O_WRONLY | os.O_TRUNC),
        ):
            os.dup2(os.open(name, flags), descriptor)
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 (of the whole process)
        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
        from crsdun.cli import main

        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def verdict(code: int, printed: str, left: set[str]) -> str | None:
    """What is wrong with the way in which a command ended; None if nothing is."""
    if "Traceback (most recent call last)" in printed:
        return "traceback"
    if code not in (0, 1, 2):
        return "killed" if code < 0 else f"exit {code}"
    if "this is a fault of crsdun" in printed:
        return "unexpected exception"
    if code == 2 and printed.count("\n") > 1:
        return "several lines"
    if code == 2 and left:
        return "left something behind"
    return None


def fuzz(seed: int, seconds: float, count: int | None = None) -> tuple[Counter[str], list[tuple[str, Case, str]]]:
    """How many commands ended how, and those that should not have ended so."""
    rng, outcomes, failures = random.Random(seed), Counter[str](), []
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="crsdun-fuzz-") as name:
        folder = Path(name)
        make_inputs(folder)
        (folder / "loop").symlink_to("loop")
        (folder / PRINTED).touch()
        for case in cases(rng, folder):
            if time.monotonic() > end or outcomes.total() == count:
                break
            problem, printed = run(case, folder)
            outcomes[problem or "as wanted"] += 1
            if problem:
                failures.append((problem, case, printed))
    return outcomes, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    outcomes, failures = fuzz(options.seed, options.seconds, options.count)
    for problem, case, printed in failures:
        last = printed.strip().splitlines()[-1:] or [""]
        print(f"{problem}: {' '.join(map(repr, case.arguments))}: {last[0][:300]!r}")
    print(json.dumps({"seed": options.seed, "inputs": outcomes.total(), **outcomes}))


if __name__ == "__main__":
    main()
