"""``crsdun classes``: marked pixels into a classifier of spectra."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, overwrite_option, refuse_without, scene_options, scenes_from
from crsdun.cli.printing import console, notify, print_json
from crsdun.errors import InputError, renamed

if TYPE_CHECKING:
    from crsdun.classifiers import Marks, SpectralClassifier
    from crsdun.scenes import Scene

# What crsdun.classifiers has under the same names, which is not imported for a mere --help.
KINDS, NORMALISATIONS = ("auto", "lda", "logistic", "trees", "angle"), ("snv", "none")


def add(commands: Commands) -> None:
    """The command and its options."""
    classes = command(commands, "classes", run, "Train a classifier of spectra on a few marked pixels of a scene.")
    scene_options(classes)
    marks = classes.add_mutually_exclusive_group(required=True)
    marks.add_argument(
        "--points", type=Path, metavar="CSV", help="table of points: row,column,class or x,y,class, counted from 0"
    )
    marks.add_argument(
        "--regions", type=Path, help="regions named after their classes: GeoJSON, or an ENVI ROI text file"
    )
    marks.add_argument(
        "--labels", type=Path, help="sparse label map (0 means not marked, unless the file names its labels)"
    )
    classes.add_argument("--labels-key", help="name of the label map in its file")
    classes.add_argument("--unlabelled", type=int, metavar="LABEL", help="label of pixels that are not marked")
    classes.add_argument(
        "--kind", choices=KINDS, default=KINDS[0], help="kind of classifier (default: auto, by cross-validation)"
    )
    classes.add_argument(
        "--normalisation",
        choices=NORMALISATIONS,
        default=NORMALISATIONS[0],
        help="normalisation of spectra: snv removes mean and contrast, none nothing (default: snv)",
    )
    classes.add_argument(
        "--smoothing",
        type=float,
        help="how strongly similar neighbours are drawn to one class, 0 for not at all (default: 8)",
    )
    classes.add_argument("--picture", type=Path, metavar="PNG", help="also draw the class map of this scene")
    classes.add_argument("--out", type=Path, required=True, help="file of the classifier (.safetensors)")
    overwrite_option(classes)


def run(options: argparse.Namespace) -> None:
    from crsdun.classifiers import fit_classifier, save_classifier
    from crsdun.classifiers.files import check_suffix
    from crsdun.classifiers.fitting import SMOOTHING
    from crsdun.storage import atomic_file, check_file
    from crsdun.viewing.figures import class_map

    refuse_without(options, "labels", "labels_key", "unlabelled")
    for path in (check_suffix(options.out), options.picture):
        if path is not None:
            check_file(path, options.overwrite)
    scene, truth = scenes_from(options)
    marks = marks_from(options, scene)
    smoothing = SMOOTHING if options.smoothing is None else options.smoothing
    classifier = fit_classifier(scene, marks, options.kind, options.normalisation, smoothing)
    classified = classifier.classify(scene)
    figures, note = figures_of(classifier, classified, truth)
    save_classifier(classifier, options.out, options.overwrite)
    if options.picture is not None:
        assert classified.classes is not None
        with atomic_file(options.picture, options.overwrite) as part:
            class_map(classified.classes, classified.class_names, part)
    if options.json:
        print_json({"out": str(options.out), **classifier.summary(), **figures})
        return
    print_classifier(classifier, figures, options.out)
    if note:
        notify(note)
    if options.picture is not None:
        print(f"look at {options.picture}")


def marks_from(options: argparse.Namespace, scene: Scene) -> Marks:
    """The marked pixels, from whichever file holds them."""
    from crsdun.classifiers import Marks, read_points
    from crsdun.scenes import read_class_map

    size = scene.cube.shape[1:]
    if options.points is not None:
        return read_points(options.points, *size)
    if options.labels is not None:
        with renamed("key", "labels_key"):
            return Marks.of_labels(*read_class_map(options.labels, options.labels_key, options.unlabelled))
    from crsdun.viewing.region_files import read_regions
    from crsdun.viewing.regions import marks_of

    if not options.regions.is_file():
        raise InputError(f"there is no file {options.regions}", "check the name and the folder")
    return marks_of(read_regions(options.regions.read_bytes(), *size), *size)


def figures_of(
    classifier: SpectralClassifier, classified: Scene, truth: Scene | None
) -> tuple[dict[str, Any], str | None]:
    """How the class map of the scene compares with its truth, where that is known, and what to know about it."""
    from crsdun.runtime.classification import compared, relabelled

    labels, note = (None, None) if truth is None else relabelled(truth, classifier)
    return ({} if labels is None else compared(classified, labels)), note


def print_classifier(classifier: SpectralClassifier, figures: dict[str, Any], out: Path) -> None:
    """What was marked, how each kind did on places it had not seen, and what was chosen."""
    from rich.table import Table

    made = classifier.provenance
    table = Table("class", "pixels", "places")
    for name, counts in made["marked"].items():
        table.add_row(name, str(counts["pixels"]), str(counts["places"]))
    printed = console()
    printed.print(table)
    known = {trial["kind"]: trial["accuracy"] for trial in made["trials"] if trial["accuracy"] is not None}
    if known:
        listed = ", ".join(f"{kind} {accuracy:.1%}" for kind, accuracy in known.items())
        printed.print(f"cross-validated accuracy: {listed}")
    else:
        printed.print(
            "no class is marked in two places, so nothing could be cross-validated: mark a second place of each"
        )
    line = f"{out}: {classifier.kind} for {len(classifier.given)} classes on {classifier.bands} bands"
    if "miou_present" in figures:
        line += f"; against the truth mIoU of the classes present {figures['miou_present']:.3f}"
        line += f", accuracy {figures['accuracy']:.1%}"
    printed.print(line)
