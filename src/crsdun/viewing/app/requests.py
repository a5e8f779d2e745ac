"""What the page may ask for: one dataclass for each request, read from a JSON object or from the query of an address.

Everything that arrives is checked here, and nowhere else: whatever has the wrong type or lies outside its range is an
``InputError`` before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from crsdun.errors import InputError
from crsdun.optics import parse_wavelengths
from crsdun.optics.wavelengths import MOST_BANDS
from crsdun.viewing.regions import MOST_NAME, MOST_POINTS, Region, Vertex, vertex_at
from crsdun.web.values import MOST_STEP, Values, brief

ROLES = ("measurement", "mask", "truth", "labels")
ENGINES = ("torch", "onnxruntime", "openvino")
MOST_REFERENCES = 16
MOST_ITERATIONS = 10_000_000


# -- opening ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArrayChoice:
    """An array of an uploaded file; ``key`` None is the only one in it."""

    file: str
    key: str | None = None

    @classmethod
    def parse(cls, values: Values | None) -> ArrayChoice | None:
        if values is None or "file" not in values:
            return None
        return cls(values.text("file"), values.text("key") or None)


@dataclass(frozen=True)
class OpenRequest:
    """What to open: a sample by name, or arrays in their roles and what their files do not say about the camera.

    Attributes:
        sample: the name of one; None opens the arrays.
        arrays: by their role, one of ``ROLES``.
        camera: the name of an uploaded camera file, in place of mask, step, bands and wavelengths.
        step: pixels per band.
        wavelengths: centres of the bands in nm.
        bits: depth of the camera's counts.
        dark, white: levels with the shutter closed, and of a white reference without the mask.
    """

    sample: str | None = None
    arrays: Mapping[str, ArrayChoice] = field(default_factory=dict)
    camera: str | None = None
    step: float | None = None
    bands: int | None = None
    bits: int | None = None
    dark: float | None = None
    white: float | None = None
    wavelengths: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, values: Values) -> OpenRequest:
        wavelengths = values.text("wavelengths")
        choices = ((role, ArrayChoice.parse(values.values(role))) for role in ROLES)
        return cls(
            values.text("sample") or None,
            {role: choice for role, choice in choices if choice is not None},
            values.text("camera") or None,
            step=values.number("step", None, -MOST_STEP, MOST_STEP),
            bands=values.whole("bands", None, 1, MOST_BANDS),
            bits=values.whole("bits", None, 1, 32),
            dark=values.number("dark", None),
            white=values.number("white", None),
            wavelengths=parse_wavelengths(wavelengths) if wavelengths else None,
        )


# -- computing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodeRequest:
    """How to decode.

    Attributes:
        method: the name of a solver or of weights.
        engine: one of ``ENGINES``, for weights.
        iterations: of a solver; None is its default.
        add_gap_tv: decode with GAP-TV as well, to compare.
    """

    method: str
    engine: str = ENGINES[0]
    iterations: int | None = None
    add_gap_tv: bool = False

    @classmethod
    def parse(cls, values: Values) -> DecodeRequest:
        engine = values.text("engine", ENGINES[0])
        if engine not in ENGINES:
            raise InputError(f"there is no engine {engine!r}", f"choose one of {', '.join(ENGINES)}")
        iterations = values.whole("iterations", None, high=MOST_ITERATIONS)
        return cls(values.text("method"), engine, iterations, values.flag("add_gap_tv"))


def _setting(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class SimulatedCamera:
    """The camera of a simulation, its noise, and which part of the scene it sees.

    Attributes:
        size: side of a square from the middle of the scene, in pixels; 0 takes all of it.
        step: pixels per band.
        photons: at y = 1; 0 for no shot noise.
        read_noise: standard deviation; 0 for none.
        bits: depth of the digitisation; 0 for none.
        seed, mask_seed, transmission: of the noise; of a random mask; share of that mask that is open.
        shift_down, shift_right: how far, in pixels, the mask really lies from where decoding assumes it.
    """

    size: int = _setting(0, 0, 2**31)
    step: float = _setting(2.0, -MOST_STEP, MOST_STEP)
    photons: float = _setting(0.0, 0, 1e9)
    read_noise: float = _setting(0.0, 0, 100)
    bits: int = _setting(0, 0, 32)
    seed: int = _setting(0, 0, 2**31)
    mask_seed: int = _setting(0, 0, 2**31)
    transmission: float = _setting(0.5, 0.05, 1)
    shift_down: float = _setting(0.0, -16, 16)
    shift_right: float = _setting(0.0, -16, 16)

    @classmethod
    def parse(cls, values: Values) -> SimulatedCamera:
        numbers: dict[str, Any] = {}
        for each in fields(cls):
            read = values.whole if isinstance(each.default, int) else values.number
            numbers[each.name] = read(each.name, each.default, *each.metadata["range"])
        return cls(**numbers)


@dataclass(frozen=True)
class SimulateRequest:
    """What to simulate and how to decode it.

    Attributes:
        scene: the name of a sample; None takes the true scene of what is open.
        mask: the name of an uploaded file of a mask, or of a camera; None makes a random mask.
    """

    scene: str | None
    mask: str | None
    camera: SimulatedCamera
    decode: DecodeRequest

    @classmethod
    def parse(cls, values: Values) -> SimulateRequest:
        scene = values.text("scene", "open")
        return cls(
            None if scene == "open" else scene,
            values.text("mask") or None,
            SimulatedCamera.parse(values),
            DecodeRequest.parse(values),
        )


# -- looking ---------------------------------------------------------------------------------------------------


def region_from(values: Values) -> Region:
    """A pixel, a box or polygons.

    Raises:
        InputError: a value is missing or of another type; or as ``Region.within``.
    """
    name = values.text("name")[:MOST_NAME]
    if "rings" in values:
        return Region.within(name, [_ring(ring) for ring in values.items("rings")])
    if "top" not in values or "left" not in values:
        raise InputError(
            "a point needs a top and a left pixel, a box a height and a width too, and a polygon its rings"
        )
    top, left, height, width = (values.whole(name, 1) for name in ("top", "left", "height", "width"))
    return Region(name, top, left, height, width)


def _ring(ring: Any) -> list[Vertex]:
    """The vertices of a polygon from JSON: a list of [x, y]."""
    if not isinstance(ring, list) or not all(isinstance(vertex, list) and len(vertex) == 2 for vertex in ring):
        raise InputError(f"a polygon must be a list of vertices [x, y], not {brief(ring)}")
    return [vertex_at(*vertex) for vertex in ring]


@dataclass(frozen=True)
class SpectraRequest:
    """Which spectra: ``stage`` from 1, None is the last one."""

    points: tuple[Region, ...]
    stage: int | None

    @classmethod
    def parse(cls, values: Values) -> SpectraRequest:
        points = values.items("points")
        if len(points) > MOST_POINTS:
            raise InputError(f"{len(points)} points at once are too many", f"at most {MOST_POINTS}")
        return cls(tuple(region_from(Values(point)) for point in points), values.whole("stage", None))


@dataclass(frozen=True)
class ClassifyRequest:
    """Classes for a layer by its name: from regions that are called like them, or from a file.

    Attributes:
        classifier: the name of an uploaded classifier; None takes the regions.
    """

    layer: str
    regions: tuple[Region, ...]
    classifier: str | None = None

    @classmethod
    def parse(cls, values: Values) -> ClassifyRequest:
        return cls(values.text("layer"), SpectraRequest.parse(values).points, values.text("classifier") or None)


@dataclass(frozen=True)
class ReferencesRequest:
    """Which reference spectra to draw beside those of the scene: a file, and which of its spectra, from 0."""

    choices: tuple[tuple[str, int], ...]

    @classmethod
    def parse(cls, values: Values) -> ReferencesRequest:
        items = [Values(item) for item in values.items("references")]
        if len(items) > MOST_REFERENCES:
            raise InputError(f"{len(items)} reference spectra at once are too many", f"at most {MOST_REFERENCES}")
        return cls(tuple((item.text("file"), item.whole("index", 0, 0)) for item in items))


@dataclass(frozen=True)
class PictureRequest:
    """Which picture.

    Attributes:
        layer: its name.
        stage: from 1; None is the last one.
        mode: as ``pictures.render``.
        bands: from 0; one for ``band`` and ``difference``, three for ``false``.
        stretch: over the values of the shown band rather than those of all bands.
        other: the layer to subtract for ``difference``.
        low, high: values shown in the first and the last colour; None leaves it to the values.
        colours: one of ``pictures.COLOUR_MAPS``; None is that of the mode.
    """

    layer: str
    stage: int | None
    mode: str
    bands: tuple[int, ...]
    stretch: bool = False
    other: str = ""
    low: float | None = None
    high: float | None = None
    colours: str | None = None

    @classmethod
    def parse(cls, values: Values) -> PictureRequest:
        bands = tuple(Values({"band": band}).whole("band", 0) for band in values.text("bands", "0").split(","))
        mode, stretch = values.text("mode", "colour"), values.flag("stretch")
        return cls(
            values.text("layer", "truth"),
            values.whole("stage", None),
            mode,
            bands,
            stretch,
            values.text("other"),
            values.number("low", None),
            values.number("high", None),
            values.text("colours") or None,
        )


@dataclass(frozen=True)
class AttentionRequest:
    """Where a block of cross-aggregation looks from a region; ``map`` as ``pictures.attention``."""

    layer: str
    block: int
    map: str
    region: Region

    @classmethod
    def parse(cls, values: Values) -> AttentionRequest:
        return cls(values.text("layer"), values.whole("block", 0), values.text("map"), region_from(values))
