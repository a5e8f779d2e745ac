"""Produce in the wild: its labels mean what those of Produce-23 mean."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from crsdun.scenes.patchwork import WildProduceSet
from crsdun.scenes.patchwork.wild import PENUMBRA, WildObject, arrange, lit
from crsdun.scenes.produce import CLASS_NAMES
from crsdun.scenes.produce.exact_arithmetic import SceneRng
from crsdun.scenes.produce.spectra import ILLUMINANTS, KINDS, pairs


@pytest.fixture(scope="module")
def scenes():
    return [WildProduceSet("train")[index] for index in range(24)]


def interior(classes):
    """Pixels whose neighbourhood has one class."""
    return minimum_filter(classes, 5) == maximum_filter(classes, 5)


def distance(pixels, label, lamp):
    """How far spectra (n,C) are from all that a class may be painted with: mixtures of a recipe, and a flat gleam."""
    kind, fake = divmod(label - 1, 2)
    spectra = pairs()["fake"][lamp, kind] if fake else pairs()["real"][kind]
    nearest = np.full(len(pixels), np.inf)
    for recipe in range(spectra.shape[1]):
        basis = np.concatenate([spectra[:, recipe].reshape(-1, spectra.shape[-1]), np.ones((1, spectra.shape[-1]))])
        _, sizes, rows = np.linalg.svd(basis, full_matrices=False)
        rows = rows[sizes > 1e-3 * sizes[0]]
        nearest = np.minimum(nearest, np.linalg.norm(pixels - pixels @ rows.T @ rows, axis=1))
    return nearest / np.linalg.norm(pixels, axis=1)


def test_every_class_occurs_and_most_pixels_are_background(scenes):
    counts = np.bincount(np.concatenate([scene.classes.ravel() for scene in scenes]), minlength=len(CLASS_NAMES))
    assert scenes[0].class_names == CLASS_NAMES
    assert (counts > 0).all()
    assert 0.6 < counts[0] / counts.sum() < 0.95


def test_an_object_has_the_spectrum_of_its_class_and_not_of_its_counterpart(scenes):
    own, counterpart = [], []
    for scene in scenes:
        lamp = ILLUMINANTS.index(scene.provenance["illuminant"])
        inside = interior(scene.classes)
        for label in np.unique(scene.classes)[1:]:
            pixels = scene.cube[:, inside & (scene.classes == label)][:, ::40].T.astype(np.float64)
            pixels = pixels[pixels.max(axis=1) > 0.02]
            if len(pixels):
                own.append(np.median(distance(pixels, label, lamp)))
                counterpart.append(np.median(distance(pixels, (label - 1 ^ 1) + 1, lamp)))
    assert len(own) > 60
    assert np.median(own) < 0.003
    assert np.mean(np.array(counterpart) > 3 * np.array(own)) > 0.9


def test_the_background_is_of_all_kinds():
    kinds = {WildProduceSet("train").crop(index, 0, 0, 4, 4).provenance["kind"] for index in range(60)}
    assert {"collage", "picture", "land", "texture"} <= kinds


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_reaches_farther_than_a_window_looks(kind):
    for number in range(8):
        scale = 0.5 + 0.6 * number / 7
        each = WildObject(f"reach {number}", kind, False, scale, 0, 0)
        is_lit = lit(each, "scene", 0)
        height, width = is_lit.cover.shape
        rows, columns = slice(is_lit.top, is_lit.top + height), slice(is_lit.left, is_lit.left + width)
        for edge in (rows.start, rows.stop - 1):
            assert each.meets(slice(edge, edge + 1), slice(0, 1))
        for edge in (columns.start, columns.stop - 1):
            assert each.meets(slice(0, 1), slice(edge, edge + 1))
        assert not each.meets(slice(70, 80), slice(0, 1))
        edges = (is_lit.shadow[0], is_lit.shadow[-1], is_lit.shadow[:, 0], is_lit.shadow[:, -1])
        assert max(edge.max() for edge in edges) < 0.02
        assert is_lit.shadow[PENUMBRA:-PENUMBRA, PENUMBRA:-PENUMBRA].max() > 0.7


def test_objects_are_drawn_without_preference():
    objects = [each for number in range(400) for each in arrange(SceneRng(f"draw {number}"))]
    assert 2 <= len(objects) / 400 <= 11
    assert np.mean([each.fake for each in objects]) == pytest.approx(0.5, abs=0.05)
    for kind in KINDS:
        assert np.mean([each.kind == kind for each in objects]) == pytest.approx(1 / len(KINDS), abs=0.03)
