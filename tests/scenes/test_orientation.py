"""The borders of classes reveal the orientation of a cube; without borders, nothing is claimed."""

import numpy as np
import pytest

from crsdun.scenes import open_set
from crsdun.scenes.orientation import AS_THE_LABELS, MARGIN, ORIENTATIONS, best_orientation, edge_contrasts
from tests.scenes.datasets import made_scene


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_turn_is_recognised(orientation, index):
    cube, classes = made_scene(index, 12)
    as_it_lies = cube.mean(axis=0)
    # The turn that was made is undone by the one in the table.
    undo = ORIENTATIONS[orientation]
    turned = next(
        turn(as_it_lies) for turn in ORIENTATIONS.values() if np.array_equal(undo(turn(as_it_lies)), as_it_lies)
    )
    assert best_orientation([edge_contrasts(turned, classes)]) == orientation


def test_turns_have_their_names():
    picture = np.array([[1, 2], [3, 4]])
    left = np.array([[2, 4], [1, 3]])  # turned by 90° to the left: the right column came to the top
    np.testing.assert_array_equal(ORIENTATIONS["turned by 90° to the left"](left), picture)
    np.testing.assert_array_equal(ORIENTATIONS["turned by 90° to the right"](left[::-1, ::-1]), picture)
    np.testing.assert_array_equal(ORIENTATIONS["upside down"](picture[::-1]), picture)
    np.testing.assert_array_equal(ORIENTATIONS["mirrored"](picture[:, ::-1]), picture)


def test_a_rectangle_is_compared_only_where_it_fits():
    cube, classes = made_scene(0, 12)
    contrasts = edge_contrasts(cube.mean(axis=0)[:20], classes[:20])
    assert set(contrasts) == {AS_THE_LABELS, "upside down", "mirrored", "turned by 180°"}


def test_nothing_is_claimed_of_noise():
    random = np.random.default_rng(0)
    classes = made_scene(0, 4)[1]
    found = [best_orientation([edge_contrasts(random.random((32, 32)), classes)]) for _ in range(200)]
    assert found.count(AS_THE_LABELS) == 200
    assert edge_contrasts(random.random((32, 32)), np.zeros((32, 32), dtype=int)) == {}
    assert edge_contrasts(np.ones((32, 32)), classes) == {}
    assert best_orientation([{}]) is None


@pytest.mark.parametrize("index", [0, 49])
def test_objects_in_rows_are_no_doubtful_case(index):
    """They lie much the same if mirrored."""
    scene = open_set("produce", "test")[index]
    contrasts = edge_contrasts(scene.cube.mean(axis=0), scene.classes)
    right = contrasts.pop(AS_THE_LABELS)
    assert right > 2 * MARGIN * max(contrasts.values())


def test_scenes_are_judged_together():
    doubtful = {AS_THE_LABELS: 1.0, "transposed": 1.1 * MARGIN}
    assert best_orientation([doubtful]) == "transposed"
    assert best_orientation([doubtful, {AS_THE_LABELS: 3.0, "transposed": 1.0}]) == AS_THE_LABELS
