"""The shipped weights beside GAP-TV and the truth: on the kind of scene they were trained on, and on another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from crsdun.methods import Progress
from crsdun.optics import Exposure, nbk7_wavelengths
from crsdun.runtime import Preparation, Reconstruction, decode, open_method, simulate
from crsdun.scenes import Scene, indian_pines
from crsdun.scenes.produce import ProduceSet
from crsdun.storage import RECORD, atomic_folder, write_json
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map
from crsdun.viewing.figures import Panel, comparison
from crsdun.viewing.palette import class_picture
from crsdun.viewing.result_folder import write_results

BASELINE, WEIGHTS = "gap-tv", ("crsdun_tiny", "crsdun_small")  # the last one is looked at most closely
PRODUCE_SCENE = 3  # of the test split

Bar = Callable[[str], AbstractContextManager[Progress | None]]


def write_demo(out: Path, overwrite: bool, bar: Bar) -> dict[str, Reconstruction]:
    """Write the folder ``out``: ``overview.png``, and a folder of results for each scene and method.

    Args:
        bar: a context with a progress bar of this title.

    Returns:
        Each reconstruction by the name of its folder in ``out``.

    Raises:
        InputError: as ``write_results``, or the Indian Pines scene is not installed.
    """
    scenes = {"produce": ProduceSet("test")[PRODUCE_SCENE], "indian_pines": indian_pines(nbk7_wavelengths())}
    results, panels = {}, []
    with atomic_folder(out, overwrite) as folder:
        for kind, scene in scenes.items():
            decoded = {name: _decoded(scene, name, bar) for name in (BASELINE, *WEIGHTS)}
            for name, result in decoded.items():
                results[f"{kind}_{name}"] = result
                write_results(result, folder / f"{kind}_{name}")
            panels += _row(decoded)
        comparison(panels, folder / "overview.png", columns=len(panels) // len(scenes))
        figures = {name: result.metrics for name, result in results.items()}
        write_json(folder / RECORD, figures)
    return results


def _decoded(scene: Scene, name: str, bar: Bar) -> Reconstruction:
    measurement = simulate(scene, Exposure())
    # The scene's own wavelengths are those of the weights.
    with bar(name) as progress:
        return decode(Preparation().prepare(measurement, scene), open_method(name), progress=progress)


def _row(results: dict[str, Reconstruction]) -> list[Panel]:
    """Measurement, truth and what each method made of it; then the classes if they can be judged, else the errors."""
    best = WEIGHTS[-1]
    ours = results[best]
    truth = ours.truth
    assert truth is not None
    panels = [
        Panel("Measurement", measurement_picture(ours.measurement.frame)),
        Panel("Truth", picture(truth)[0], truth.name),
    ]
    for name, result in results.items():
        panels.append(Panel(name, picture(result.scene, like=truth)[0], f"{result.metrics['psnr_db']:.2f} dB"))
    if "miou" in ours.metrics:
        assert truth.classes is not None
        assert ours.scene.classes is not None
        score = f"{ours.metrics['accuracy']:.1%} of pixels"
        panels.append(Panel("True classes", class_picture(truth.classes)))
        return [*panels, Panel(best, class_picture(ours.scene.classes), score)]
    for name in (BASELINE, best):
        panels.append(Panel(f"Error of {name}", error_map(results[name].scene.cube, truth.cube), "RMSE over bands"))
    return panels
