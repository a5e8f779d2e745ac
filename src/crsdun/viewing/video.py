"""A series of cubes as a video: GIF by Pillow, MP4 (H.264) by PyAV (extra ``video``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crsdun.errors import InputError
from crsdun.scenes import Series
from crsdun.storage import atomic_file
from crsdun.viewing.colour import NO_DATA, picture, pooled

# GIF keeps all frames in memory until it is written, and knows hundredths of a second, of which browsers show no
# fewer than two for a frame.
GIF_SIDE, GIF_FASTEST, GIF_COLOURS = 640, 50.0, 255


@dataclass(frozen=True)
class Film:
    """What a video shows.

    Attributes:
        pictures: (H,W,3) uint8 each, made when they are asked for.
        count: of the pictures.
        frames_per_second: at which they are shown.
        colours: (N,3) uint8, light of all of them.
    """

    pictures: Iterator[np.ndarray]
    count: int
    frames_per_second: float
    colours: np.ndarray


def check_video(kind: str, frames_per_second: float) -> None:
    """Raise an InputError if such a video cannot be written here."""
    if kind not in VIDEOS:
        raise InputError(f"there is no video {kind!r}", f"expected {' or '.join(VIDEOS)}")
    if kind == "gif" and frames_per_second > GIF_FASTEST:
        raise InputError(
            f"a GIF shows at most {GIF_FASTEST:g} frames per second, not {frames_per_second:g}", "set <video> to mp4"
        )
    if kind == "mp4":
        _av()


def write_video(series: Series, path: str | Path, frames_per_second: float, overwrite: bool = False) -> str:
    """The cubes of a series one after the other, exposed alike; returns what the pictures show, as ``picture``.

    Frames without data are grey. The format is that of the suffix: .gif, scaled down to at most 640 pixels, or .mp4.

    Raises:
        InputError: as ``check_video``, no frame holds data, the file exists, or the disk refuses.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    check_video(kind, frames_per_second)
    like = pooled(series)
    light, description = picture(like, like=like)

    def pictures() -> Iterator[np.ndarray]:
        for scene in series:
            yield picture(scene, like=like)[0]

    film = Film(pictures(), len(series), frames_per_second, light.reshape(-1, 3))
    with atomic_file(path, overwrite) as part:
        VIDEOS[kind](part, film)
    return description


def write_gif(path: Path, film: Film) -> None:
    """A GIF that repeats; one palette for all frames, so that colours do not flicker."""
    palette = Image.new("P", (1, 1))
    chosen = Image.fromarray(film.colours[None]).quantize(GIF_COLOURS).getpalette() or []
    palette.putpalette([*chosen[: 3 * GIF_COLOURS], *[NO_DATA] * 3])
    # So that the speed is right on average.
    ends = [round(100 * frame / film.frames_per_second) for frame in range(film.count + 1)]
    durations = [10 * (end - begin) for begin, end in pairwise(ends)]  # ms

    def frames() -> Iterator[Image.Image]:
        for each in film.pictures:
            image = Image.fromarray(each)
            image.thumbnail((GIF_SIDE, GIF_SIDE), Image.Resampling.BOX)
            yield image.quantize(palette=palette, dither=Image.Dither.NONE)

    shown = frames()
    first = next(shown)
    first.save(path, save_all=True, append_images=shown, duration=durations, loop=0)


def write_mp4(path: Path, film: Film) -> None:
    """An MP4 with H.264; a row or column more where the size is odd."""
    av = _av()
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = None
        for image in film.pictures:
            even = np.pad(image, [(0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=Fraction(film.frames_per_second).limit_denominator(1001)
                )
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": "17"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(stream.encode())


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError(
            "MP4 needs the package av, which is not installed", "pip install 'crsdun[video]', or omit <video>: GIF"
        ) from error
    return av


# How a video is written, by its suffix.
VIDEOS: dict[str, Callable[[Path, Film], None]] = {"gif": write_gif, "mp4": write_mp4}
