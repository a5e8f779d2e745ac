"""Regions: which pixels belong to them, their spectra, and their files."""

import json

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.viewing import region_files
from crsdun.viewing.app.requests import region_from
from crsdun.viewing.region_files import read_regions, to_envi, to_geojson
from crsdun.viewing.regions import MOST_POINTS, MOST_VERTICES, Region, inside, region_of
from crsdun.web.values import Values
from tests.viewing.explorer import Client, running
from tests.viewing.test_app import BANDS, H, W, given, scene

__all__ = ["given"]

TRIANGLE = [[2, 2], [9, 2], [2, 9]]
FRAME = [[[1, 1], [8, 1], [8, 7], [1, 7]], [[3, 3], [6, 3], [6, 5], [3, 5]]]


def polygon(*rings, name="polygon"):
    return region_from(Values({"name": name, "rings": list(rings)}))


def pixels(region, height=30, width=30):
    mask = np.zeros((height, width), bool)
    mask[region.top : region.top + region.height, region.left : region.left + region.width] = inside(region)
    return mask


# -- which pixels ----------------------------------------------------------------------------------------------


def test_a_pixel_belongs_to_a_polygon_by_its_centre():
    rows, columns = np.mgrid[:30, :30] + 0.5
    expected = (columns > 2) & (rows > 2) & (columns + rows < 11)
    np.testing.assert_array_equal(pixels(polygon(TRIANGLE)), expected)
    np.testing.assert_array_equal(pixels(polygon(TRIANGLE[::-1])), expected)  # in either direction
    square = polygon([[2.5, 2.5], [4.5, 2.5], [4.5, 4.5], [2.5, 4.5]])
    assert pixels(square).sum() == 4, "edges through centres: each pixel counts for one of two neighbours"


def test_a_polygon_may_have_holes_and_parts_and_cross_itself():
    frame = pixels(polygon(*FRAME))
    assert frame.sum() == 7 * 6 - 3 * 2
    assert not frame[4, 4]
    both = pixels(polygon(TRIANGLE, [[20, 20], [25, 20], [25, 25], [20, 25]]))
    assert both.sum() == pixels(polygon(TRIANGLE)).sum() + 25
    bow = pixels(polygon([[0, 0], [10, 10], [10, 0], [0, 10]]))
    assert bow[5, 1]
    assert bow[5, 8]
    assert not bow[1, 5]


def test_any_pixels_are_a_region():
    rng = np.random.default_rng(0)
    for _ in range(100):
        mask = np.zeros((30, 30), bool)
        height, width = rng.integers(1, 12, 2)
        mask[3 : 3 + height, 5 : 5 + width] = rng.random((height, width)) < rng.random()
        if not mask.any():
            continue
        region = region_of(np.argwhere(mask), "x")
        np.testing.assert_array_equal(pixels(region), mask)
        for text in (to_geojson([region]), to_envi([region], 30, 30)):
            (back,) = read_regions(text.encode(), 30, 30)
            np.testing.assert_array_equal(pixels(back), mask)


# -- files -----------------------------------------------------------------------------------------------------

KEPT = [
    Region("a pixel", 3, 4),
    Region("a box", 1, 2, 5, 6),
    polygon([[2, 2], [9.5, 2], [2, 9]], name="épi; of three"),
    polygon(*FRAME, name="frame"),
]


def test_geojson_gives_back_what_was_saved():
    text = to_geojson(KEPT)
    assert read_regions(text.encode(), 30, 30) == KEPT
    features = json.loads(text)["features"]
    kinds = [feature["geometry"]["type"] for feature in features]
    assert kinds == ["Point", "Polygon", "Polygon", "Polygon"]
    assert features[0]["geometry"]["coordinates"] == [4.5, 3.5], "x is the column, y the row"
    ring = features[2]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1], "rings are closed"
    assert len(features[3]["geometry"]["coordinates"]) == 2, "the hole belongs to its polygon"


