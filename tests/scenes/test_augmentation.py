"""Augmentations: cube and labels move together, and nothing else happens."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, Scene
from crsdun.scenes.augmentation import flipped, mosaic, turned

# Every pixel records where it came from: row in band 0, column in band 1, both in its class.
ROWS, COLUMNS = np.mgrid[:4, :6]
SCENE = Scene(np.stack([ROWS, COLUMNS]), (500.0, 600.0), 10 * ROWS + COLUMNS, name="a")


def together(scene: Scene) -> bool:
    return bool((scene.classes == 10 * scene.cube[0] + scene.cube[1]).all())


def test_flips_mirror_cube_and_classes():
    sideways, upside_down = flipped(SCENE, -1), flipped(SCENE, -2)
    assert together(sideways)
    assert together(upside_down)
    assert sideways.classes[0].tolist() == [5, 4, 3, 2, 1, 0]
    assert upside_down.classes[:, 0].tolist() == [30, 20, 10, 0]
    assert sideways.wavelengths == SCENE.wavelengths


def test_quarter_turns_turn_cube_and_classes():
    once = turned(SCENE, 1)
    assert once.cube.shape == (2, 6, 4)
    assert together(once)
    assert once.classes[:, 0].tolist() == [5, 4, 3, 2, 1, 0]  # the first row goes up the left side
    assert (turned(once, 3).classes == SCENE.classes).all()


def test_a_mosaic_joins_four_parts_around_a_point():
    parts = [
        SCENE.cropped(0, 0, 1, 2),
        SCENE.cropped(0, 1, 1, 3),
        SCENE.cropped(1, 0, 3, 2),
        SCENE.cropped(0, 3, 3, 3),
    ]
    joined = mosaic(parts)
    assert joined.cube.shape == (2, 4, 5)
    assert together(joined)
    assert joined.classes.tolist() == [[0, 1, 1, 2, 3], [10, 11, 3, 4, 5], [20, 21, 13, 14, 15], [30, 31, 23, 24, 25]]


def test_where_a_part_has_no_labels_the_mosaic_has_none():
    bare = Scene(SCENE.cube[:, :1, :2])
    parts = [bare, SCENE.cropped(0, 0, 1, 2), SCENE.cropped(0, 0, 1, 2), bare]
    assert mosaic(parts).classes.tolist() == [[UNLABELLED, UNLABELLED, 0, 1], [0, 1, UNLABELLED, UNLABELLED]]
    assert mosaic([bare] * 4).classes is None


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="edges fit"):
        mosaic([SCENE, SCENE, SCENE, SCENE.cropped(0, 0, 2, 2)])
