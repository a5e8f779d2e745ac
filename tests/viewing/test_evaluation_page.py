"""The report of evaluations and runs: the numbers of the files, side by side, and nothing but them."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.evaluation import Evaluation, write_tables
from crsdun.viewing.evaluation_page import MAX_CURVE_POINTS, evaluation_page, read_run_report
from crsdun.viewing.figures import save_png
from tests.viewing.reports import HOSTILE, check_self_contained

NAMES = ["background", "real pear", "fake pear", HOSTILE]
CONFUSION = [[50, 0, 0, 0], [4, 30, 6, 0], [0, 12, 8, 0], [0, 0, 0, 0]]


def evaluation(method="net", better=0.0, scenes=12) -> Evaluation:
    psnr = [20 + index + better for index in range(scenes)]
    rows = [
        {
            "name": f"scene {index}", "seconds": 0.5, "data_residual": 0.02, "psnr_db": value, "ssim": 0.9,
            "sam_deg": 5.0, "rmse": 0.01, "miou_present": 0.5, "accuracy": 0.8,
            "confusion": [[1, 1, 30], [1, 2, 6], [0, 0, 50]],
        }
        for index, value in enumerate(psnr)
    ]  # fmt: skip
    figures = {"psnr_db": float(np.mean(psnr)), "ssim": 0.9, "sam_deg": 5.0, "rmse": 0.01, "miou": 0.41}
    first = {**figures, "psnr_db": 11.25}
    classes = [
        {"class": label, "name": name, "iou": 0.1 * label, "precision": 0.5, "recall": 0.25, "f1": 0.375,
         "pixels": float(sum(CONFUSION[label]))}
        for label, name in enumerate(NAMES)
    ]  # fmt: skip
    return Evaluation(
        method=method,
        protocol="crsdun",
        data={"name": "pears", "bands": 4, "wavelengths_nm": None, "class_names": NAMES, "fingerprint": "f" * 64},
        camera={"mask": "random:0", "step": 2.0, "noise": {}},
        stages=[first, figures],
        classes=classes,
        confusion=CONFUSION,
        scenes=rows,
        record={
            "made_by": "crsdun 0", "when": "today", "command": ["crsdun", "evaluate", HOSTILE], "seconds": 6.0,
            "settings": {"width": 4}, "device": "cpu", "processes": 1, "threads": 1, "versions": {"torch": "2"},
        },
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    """Two evaluations, the second 3 dB better, one of them with a contact sheet; and a run."""
    for name, better in (("a", 0.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        write_tables(evaluation(f"method {name}", better), tmp_path / name)
    save_png(np.full((20, 30, 3), 90, np.uint8), tmp_path / "a" / "contact_sheet.png")
    write_run(tmp_path / "run")
    return tmp_path


def write_run(folder, steps=6):
    folder.mkdir()
    record = {
        "config": {"network": {"name": "crsdun_1stg"}, "steps": 10, "data": {"source": HOSTILE}},
        "network": {"parameters": 12345},
        "sittings": [{"started": "today", "from_step": 0, "versions": {"torch": "2"}, "hardware": {"cores": 2}}],
    }
    (folder / "run.json").write_text(json.dumps(record))
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "rate", "loss", "mse_1", "mse_2"])
        writer.writerows(
            [step, 1e-3, "nan" if step == 2 else 1 / step, 2 / step, 3 / step] for step in range(1, steps + 1)
        )
        file.write("7,0.0")  # a row that is being written
    (folder / "validation.csv").write_text("step,psnr_db,loss\n3,21.5,\n6,24.25,0.5\n")


def after(texts: list[str], *path: str) -> int:
    """The place after these texts, each searched for after the one before it."""
    place = 0
    for text in path:
        place = texts.index(text, place) + 1
    return place


def test_one_evaluation(folders):
    page = check_self_contained(evaluation_page([folders / "a"]))
    texts = page.texts
    place = after(texts, "Stages", "stage 1")
    assert texts[place : place + 2] == ["11.25", "0.9000"]
    place = after(texts, "Best scenes", "scene 11")
    assert texts[place] == "31.00"
    place = after(texts, "Worst scenes", "scene 0")
    assert texts[place] == "20.00"
    place = after(texts, "Classes", "fake pear")
    assert texts[place : place + 5] == ["20", "20.0", "37.5", "50.0", "25.0"]
    place = after(texts, "Classes", HOSTILE)
    assert texts[place : place + 5] == ["0", "–", "–", "–", "–"]
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("td", "title")]
    assert "fake pear taken for real pear: 12 of 20 pixels" in titles
    assert sum(name == "class" and value == "pair" for _, name, value in page.attributes) == 4
    assert sum(tag == "img" for tag, name, _ in page.attributes if name == "src") == 1


def test_two_side_by_side(folders):
    page = check_self_contained(evaluation_page([folders / "a", folders / "b"]))
    place = after(page.texts, "Side by side", "PSNR (dB)")
    assert page.texts[place : place + 3] == ["25.50", "28.50", "+3.00 [+3.00, +3.00]"]
    lines = page.data["charts"][0]["lines"]
    assert [line["name"] for line in lines] == ["a", "b"]
    assert lines[1]["y"][:2] == [23.0, 24.0]


def test_what_cannot_be_compared_is_noted(folders):
    (folders / "c").mkdir()
    other = evaluation()
    write_tables(replace(other, camera={**other.camera, "step": 1.0}), folders / "c")
    text = evaluation_page([folders / "a", folders / "c"])
    assert '"best"' not in text, "nothing is better than what it cannot be compared with"
    assert '"best"' in evaluation_page([folders / "a", folders / "b"])
    assert "c cannot be compared with a: the cameras differ in step: 2.0 and 1.0" in text


def test_folders_of_the_same_name_are_distinguished(folders):
    for name in ("x", "y"):
        (folders / name / "deep").mkdir(parents=True)
        write_tables(evaluation(), folders / name / "deep")
    texts = check_self_contained(evaluation_page([folders / "x/deep", folders / "y/deep"])).texts
    assert "x/deep" in texts
    assert "y/deep" in texts


def test_curves_of_a_run(folders):
    page = check_self_contained(evaluation_page([folders / "run"]))
    charts = {chart["title"]: chart["lines"] for chart in page.data["charts"]}
    assert charts["training loss"][0]["x"] == [1, 2, 3, 4, 5, 6]
    assert charts["training loss"][0]["y"][:2] == [1.0, None]
    assert charts["validation loss"][0]["y"] == [None, 0.5]
    assert charts["validation PSNR (dB)"][0]["y"] == [21.5, 24.25]
    assert [line["name"] for line in charts["cube loss by stage"]] == ["stage 1", "stage 2"]
    assert "6 of 10 steps, 12,345 parameters" in page.texts


def test_a_long_run_is_thinned(tmp_path):
    write_run(tmp_path / "run", 4 * MAX_CURVE_POINTS)
    page = check_self_contained(evaluation_page([tmp_path / "run"]))
    loss = page.data["charts"][0]["lines"][0]
    assert loss["x"][:3] == [1, 5, 9]
    assert loss["y"][1] == 0.2


def test_broken_folders(folders):
    with pytest.raises(InputError, match="crsdun train"):
        evaluation_page([folders])
    (folders / "run" / "log.csv").write_text("step,loss\none,2\n")
    with pytest.raises(InputError, match=r"log\.csv is not a table of training steps"):
        read_run_report(folders / "run", "run")
    stored = folders / "a" / "evaluation.json"
    whole = json.loads(stored.read_text())
    for part, value in (("record", {}), ("scenes", [{}]), ("stages", [])):
        stored.write_text(json.dumps({**whole, part: value}))
        with pytest.raises(InputError):
            evaluation_page([folders / "a"])


def test_curves_are_drawn_and_read(folders, page):
    (folders / "page.html").write_text(evaluation_page([folders / "a", folders / "b", folders / "run"]))
    page.goto((folders / "page.html").as_uri())
    assert page.locator("#chart-0 polyline").count() == 2
    svg = page.locator("#chart-0")
    box = svg.bounding_box()
    svg.hover(position={"x": 0.97 * box["width"], "y": box["height"] / 2})
    assert page.inner_text("#readout-0") == "scene 12: a 31, b 34"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
