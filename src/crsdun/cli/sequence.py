"""``crsdun reconstruct --sequence``: frames of one moving scene into a series of cubes and a video."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crsdun.cli.printing import error_line, left_unfinished, notify, print_result, progress_bar, warning_words
from crsdun.errors import InputError
from crsdun.remote import Remote

if TYPE_CHECKING:
    from crsdun.runtime import Batch, Pipeline, SequenceOptions, SequenceRun

# What each option is called in the package, and how it is unless it is given.
DEFAULTS: dict[str, Any] = {"fps": 10.0, "video": "gif", "series": "h5", "smooth": 0.0, "cold": False}


def sequence_options(command: argparse.ArgumentParser) -> None:
    """What only sequences have."""
    command.add_argument(
        "--sequence",
        action="store_true",
        help="treat a stack, or the files in natural order, as frames of one moving scene: write one series of cubes "
        "and a video",
    )
    command.add_argument("--fps", type=float, help="frames per second of a sequence (default: 10)")
    command.add_argument("--video", choices=("gif", "mp4"), help="format of the video of a sequence (default: gif)")
    command.add_argument("--series", choices=("h5", "zarr"), help="format of the cubes of a sequence (default: h5)")
    command.add_argument(
        "--smooth",
        type=float,
        metavar="PART",
        help="weight of the previous frame in unchanged areas, 0 to 1: 0.5 reduces noise (default: 0)",
    )
    command.add_argument(
        "--cold",
        action="store_true",
        default=None,
        help="no warm start of gap-tv and admm-tv from the previous cube",
    )


def check_sequence(options: argparse.Namespace) -> None:
    """Raise an InputError if a sequence is asked for that cannot be, or only by halves."""
    from crsdun import runtime
    from crsdun.viewing.video import check_video

    if not options.sequence:
        for name in DEFAULTS:
            if getattr(options, name) is not None:
                raise InputError(f"{name} is a setting of sequences", f"set <sequence> too, or omit <{name}>")
        return
    if any(isinstance(each, Remote) for each in (*options.measurement, options.out)):
        raise InputError("a sequence is read and written on this machine", "give <out> and the frames as files here")
    chosen = _options(options)
    check_video(_given(options, "video"), chosen.frames_per_second)
    if chosen.series == "zarr":
        from crsdun.scenes.formats.zarr_store import zarr_library

        zarr_library()
    runtime.check_truth_folder(options.truth)


def run_sequence(options: argparse.Namespace, pipeline: Pipeline, batch: Batch) -> int:
    """Decode a sequence into the folder for the results."""
    from crsdun import runtime
    from crsdun.provenance import command as command_line
    from crsdun.storage import lasting_folder
    from crsdun.viewing.video import write_video

    batch, count = runtime.open_frames(batch)
    chosen, kind = _options(options), _given(options, "video")
    name, file = next(iter(batch.files.items()))
    name = name if len(batch.files) == 1 else file.parent.resolve().name
    job = {"command": command_line(), "options": asdict(chosen)}
    try:
        with lasting_folder(options.out, job, options.overwrite) as folder:
            run = runtime.SequenceRun(pipeline, folder, name, count, chosen)
            with progress_bar("decoding") as progress:
                for done, _ in enumerate(run.run(batch), 1):
                    if progress is not None:
                        progress(done, count)
            run.finish()
            video = folder / f"video.{kind}"
            run.finish(video=write_video(run.series, video, chosen.frames_per_second, overwrite=True))
    except KeyboardInterrupt:
        return left_unfinished(options.out, "frames")
    return _print(run, options, kind)


def _print(run: SequenceRun, options: argparse.Namespace, kind: str) -> int:
    summary, out = run.summary, options.out
    failed = [{"name": name, "reason": error_line(error)} for _, (name, error) in sorted(run.failures.items())]
    rate, seconds = run.options.frames_per_second, summary["seconds"]
    finished = run.count - len(failed)
    means = summary["mean"]
    line = f"{out}: {finished} of {run.count} frames"
    if run.kept:
        line += f", {run.kept} of them finished before"
    if seconds:
        line += f", decoded at {finished / seconds:.3g} frames per second"
    line += f", data residual {means['data_residual']:.2%} in the mean"
    if "psnr_db" in means:
        line += f", PSNR {means['psnr_db']:.2f} dB"
    lines = [line, f"video of {run.count / rate:.3g} s at {rate:g} frames per second: {out / f'video.{kind}'}"]
    lines += [f"cubes: {out / run.path.name}"]
    if summary["warnings"]:
        first = next(each for _, each in sorted(run.lines.items()) if "warning" in each["metrics"])
        count = summary["warnings"]
        among = f" ({count} of {run.count} frames)"
        lines.append(warning_words(first["metrics"]["warning"], options.refine_camera, among))
    values = {"out": str(out), **summary, "failed": failed}
    print_result(values, "\n".join(lines), options.json)
    for failure in failed:
        notify(f"{failure['name']}: {failure['reason']}; its cube holds no data, and the video shows it grey")
    return 1 if failed else 0


def _given(options: argparse.Namespace, name: str) -> Any:
    value = getattr(options, name)
    return DEFAULTS[name] if value is None else value


def _options(options: argparse.Namespace) -> SequenceOptions:
    from crsdun.runtime import SequenceOptions

    return SequenceOptions(
        frames_per_second=_given(options, "fps"),
        series=_given(options, "series"),
        warm=not _given(options, "cold"),
        smoothing=_given(options, "smooth"),
    )
