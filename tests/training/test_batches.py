"""Batches: a pure function of seed, step and slot; labels stay with their spectra; y is what the camera sees."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.networks import create
from crsdun.optics import random_mask
from crsdun.scenes.scene_set import ResampledSet, WholeScene
from crsdun.solvers import LrTv
from crsdun.training.batches import Batches, exposure_for
from tests.training.small import SmallSet, small_config, small_sets

SETS = small_sets()


def batches(slots=range(2), sets=SETS, **sections):
    config = small_config("unused", **sections)
    return Batches(sets[0], exposure_for(config.camera, sets), config, slots)


def same(one, other):
    assert one.names == other.names
    for name in ("cube", "classes", "measurement"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.camera.mask, other.camera.mask)


def test_a_batch_depends_on_seed_and_step_alone():
    first, second = batches(), batches()
    later = first.batch(7)
    first.batch(3)
    same(later, second.batch(7))
    assert not torch.equal(later.cube, batches(seed=1).batch(7).cube)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_change_nothing_and_a_stream_goes_on_anywhere(workers):
    ahead = list(batches(sampling={"workers": workers}).stream(2, 7))
    assert [batch.step for batch in ahead] == [2, 3, 4, 5, 6]
    for batch in ahead:
        same(batch, batches().batch(batch.step))


def test_leaving_a_stream_early_leaves_no_thread_behind():
    stream = batches(sampling={"workers": 2}).stream(0, 100)
    next(stream)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_two_processes_share_the_batch_of_one():
    four = {"batch": 4}
    whole = batches(range(4), sampling=four).batch(5)
    halves = [batches(slots, sampling=four).batch(5) for slots in (range(2), range(2, 4))]
    assert halves[0].names + halves[1].names == whole.names
    for name in ("cube", "classes", "measurement"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))


def test_every_scene_comes_once_in_an_epoch_and_epochs_differ():
    stream = batches(sampling={"mosaic": 0})
    epochs = [[name for step in steps for name in stream.batch(step).names] for steps in (range(3), range(3, 6))]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(SETS[0].names)
    assert epochs[0] != epochs[1]


def test_labels_stay_with_their_spectra_through_every_augmentation():
    spectra = np.random.default_rng(0).random((4, 5))
    directions = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    stream = batches(sampling={"crop": [24, 40], "mosaic": 0.5})
    names = []
    for step in range(12):
        batch = stream.batch(step)
        names += batch.names
        cube, classes = batch.cube.movedim(1, -1).numpy(), batch.classes.numpy()
        assert cube.shape == (2, 24, 40, 5)
        known = classes >= 0
        nearest = (cube[known] @ directions.T / np.linalg.norm(cube[known], axis=1, keepdims=True)).argmax(1)
        assert (nearest == classes[known]).all()
    assert {name.startswith("mosaic") for name in names} == {True, False}


def test_flips_and_turns_happen():
    plain = {"mosaic": 0, "flips": "none", "quarter_turns": False}
    whole = {"crop": [48, 64]}  # nothing else is left to chance
    index = {scene.name: scene.cube for scene in SETS[0].scenes}

    def seen(**sampling):
        stream = batches(sampling={**plain, **whole, **sampling})
        found = set()
        for step in range(12):
            batch = stream.batch(step)
            for name, cube in zip(batch.names, batch.cube.numpy(), strict=True):
                kinds = {"as it is": (), "sideways": (-1,), "upside down": (-2,), "both": (-1, -2)}
                found |= {kind for kind, axes in kinds.items() if np.array_equal(cube, np.flip(index[name], axes))}
        return found

    assert seen() == {"as it is"}
    assert seen(flips="horizontal") == {"as it is", "sideways"}
    assert seen(flips="both") == {"as it is", "sideways", "upside down", "both"}


def test_the_camera_measures_the_crops_behind_one_part_of_the_mask_for_each_step():
    stream = batches(camera={"noise": {"read_sigma": 0.0}})
    first, second = stream.batch(0), stream.batch(1)
    assert torch.equal(first.measurement, first.camera.forward(first.cube))
    assert not torch.equal(first.camera.mask, second.camera.mask)
    fixed = batches(camera={"random_crops": False})
    assert torch.equal(fixed.batch(0).camera.mask, fixed.batch(1).camera.mask)


def test_noise_is_of_each_sample_and_step():
    noisy = batches(camera={"noise": {"read_sigma": 0.1}})
    found = [noisy.batch(step) for step in range(2)]
    clean = [part for batch in found for part in batch.camera.forward(batch.cube)]
    noise = [part - y for part, y in zip([part for batch in found for part in batch.measurement], clean, strict=True)]
    # Where there is little light, what would be negative is 0.
    assert all(
        part[y > 0.4].std().item() == pytest.approx(0.1, rel=0.1) for part, y in zip(noise, clean, strict=True)
    )
    assert all(not torch.allclose(a, b) for i, a in enumerate(noise) for b in noise[:i])


def test_only_the_crops_are_read():
    class Counting(SmallSet):
        pixels = 0

        def crop(self, index, top, left, height, width):
            self.pixels += height * width
            return super().crop(index, top, left, height, width)

    counting = Counting("train")
    stream = batches(sets=(counting, SETS[1]), sampling={"crop": [16, 16], "mosaic": 0.7})
    for step in range(5):
        stream.batch(step)
    assert counting.pixels == 5 * 2 * 16 * 16


def test_crops_that_do_not_fit_are_refused_before_training():
    with pytest.raises(InputError, match="scene train 0 has 48×64 pixels, crops need 50×20"):
        batches(sampling={"crop": [50, 20], "quarter_turns": False})
    with pytest.raises(InputError, match="crops need 60×60"):
        batches(sampling={"crop": [20, 60]})
    batches(sampling={"crop": [20, 60], "quarter_turns": False})


def test_masks_by_seed_and_by_file(tmp_path):
    config = small_config("unused").camera
    assert np.array_equal(exposure_for(replace(config, mask="random:3"), SETS).mask, random_mask(48, 64, seed=3))
    np.savez(tmp_path / "mask.npz", mask=random_mask(20, 20))
    file = replace(config, mask=str(tmp_path / "mask.npz"))
    assert exposure_for(file, SETS).mask.shape == (20, 20)
    with pytest.raises(InputError, match="the mask has 20×20 pixels, crops have 32×32"):
        batches(camera={"mask": file.mask})
    with pytest.raises(InputError, match="random:SEED"):
        exposure_for(replace(config, mask="random:x"), SETS)


RANDOM = {"random": {}}
WHOLE = {"crop": [48, 64], "mosaic": 0, "flips": "none", "quarter_turns": False}  # nothing is left to chance


def test_a_random_camera_depends_on_seed_and_step_alone_and_is_another_one_in_each_step():
    first, ahead = batches(camera=RANDOM), batches(camera=RANDOM, sampling={"workers": 2}).stream(3, 9)
    first.batch(20)
    seen = list(ahead)
    for batch in seen:
        again = first.batch(batch.step)
        same(batch, again)
        assert batch.camera.offsets == again.camera.offsets
        assert batch.camera.wavelengths == again.camera.wavelengths
    assert len({float(batch.camera.mask.sum()) for batch in seen}) == 6
    other = batches(camera=RANDOM, seed=1).batch(3)
    assert float(other.camera.mask.sum()) != float(seen[0].camera.mask.sum())


def test_some_steps_have_the_configured_camera():
    mixed = batches(camera={"random": {"plain": 0.5}})
    fixed = batches(camera={"random": None})
    plain = 0
    for step in range(40):
        if mixed.random_exposure_at(step) is None:
            plain += 1
            same(mixed.batch(step), fixed.batch(step))
    assert 10 < plain < 30
    assert all(batches(camera=RANDOM).random_exposure_at(step) for step in range(40))


def test_batches_hold_what_the_network_begins_with():
    config = small_config("unused", network={"settings": {"width": 4, "start": "lr-tv", "start_iterations": 3}})
    network = create("crsdun_1stg", 5, 4, **config.network.settings)
    batch = Batches(SETS[0], exposure_for(config.camera, SETS), config, range(2), begin=network.begin).batch(1)
    expected = LrTv(iterations=3)(batch.measurement, batch.camera).cube
    assert torch.equal(batch.begun, expected)
    assert batches().batch(1).begun is None


def test_processes_share_the_random_camera():
    halves = [batches(slots, camera=RANDOM).batch(5) for slots in (range(1), range(1, 2))]
    whole = batches(camera=RANDOM).batch(5)
    for name in ("cube", "measurement"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert torch.equal(halves[0].camera.mask, halves[1].camera.mask)


def test_the_measurement_is_taken_by_the_true_camera_and_the_network_is_told_the_other():
    stream = batches(camera={"random": {"misplaced": 1, "noisy": 0, "dark": 0}})
    for step in range(5):
        batch, drawn = stream.batch(step), stream.random_exposure_at(step)
        assert torch.equal(batch.camera.mask, drawn.told.mask)
        torch.testing.assert_close(batch.measurement, drawn.true.forward(batch.cube))
        assert not torch.allclose(batch.measurement, batch.camera.forward(batch.cube))
    noisy = batches(camera={"random": {"misplaced": 0, "noisy": 1, "photons": [50, 50], "dark": 0}}).batch(0)
    difference = noisy.measurement - noisy.camera.forward(noisy.cube)
    assert not torch.allclose(difference[0], difference[1])


def test_cubes_are_on_the_bands_of_the_batchs_camera():
    stream = batches(camera={"random": {"grids": 0.5}}, sampling=WHOLE)
    by_name = {scene.name: scene for scene in SETS[0].scenes}
    grids = set()
    for step in range(12):
        batch = stream.batch(step)
        grids.add(batch.camera.wavelengths)
        for name, cube in zip(batch.names, batch.cube.numpy(), strict=True):
            np.testing.assert_array_equal(cube, by_name[name].resampled(batch.camera.wavelengths).cube)
    assert SETS[0].wavelengths in grids
    assert len(grids) > 3
    assert all(grid[0] >= 400 and grid[-1] <= 600 for grid in grids)


def test_a_set_may_render_other_bands_itself():
    class Rendering(SmallSet):
        def on_grid(self, wavelengths):
            other = SmallSet("train")
            for index, scene in enumerate(other.scenes):
                other.scenes[index] = replace(scene, cube=np.full_like(scene.cube, 0.25), wavelengths=wavelengths)
            other.wavelengths = wavelengths
            return other

    sets = (Rendering("train"), SETS[1])
    always = batches(sets=sets, camera={"random": {"grids": 1}}, sampling={"mosaic": 0.5}).batch(0)
    assert (always.cube == 0.25).all()
    never = batches(sets=sets, camera={"random": {"grids": 0}}).batch(0)
    assert never.cube.std() > 0


def test_scenes_without_wavelengths_keep_their_bands():
    sets = small_sets()
    for each in sets:
        each.wavelengths = None
        each.scenes = [replace(scene, wavelengths=None) for scene in each.scenes]
    stream = batches(sets=sets, camera={"random": {"grids": 1}})
    batch = stream.batch(0)
    assert batch.camera.wavelengths is None
    assert batch.cube.shape == (2, 5, 32, 32)


def test_a_set_on_other_bands():
    grid = (410.0, 480.0, 590.0)
    other = SETS[0].on_grid(grid)
    assert (other.name, other.split, other.names) == (SETS[0].name, "train", SETS[0].names)
    assert (other.bands, other.wavelengths, other.class_names) == (3, grid, SETS[0].class_names)
    assert (other.size(1), other.hashes()) == (SETS[0].size(1), SETS[0].hashes())
    crop = other.crop(1, 3, 5, 20, 30)
    expected = SETS[0].scenes[1].cropped(3, 5, 20, 30).resampled(grid)
    assert np.array_equal(crop.cube, expected.cube)
    assert np.array_equal(crop.classes, expected.classes)
    assert crop.wavelengths == other[1].wavelengths == grid
    # Back on its own bands nothing has been lost: it was resampled once.
    assert np.array_equal(other.on_grid(SETS[0].wavelengths)[1].cube, SETS[0].scenes[1].cube)
    assert isinstance(WholeScene(SETS[0].scenes[0]).on_grid(grid), ResampledSet)
    with pytest.raises(InputError, match="covers 400–600 nm, not 300–500 nm"):
        SETS[0].on_grid((300.0, 500.0)).crop(0, 0, 0, 5, 5)


def test_the_widest_random_camera_counts():
    assert batches().span == 8
    assert batches(camera=RANDOM).span == 12
    assert batches(camera={"random": {"steps": [1, 5]}}).span == 20
