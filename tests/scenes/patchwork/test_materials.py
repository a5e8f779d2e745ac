"""The spectra of patchwork scenes."""

import numpy as np
import pytest

from crsdun.scenes.patchwork.materials import (
    GRID,
    draw_lamp,
    draw_palette,
    library,
    metamer,
    natural_primaries,
    plant,
    sampled,
)
from crsdun.scenes.produce.exact_arithmetic import SceneRng
from crsdun.scenes.produce.spectra import measured


def test_the_library_holds_what_was_measured():
    table = library()["reflectances"]
    names = len(measured())
    np.testing.assert_allclose(table[:names], np.stack(list(measured().values())), atol=1e-5)
    assert table.shape == (names + 24 + 14 + 30 + 99, len(GRID))
    assert (table >= 0).all()
    assert (table <= 1).all()
    np.testing.assert_allclose(library()["illuminants"].max(axis=1), 1, atol=1e-4)
    assert GRID[library()["observer"].argmax(axis=1)] == pytest.approx([600, 556, 446], abs=3)


def test_a_metamer_has_the_same_colour_and_another_spectrum():
    observer, changed = library()["observer"], 0
    for number in range(40):
        rng = SceneRng(f"metamer {number}")
        one = 0.2 + 0.5 * plant(rng.derived("plant"))
        other = metamer(one, rng)
        assert (other >= 0).all()
        assert (other <= 1).all()
        off = [
            np.linalg.norm(observer @ (lamp * (one - other))) / np.linalg.norm(observer @ (lamp * one))
            for lamp in library()["illuminants"]
        ]
        assert min(off) < 1e-6
        changed += np.linalg.norm(one - other) > 0.03 * np.linalg.norm(one)
    assert changed > 20


def test_palettes_and_lamps_are_positive_and_differ():
    palettes = [draw_palette(SceneRng(f"palette {number}"), 22) for number in range(100)]
    for palette in palettes:
        assert palette.shape == (22, len(GRID))
        assert (palette >= 0).all()
        assert palette.max() <= 1 + 1e-9
    ranks = [np.linalg.matrix_rank(palette, tol=0.01 * np.linalg.norm(palette, 2)) for palette in palettes]
    assert min(ranks) <= 2
    assert max(ranks) >= 8
    for number in range(50):
        lamp = draw_lamp(SceneRng(f"lamp {number}"))
        assert lamp.max() == 1
        assert (lamp >= 0).all()


def test_natural_primaries_make_white_of_white():
    white = natural_primaries().sum(axis=0)
    visible = (GRID > 430) & (GRID < 660)
    assert white[visible] == pytest.approx(1, abs=0.15)


def test_between_the_wavelengths_of_the_grid_spectra_are_linear():
    spectra = sampled(np.stack([GRID, 2 * GRID]), (390.0, 401.0, 729.3))
    np.testing.assert_allclose(spectra, [[390, 401, 729.3], [780, 802, 1458.6]], rtol=1e-6)
