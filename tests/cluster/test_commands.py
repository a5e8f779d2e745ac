"""The commands that share their work: the same results as on one machine, whatever dies on the way."""

import csv
import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import s3fs
import torch
import yaml

import crsdun
from crsdun.cli import main
from crsdun.cli.printing import progress_lines
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import simulate
from crsdun.scenes import write_measurement, write_scene
from crsdun.storage import HIDDEN, RECORD, UNSENT, WRITTEN
from tests.cli.test_cli import H, W, smooth_scene
from tests.evaluation.scenes import NAMES, PaintedSet

FRAMES = 6
WAIT_S = 300

# What may differ between two runs: the command, the time, and how long it took.
CHANGING = {"command", "when", "seconds"}
IN_TEXT = (
    r'20\d\d-\d\d-\d\dT[\d:+]+|<pre>crsdun .*?</pre>|<td>\d+\.\d+</td>\s*</tr>|\d+\.\d+ (<span class="unit">)?s\b'
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Measurements in files and in a stack, one that is broken, their mask and their truths."""
    monkeypatch.chdir(tmp_path)
    scene, mask = smooth_scene(), random_mask(H, W, seed=1)
    np.save("mask.npy", mask)
    Path("many").mkdir()
    Path("truths").mkdir()
    frames = []
    for number in range(FRAMES + 2):
        each = replace(scene, cube=scene.cube * (1 - number / 20), name=f"f{number}")
        measurement = simulate(each, Exposure(mask))
        name = f"f{number}" if number < FRAMES else f"stack_{number - FRAMES + 1}"
        write_scene(each, f"truths/{name}.npz")
        if number < FRAMES:
            write_measurement(measurement, f"many/{name}.npz")
        else:
            frames.append(measurement.frame)
    np.save("many/stack.npy", np.stack(frames))
    Path("many/broken.mat").write_text("not a measurement")
    return tmp_path


MANY = (
    "reconstruct", "many", "--mask", "mask.npy", "--wavelengths", "450-700:6", "--method", "gap-tv",
    "--iterations", "3", "--truth", "truths",
)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder, without what may differ between two runs."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = json.dumps(unchanging(json.loads(path.read_text())))
        elif path.suffix == ".csv":
            found[name] = json.dumps(unchanging(list(csv.DictReader(path.read_text().splitlines()))))
        elif path.suffix in (".html", ".md", ".tex"):
            found[name] = re.sub(IN_TEXT, "…", path.read_text(), flags=re.DOTALL)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def unchanging(value):
    if isinstance(value, dict):
        return {key: unchanging(each) for key, each in value.items() if key not in CHANGING}
    return [unchanging(each) for each in value] if isinstance(value, list) else value


def printed(capsys) -> tuple[list[str], list[str]]:
    """The lines on both outputs, without seconds, the folders of results, and progress."""
    captured = capsys.readouterr()
    out, error = (re.sub(r"\b(here|there)/|\d+\.\d+ s\b", "", text).splitlines() for text in captured)
    return out, [line for line in error if not re.search(r": \d+ of \d+$", line)]


# -- reconstruct ---------------------------------------------------------------------------------------------------


def test_a_batch_is_that_of_one_machine_though_a_node_is_killed(folder, nodes, capsys):
    assert main([*MANY, "--out", "here"]) == 1
    expected, failures = printed(capsys)
    assert len(failures) == 1

    def kill() -> None:
        """Once the first results are there, and so in the middle of others."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and not (Path("there").is_dir() and list(Path("there").glob("*/"))):
            time.sleep(0.02)
        nodes.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert main([*MANY, "--out", "there", "--on", f"ray:{nodes.address}"]) == 1
    killer.join()
    nodes.heal()
    lines, notes = printed(capsys)
    assert sorted(notes) == sorted([*failures, f"crsdun: {LOST}"])
    # A frame that was complete when its worker died is not computed twice.
    finished = [line for line in lines if line.endswith("finished before")]
    assert len(finished) <= 2
    told = {line.split(":")[0]: line for line in expected}
    assert [told[line.split(":")[0]] if line in finished else line for line in lines] == expected
    assert {each.name for each in Path("there").rglob(f"{HIDDEN}*")} == {WRITTEN}
    assert contents(Path("there")) == contents(Path("here"))


LOST = "a worker was lost; another one takes its place and repeats its unfinished work"


def test_measurements_and_results_in_a_store_like_s3(folder, nodes, bucket, capsys):
    store = s3fs.S3FileSystem()
    for name in ("f0.npz", "f1.npz"):
        store.put_file(f"many/{name}", f"{bucket}/in/{name}")
    store.put_file("mask.npy", f"{bucket}/mask.npy")
    options = ("--method", "gap-tv", "--iterations", "3")
    there = ("reconstruct", f"{bucket}/in", "--mask", f"{bucket}/mask.npy", *options, "--out", f"{bucket}/out")
    assert main([*there, "--on", f"ray:{nodes.address}", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{bucket}/out/f1: 6 bands of 24×20 by gap-tv" in out
    assert main(["reconstruct", "many/f?.npz", "--mask", "mask.npy", *options, "--out", "here"]) == 0
    store.get(f"{bucket}/out/", "fetched/", recursive=True)
    expected = {name: each for name, each in contents(Path("here")).items() if name[:2] in ("f0", "f1")}
    assert contents(Path("fetched")).keys() == expected.keys()
    for name in ("f0/cube.npz", "f1/cube.img", "f1/picture.png", "f1/measurement.npz", f"f0/{RECORD}"):
        assert contents(Path("fetched"))[name] == expected[name]


def test_what_was_sent_whole_counts_as_done_and_what_was_not_is_done_again(folder, bucket, capsys):
    store = s3fs.S3FileSystem(use_listings_cache=False)
    here = ("reconstruct", "many/f0.npz", "many/f1.npz", "--method", "gap-tv", "--iterations", "2")
    assert main([*here, "--out", f"{bucket}/again"]) == 0
    store.rm(f"{bucket}/again/f1/{RECORD}")
    store.touch(f"{bucket}/again/f1/{UNSENT}")
    capsys.readouterr()
    assert main([*here, "--out", f"{bucket}/again"]) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == f"{bucket}/again/f0: finished before"
    assert second.startswith(f"{bucket}/again/f1: 6 bands")
    assert store.exists(f"{bucket}/again/f1/{RECORD}")
    assert not store.exists(f"{bucket}/again/f1/{UNSENT}")


# -- evaluate and table --------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """A data set of four scenes, and weights that were never trained."""
    monkeypatch.chdir(tmp_path)
    painted = PaintedSet(4)
    for index, name in enumerate(painted.names):
        write_scene(painted[index], f"{name}.npz")
    data = {
        "cubes": "{name}.npz", "labels_key": "classes", "classes": list(NAMES), "unlabelled": -1,
        "splits": {"test": ["scene *"]},
    }  # fmt: skip
    Path("data.yaml").write_text(yaml.safe_dump(data))
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=8, classes=5, width=8)
    crsdun.save(network, "weights.safetensors", class_names=NAMES, step=2.0)
    return tmp_path


def test_an_evaluation_is_that_of_one_machine(scenes, nodes, capsys):
    evaluate = ("evaluate", "weights.safetensors", "data.yaml", "--photons", "200")
    assert main([*evaluate, "--out", "here/result"]) == 0
    expected, _ = printed(capsys)
    assert main([*evaluate, "--out", "there/result", "--on", f"ray:{nodes.address}"]) == 0
    assert printed(capsys) == (expected, [])
    here, there = contents(Path("here")), contents(Path("there"))
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    assert len(json.loads(here["result/evaluation.json"])["scenes"]) == 4


def test_a_table_is_that_of_one_machine(scenes, nodes, capsys):
    table = {
        "title": "Two", "data": {"source": "data.yaml"}, "sampling": {"crop": [32, 48], "batch": 1}, "steps": 2,
        "rows": {"Weights": {"weights": "weights.safetensors"}, "GAP-TV": {"weights": "gap-tv"}}, "out": "here",
    }  # fmt: skip
    Path("table.yaml").write_text(yaml.safe_dump(table))
    assert main(["table", "table.yaml"]) == 0
    assert main(["table", "table.yaml", "out=there", "--on", f"ray:{nodes.address}", "--workers", "1"]) == 0
    here, there = contents(Path("here")), contents(Path("there"))
    assert here.keys() == there.keys()
    assert here["weights/evaluation/evaluation.json"] == there["weights/evaluation/evaluation.json"]
    assert here["table.json"] == there["table.json"]


def test_where_nobody_watches_there_are_lines_now_and_then(capsys):
    tell = progress_lines("decoding", every=0)
    for done in (1, 2, 3):
        tell(done, 3)
    progress_lines("decoding")(1, 3)
    assert capsys.readouterr().err == "crsdun: decoding: 1 of 3\ncrsdun: decoding: 2 of 3\n"


# -- what cannot be meant ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--on spark", "work cannot be shared on 'spark'; set --on to ray"),
        ("--on ray:nowhere", "nowhere is no address of a cluster"),
        ("--workers 2", "set --on to ray too"),
        ("--on ray --workers 0", "there can be no 0 workers"),
        ("--on ray --refine-camera", "refined from the first one"),
        ("--on ray --sequence", "omit --on, or --sequence"),
        ("--on ray --checkpoint c.safetensors", "a checkpoint belongs to a single frame"),
    ],
)
def test_what_cannot_be_meant_is_one_line(folder, capsys, options, words):
    assert main([*MANY, "--out", "never", *options.split()]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("never").exists()


def test_a_sequence_is_not_in_a_store(folder, capsys):
    assert main([*MANY, "--sequence", "--out", "s3://measured/never"]) == 2
    assert "read and written on this machine" in capsys.readouterr().err
