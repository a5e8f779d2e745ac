"""The folder that an evaluation leaves: its tables, pictures of what was judged, and a page that shows both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crsdun.evaluation import FIGURES, Evaluation, EvaluationOptions, evaluate, evaluate_scene, write_tables
from crsdun.evaluation.evaluator import JudgedScene, Judges, SceneResult, by_psnr, figure_of, judge_scene
from crsdun.methods import Method, Progress
from crsdun.networks import record_of_weights
from crsdun.optics import Exposure
from crsdun.scenes import Scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.storage import RECORD, atomic_folder, write_json, write_text
from crsdun.viewing.evaluation_figures import ContactSheetRow, confusion_picture, contact_sheet
from crsdun.viewing.evaluation_page import evaluation_page
from crsdun.viewing.pages import PAGE


@dataclass(frozen=True)
class EvaluationRun:
    """A method, and the scenes it is evaluated on.

    Attributes:
        method, scenes, exposure, options: as for ``evaluate``.
        weights: what the method was opened from.
    """

    method: Method
    scenes: SceneSet
    exposure: Exposure
    options: EvaluationOptions
    weights: str

    @property
    def origin(self) -> dict[str, Any]:
        """The file of the weights and its hash, or the name of the solver."""
        return record_of_weights(self.weights) or {"solver": self.weights}

    def evaluate(self, progress: Progress | None = None, judges: Judges | None = None) -> Evaluation:
        """The evaluation, with the origin of the method in its record; arguments and errors as ``evaluate``."""
        evaluation = evaluate(self.method, self.scenes, self.exposure, self.options, progress, judges)
        return replace(evaluation, record={**evaluation.record, "weights": self.origin})

    def judge(self, index: int) -> JudgedScene:
        """One of the scenes, judged, with its scores on the CPU; errors as ``evaluate``."""
        judged = judge_scene(self.method, self.scenes, self.exposure, self.options, index)
        return replace(judged, scores=[score.to("cpu") for score in judged.scores])

    def write(self, evaluation: Evaluation, out: Path, overwrite: bool = False) -> None:
        """Write the folder ``out``: tables, record, pictures and page.

        Raises:
            InputError: as ``atomic_folder``.
        """
        with atomic_folder(out, overwrite) as folder:
            write_tables(evaluation, folder)
            write_json(folder / RECORD, evaluation.record)
            if evaluation.confusion:
                confusion_picture(evaluation.confusion, self.scenes.class_names or (), folder / "confusion.png")
            rows = [self.sheet_row(*place, evaluation) for place in worst_median_best(evaluation).items()]
            contact_sheet(rows, folder / "contact_sheet.png")
            write_text(folder / PAGE, evaluation_page([folder], [out.name]))

    def sheet_row(self, title: str, index: int, evaluation: Evaluation) -> ContactSheetRow:
        """A row of the contact sheet."""
        row = evaluation.scenes[index]
        figures = "   ".join(figure.text(figure_of(row, name)) for name, figure in FIGURES.items() if name in row)
        result, estimate = self.seen(index, evaluation)
        return ContactSheetRow(f"{title}: {result.name}", figures, result.scene, result.frame.numpy(), estimate)

    def seen(self, index: int, evaluation: Evaluation) -> tuple[SceneResult, Scene]:
        """A scene and its estimate as the evaluation judged it; made again, since not all would fit into memory."""
        result = evaluate_scene(self.method, self.scenes, index, self.exposure, self.options.device)
        estimate = result.run.scene(result.name, self.method.card)
        return result, estimate if evaluation.confusion else replace(estimate, classes=None)


def worst_median_best(evaluation: Evaluation) -> dict[str, int]:
    """Indices of these scenes by PSNR; fewer than three scenes have no median."""
    order = by_psnr(evaluation.scenes)
    if len(order) < 3:
        return dict(zip(("worst", "best"), order, strict=False))
    return {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
