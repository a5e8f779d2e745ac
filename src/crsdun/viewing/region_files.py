"""Regions in files that other programs know: GeoJSON, and the text format of ENVI's regions of interest (ROI).

GeoJSON holds polygons and points in pixels from the upper left corner of the scene, x to the right and y down, as
image programs such as QuPath write them. ENVI's text lists the pixels of each region, counted from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.viewing.palette import class_colours
from crsdun.viewing.regions import (
    MOST_NAME,
    MOST_POINTS,
    Region,
    Vertex,
    check_region,
    inside,
    region_of,
    vertex_at,
)
from crsdun.web.values import brief

MOST_PIXELS = 400_000  # of all regions in a text file
ENVI_TITLE = "; ENVI Output of ROIs"
ENVI_FIELD = re.compile(r";\s*(Number of ROIs|File Dimension|ROI name|ROI npts)\s*:\s*(.*)")
DAMAGED = "save it again, as GeoJSON or as ENVI's text of ROIs"


def read_regions(content: bytes, height: int, width: int) -> list[Region]:
    """The regions in a file, whose format is recognised by how it begins.

    Args:
        height, width: of the scene, which has to contain them.

    Raises:
        InputError: it is in neither format, malformed, of another scene, or holds more than ``MOST_POINTS``.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if text.lstrip()[:1] in ("{", "["):
        regions = _from_geojson(text)
    elif text.lstrip().startswith(ENVI_TITLE):
        regions = _from_envi(text, height, width)
    else:
        raise InputError("this is no file of regions", "expected GeoJSON, or ENVI's text of ROIs")
    if not 0 < len(regions) <= MOST_POINTS:
        raise InputError(f"the file holds {len(regions)} regions", f"expected 1 to {MOST_POINTS}")
    for region in regions:
        check_region(region, height, width)
    return regions


# -- GeoJSON ---------------------------------------------------------------------------------------------------


def to_geojson(regions: Sequence[Region]) -> str:
    """A FeatureCollection with a point for each pixel, and a polygon or several for each other region."""
    features = [
        {"type": "Feature", "properties": {"name": region.name}, "geometry": _geometry(region)} for region in regions
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, indent=1) + "\n"


def _geometry(region: Region) -> dict[str, Any]:
    top, left, height, width = region.top, region.left, region.height, region.width
    if region.rings:
        polygons = _polygons(region.rings)
    elif height * width == 1:
        return {"type": "Point", "coordinates": [left + 0.5, top + 0.5]}
    else:
        corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
        polygons = [[corners]]
    closed = [[[*map(list, ring), list(ring[0])] for ring in polygon] for polygon in polygons]
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed[0]}
    return {"type": "MultiPolygon", "coordinates": closed}


def _polygons(rings: Sequence[Sequence[Vertex]]) -> list[list[Sequence[Vertex]]]:
    """Each outer ring with the holes in it."""
    around = [np.flatnonzero(each).tolist() for each in _enclosures(rings)]
    outer = {index: [rings[index]] for index, each in enumerate(around) if len(each) % 2 == 0}
    for index, each in enumerate(around):
        if index not in outer:  # a hole, of the innermost ring around it
            innermost = max((other for other in each if other in outer), key=lambda other: len(around[other]))
            outer[innermost].append(rings[index])
    return list(outer.values())


def _enclosures(rings: Sequence[Sequence[Vertex]]) -> Iterator[np.ndarray]:
    """For each ring, which of them enclose it, (rings,) bool; rings may touch in vertices but do not cross."""
    starts = np.concatenate([np.asarray(ring, float) for ring in rings])
    ends = np.concatenate([np.roll(np.asarray(ring, float), -1, axis=0) for ring in rings])
    (x0, y0), (x1, y1) = starts.T, ends.T
    first = np.cumsum([0, *map(len, rings)])[:-1]
    for index, place in enumerate(first):
        x, y = (starts[place] + ends[place]) / 2
        crosses = np.flatnonzero((y0 <= y) != (y1 <= y))
        right = x < x0[crosses] + (y - y0[crosses]) * (x1 - x0)[crosses] / (y1 - y0)[crosses]
        count = np.zeros(len(starts), np.int64)
        count[crosses] = right
        enclosing = np.add.reduceat(count, first) % 2 == 1
        enclosing[index] = False
        yield enclosing


def _from_geojson(text: str) -> list[Region]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("the file begins like GeoJSON but is not JSON", DAMAGED) from error
    if isinstance(content, dict) and "crs" in content:
        raise InputError("the file gives places on Earth (crs)", "save the regions in pixels of the scene")
    features = content.get("features") if isinstance(content, dict) and "features" in content else content
    features = features if isinstance(features, list) else [features]
    if len(features) > MOST_POINTS:
        raise InputError(f"the file holds {len(features)} regions", f"expected 1 to {MOST_POINTS}")
    return [_from_feature(feature, f"region {number}") for number, feature in enumerate(features, 1)]


