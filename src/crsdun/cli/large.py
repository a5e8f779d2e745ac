"""``crsdun reconstruct --large``: a frame larger than memory, tile by tile into a store that grows with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import mask_axes
from crsdun.cli.printing import (
    fit_words,
    left_unfinished,
    notify,
    print_result,
    progress_bar,
    unknown_words,
    warning_words,
)
from crsdun.errors import InputError
from crsdun.remote import Remote
from crsdun.showing import size_in_words

if TYPE_CHECKING:
    from crsdun.methods import Method, RunOptions
    from crsdun.runtime import LargeFrame, LargeRun, Pipeline, Preparation

# Smaller files hold no frame that memory would not suffice for, even if they are compressed.
SMALL_FILE = 1 << 16


def large_options(command: argparse.ArgumentParser) -> None:
    """What only large frames have."""
    command.add_argument(
        "--large",
        action="store_true",
        help="decode one frame tile by tile, in the memory of one tile, writing the cube (Zarr) as it goes (default: "
        "if a single frame would not fit into memory)",
    )
    command.add_argument(
        "--repeat-mask",
        action="store_true",
        help="repeat the mask of a large frame, which is smaller than the scene, until it fills it",
    )


def large_frame(
    options: argparse.Namespace, preparation: Preparation, method: Method | None, how: RunOptions, is_one: bool
) -> LargeFrame | None:
    """The frame, if it is to be decoded by rows: because the options say so, or because memory would not suffice.

    Args:
        is_one: whether a single file is given, of a single scene.

    Raises:
        InputError: the options ask for what needs a whole frame; or, where they say so, as ``open_large``.
    """
    from crsdun.methods import available_memory
    from crsdun.runtime import is_large, open_large
    from crsdun.scenes import open_mask

    if options.repeat_mask and not options.large:
        raise InputError("only the mask of a large frame may repeat", "set <large> too, or omit <repeat_mask>")
    if options.large and not is_one:
        raise InputError("large frames are decoded one at a time", "name one file, or omit <large>")
    (*_, file) = options.measurement
    if any(isinstance(each, Remote) for each in (file, options.mask, options.out)):
        if options.large:
            raise InputError("a large frame, its mask and results lie on this machine", "name files, not addresses")
        return None
    if not options.large and (not is_one or _is_small(file)):
        return None
    try:
        stored = file if options.mask_key is not None else None  # with the exposure
        mask_file = stored if options.mask is None else options.mask
        mask = None if mask_file is None else open_mask(mask_file, options.mask_key, mask_axes(options))
        frame = open_large(file, preparation, mask, options.repeat_mask)
        wanted = options.large or is_large(frame.size, method, available_memory(how.device))
    except InputError:
        if options.large:
            raise
        return None  # what is wrong is said where the frame is read
    return frame if wanted else None


def run_large(options: argparse.Namespace, pipeline: Pipeline, frame: LargeFrame) -> int:
    """Decode a large frame into the folder for the results."""
    from crsdun.classifiers import load_classifier
    from crsdun.methods import SMALL_BLOCK, keep_freed_memory, return_freed_memory
    from crsdun.provenance import command as command_line
    from crsdun.runtime import LargeRun, deciding_files
    from crsdun.storage import check_folder, lasting_folder

    keep_freed_memory(SMALL_BLOCK)
    pipeline.classes = None if options.classes is None else load_classifier(options.classes)
    pipeline.refine = options.refine_camera
    check_folder(options.out, options.overwrite)
    if not options.large:
        notify(
            f"there is not enough memory for {size_in_words(frame.size)} pixels at once: the frame is decoded by "
            "rows, and the cube written as it goes (--large)"
        )
    with progress_bar("looking at the frame") as progress:
        survey = frame.survey(progress)
    files = deciding_files(options.weights, options.classes)
    job = {"command": command_line(), "frame": survey.digest, **files}
    try:
        with lasting_folder(options.out, job, options.overwrite) as folder:
            run = LargeRun(pipeline, frame, survey, folder)
            with progress_bar("decoding") as progress:
                for done in run.run():
                    if progress is not None:
                        progress(done, frame.height)
            run.finish()
            return_freed_memory()
            from crsdun.viewing.large_folder import draw_large  # whose libraries take memory, not before

            side = draw_large(run, folder)
    except KeyboardInterrupt:
        return left_unfinished(options.out, "rows")
    print_result(_summary(run, options.out), _line(run, options.out, side), options.json)
    return 0


def _is_small(file: Path) -> bool:
    """Whether a file cannot hold a large frame; a store of Zarr, a folder, may."""
    from crsdun.scenes.formats import files_of

    return not file.is_dir() and sum(each.stat().st_size for each in files_of(file) if each.is_file()) < SMALL_FILE


def _summary(run: LargeRun, out: Path) -> dict[str, Any]:
    return {"out": str(out), "method": run.method.name, "seconds": run.record["seconds"], **run.metrics}


def _line(run: LargeRun, out: Path, side: int) -> str:
    from crsdun.methods.verdict import describe_move

    metrics = run.metrics
    top, bottom = metrics["worst_rows"]
    line = f"{out}: {size_in_words(run.size)} by {run.method.name} in {run.record['seconds']:.1f} s"
    if run.kept:
        line += f", {run.kept} rows of them finished before"
    line += f", {fit_words(metrics)}; at most {metrics['worst_residual']:.2%}, in rows {top} to {bottom - 1}"
    if move := describe_move(metrics):
        line += f"; {move}"
    line += unknown_words(metrics)
    lines = [line, *filter(None, [warning_words(run.warning, run.pipeline.refine)])]
    pictures = "" if side == 1 else f", {side}×{side} pixels of the scene for one of its pictures"
    return "\n".join(lines) + f"\ncube: {run.store.path.name} in {out}\nlook at {out / 'report.html'}{pictures}"
