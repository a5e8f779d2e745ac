"""An evaluation as files: JSON for programs, CSV for spreadsheets, tables for a web page or a paper."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.evaluation.evaluator import Evaluation
from crsdun.evaluation.protocols import PROTOCOLS
from crsdun.optics.geometry import dispersion_in_words
from crsdun.storage import atomic_file, write_text
from crsdun.typed import read_json

FILE = "evaluation.json"


@dataclass(frozen=True)
class Figure:
    """How one figure is written.

    Attributes:
        name: in tables.
        digits: after the decimal point.
        unit: follows the number; " %" shows a fraction of 1 as a percentage.
        higher_is_better: whether higher values are better.
    """

    name: str
    digits: int
    unit: str = ""
    higher_is_better: bool = True

    @property
    def label(self) -> str:
        """Name and unit, as a column heading."""
        return f"{self.name} ({self.unit.strip()})" if self.unit else self.name

    def number(self, value: float | None, sign: str = "") -> str:
        """A value without its unit, for a column; "–" if there is none."""
        return "–" if value is None else f"{value * (100 if self.unit == ' %' else 1):{sign}.{self.digits}f}"

    def text(self, value: float | None) -> str:
        """A value in running text, such as ``PSNR 31.42 dB``."""
        return f"{self.name} {self.number(value)}{self.unit}"


FIGURES = {
    "psnr_db": Figure("PSNR", 2, " dB"),
    "ssim": Figure("SSIM", 4),
    "sam_deg": Figure("SAM", 2, "°", higher_is_better=False),
    "rmse": Figure("RMSE", 4, higher_is_better=False),
    "miou": Figure("mIoU", 2, " %"),
    "miou_present": Figure("mIoU of classes present", 2, " %"),
    "f1": Figure("F1", 2, " %"),
    "precision": Figure("precision", 2, " %"),
    "recall": Figure("recall", 2, " %"),
    "accuracy": Figure("accuracy", 2, " %"),
    "calibration_error": Figure("ECE", 2, " %", higher_is_better=False),
    "doubt_auroc": Figure("AUROC of doubt", 3),
    "known": Figure("known", 2, " %"),
    "accuracy_known": Figure("accuracy where known", 2, " %"),
    "kind_accuracy": Figure("kind", 2, " %"),
    "authenticity_accuracy": Figure("real or fake", 2, " %"),
}


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """Write ``evaluation.json``, ``scenes.csv``, ``classes.csv`` (if there are classes), ``table.md`` and
    ``table.tex`` into an existing folder."""
    write_text(folder / FILE, _lines_of_json(asdict(evaluation)))
    scenes = [{name: value for name, value in row.items() if name != "confusion"} for row in evaluation.scenes]
    write_csv(folder / "scenes.csv", scenes)
    if evaluation.classes:
        write_csv(folder / "classes.csv", evaluation.classes)
    rows = _stage_rows(evaluation)
    write_text(folder / "table.md", markdown(rows, f"{caption(evaluation)}."))
    write_text(folder / "table.tex", latex(rows, caption(evaluation)))


def read_evaluation(path: str | Path) -> Evaluation:
    """The evaluation of a folder that ``crsdun evaluate`` wrote, or of its ``evaluation.json``.

    Raises:
        InputError: there is none, or it was damaged; the message names the key.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    remedy = "give a folder as crsdun evaluate wrote it"
    try:
        evaluation: Evaluation = read_json(Evaluation, path, remedy)
    except OSError as error:
        raise InputError(f"there is no evaluation {path}", "crsdun evaluate makes one") from error
    problem = _inconsistency(evaluation)
    if problem:
        raise InputError(f"{path} was damaged or edited: {problem}", remedy)
    return evaluation


def _inconsistency(evaluation: Evaluation) -> str | None:
    """What contradicts what in an evaluation; None if nothing does."""
    count = len(evaluation.classes)
    columns = [len(row) for row in evaluation.confusion]
    pixels = [place for scene in evaluation.scenes for place in scene.get("confusion", ())]
    names = evaluation.data["class_names"]
    for holds, problem in (
        (evaluation.protocol in PROTOCOLS, f"there is no protocol {evaluation.protocol!r}"),
        (evaluation.stages, "stages is empty"),
        (evaluation.scenes, "scenes is empty"),
        ([row["class"] for row in evaluation.classes] == list(range(count)), "classes are not numbered from 0 on"),
        (columns == [count] * count, f"confusion is not {count}×{count}"),
        (not count or (names is not None and len(names) == count), "data.class_names are not those of classes"),
        (
            all(len(place) == 3 and min(place) >= 0 and max(place[:2]) < count for place in pixels),
            "scenes name a class in their confusion that does not exist",
        ),
    ):
        if not holds:
            return problem
    return None


