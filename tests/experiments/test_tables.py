"""Tables: one budget for every row, interruptions, weights that exist, rows that fail, and all formats."""

import csv
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from crsdun.errors import InputError
from crsdun.evaluation import MAIN_TABLE, PUBLISHED, compare, multiply_adds, parameters, read_evaluation
from crsdun.experiments import evaluation_folder, table_judgements, table_rows, tables
from crsdun.experiments.table_config import Condition, chosen, folder_name, load_table
from crsdun.experiments.table_files import TableRow, cells, filled
from crsdun.experiments.table_judgements import (
    LearntTable,
    curves,
    differences,
    equal_time,
    judge_conditions,
    pictures,
    step_seconds,
)
from crsdun.experiments.table_rows import RowMaker
from crsdun.experiments.tables import make_table
from crsdun.networks import create, load, save
from crsdun.training import RunObserver
from crsdun.training.config import flat
from crsdun.training.distributed import Processes
from crsdun.training.learner import Learner
from crsdun.training.loop import TrainingResult
from tests.training.small import CLASS_NAMES, SmallSet, small_sets

SETS = (*small_sets(), SmallSet("test", scenes=2))
ALONE = Processes(0, 1, torch.device("cpu"))
QUIET = RunObserver(notify=lambda line: None)
SMALL = {
    "title": "A small table",
    "note": "Not a scientific result.",
    "data": {"source": "small"},
    "sampling": {"crop": [32, 32], "batch": 1, "mosaic": 0.5},
    "camera": {"noise": {"read_sigma": 0.01}},
    "steps": 2,
    "seed": 3,
    "train": {"validation": {"scenes": 1, "criterion": "miou"}, "optimiser": {"rate": 1e-3}},
    "rows": {
        "SSR-1stg + Seg": {
            "train": {
                "network": {
                    "name": "ssr_1stg+seg",
                    "settings": {"reconstruction": {"width": 4}, "segmenter": {"width": 4}},
                },
                "two_stage": {"order": "frozen"},
                "loss": {"cube": "rmse"},
            }
        },
        "CRSDUN-1stg": {"train": {"network": {"name": "crsdun_1stg", "settings": {"width": 4}}}},
    },
}


def small_table(folder, **changes):
    """A table's file in a folder, read; ``out`` is ``folder / "out"``."""
    path = folder / "table.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": str(folder / "out"), **changes}, sort_keys=False))
    return load_table(path)