def _from_feature(feature: Any, default: str) -> Region:
    feature = feature if isinstance(feature, dict) else {}
    is_feature = feature.get("type") == "Feature"
    geometry, properties = (feature.get("geometry"), feature.get("properties")) if is_feature else (feature, {})
    geometry = geometry if isinstance(geometry, dict) else {}
    properties = properties if isinstance(properties, dict) else {}
    names = (_class_of(properties.get("classification")), properties.get("name"), default)
    name = next(given[:MOST_NAME] for given in names if isinstance(given, str) and given)
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Point":
        x, y = _vertex(coordinates, name)
        return Region(name, int(y // 1), int(x // 1))
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(
            f"{name} is {'a ' + brief(kind) if isinstance(kind, str) else 'no geometry'}",
            "expected polygons and points",
        )
    polygons = [coordinates] if kind == "Polygon" else coordinates
    rings = [_ring(ring, name) for polygon in _list(polygons, name) for ring in _list(polygon, name)]
    if len(rings) == 1 and (box := _as_box(rings[0], name)):
        return box
    return Region.within(name, rings)


def _class_of(classification: Any) -> Any:
    """The class that QuPath gives a region, whose ``name`` is its own; one derived from others has several names."""
    if not isinstance(classification, dict):
        return None
    parts = classification.get("names")
    return ": ".join(map(str, parts)) if isinstance(parts, list) else classification.get("name")


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"the coordinates of {name} are no list but {brief(value)}", DAMAGED)
    return value


def _vertex(value: Any, name: str) -> Vertex:
    vertex = _list(value, name)
    if len(vertex) < 2:
        raise InputError(f"a vertex of {name} has fewer than two coordinates", DAMAGED)
    return vertex_at(*vertex[:2])  # the third one is a height


def _ring(value: Any, name: str) -> list[Vertex]:
    vertices = [_vertex(vertex, name) for vertex in _list(value, name)]
    return vertices[:-1] if len(vertices) > 3 and vertices[0] == vertices[-1] else vertices


def _as_box(ring: Sequence[Vertex], name: str) -> Region | None:
    """The box of whole pixels that a ring describes; None where it describes something else."""
    columns, rows = ({vertex[axis] for vertex in ring} for axis in (0, 1))
    is_rectangle = len(ring) == 4 and len(set(ring)) == 4 and len(columns) == len(rows) == 2
    if not is_rectangle or not all(side.is_integer() for side in columns | rows):
        return None
    if any(a != c and b != d for (a, b), (c, d) in zip(ring, [*ring[1:], ring[0]], strict=True)):
        return None  # an hourglass
    top, left = int(min(rows)), int(min(columns))
    return Region(name, top, left, int(max(rows)) - top, int(max(columns)) - left)


# -- ENVI's text of ROIs ---------------------------------------------------------------------------------------


def to_envi(regions: Sequence[Region], height: int, width: int) -> str:
    """The pixels of each region, one in a line.

    Raises:
        InputError: they are more than ``MOST_PIXELS``.
    """
    if sum(region.height * region.width for region in regions) > MOST_PIXELS:
        raise InputError(f"these regions have more than {MOST_PIXELS:,} pixels", "save them as GeoJSON")
    pixels = [np.argwhere(inside(region)) + np.array((region.top + 1, region.left + 1)) for region in regions]
    lines = [f"{ENVI_TITLE} (4.8)", f"; Number of ROIs: {len(regions)}", f"; File Dimension: {width} x {height}"]
    for region, colour, each in zip(regions, class_colours(len(regions)), pixels, strict=True):
        lines += [";", f"; ROI name: {' '.join(region.name.split())}"]
        lines += [f"; ROI rgb value: {{{', '.join(map(str, colour))}}}", f"; ROI npts: {len(each)}"]
    lines.append(";    ID     X     Y")
    for each in pixels:
        lines += [f"{number:7d}{column:6d}{row:6d}" for number, (row, column) in enumerate(each.tolist(), 1)]
        lines.append("")
    return "\n".join(lines)


def _from_envi(text: str, height: int, width: int) -> list[Region]:
    names: list[str] = []
    counts: list[int] = []
    columns: tuple[int, int] | None = None
    rows: list[tuple[int, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        field = ENVI_FIELD.match(line)
        words = line.lstrip(";").split()
        if field and field[1] == "File Dimension":
            size = [int(side) for side in re.findall(r"\d{1,9}", field[2])]
            if size != [width, height]:
                raise InputError(
                    f"the regions are of an image of {field[2].strip()[:40]} (columns x rows), not of this scene "
                    f"of {width} x {height}",
                    "choose the file that belongs to it",
                )
        elif field and field[1] == "ROI name":
            names.append(field[2].strip()[:MOST_NAME] or f"region {len(names) + 1}")
        elif field and field[1] == "ROI npts":
            counts.append(_whole(field[2], number))
        elif line.startswith(";") and "X" in words and "Y" in words:
            columns = (words.index("X"), words.index("Y"))
        elif words and not line.startswith(";"):
            if columns is None:
                raise InputError("the regions are listed without the places (X, Y) of pixels", "save it with them")
            if len(words) <= max(columns):
                raise InputError(f"line {number} of the regions is cut short", DAMAGED)
            x, y = (_whole(words[column], number) for column in columns)
            rows.append((y - 1, x - 1))
            if len(rows) > MOST_PIXELS:
                raise InputError(f"the regions have more than {MOST_PIXELS:,} pixels", "save them as GeoJSON")
    if len(names) != len(counts) or sum(counts) != len(rows) or 0 in counts:
        raise InputError(
            f"the file announces {len(names)} regions with {sum(counts)} pixels, but lists {len(rows)}", DAMAGED
        )
    places = np.array(rows, np.int64).reshape(-1, 2)
    if rows and not ((places >= 0) & (places < (height, width))).all():
        raise InputError(f"a region lies outside the scene of {height}×{width} pixels", DAMAGED)
    ends = np.cumsum(counts, dtype=np.int64)
    return [region_of(places[end - count : end], name) for name, count, end in zip(names, counts, ends, strict=True)]


def _whole(text: str, line: int) -> int:
    """A number of an ENVI file; those of pixels may be written as 12.00."""
    if not re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", text):
        raise InputError(f"line {line} of the regions holds {brief(text)} where a whole number is expected", DAMAGED)
    return int(float(text))