def test_geojson_of_other_programs_is_understood():
    ring = [*TRIANGLE, TRIANGLE[0]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    for content in (
        shape,
        {"type": "Feature", "geometry": shape, "properties": None},
        [{"type": "Feature", "id": "1", "geometry": shape, "properties": {"objectType": "annotation"}}],
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": shape, "properties": {}}]},
        {"type": "Polygon", "coordinates": [[[*vertex, 0.0] for vertex in ring]]},  # with heights
        {"type": "MultiPolygon", "coordinates": [[ring]]},
    ):
        (region,) = read_regions(json.dumps(content).encode("utf-8-sig"), 30, 30)
        assert region == polygon(TRIANGLE, name="region 1")


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "leaf", "color": [0, 128, 0]}}, "leaf"),
        ({"classification": {"name": "leaf"}, "name": "the third one"}, "leaf"),
        ({"classification": {"names": ["leaf", "sick"]}}, "leaf: sick"),
        ({"classification": None, "name": "the third one"}, "the third one"),
        ({"classification": "leaf"}, "region 1"),
        ({"classification": {"name": 7}}, "region 1"),
    ],
)
def test_a_region_of_qupath_is_named_after_its_class(properties, name):
    shape = {"type": "Polygon", "coordinates": [[*TRIANGLE, TRIANGLE[0]]]}
    content = {
        "type": "Feature",
        "id": "1",
        "geometry": shape,
        "properties": {"objectType": "annotation", **properties},
    }
    (region,) = read_regions(json.dumps(content).encode(), 30, 30)
    assert region.name == name


ENVI = """; ENVI Output of ROIs (4.8) [Sun Feb 07 09:41:07 2010]
; Number of ROIs: 2
; File Dimension: 20 x 24
;
; ROI name: water
; ROI rgb value: {0, 0, 255}
; ROI npts: 3
;
; ROI name: light forest
; ROI rgb value: {0, 255, 0}
; ROI npts: 1
;   ID    X    Y      Lat      Lon    B1
     1    5    7   48.101   11.502   117
     2    6    7   48.101   11.503   120
     3    5    8   48.102   11.502   121

     1   20   24   48.110   11.510    19
"""


def test_envi_counts_pixels_from_one():
    water, forest = read_regions(ENVI.encode(), 24, 20)
    assert (water.name, forest.name) == ("water", "light forest")
    assert np.argwhere(pixels(water)).tolist() == [[6, 4], [6, 5], [7, 4]]
    assert (forest.top, forest.left, forest.height, forest.width) == (23, 19, 1, 1)
    listed = to_envi([water, forest], 24, 20)
    assert "; File Dimension: 20 x 24" in listed
    assert "      2     6     7" in listed
    assert read_regions(listed.encode(), 24, 20) == [water, forest]


def feature(kind, coordinates):
    return json.dumps({"type": kind, "coordinates": coordinates})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no file of regions"),
        ("point,top\n1,2\n", "no file of regions"),
        ("{", "not JSON"),
        ("[" * 9000, "not JSON"),
        ("[]", "holds 0 regions"),
        ("{}", "region 1 is no geometry"),
        ('[7, "x"]', "region 1 is no geometry"),
        ('{"features": 7}', "region 1 is no geometry"),
        ('{"type": "FeatureCollection", "crs": {}, "features": []}', "places on Earth"),
        (feature("LineString", [[1, 1], [2, 2]]), "region 1 is a 'LineString'"),
        (feature("Point", None), "no list but None"),
        (feature("Point", [1]), "fewer than two coordinates"),
        (feature("Point", ["a", 1]), "x must be a number"),
        (feature("Point", [1e300, 1]), "x must lie between"),
        (feature("Point", [-0.5, 1]), "lies outside the scene"),
        (feature("Polygon", [[[1, 1], [2, 2]]]), "at least three vertices"),
        (feature("Polygon", []), "at least three vertices"),
        (feature("Polygon", [7]), "no list but 7"),
        (feature("Polygon", [[[1, 1], [31, 1], [1, 9]]]), "lies outside the scene of 24×20 pixels"),
        (feature("Polygon", [[[11.1, 1.1], [11.2, 1.1], [11.2, 1.2]]]), "the centre of no pixel"),
        (feature("Polygon", [[[0, 0], *[[1, 1]] * MOST_VERTICES]]), f"at most {MOST_VERTICES}"),
        (json.dumps([{"type": "Point", "coordinates": [1, 1]}] * (MOST_POINTS + 1)), "holds 65 regions"),
        (ENVI.replace("20 x 24", "357 x 321"), "of an image of 357 x 321 (columns x rows)"),
        (ENVI.replace("npts: 3", "npts: 4"), "announces 2 regions with 5 pixels, but lists 4"),
        (ENVI.replace("npts: 3", "npts: three"), "line 7 of the regions holds 'three'"),
        (ENVI.replace("    5    7 ", "    5.5  7 "), "line 13 of the regions holds '5.5'"),
        (ENVI.replace("20   24 ", "21   24 "), "lies outside the scene"),
        (ENVI.replace("20   24 ", "0   24 "), "lies outside the scene"),
        (ENVI.replace("    5    8   48.102   11.502   121", ""), "line 15 of the regions is cut short"),
        (ENVI.replace("X    Y", "B8   B9"), "without the places (X, Y)"),
        (ENVI.partition(";   ID")[0], "but lists 0"),
        ("; ENVI Output of ROIs\n; Number of ROIs: 0\n", "holds 0 regions"),
    ],
)
def test_malformed_files_are_refused_in_one_line(text, words):
    with pytest.raises(InputError) as raised:
        read_regions(text.encode(), 24, 20)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_the_size_of_files_is_bounded(monkeypatch):
    monkeypatch.setattr(region_files, "MOST_PIXELS", 3)
    with pytest.raises(InputError, match="more than 3 pixels; save them as GeoJSON"):
        read_regions(ENVI.encode(), 24, 20)
    with pytest.raises(InputError, match="more than 3 pixels; save them as GeoJSON"):
        to_envi([Region("box", 0, 0, 2, 2)], 24, 20)