def make(table, configs):
    said = []
    return make_table(table, configs, SETS, RunObserver(notify=said.append)), said


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A table with two rows that learn, two that exist and one that fails; and what each row learnt from."""
    folder = tmp_path_factory.mktemp("table")
    torch.manual_seed(0)
    save(create("crsdun_1stg", 5, 4, width=4), folder / "mine.safetensors", class_names=CLASS_NAMES, step=2.0)
    broken = {"train": {"network": {"name": "crsdun_1stg", "settings": {"width": -1}}}}
    others = {
        "Broken": broken,
        "GAP-TV": {"weights": "gap-tv"},
        "Mine": {"weights": str(folder / "mine.safetensors")},
    }
    table, configs = small_table(folder, rows={**others, **SMALL["rows"]})
    seen = {}
    learn = Learner.learn

    def report_layers(learner, batch):
        seen.setdefault(learner.config.network.name, []).append(batch)
        return learn(learner, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "learn", report_layers)
        made, said = make(table, configs)
    return folder, table, configs, made, said, seen


# -- one budget ------------------------------------------------------------------------------------------------


def test_every_row_learns_from_the_same_samples_in_the_same_order(finished):
    *_, seen = finished
    assert seen.keys() == {"ssr_1stg+seg", "crsdun_1stg"}
    for one, other in zip(*seen.values(), strict=True):
        assert (one.step, one.names) == (other.step, other.names)
        assert torch.equal(one.measurement, other.measurement)
        assert torch.equal(one.cube, other.cube)
        assert torch.equal(one.classes, other.classes)
        assert torch.equal(one.camera.mask, other.camera.mask)
    assert len(seen["crsdun_1stg"]) == 2


def test_a_two_stage_system_shares_the_steps_between_its_parts(finished):
    rows = {row.name: row.steps for row in finished[3].rows}
    assert rows["SSR-1stg + Seg"] == {"reconstruction": 1, "segmenter": 1}
    assert rows["CRSDUN-1stg"] == {"all": 2}
    assert rows["Mine"] == rows["GAP-TV"] == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": {"A": {"train": {"steps": 9}}}}, "rows.A.train.steps is for the whole table; set steps at the top"),
        ({"train": {"seed": 1}}, "train.seed is for the whole table"),
        ({"rows": {}}, "at least one row"),
        ({"rows": {"A b": {"weights": "gap-tv"}, "A-B": {"weights": "gap-tv"}}}, "differs from all others"),
        ({"rows": {"A": {"weights": "gap-tv", "train": {"ema": 0.9}}}}, "omit its config and train"),
        ({"rows": {"A": {"wieghts": "x"}}}, "no key rows.A.wieghts; did you mean"),
        ({"rows": {"A": {}}}, "rows.A: the configuration lacks network"),
        ({"rows": {"A": {"config": "none.yaml"}}}, "there is no configuration"),
        (
            {"rows": {"A": {"train": {"network": {"name": "x"}, "losss": 1}}}},
            "rows.A: there is no key losss; did you",
        ),
        ({"protocol": "8bit"}, "no protocol '8bit'"),
        ({"scenes": 0}, "scenes must be 1 or more"),
        ({"titel": "x"}, "no key titel; did you mean title"),
    ],
)
def test_what_is_no_table_is_named_before_anything_is_trained(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        small_table(tmp_path, **changes)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_budget_of_the_table_wins_over_the_file_of_a_row_and_the_row_over_the_table(tmp_path):
    row = {
        "data": {"source": "elsewhere"},
        "network": {"name": "crsdun_9stg", "settings": {"width": 4}},
        "steps": 50,
        "seed": 8,
        "optimiser": {"rate": 7e-4, "clip": 2.0, "warm_up": 1},
        "sampling": {"batch": 16, "quarter_turns": True},
        "out": "runs/elsewhere",
    }
    (tmp_path / "row.yaml").write_text(yaml.safe_dump(row))
    own = {"optimiser": {"clip": 3.0}, "network": {"name": "crsdun_2stg"}}
    _, configs = small_table(tmp_path, rows={"A": {"config": "row.yaml"}, "B": {"config": "row.yaml", "train": own}})
    a, b = configs["A"], configs["B"]
    assert (a.data.source, a.steps, a.seed, a.out) == ("small", 2, 3, str(tmp_path / "out" / "a"))
    assert a.sampling == b.sampling
    assert (a.sampling.batch, a.sampling.quarter_turns) == (1, False)
    assert (a.optimiser.rate, a.optimiser.clip, a.optimiser.warm_up) == (1e-3, 2.0, 1)
    assert (b.optimiser.rate, b.optimiser.clip) == (1e-3, 3.0)
    assert (a.network.name, a.network.settings) == ("crsdun_9stg", {"width": 4})
    assert (b.network.name, b.network.settings) == ("crsdun_2stg", {})


# -- rows ------------------------------------------------------------------------------------------------------


def test_a_row_that_fails_is_told_and_the_rest_goes_on(finished):
    _, _, _, made, said, _ = finished
    assert [bool(row.failure) for row in made.rows] == [True, False, False, False, False]
    assert "width" in made.rows[0].failure
    assert any(line.startswith("Broken failed: ") for line in said)
    assert [line for line in said if line.startswith("row ")][-1] == "row 5 of 5: CRSDUN-1stg"


def test_the_numbers_are_those_of_the_weights_at_the_end_of_the_budget(finished):
    folder, _, _, made, _, _ = finished
    rows = {row.name: row for row in made.rows}
    for name, row in rows.items():
        if row.failure:
            continue
        evaluation = read_evaluation(folder / "out" / folder_name(name) / "evaluation")
        assert row.figures["psnr_db"] == evaluation.figures["psnr_db"]
        assert ("miou" in row.figures) == (name != "GAP-TV")
        assert row.seconds > 0
    assert evaluation.camera["noise"]["read_sigma"] == 0.01
    network = load(folder / "out" / "crsdun_1stg" / "weights.safetensors")
    assert rows["CRSDUN-1stg"].parameters == parameters(network)
    assert rows["CRSDUN-1stg"].multiply_adds == multiply_adds(network)
    assert rows["CRSDUN-1stg"].training_hours > 0
    assert rows["GAP-TV"].parameters is None
    # What compare takes.
    ours = [read_evaluation(folder / "out" / name / "evaluation") for name in ("crsdun_1stg", "ssr_1stg_seg")]
    assert {each.figure for each in compare(*ours)} >= {"psnr_db", "miou"}


def test_an_exported_network_is_a_row_without_counts(finished):
    folder, *_ = finished
    evaluation = read_evaluation(folder / "out" / "mine" / "evaluation")
    row = filled(TableRow("Mine", "mine.onnx"), "mine.onnx", None, evaluation)
    assert row.figures["psnr_db"] == evaluation.figures["psnr_db"]
    assert row.parameters is row.multiply_adds is None


def test_all_formats_hold_all_rows(finished):
    folder, _, _, made, _, _ = finished
    names = [row.name for row in made.rows]
    out = folder / "out"
    lines = (out / "table.md").read_text().splitlines()
    assert lines[0] == "**A small table**"
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == names
    assert "Not a scientific result." in lines
    assert any("2 steps of 1 crops of 32×32, seed 3, shared" in line and ": 1 + 1." in line for line in lines)
    assert any("2 scenes of small test" in line and "protocol crsdun" in line for line in lines)
    assert any(line.startswith("Broken failed: ") for line in lines)

    paper = [line for line in (out / "table.tex").read_text().splitlines() if not line.startswith("%")]
    assert [line.split(" & ")[0] for line in paper if "&" in line][1:] == names
    assert len({line.count("&") for line in paper if "&" in line}) == 1

    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == names
    assert float(rows[-1]["psnr_db"]) == made.rows[-1].figures["psnr_db"]
    assert int(rows[-1]["parameters"]) == made.rows[-1].parameters
    assert rows[0]["failure"]
    stored = json.loads((out / "table.json").read_text())
    assert [row["name"] for row in stored["rows"]] == names
    assert stored["rows"][-1]["figures"] == made.rows[-1].figures


def test_published_figures_stand_beside_the_rows_that_have_them(finished):
    made = finished[3]
    assert len(cells(made)[0]) == 6
    told = replace(made.rows[-1], published=PUBLISHED["ssr_6stg+seg"])
    header, *lines = cells(replace(made, rows=[*made.rows[:-1], told]))
    assert header[-4:] == ["published PSNR", "mIoU", "M", "G"]
    assert lines[-1][-4:] == ["38.20", "87.27", "6.91", "108.10"]
    assert lines[0][-4:] == 4 * [""]


# -- going on --------------------------------------------------------------------------------------------------


def test_a_finished_table_is_not_made_again(finished, monkeypatch):
    folder, table, configs, made, _, _ = finished

    def never(*_, **__):
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr(Learner, "learn", never)
    monkeypatch.setattr(evaluation_folder, "evaluate", never)
    again, said = make(table, configs)
    assert again == made
    assert f"{folder / 'out' / 'crsdun_1stg'} has done all its steps" in said


def test_interrupted_at_any_step_it_ends_with_the_same_table(finished, tmp_path):
    made = finished[3]
    table, configs = small_table(tmp_path, minutes=1e-9)
    sittings = []
    for _ in range(9):
        found, _ = make(table, configs)
        sittings.append((len(found.rows), found.stopped))
        if not found.stopped:
            break
    assert sittings == [(0, "time"), (1, "time"), (2, None)]
    for row, expected in zip(found.rows, made.rows[-2:], strict=True):
        assert (row.name, row.figures, row.steps) == (expected.name, expected.figures, expected.steps)


def test_what_would_change_a_judgement_is_judged_again(finished, monkeypatch):
    _, table, configs, *_ = finished
    judged = []
    evaluate = evaluation_folder.evaluate

    def counted(*arguments, **settings):
        judged.append(arguments[1].name)
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(evaluation_folder, "evaluate", counted)
    monkeypatch.setattr(table_rows, "write_tables", lambda *_: None)
    monkeypatch.setattr(tables, "write", lambda *_: None)
    only = {name: configs[name] for name in ("Mine",)}
    make(table, only)
    assert judged == []
    make(replace(table, protocol="mst"), only)
    make(replace(table, scenes=1), only)
    make(replace(table, camera=replace(table.camera, step=2, mask="random:1")), only)
    other = SmallSet("test", scenes=2)
    other.names = tuple(f"validation {name}" for name in other.names)  # of the same files, as in Indian Pines
    make_table(table, only, (*SETS[:2], other), QUIET)
    assert judged == 4 * ["small test"]


# -- those that are shipped ------------------------------------------------------------------------------------

CONFIGS = Path(__file__).parents[2] / "configs"


TABLES = sorted(path for path in CONFIGS.glob("table_*.yaml") if "candidates" not in path.name)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_shipped_table_has_rows_of_one_budget(path):
    table, configs = load_table(path)
    assert table.out == f"runs/{path.stem}"
    trained = {name: config for name, config in configs.items() if config and not table.rows[name].camera}
    budgets = {str((each.data, each.camera, each.sampling, each.steps, each.seed)) for each in trained.values()}
    assert len(budgets) == 1
    assert all(config.validation.criterion == "miou" for config in trained.values())
    small = "small" in path.stem
    for config in trained.values():
        assert create(config.network.name, 28, 23, **config.network.settings).config.classes == 23
        if small:  # the same loss for all, and every stage on the way to the next
            assert (config.loss.cube, config.optimiser.schedule, config.validation.keep) in {
                (loss, "constant", True) for loss in ("mse", "none")
            }
        else:
            assert (config.two_stage.order == "frozen") == ("+seg" in config.network.name)
            if "+seg" in config.network.name:
                assert config.loss.cube == "rmse"
                assert config.loss.stage_weights == (1, 0.7, 0.5, 0.3) or config.network.name == "mstpp+seg"


@pytest.mark.parametrize("name", ["table_main_fvgnet", "table_proportions_small", "table_ablation_fvgnet"])
def test_tables_have_the_rows_of_the_paper(name):
    _, configs = load_table(CONFIGS / f"{name}.yaml")
    ablation = {name for name in PUBLISHED if name.startswith("crsdun_3stg_")}
    expected = ablation | {"crsdun_3stg"} if "ablation" in name else set(MAIN_TABLE)
    assert expected <= {config.network.name for config in configs.values() if config}


def test_the_rows_of_the_small_main_table_take_equal_multiply_adds():
    _, configs = load_table(CONFIGS / "table_main_small.yaml")
    trained = {name: config.network for name, config in configs.items() if config}
    costs = {
        name: multiply_adds(create(each.name, 28, 23, **each.settings), step=2) for name, each in trained.items()
    }
    assert len(costs) == 11
    for cost in costs.values():
        assert cost == pytest.approx(costs["CRSDUN-3stg"], rel=0.1)


def test_every_row_with_several_seeds(tmp_path):
    """Means and deviations are those of the tables of each seed alone; what is not trained is judged once."""
    row = {"CRSDUN-1stg": SMALL["rows"]["CRSDUN-1stg"], "GAP-TV": {"weights": "gap-tv"}}
    alone = []
    for seed in (3, 5):
        (tmp_path / f"{seed}").mkdir()
        alone.append(make(*small_table(tmp_path / f"{seed}", rows=row, seed=seed))[0].rows[0])
    table, said = make(*small_table(tmp_path, rows=row, seeds=[3, 5]))
    together, solver = table.rows
    for name in ("psnr_db", "miou"):
        first, second = (each.figures[name] for each in alone)
        assert together.figures[name] == pytest.approx((first + second) / 2)
        assert together.spread[name] == pytest.approx(abs(first - second) / 2**0.5)
    assert alone[0].figures["psnr_db"] != alone[1].figures["psnr_db"]
    assert (together.seeds, solver.seeds, solver.spread) == (2, 1, {})
    assert "± " in cells(table)[1][1]
    assert "±" not in cells(table)[2][1]
    assert "mean ± standard deviation over 2 of 2 seeds" in table.notes
    assert [line for line in said if line.startswith("row")] == [
        "row 1 of 3: GAP-TV",
        "row 2 of 3: CRSDUN-1stg, seed 3",
        "row 3 of 3: CRSDUN-1stg, seed 5",
    ]
    with pytest.raises(InputError, match="different ones"):
        small_table(tmp_path, seeds=[1, 1])


STAGED = {
    "steps": 4,
    "stages": 2,
    "train": {**SMALL["train"], "optimiser": {"rate": 1e-3, "schedule": "constant"}, "ema": 0.9},
    "rows": {
        "GAP-TV": {"weights": "gap-tv"},
        "Detached": {
            "train": {
                "network": SMALL["rows"]["SSR-1stg + Seg"]["train"]["network"],
                "two_stage": {"order": "detached"},
            }
        },
        "CRSDUN-1stg": SMALL["rows"]["CRSDUN-1stg"],
    },
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    table, configs = small_table(folder, **STAGED, seeds=[3, 5])
    return table, configs, *make(table, configs)


def figures(made):
    return {row.name: (row.figures, row.spread, row.steps) for row in made.rows}


def test_every_row_does_the_first_stage_before_any_does_the_second(staged):
    table, _, made, said = staged
    order = [line.partition(": ")[2] for line in said if re.match(r"row \d+ of 9: ", line)]
    trained = [
        f"{row}, seed {seed}, {steps} steps" for steps in (2, 4) for seed in (3, 5) for row in list(table.rows)[1:]
    ]
    assert order == ["GAP-TV", *trained]
    first, whole = (
        json.loads((Path(table.out) / f"at_{steps}_steps" / "table.json").read_text()) for steps in (2, 4)
    )
    assert [row["name"] for row in first["rows"]] == list(table.rows)
    assert "2 of 4 steps, each of 1 crops" in first["words"]
    assert whole == json.loads((Path(table.out) / "table.json").read_text()) == made.plain()
    assert first["rows"][1]["figures"] != whole["rows"][1]["figures"]


def test_a_stage_is_a_table_of_so_many_steps(staged, tmp_path):
    table, _, whole, _ = staged
    first = json.loads((Path(table.out) / "at_2_steps" / "table.json").read_text())
    straight = {}
    for steps in (2, 4):
        (tmp_path / str(steps)).mkdir()
        straight[steps] = make(
            *small_table(tmp_path / str(steps), **{**STAGED, "steps": steps, "stages": 1}, seeds=[3, 5])
        )[0]
    assert figures(straight[4]) == figures(whole)
    for row, alone in zip(first["rows"], straight[2].rows, strict=True):
        assert (row["figures"], row["steps"]) == (alone.figures, alone.steps)


def test_rows_that_learn_at_the_same_time_end_as_in_turn(staged, tmp_path):
    _, _, whole, _ = staged
    made, said = make(*small_table(tmp_path, **{**STAGED, "stages": 1}, seeds=[3, 5], jobs=2))
    assert not [row.failure for row in made.rows if row.failure]
    for name, (of_row, _, steps) in figures(whole).items():
        assert figures(made)[name][2] == steps
        for each in of_row.keys() - {"seconds"}:
            assert figures(made)[name][0][each] == pytest.approx(of_row[each], rel=1e-4), (name, each)
    assert any(line.startswith("CRSDUN-1stg: ") for line in said)


def learnt(table, configs):
    return LearntTable(table, configs, QUIET, SETS)


def test_rows_are_judged_under_other_conditions(staged):
    table, configs, whole, _ = staged
    bright = {"camera": {"noise": {"read_sigma": 0.0}}}
    conditions = {
        "no noise": bright,
        "much noise": {"camera": {"noise": {"read_sigma": 0.3}}},
        "moved": {"moved": [2, 0]},
    }
    table = replace(table, conditions={name: Condition(**each) for name, each in conditions.items()})
    rows, text = judge_conditions(learnt(table, configs))
    found = {(row["system"], row["condition"]): row for row in rows}
    assert len(found) == 3 * 4
    for row in whole.rows:
        assert found[row.name, ""]["psnr_db"] == pytest.approx(row.figures["psnr_db"])
    psnr = {condition: found["GAP-TV", condition]["psnr_db"] for condition in ("no noise", "", "much noise", "moved")}
    assert psnr["no noise"] > psnr[""] > psnr["much noise"]
    assert psnr["no noise"] > psnr["moved"]
    assert (Path(table.out) / "conditions" / "table.md").read_text() == text
    assert "| system | as it learnt | no noise | much noise | moved |" in re.sub(" +", " ", text)


def test_rows_are_compared_over_scenes_and_seeds(staged):
    table, configs, whole, _ = staged
    rows, text = differences(learnt(table, configs), "CRSDUN-1stg")
    assert (Path(table.out) / "differences" / "table.md").read_text() == text
    found = {row["system"]: row for row in rows if row["figure"] == "psnr_db"}
    assert set(found) == {"GAP-TV", "Detached"}
    figures = {row.name: row.figures for row in whole.rows}
    for name, psnr in found.items():
        expected = figures[name]["psnr_db"] - figures["CRSDUN-1stg"]["psnr_db"]
        assert psnr["difference"] == pytest.approx(expected)
        assert psnr["low"] <= psnr["difference"] <= psnr["high"]
    with pytest.raises(InputError, match="no row 'CRSDUN'"):
        differences(learnt(table, configs), "CRSDUN")
    with pytest.raises(InputError, match="row 'CRSDUN-1stg' is not among those that were chosen; add it to rows"):
        differences(learnt(table, {"GAP-TV": None}), "CRSDUN-1stg")


def test_a_slower_row_has_fewer_steps_at_equal_time(staged, monkeypatch):
    table, configs, whole, _ = staged
    monkeypatch.setattr(table_judgements, "step_seconds", lambda *_: {"Detached": 2.0, "CRSDUN-1stg": 1.0})
    made, text = equal_time(learnt(table, configs))
    assert (Path(table.out) / "equal_time" / "table.md").read_text() == text
    first = json.loads((Path(table.out) / "at_2_steps" / "table.json").read_text())["rows"]
    rows = {row["name"]: row for row in made}
    assert {name: row["steps"] for name, row in rows.items()} == {
        "GAP-TV": {},
        "Detached": {"all": 2},
        "CRSDUN-1stg": {"all": 4},
    }
    assert rows["Detached"]["figures"] == next(row["figures"] for row in first if row["name"] == "Detached")
    assert rows["CRSDUN-1stg"]["figures"] == next(row.figures for row in whole.rows if row.name == "CRSDUN-1stg")
    assert "4 s of one core, in steps of 1 crops: Detached 2, CRSDUN-1stg 4" in text


@pytest.mark.parametrize("every", [2, 3])
def test_the_fastest_row_has_all_its_steps_at_equal_time(tmp_path, monkeypatch, every):
    """Also where no validation is due after the last of them, and where a quotient is rounded down."""
    train = {"validation": {"every": every, "keep": True, "scenes": 1}, "optimiser": {"schedule": "constant"}}
    rows = {"A": SMALL["rows"]["CRSDUN-1stg"], "GAP-TV": {"weights": "gap-tv"}}
    table, configs = small_table(tmp_path, rows=rows, steps=7, train=train, note="First line.\nSecond line.\n")
    whole, _ = make(table, configs)
    for seconds in (1.3, 1.0):  # int(7 * 1.3 / 1.3) is 6
        monkeypatch.setattr(table_judgements, "step_seconds", lambda *_, seconds=seconds: {"A": seconds})
        made, text = equal_time(learnt(table, configs))
        assert made[0]["steps"] == {"all": 7}
        assert made[0]["figures"] == whole.rows[0].figures
    notes = json.loads((Path(table.out) / "equal_time" / "table.json").read_text())["words"]
    assert notes.splitlines()[:3] == [
        "First line.",
        "Second line.",
        "Budget of every trained row: 7 s of one core, in steps of 1 crops: A 7.",
    ]
    assert text.count("Budget") == 1
    monkeypatch.setattr(table_judgements, "step_seconds", lambda *_: {"A": 1.0, "another": 0.99})
    slower, _ = equal_time(learnt(table, configs))
    assert slower[0]["steps"] == {"all": 6}
    with pytest.raises(InputError, match="none of these rows learns"):
        equal_time(learnt(table, {"GAP-TV": None}))
    # The evaluation of the row itself is still that of all its steps.
    assert (
        read_evaluation(Path(table.out) / "a" / "evaluation").figures["psnr_db"] == whole.rows[0].figures["psnr_db"]
    )


def test_the_steps_of_all_rows_are_timed_once(staged):
    table, configs, _, _ = staged
    out = Path(table.out)
    path = out / "step_seconds.json"
    path.write_text(json.dumps({"seconds": {"Detached": 1.0, "CRSDUN-1stg": 1.0}}))  # as earlier versions wrote it
    trained = {name: each for name, each in configs.items() if each}
    maker = RowMaker(table, SETS, QUIET, ALONE)
    counts = []
    with pytest.MonkeyPatch.context() as patch:
        learn = Learner.learn
        patch.setattr(Learner, "learn", lambda *each: (counts.append(torch.get_num_threads()), learn(*each))[1])
        seconds = step_seconds(maker, trained, out)
    assert set(counts) == {1}
    assert set(seconds) == set(trained)
    assert all(value > 0 for value in seconds.values())
    written = path.read_text()
    assert step_seconds(maker, trained, out) == seconds
    assert path.read_text() == written
    assert (json.loads(written)["threads"], bool(json.loads(written)["processor"])) == (1, True)

    # Those of another network, batch or set of scenes are others.
    name = "CRSDUN-1stg"
    config = trained[name]
    wider = replace(config, network=replace(config.network, settings={"width": 6}))
    more = replace(config, sampling=replace(config.sampling, batch=2))
    for other, sets in ((wider, SETS), (more, SETS), (config, (SmallSet("train", scenes=5), *SETS[1:]))):
        again = step_seconds(RowMaker(table, sets, QUIET, ALONE), {name: other}, out / "some_rows" / "a")
        assert again[name] != seconds[name]
    assert path.read_text() == written


# -- what belongs to another recipe ------------------------------------------------------------------------------

CHANGES = [
    ({"train": {**STAGED["train"], "optimiser": {"rate": 1e-1, "schedule": "constant"}}}, "optimiser.rate was 0.001"),
    ({"sampling": {**SMALL["sampling"], "batch": 7}}, "sampling.batch was 1, now 7"),
    (
        {"rows": {"CRSDUN-1stg": {"train": {"network": {"name": "crsdun_1stg", "settings": {"width": 6}}}}}},
        "network.settings.width was 4, now 6",
    ),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES)
def test_weights_of_another_recipe_are_no_row_of_a_table_in_stages(staged, tmp_path, changes, words):
    table = staged[0]
    kept = (Path(table.out) / "table.json").read_text()
    changed, configs = small_table(tmp_path, **{**STAGED, **changes}, seeds=[3, 5])
    changed = replace(changed, out=table.out)
    configs = {name: config and replace(config, out=table.out) for name, config in configs.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "write", lambda *_: None)
        made, _ = make(changed, {"CRSDUN-1stg": configs["CRSDUN-1stg"]})
    [row] = made.rows
    assert "is a run with another configuration" in row.failure
    assert words in row.failure
    assert not row.figures
    for judge in (
        lambda asked: differences(asked, "CRSDUN-1stg"),
        equal_time,
        curves,
        lambda asked: pictures(asked, 1),
    ):
        with pytest.raises(InputError, match="another configuration") as caught:
            judge(learnt(changed, configs))
        assert words in str(caught.value)
    assert (Path(table.out) / "table.json").read_text() == kept


def test_a_table_in_stages_notices_other_scenes_and_goes_on_to_more_steps(staged):
    table, configs, whole, _ = staged
    sets = (SmallSet("train", scenes=5), *SETS[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "write", lambda *_: None)
        made = make_table(table, {"CRSDUN-1stg": configs["CRSDUN-1stg"]}, sets, QUIET)
        assert "the scenes are not those that" in made.rows[0].failure
        longer = replace(table, steps=6, stages=3)
        configs = {"CRSDUN-1stg": replace(configs["CRSDUN-1stg"], steps=6)}
        patch.setattr(table_rows, "train", lambda *_: TrainingResult(4, "time", {}, None))
        made, _ = make(longer, configs)
    assert made.stopped == "time"
    assert made.rows[0].figures == next(row.figures for row in whole.rows if row.name == "CRSDUN-1stg")


def test_judgements_are_of_the_steps_that_were_done(finished):
    """The fixture's table has done 2 steps; its caption never claims more."""
    _, table, configs, *_ = finished
    rows = {name: configs[name] for name in ("GAP-TV", "CRSDUN-1stg")}
    longer = {name: each and replace(each, steps=2000) for name, each in rows.items()}
    with pytest.raises(InputError, match=r"CRSDUN-1stg of .* has not done 2000 steps; make the table first"):
        differences(learnt(replace(table, steps=2000), longer), "CRSDUN-1stg")
    out = Path(table.out)
    differences(learnt(table, rows), "CRSDUN-1stg")
    assert not (out / "differences").exists()  # which is for all rows
    assert "after 2 steps" in (out / "some_rows" / "gap_tv+crsdun_1stg" / "differences" / "table.md").read_text()


