"""``crsdun figure``: the figure of a paper from results of several methods."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, array_options, command, overwrite_option, refuse_without
from crsdun.cli.printing import print_result
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.runtime import Reconstruction
    from crsdun.scenes import Scene

KINDS = (".png", ".pdf")


def add(commands: Commands) -> None:
    """The command and its options."""
    figure = command(
        commands,
        "figure",
        run,
        "Make a figure for a paper: one scene, several methods, with bands, boxes, spectra and classes.",
    )
    figure.add_argument(
        "results", metavar="DIR", type=Path, nargs="+", help="a folder of crsdun reconstruct for each method"
    )
    figure.add_argument("--truth", type=Path, help="file of the true scene (default: from the folders)")
    figure.add_argument("--truth-key", help="name of the true cube in its file")
    array_options(figure, "the true cube")
    figure.add_argument("--titles", nargs="+", help="titles of the methods, in the order of their folders")
    figure.add_argument(
        "--bands",
        type=float,
        nargs="+",
        metavar="NM",
        help="wavelengths to show (default: three across the spectrum)",
    )
    figure.add_argument(
        "--box",
        type=int,
        nargs=4,
        action="append",
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"),
        help="a region to enlarge; may be repeated (default: two with much detail)",
    )
    figure.add_argument(
        "--pixel",
        type=int,
        nargs=2,
        action="append",
        metavar=("ROW", "COLUMN"),
        help="a pixel whose spectrum is drawn; may be repeated (default: two different ones)",
    )
    figure.add_argument("--out", type=Path, required=True, help="NAME of the files NAME.png and NAME.pdf")
    overwrite_option(figure)


def run(options: argparse.Namespace) -> None:
    from crsdun.runtime import read_results
    from crsdun.runtime.reconstruction import check_one_scene
    from crsdun.scenes import Box
    from crsdun.storage import atomic_files, made_folder
    from crsdun.viewing.paper_figure import choose_bands, paper_figure

    refuse_without(options, "truth", "truth_key", "axes", "divisor")
    if options.out.name in ("", ".."):
        raise InputError(f"{options.out} is a folder", "choose a name for the files with <out>")
    name = options.out.with_suffix("") if options.out.suffix.lower() in KINDS else options.out
    paths = [name.with_name(name.name + kind) for kind in KINDS]
    results = [read_results(folder) for folder in options.results]
    check_one_scene([(str(folder), each) for folder, each in zip(options.results, results, strict=True)])
    titles = options.titles or titles_of(options.results, [each.record["method"] for each in results])
    if len(set(titles)) != len(results):
        raise InputError(f"{len(results)} folders need as many different --titles, not {', '.join(titles)}")
    first = results[0].scene
    truth = truth_from(options, results)
    with made_folder(name.parent), atomic_files(paths, options.overwrite) as parts:
        paper_figure(
            {title: each.known_scene for title, each in zip(titles, results, strict=True)},
            results[0].measurement.frame,
            parts,
            truth,
            None if options.bands is None else choose_bands(first, options.bands),
            options.box and [Box(*box) for box in options.box],
            options.pixel and [(row, column) for row, column in options.pixel],
        )
    print_result({"figures": [str(path) for path in paths]}, f"look at {' and '.join(map(str, paths))}", options.json)


def titles_of(folders: list[Path], methods: list[str]) -> list[str]:
    """The names of the methods, or those of the folders if two methods are the same."""
    return methods if len(set(methods)) == len(methods) else [folder.resolve().name for folder in folders]


def truth_from(options: argparse.Namespace, results: list[Reconstruction]) -> Scene | None:
    """The true scene on the bands of the results: from its file, or from the first folder that has one."""
    from crsdun.runtime import match_bands
    from crsdun.scenes import read_scene

    if options.truth is None:
        return next((each.truth for each in results if each.truth is not None), None)
    truth = read_scene(options.truth, options.truth_key, axes=options.axes, divisor=options.divisor)
    return match_bands(results[0].camera, truth)
