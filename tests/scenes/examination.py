"""The examination that every data set takes; its own test file opens it."""

import pickle

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, SceneSet


class SetExamination:
    """Inherit and give the fixture ``scenes``; every property below is then tested."""

    @pytest.fixture
    def scenes(self) -> SceneSet:
        raise NotImplementedError

    def test_a_crop_is_a_part_of_the_whole(self, scenes):
        for index in {0, len(scenes) - 1}:
            whole = scenes[index]
            height, width = scenes.size(index)
            assert whole.cube.shape == (scenes.bands, height, width)
            for window in ((0, 0, 1, 1), (1, 3, height - 1, width - 3), (2, 0, 5, width), (height - 4, 7, 4, 9)):
                part, expected = scenes.crop(index, *window), whole.cropped(*window)
                np.testing.assert_array_equal(part.cube, expected.cube)
                assert (part.name, part.wavelengths) == (expected.name, expected.wavelengths)
                if expected.classes is None:
                    assert part.classes is None
                else:
                    np.testing.assert_array_equal(part.classes, expected.classes)

    @pytest.mark.parametrize("window", [(-1, 0, 4, 4), (0, 0, 0, 4), (0, 0, 4, 10_000), (30_000, 0, 4, 4)])
    def test_a_crop_stays_inside(self, scenes, window):
        with pytest.raises(InputError, match="leaves the"):
            scenes.crop(0, *window)

    def test_attributes_of_the_set_hold_for_its_scenes(self, scenes):
        assert len(scenes) == len(scenes.names) == len(set(scenes.names)) > 0
        assert scenes.name.endswith(scenes.split)
        for index in range(min(3, len(scenes))):
            scene = scenes[index]
            assert scene.name == scenes.names[index]
            assert scene.wavelengths == scenes.wavelengths
            assert scene.class_names == scenes.class_names
            if scene.classes is not None:
                assert scene.classes.min() >= UNLABELLED
                assert scene.classes.max() < len(scenes.class_names)
        if scenes.colours is not None:
            assert len(set(scenes.colours)) == len(scenes.class_names)

    def test_hashes_are_sha256_and_always_the_same(self, scenes):
        hashes = scenes.hashes()
        assert hashes == scenes.hashes()
        assert all(len(bytes.fromhex(digest)) == 32 for digest in hashes.values())

    def test_it_goes_to_a_worker_process_small(self, scenes):
        sent = pickle.dumps(scenes)
        assert len(sent) < 3_000_000
        np.testing.assert_array_equal(pickle.loads(sent)[0].cube, scenes[0].cube)