def test_rows_that_are_made_stay_in_the_table_of_some_rows(finished, tmp_path):
    rows = {"GAP-TV": {"weights": "gap-tv"}, "ADMM-TV": {"weights": "admm-tv"}, **SMALL["rows"]}
    table, configs = small_table(tmp_path, rows=rows)

    def made(table, *names):
        result = make_table(table, configs, SETS, QUIET, rows=names)
        written = json.loads((Path(table.out) / "table.json").read_text())
        assert [row["name"] for row in written["rows"]] == [row.name for row in result.rows]
        return [row.name for row in result.rows]

    assert made(table, "CRSDUN-1stg") == ["CRSDUN-1stg"]
    assert made(table, "GAP-TV") == ["GAP-TV", "CRSDUN-1stg"]
    assert made(table, "CRSDUN-1stg") == ["GAP-TV", "CRSDUN-1stg"]
    # Under another budget or protocol they are no rows of this table.
    assert made(replace(table, protocol="mst"), "GAP-TV") == ["GAP-TV"]
    configs = {name: each and replace(each, ema=0.5) for name, each in configs.items()}
    assert made(table, "GAP-TV") == ["GAP-TV"]


def test_a_row_may_say_the_same_key_by_another_of_its_names(tmp_path):
    rows = {
        "A": {"train": {"network": {"name": "crsdun_1stg"}, "loss": {"class_weight": 1e-2}}},
        "B": {"train": {"network": {"name": "crsdun_1stg"}}},
    }
    train = {"loss": {"cross_entropy_weight": 1e-3}}
    _, configs = small_table(tmp_path, rows=rows, train=train)
    assert [each.loss.cross_entropy_weight for each in configs.values()] == [1e-2, 1e-3]
    _, configs = load_table(tmp_path / "table.yaml", ["train.loss.class_weight=0.5", "rows.B.train.from=mine"])
    assert [each.loss.cross_entropy_weight for each in configs.values()] == [1e-2, 0.5]
    assert [each.network.weights for each in configs.values()] == [None, "mine"]


