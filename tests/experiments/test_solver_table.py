"""The table of methods without training: what is registered, on the same exposures, kept and not evaluated again."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import EvaluationOptions, evaluate, read_evaluation
from crsdun.evaluation.evaluator import evaluate_scene
from crsdun.experiments import solver_table
from crsdun.experiments.solver_table import as_markdown, in_words, load_solver_table, make_solver_table, methods
from crsdun.machine import processor
from crsdun.optics import Estimate, Exposure, SensorNoise
from crsdun.runtime import open_method
from crsdun.scenes import open_set, write_scene
from crsdun.solvers import SOLVERS, Solver
from crsdun.training import RunObserver
from tests.evaluation.scenes import NAMES, PaintedSet

DATA = {
    "cubes": "{name}.npz",
    "labels_key": "classes",
    "classes": list(NAMES),
    "unlabelled": -1,
    "splits": {"train": ["scene 0"], "validation": ["scene 1"], "test": ["scene 2", "scene 3", "scene 4"]},
}
ROWS = "gap-tv,lr-tv,crsdun_tiny"
CLEAN, NOISY = SensorNoise(), SensorNoise(read_sigma=0.2)


@dataclass(frozen=True)
class Refusing(Solver):
    def __call__(self, measurement, camera, progress=None):
        raise ZeroDivisionError("it cannot\nbe done")


@dataclass(frozen=True)
class Dark(Solver):
    efforts = {"normal": {}, "none": {"light": 0.0}}
    light: float = 0.1

    def __call__(self, measurement, camera, progress=None):
        return Estimate([self.light * camera.adjoint(measurement).clamp(0, 1)])


@dataclass(frozen=True)
class Glaring(Solver):
    needs_scale = True

    def __call__(self, measurement, camera, progress=None):
        return Estimate([5 + camera.adjoint(measurement)])


def make(config, rows=ROWS):
    said = []
    return make_solver_table(config, rows, RunObserver(notify=said.append)), said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("solver_table")
    scenes = PaintedSet(5)
    for index, name in enumerate(scenes.names):
        write_scene(scenes[index], folder / f"{name}.npz")
    (folder / "data.yaml").write_text(yaml.safe_dump(DATA))
    return folder


@pytest.fixture(scope="module")
def config(folder):
    return load_solver_table(
        [
            f"data=[{folder / 'data.yaml'}]", "first=2", "scenes=[]", "noise=[{}, {read_sigma: 0.2}]",
            f"out={folder / 'out'}",
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(config):
    return make(config)


# -- what stands in it -----------------------------------------------------------------------------------------


def test_the_figures_are_those_of_an_evaluation(finished, folder):
    table, _ = finished
    assert [(row.method, row.noise) for row in table.rows] == [
        (name, noise) for name in ("lr-tv", "gap-tv") for noise in ("none", "σ = 0.2")
    ]
    options = EvaluationOptions(first=2, cubes_only=True)
    row, exposure = table.rows[1], Exposure(noise=NOISY)
    method, scenes = open_method("lr-tv"), open_set(folder / "data.yaml", "test")
    expected = evaluate(method, scenes, exposure, options)
    assert row.figures == {name: expected.figures[name] for name in ("psnr_db", "ssim", "sam_deg")}
    fits = [evaluate_scene(method, scenes, index, exposure).run.estimate.fits[0] for index in (0, 1)]
    assert row.held_out == pytest.approx(sum(fit.held_out for fit in fits) / 2)
    assert row.noise_found == pytest.approx(sum(fit.noise for fit in fits) / 2)
    assert 0 < row.processor_seconds < 60
    assert row.peak_mb is None or row.peak_mb > 1


def test_more_noise_is_found_where_there_is_more(finished):
    clean, noisy = finished[0].rows[:2]
    assert noisy.noise_found > 2 * clean.noise_found
    assert noisy.held_out > noisy.noise_found
    assert noisy.figures["psnr_db"] < clean.figures["psnr_db"]


def test_what_a_method_does_not_know_stays_empty(finished):
    gap = next(row for row in finished[0].rows if row.method == "gap-tv")
    assert gap.held_out is gap.noise_found is None
    line = next(line for line in as_markdown(finished[0]).splitlines() if "| gap-tv" in line)
    assert line.count("–") == 2


def test_weights_for_other_bands_are_left_out_and_it_is_told(finished, folder):
    table, said = finished
    assert "crsdun_tiny" not in {row.method for row in table.rows}
    left_out = [line for line in said if line.startswith("crsdun_tiny is left out for ")]
    assert len(left_out) == 2
    assert "28 bands" in left_out[0]


def test_all_formats_hold_all_rows(finished, config):
    table, _ = finished
    out = Path(config.out)
    lines = [line for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4
    assert [part.strip() for part in lines[0].split("|")[1:-1]] == [
        "scenes", "noise", "method", "PSNR (dB)", "SSIM", "SAM (°)", "held out (%)", "noise found (%)", "s", "CPU s",
        "MB",
    ]  # fmt: skip
    # By scenes, then by noise: the methods stand under each other.
    assert [line.split("|")[3].strip() for line in lines[2:]] == 2 * ["lr-tv", "gap-tv"]
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["psnr_db"]) for row in rows] == [row.figures["psnr_db"] for row in table.rows]
    assert float(rows[0]["held_out"]) == table.rows[0].held_out
    stored = json.loads((out / "table.json").read_text())
    assert [row["method"] for row in stored["rows"]] == [row.method for row in table.rows]
    assert (out / "table.tex").read_text().count(r"\\") == 5


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (SensorNoise(), "none"),
        (SensorNoise(photons=500), "500 photons"),
        (SensorNoise(photons=500, read_sigma=0.1, bits=12), "500 photons, σ = 0.1, 12 bits"),
        (SensorNoise(binomial_bits=11), "binomial, 11 bits"),
        (SensorNoise(binomial_bits=11, quantum_efficiency=0.6), "binomial, 11 bits, quantum efficiency 0.6"),
    ],
)
def test_noise_in_words(noise, words):
    assert in_words(noise) == words


# -- its rows --------------------------------------------------------------------------------------------------


def test_every_registered_solver_is_a_row_at_each_effort(config, folder, tmp_path):
    before = list(methods())
    assert before[:1] == ["lr-tv"]
    assert {"lr-tv:high", "gap-tv", "admm-tv", "crsdun_tiny"} <= set(before)
    crsdun.register_solver("dark", Dark)
    try:
        assert set(methods()) - set(before) == {"dark", "dark:none"}
        scene = str(folder / "scene 0.npz")
        table, _ = make(
            replace(config, data=(), scenes=(scene,), noise=(CLEAN,), out=str(tmp_path)), "dark:none,dark"
        )
    finally:
        SOLVERS.unregister("dark")
    assert [(row.method, row.scenes) for row in table.rows] == [("dark", scene), ("dark:none", scene)]
    some, none = table.rows
    assert none.data_residual == 1
    assert some.figures["psnr_db"] != none.figures["psnr_db"]


def test_a_row_that_fails_is_told_and_the_others_go_on(config, tmp_path):
    crsdun.register_solver("refusing", Refusing)
    try:
        small = replace(config, noise=(CLEAN,), first=1, out=str(tmp_path))
        table, said = make(small, "refusing,gap-tv")
    finally:
        SOLVERS.unregister("refusing")
    assert {row.method: row.failure for row in table.rows} == {
        "gap-tv": None,
        "refusing": "ZeroDivisionError: it cannot be done",
    }
    assert any(line.startswith("refusing failed on ") for line in said)
    assert "refusing failed on " in (tmp_path / "table.md").read_text()


def test_what_should_not_be_believed_is_marked(config, tmp_path):
    crsdun.register_solver("glaring", Glaring)
    try:
        table, _ = make(replace(config, noise=(CLEAN,), out=str(tmp_path)), "glaring")
    finally:
        SOLVERS.unregister("glaring")
    assert table.rows[0].doubtful == 2
    lines = as_markdown(table).splitlines()
    assert any("| glaring* |" in line for line in lines)
    assert any(line.startswith("* Do not rely on 2 of these scenes: glaring on ") for line in lines)


def test_what_cannot_be_compared_is_refused(config):
    with pytest.raises(InputError, match=r"no row 'lrtv'; set rows to some of lr-tv; lr-tv:high; "):
        make(config, "lrtv")
    for change, words in (
        (["data=[]", "scenes=[]"], "needs scenes and noise"),
        (["noise=[]"], "needs scenes and noise"),
        (["first=0"], "first must be 1 or more"),
        (["minutes=0"], "minutes must be positive"),
        (["noise=[{photon: 3}]"], "no key noise.0.photon"),
        (["protocol=8bit"], "no protocol '8bit'"),
        (["firts=3"], "no key firts; did you mean first"),
    ):
        with pytest.raises(InputError) as caught:
            load_solver_table(change)
        assert words in str(caught.value)


def test_what_a_row_takes_is_measured_on_the_processor_wherever_it_is_evaluated(config, tmp_path, monkeypatch):
    devices, open_method = [], solver_table.open_method

    def here(name, device, **settings):
        devices.append(device)
        return open_method(name, "cpu", **settings)

    def there(run, judges):
        raise RuntimeError(f"evaluated on {run.options.device}")

    monkeypatch.setattr(solver_table, "open_method", here)
    monkeypatch.setattr(solver_table.EvaluationRun, "evaluate", there)
    small = replace(config, noise=(CLEAN,), first=1, out=str(tmp_path))
    (row,) = make_solver_table(small, "gap-tv", device="cuda").rows
    assert devices == ["cuda", "cpu"]
    assert row.failure == "RuntimeError: evaluated on cuda"


# -- going on --------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_evaluated_again(finished, config, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr(solver_table, "evaluated", never)
    assert make(config) == finished
    assert make(config, "gap-tv")[0] == finished[0]  # the other row is made and stays
    monkeypatch.setattr(solver_table, "write", lambda *_: None)
    behind_another_mask, _ = make(replace(config, mask="random:1"), "gap-tv")
    assert {row.method for row in behind_another_mask.rows} == {"gap-tv"}


def test_seconds_are_those_of_the_machine_that_took_them(config, tmp_path):
    small = replace(config, noise=(CLEAN,), first=1, out=str(tmp_path))
    made, _ = make(small, "gap-tv")
    assert f"median, on 1 thread of {processor()}, beside" in made.notes
    (stored,) = tmp_path.glob("*/gap_tv/evaluation.json")
    record = json.loads(stored.read_text())
    record["record"] |= {"threads": 64, "processor": "Another"}
    stored.write_text(json.dumps(record))
    read, _ = make(small, "gap-tv")
    assert "median, on 64 threads of Another, beside" in read.notes


def test_with_other_settings_or_scenes_it_is_evaluated_again(config, tmp_path, monkeypatch):
    small = replace(config, noise=(CLEAN,), first=1, out=str(tmp_path))
    make(small, "gap-tv")
    (stored,) = tmp_path.glob("*/gap_tv/evaluation.json")
    evaluated, evaluate = [], solver_table.evaluated
    monkeypatch.setattr(solver_table, "evaluated", lambda *given: (evaluated.append(given), evaluate(*given))[1])
    make(small, "gap-tv")
    assert len(evaluated) == 0
    assert '"iterations": 100' in stored.read_text()
    stored.write_text(stored.read_text().replace('"iterations": 100', '"iterations": 99'))
    make(small, "gap-tv")
    assert len(evaluated) == 1
    values = json.loads(stored.read_text())
    values["data"]["wavelengths_nm"][0] -= 1  # the same files on other bands
    stored.write_text(json.dumps(values))
    make(small, "gap-tv")
    assert len(evaluated) == 2
    make(replace(small, mask="random:1"), "gap-tv")
    assert len(evaluated) == 3
    assert read_evaluation(stored).camera["mask"] == "random:1"


def test_after_the_time_it_stops_and_goes_on(config, tmp_path):
    small = replace(config, first=1, out=str(tmp_path), minutes=1e-9)
    sittings = []
    for _ in range(2):
        table, _ = make(small, "gap-tv")
        sittings.append((len(table.rows), table.stopped))
    assert sittings == [(1, "time"), (2, None)]
