"""The examination that every method takes, whatever kind it is: it is described, called and run like all others."""

import json
import re

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.methods import Method, RunOptions, Tiles, data_residual, run_batch, run_method
from crsdun.methods.precision import PRECISIONS
from crsdun.optics import CassiCamera, Estimate, ModelCard, random_mask

BANDS, CLASSES = 4, 3
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0)


class MethodExamination:
    """Inherit and define ``method``; every property below is then tested.

    The other attributes are what the method is expected to say of itself, and the size of the ``smallest`` scene
    that it takes.
    """

    name: str
    class_count, stage_count = 0, 1
    tileable = needs_scale = takes_optics = True
    smallest = 1

    def method(self) -> Method:
        raise NotImplementedError

    @pytest.fixture
    def opened(self) -> Method:
        torch.manual_seed(0)
        return self.method()

    def camera(self, **settings) -> CassiCamera:
        height, width = max(24, self.smallest), max(20, self.smallest)
        return CassiCamera(random_mask(height, width, seed=1), bands=BANDS, **settings)

    def measure(self, camera: CassiCamera) -> torch.Tensor:
        rows = torch.linspace(0, 3, camera.height)[:, None] + torch.linspace(0, 2, camera.width)
        return camera.forward(0.5 + 0.4 * torch.sin(rows + torch.arange(BANDS).view(-1, 1, 1)))

    def check_counts(self, estimate: Estimate, camera: CassiCamera) -> None:
        size = camera.height, camera.width
        assert len(estimate.cubes) == self.stage_count
        assert all(cube.shape == (1, BANDS, *size) for cube in estimate.cubes)
        assert bool(estimate.logits) == bool(self.class_count)
        assert all(logits.shape == (1, self.class_count, *size) for logits in estimate.logits)

    # -- what it says of itself ------------------------------------------------------------------------------------

    def test_it_is_described(self, opened):
        assert opened.name == self.name
        assert isinstance(opened.card, ModelCard)
        assert isinstance(opened.engine, str)
        assert (opened.class_count, opened.stage_count) == (self.class_count, self.stage_count)
        assert (opened.tileable, opened.needs_scale) == (self.tileable, self.needs_scale)
        assert isinstance(opened.inspectable, bool)
        assert opened.precisions[0] == "float32"
        assert set(opened.precisions) <= set(PRECISIONS)

    def test_its_settings_are_plain_values(self, opened):
        assert opened.settings
        assert json.loads(json.dumps(opened.settings, allow_nan=False)) == opened.settings

    def test_its_memory_grows_with_the_frame_where_it_is_known(self, opened):
        small, large = opened.peak_bytes(64, 64), opened.peak_bytes(128, 64)
        assert small is large is None or 0 < small < large

    # -- how it is called ------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def test_every_measurement_gives_an_estimate(self, opened):
        camera = self.camera()
        with opened.inference():
            self.check_counts(opened(self.measure(camera)[None], camera), camera)

    def test_frames_that_are_given_together_are_estimated_as_alone(self, opened):
        camera = self.camera()
        y = self.measure(camera)
        frames = torch.stack([y, y.flip(0)]) if opened.batches else y[None]
        for frame, run in zip(frames, run_batch(opened, frames, camera), strict=True):
            alone = run_method(opened, frame, camera)
            torch.testing.assert_close(run.estimate.cube, alone.estimate.cube, rtol=1e-4, atol=1e-4)
            assert run.residual == pytest.approx(alone.residual, rel=1e-3)

    @torch.inference_mode()
    def test_progress_grows_towards_its_total(self, opened):
        camera, calls = self.camera(), []
        with opened.inference():
            opened(self.measure(camera)[None], camera, lambda *call: calls.append(call))
        assert len({total for _, total in calls}) == 1
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)
        assert all(0 < done <= total for done, total in calls)

    def test_what_progress_raises_ends_the_run(self, opened):
        def cancel(done, total):
            raise InterruptedError

        camera = self.camera()
        for tiles in [None] + [Tiles(self.smallest)] * self.tileable:
            with pytest.raises(InterruptedError):
                run_method(opened, self.measure(camera), camera, RunOptions(tiles=tiles), cancel)

    def test_it_fits_the_camera_or_refuses_it(self, opened):
        plain, known = self.camera(), self.camera(wavelengths=WAVELENGTHS)
        assert opened.fit(known).wavelengths == WAVELENGTHS
        assert opened.fit(plain).wavelengths == opened.card.wavelengths
        assert torch.equal(opened.fit(plain).mask, plain.mask)

    def test_what_pixels_read_that_do_not_count_is_nothing_to_it(self, opened):
        valid = torch.ones(self.camera().measurement_shape, dtype=torch.bool)
        valid[3::7, 5::6] = False
        camera = self.camera().counting(valid)
        y = self.measure(camera)
        if not self.takes_optics:
            with pytest.raises(InputError, match="knows no optics behind the prism, and the camera has validity"):
                run_method(opened, y, camera)
            return
        expected = run_method(opened, y, camera)
        for reading in (50.0, float("nan")):
            run = run_method(opened, torch.where(valid, y, reading), camera)
            assert torch.equal(run.estimate.cube, expected.estimate.cube)
            assert run.residual == expected.residual

    # -- how it is run ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("keep_stages", [False, True])
    def test_a_run_is_finite_and_knows_what_it_leaves_unexplained(self, opened, keep_stages):
        camera = self.camera()
        y = self.measure(camera)
        run = run_method(opened, y, camera, RunOptions(keep_stages=keep_stages))
        if keep_stages:
            self.check_counts(run.estimate, camera)
        else:
            assert (len(run.estimate.cubes), len(run.estimate.logits)) == (1, bool(self.class_count))
        assert all(torch.isfinite(values).all() for values in run.estimate.cubes + run.estimate.logits)
        assert run.residuals == [data_residual(y, cube[0], run.camera) for cube in run.estimate.cubes]
        assert 0 <= run.residual < float("inf")
        assert run.seconds > 0
        assert run.tiles is None

    def test_a_run_becomes_a_scene(self, opened):
        camera = self.camera(wavelengths=WAVELENGTHS)
        scene = run_method(opened, self.measure(camera), camera).scene("mine", opened.card)
        assert (scene.name, scene.wavelengths, scene.cube.shape[0]) == ("mine", WAVELENGTHS, BANDS)
        assert (scene.classes is not None) == bool(self.class_count)
        assert scene.class_names == opened.card.class_names

    def test_bands_of_a_scene_ascend_whichever_way_the_camera_disperses(self, opened):
        """Red first to the left is blue first to the right, and decoded like it."""
        camera, blue = self.camera(wavelengths=WAVELENGTHS[::-1], step=-2), self.camera(wavelengths=WAVELENGTHS)
        y = self.measure(blue)
        run, expected = run_method(opened, y, camera), run_method(opened, y, blue)
        with torch.inference_mode(), opened.inference():
            raw = opened(y[None], camera).cube
        assert torch.equal(run.estimate.cube, raw.flip(1))
        assert run.wavelengths == run.camera.wavelengths == WAVELENGTHS
        assert run.residual == pytest.approx(data_residual(y, raw[0], camera), rel=1e-4)
        assert run.residual == data_residual(y, run.estimate.cube[0], run.camera)
        torch.testing.assert_close(run.estimate.cube, expected.estimate.cube, rtol=1e-3, atol=1e-3)

    def test_a_run_leaves_the_method_as_it_was(self, opened):
        camera = self.camera()
        mode = getattr(opened, "training", None)
        first, second = (run_method(opened, self.measure(camera), camera) for _ in range(2))
        assert getattr(opened, "training", None) == mode
        assert torch.equal(first.estimate.cube, second.estimate.cube)

    def test_it_is_run_only_as_it_can_be(self, opened):
        camera, y = self.camera(), self.measure(self.camera())
        for precision in set(PRECISIONS) - set(opened.precisions):
            with pytest.raises(
                InputError, match=f"{re.escape(self.name)} computes in float32, not in {precision}; omit prec"
            ):
                run_method(opened, y, camera, RunOptions(precision=precision))
        if not self.tileable:
            with pytest.raises(InputError, match=f"{re.escape(self.name)} takes whole frames; omit tile"):
                run_method(opened, y, camera, RunOptions(tiles=Tiles(8)))
        if self.needs_scale:
            with pytest.raises(InputError, match="these look like raw counts; normalise them with bits"):
                run_method(opened, 1000 * y, camera)
        else:
            assert run_method(opened, 1000 * y, camera).residual < 1

    def test_it_is_judged_like_all_others(self, opened):
        """From a frame and a mask to figures, in one call."""
        camera = self.camera()
        truth = crsdun.Scene(np.full((BANDS, camera.height, camera.width), 0.5, np.float32), name="flat")
        frame = camera.forward(torch.from_numpy(truth.cube)).numpy()
        result = crsdun.reconstruct(frame, camera.mask.numpy(), opened, truth)
        assert result.metrics.keys() >= {"data_residual", "psnr_db", "ssim", "sam_deg", "rmse", "protocol"}
        assert result.record["method"] == self.name
        assert result.record["settings"] == opened.settings