def test_the_data_of_the_table_replace_those_of_the_file_of_a_row(tmp_path):
    row = {"data": {"source": "elsewhere", "mix": {"more": 0.5}}, "network": {"name": "crsdun_1stg"}, "steps": 5}
    (tmp_path / "row.yaml").write_text(yaml.safe_dump({**row, "out": "runs"}))
    _, configs = small_table(tmp_path, rows={"A": {"config": "row.yaml"}})
    assert configs["A"].data.mix == {}


def test_curves_show_every_validation(staged):
    table, configs, _, _ = staged
    rows, _ = curves(learnt(table, configs))
    assert {(row["system"], row["step"], row["samples"]) for row in rows} == {
        (name, step, step) for name in ("Detached", "CRSDUN-1stg") for step in (2, 4)
    }
    assert all(row["seeds"] == 2 and row["psnr_db"] > 0 for row in rows)
    with Image.open(Path(table.out) / "curves.png") as picture:
        assert picture.size == (1400, 1000)


def test_pictures_show_scenes_spread_over_the_split(staged):
    table, configs, _, _ = staged
    names, count = SETS[2].names, len(SETS[2])
    middle, all_of_them = (pictures(learnt(table, configs), number).rows for number in (1, count))
    assert middle == [str(Path(table.out) / "pictures" / f"{folder_name(names[count // 2])}.png")]
    assert [Path(path).stem for path in all_of_them] == [folder_name(name) for name in names]
    with pytest.raises(InputError, match=f"{count + 1} pictures of {count} scenes"):
        pictures(learnt(table, configs), count + 1)