# -- on the server ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def visitor(given):
    with running([given / "y.npz", given / "truth.npz"]) as link:
        yield Client(link)


def test_the_spectrum_of_a_polygon_is_the_mean_of_its_pixels(visitor):
    cube, scene_pixels = scene().cube, pixels(polygon(*FRAME), H, W)
    (told,) = visitor.post("/api/spectra", points=[{"rings": FRAME}])
    selected = cube[:, scene_pixels]
    np.testing.assert_allclose(told["truth"]["mean"], selected.mean(1), rtol=1e-5)
    np.testing.assert_allclose(told["truth"]["spread"], selected.std(1), rtol=1e-4)
    share = (scene().classes[scene_pixels] == 1).mean()
    assert told["truth"]["classes"] == pytest.approx([1 - share, share])
    assert told["truth"]["pixels"] == 36
    rows = visitor.text("/api/spectra.csv", points=[{"name": "frame", "rings": FRAME}]).splitlines()
    assert len(rows) == 1 + BANDS
    assert rows[1].startswith("frame,1,1,6,7,truth,1,1,450.0,")
    assert rows[1].endswith(",36")


@pytest.mark.parametrize(
    ("rings", "words"),
    [
        ("x", "rings must be a list"),
        ([], "at least three vertices"),
        ([7], "a list of vertices"),
        ([[[1, 1], [2, 2]]], "at least three vertices"),
        ([[[1, 1], [2, 2], [3]]], "a list of vertices"),
        ([[[1, 1], [2, 2], ["a", 3]]], "x must be a number"),
        ([[[1, 1], [2, 2], [None, 3]]], "two numbers"),
        ([[[1, 1], [2, 2], [1e9, 3]]], "x must lie between"),
        ([[[-1, 1], [5, 2], [3, 9]]], "lies outside the scene"),
        ([[[1, 1], [W + 1, 2], [3, 9]]], "lies outside the scene"),
        ([[[1, 1], [1.1, 1], [1.1, 1.1]]], "the centre of no pixel"),
        ([[[1, 1]] * (MOST_VERTICES + 1)], f"at most {MOST_VERTICES}"),
    ],
)
@pytest.mark.parametrize("path", ["/api/spectra", "/api/spectra.csv", "/api/regions.geojson", "/api/regions.txt"])
def test_polygons_that_cannot_be_are_refused(visitor, path, rings, words):
    assert words in visitor.refused("POST", path, json.dumps({"points": [{"rings": rings}]}))


def test_regions_go_into_files_and_come_back(visitor):
    points = [{"name": "frame", "rings": FRAME}, {"name": "box", "top": 2, "left": 3, "height": 4, "width": 5}]
    for path in ("/api/regions.geojson", "/api/regions.txt"):
        text = visitor.text(path, points=points)
        status, _, answer = visitor.request("PUT", "/api/regions", text)
        assert status == 200, answer
        frame, box = json.loads(answer)
        assert (frame["name"], box["name"]) == ("frame", "box")
        assert visitor.post("/api/spectra", points=[frame]) == visitor.post("/api/spectra", points=points[:1])
        assert (box["top"], box["left"], box["height"], box["width"], box["rings"]) == (2, 3, 4, 5, [])
    assert "no file of regions" in visitor.refused("PUT", "/api/regions", b"\x89PNG")
    assert "longer than" in visitor.refused("PUT", "/api/regions", bytes((1 << 23) + 1))