def shown(evaluation: Evaluation) -> list[str]:
    """The figures that get a column: all available ones, the mIoU of present classes only if some are absent."""
    figures = evaluation.figures
    complete = figures.get("miou") == figures.get("miou_present")
    return [name for name in FIGURES if name in figures and not (complete and name == "miou_present")]


def caption(evaluation: Evaluation) -> str:
    """What the numbers of a table are, in one line."""
    camera, count = evaluation.camera, len(evaluation.scenes)
    noise = (
        ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in camera["noise"].items()
        )
        or "none"
    )
    moves = [move if isinstance(move, list | tuple) else (0.0, move) for move in camera.get("offsets", [])]
    dispersion = f"step {camera['step']:g}" if "step" in camera else dispersion_in_words(moves)
    parts = "".join(f", behind it {part}" for part in camera.get("parts", []))
    moved = "moved by {:+g} rows and {:+g} columns, ".format(*camera["moved"]) if "moved" in camera else ""
    missing = f" ({evaluation.missing} voxels without data left out)" if evaluation.missing else ""
    return (
        f"{count} scene{'s' if count > 1 else ''} of {evaluation.data['name']}{missing}, mask {camera['mask']}, "
        f"{moved}{dispersion}{parts}, noise: {noise}; protocol {evaluation.protocol}: "
        f"{PROTOCOLS[evaluation.protocol].description}"
    )


def _lines_of_json(values: dict[str, Any]) -> str:
    """JSON with one line for each entry of the outermost lists and objects: compact, and readable in ``diff``."""
    dumps = partial(json.dumps, ensure_ascii=False, allow_nan=False)
    parts = []
    for name, value in values.items():
        text = dumps(value)
        if value and isinstance(value, list):
            text = "[\n" + ",\n".join(f"    {dumps(each)}" for each in value) + "\n  ]"
        elif value and isinstance(value, dict):
            text = "{\n" + ",\n".join(f"    {dumps(key)}: {dumps(each)}" for key, each in value.items()) + "\n  }"
        parts.append(f"  {dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table whose rows may lack some of its columns."""
    # Scenes without labels have fewer figures than the others.
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _stage_rows(evaluation: Evaluation) -> list[list[str]]:
    """A header and one row for each stage; the last row is the result."""
    names, last = shown(evaluation), len(evaluation.stages)
    rows = [["method", *(FIGURES[name].label for name in names)]]
    for number, figures in enumerate(evaluation.stages, start=1):
        title = evaluation.method if number == last else f"{evaluation.method}, stage {number}"
        rows.append([title, *(FIGURES[name].number(figures.get(name)) for name in names)])
    return rows


def markdown(rows: Sequence[Sequence[str]], note: str, words: int = 1) -> str:
    """A table, its first row the header, with aligned columns, of which the first ``words`` are no numbers, and a
    note below."""
    rows = [[cell.replace("|", r"\|") for cell in line] for line in rows]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * width if place < words else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = []
    for line in (rows[0], ruler, *rows[1:]):
        cells = [*map(str.ljust, line[:words], widths[:words]), *map(str.rjust, line[words:], widths[words:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", note, ""])


def latex(rows: Sequence[Sequence[str]], comment: str) -> str:
    """Rows for a ``tabular`` whose first column is left-aligned and the others right-aligned."""
    header, *lines = (" & ".join(map(_for_latex, cells)) + r" \\" for cells in rows)
    return "\n".join([f"% {comment}", header, r"\hline", *lines, ""])


# What letters are in LaTeX, besides those of Greek and raised ones.
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "°": r"$^\circ$", "–": "--", "−": "$-$",
}  # fmt: skip


def _for_latex(text: str) -> str:
    """A cell, in which ``**`` around the whole text means bold as in Markdown."""
    bold = re.fullmatch(r"\*\*(.+)\*\*", text)
    letters = "".join(map(_letter_for_latex, bold[1] if bold else text))
    return rf"\textbf{{{letters}}}" if bold else letters


def _letter_for_latex(letter: str) -> str:
    if letter in LATEX:
        return LATEX[letter]
    kind, *codes = unicodedata.decomposition(letter).split() or [""]
    kind = kind.strip("<>")
    if kind in ("super", "sub"):
        raised = "".join(chr(int(code, 16)) for code in codes).replace("−", "-")
        return f"$^{{{raised}}}$" if kind == "super" else f"$_{{{raised}}}$"
    letter = unicodedata.normalize("NFKC", letter) if kind == "compat" and len(codes) == 1 else letter
    greek = re.fullmatch("GREEK SMALL LETTER ([A-Z]+)", unicodedata.name(letter, ""))
    return letter if greek is None else rf"$\{greek[1].lower().replace('lamda', 'lambda')}$"