def test_a_row_may_be_a_bound_behind_a_camera_of_its_own(tmp_path):
    """Bands that do not overlap behind no mask: the segmenter sees the clean cube."""
    camera = {"mask": "open", "step": 64, "noise": {"read_sigma": 0.0}}
    loss = {"cube": "none", "cross_entropy_weight": 1}
    network = {"name": "seg_1stg", "settings": {"width": 4}}
    rows = {
        "CRSDUN-1stg": SMALL["rows"]["CRSDUN-1stg"],
        "Clean": {"camera": camera, "train": {"network": network, "loss": loss}},
    }
    table, configs = small_table(tmp_path, rows=rows)
    made, _ = make(table, configs)
    other, clean = made.rows
    assert "read_sigma 0.01" in made.notes  # which say how the others are judged
    assert not clean.failure
    assert clean.figures["psnr_db"] >= 100
    assert other.figures["psnr_db"] < 40
    assert differences(learnt(table, configs), "CRSDUN-1stg").rows == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": 5}, "stages must be 1 to 4"),
        ({"jobs": 0}, "jobs must be 1 or more"),
        ({"train": SMALL["train"]}, "has no stages; set its optimiser.schedule to constant"),
        ({"rows": SMALL["rows"]}, "rows.SSR-1stg + Seg learns something else in few steps"),
        ({"conditions": {"dark": {"camera": {"nois": {}}}}}, "nois"),
        ({"conditions": {"far": {"moved": [99, 0]}}}, "moves by at most"),
    ],
)
def test_what_cannot_be_staged_is_said(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        small_table(tmp_path, **{**STAGED, **changes})
    assert words in str(caught.value)


def test_each_candidate_of_improvement_changes_one_thing():
    table, configs = load_table(CONFIGS / "table_candidates.yaml")
    assert len(table.seeds) >= 3
    plain = {name: dict(flat(asdict(config))) for name, config in configs.items()}
    *built, warm = [name for name in plain if not name.startswith("warm: ")]
    assert [configs[name].network.name for name in built] == [
        "crsdun_2stg", "crsdun_2stg_affinity", "crsdun_2stg_scale", "crsdun_2stg_solver", "crsdun_2stg_quiet",
    ]  # fmt: skip
    for name in plain.keys() - {warm, *built}:
        keys = plain[name].keys() | plain[warm].keys()
        changed = {key for key in keys if plain[name].get(key) != plain[warm].get(key)} - {"out"}
        assert len(changed) == 1 + ("optimiser.muon_rate" in changed), (name, changed)
        assert create(configs[name].network.name, 28, 23, **configs[name].network.settings).config.start == "lr-tv"


def test_names_of_rows_may_have_commas():
    assert chosen(["SSR,joint", "4,5"], "4,5,SSR, joint") == ["SSR,joint", "4,5"]
    rows = ["SSR", "SSR, joint", "CRSDUN, warm", "warm"]
    assert chosen(rows, "CRSDUN, warm,SSR") == ["SSR", "CRSDUN, warm"]
    assert chosen(rows, "SSR, joint") == ["SSR, joint"]
    assert chosen(rows, "warm,SSR,joint") == ["SSR, joint", "warm"]
    with pytest.raises(InputError, match="no row 'joint'; set rows to some of SSR; SSR, joint"):
        chosen(rows, "warm, joint")
