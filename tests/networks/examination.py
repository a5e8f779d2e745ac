"""The examination that every network takes; a network's own test file names its small configuration."""

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import multiply_adds, parameters
from crsdun.networks import Network
from crsdun.runtime.graph_export import trace
from tests.networks.stored import StoredRun


class NetworkExamination:
    """Inherit, set ``name`` and small ``settings``; every property below is then tested.

    ``stages`` is the number of cubes in an estimate, ``segmented`` how many of them have a class map.
    """

    name: str
    settings: dict

    bands, classes, stages, segmented = 4, 3, 2, 2

    def network(self, seed: int = 0, **overrides) -> Network:
        torch.manual_seed(seed)
        return crsdun.create(
            self.name, **{"bands": self.bands, "classes": self.classes, **self.settings, **overrides}
        )

    @staticmethod
    def camera(height: int = 32, width: int = 32, bands: int = 4, **settings) -> crsdun.CassiCamera:
        mask = np.random.default_rng(1).random((height, width))
        return crsdun.CassiCamera(mask, bands=bands, **settings)

    @staticmethod
    def measure(camera: crsdun.CassiCamera, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """A smooth scene and its measurement."""
        rows = torch.linspace(0, 3, camera.height)[:, None] + torch.linspace(0, 2, camera.width)
        phases = torch.arange(batch * camera.bands).view(batch, camera.bands, 1, 1)
        cube = 0.5 + 0.5 * torch.sin(rows + phases)
        return cube, camera.forward(cube)

    def test_every_stage_is_estimated(self):
        camera = self.camera()
        estimate = self.network().eval()(self.measure(camera, 2)[1], camera)
        assert (len(estimate.cubes), len(estimate.logits)) == (self.stages, self.segmented)
        assert estimate.cube is estimate.cubes[-1]
        assert all(cube.shape == (2, self.bands, 32, 32) for cube in estimate.cubes)
        assert all(logits.shape == (2, self.classes, 32, 32) for logits in estimate.logits)
        if self.segmented:
            assert torch.equal(estimate.classes, estimate.logits[-1].argmax(1))
        assert all(torch.isfinite(value).all() for value in estimate.cubes + estimate.logits)

    @pytest.mark.parametrize("size", [(1, 1), (5, 7), (33, 31), (64, 40)])
    def test_any_size(self, size):
        camera = self.camera(*size)
        estimate = self.network().eval()(self.measure(camera)[1], camera)
        assert estimate.cube.shape == (1, self.bands, *size)
        assert all(logits.shape == (1, self.classes, *size) for logits in estimate.logits)
        assert all(torch.isfinite(value).all() for value in estimate.cubes + estimate.logits)

    @pytest.mark.parametrize(("bands", "classes"), [(1, 2), (7, 1), (3, 9)])
    def test_any_bands_and_classes(self, bands, classes):
        camera = self.camera(bands=bands)
        estimate = self.network(bands=bands, classes=classes).eval()(self.measure(camera)[1], camera)
        assert estimate.cube.shape == (1, bands, 32, 32)
        assert all(logits.shape == (1, classes, 32, 32) for logits in estimate.logits)

    @pytest.mark.parametrize(
        "settings",
        [
            {"step": 1}, {"step": -3}, {"step": 0}, {"step": 1.5}, {"offsets": [0, 1, 4, 9]},
            {"offsets": [(0, 0), (1.5, 2), (3, 4), (-1, 6)]},
        ],
    )  # fmt: skip
    def test_any_dispersion(self, settings):
        camera = self.camera(**settings)
        estimate = self.network().eval()(self.measure(camera)[1], camera)
        assert estimate.cube.shape == (1, 4, 32, 32)

    def test_a_mask_for_each_band(self):
        network = self.network().eval()
        flat = self.camera()
        y = self.measure(flat)[1]
        repeated = crsdun.CassiCamera(flat.mask.expand(4, -1, -1).clone())
        assert torch.equal(network(y, repeated).cube, network(y, flat).cube)
        different = crsdun.CassiCamera(torch.rand(4, 32, 32))
        assert not torch.allclose(network(y, different).cube, network(y, flat).cube)

    def test_batch_equals_singles(self):
        camera, network = self.camera(40, 33), self.network().eval()
        y = self.measure(camera, 3)[1]
        together = network(y, camera)
        for i in range(3):
            alone = network(y[i : i + 1], camera)
            for all_, one in zip(together.cubes + together.logits, alone.cubes + alone.logits, strict=True):
                torch.testing.assert_close(all_[i : i + 1], one, rtol=1e-4, atol=1e-5)

    def test_save_and_load(self, tmp_path):
        network, camera = self.network().eval(), self.camera()
        path, names = tmp_path / "weights.safetensors", ("a", "b", "c") if self.segmented else None
        crsdun.save(network, path, wavelengths=(450, 500, 550, 600), class_names=names, step=2)
        again = crsdun.load(path)
        assert again.config == network.config
        assert again.card.wavelengths == (450, 500, 550, 600)
        assert again.card.class_names == names
        y = self.measure(camera)[1]
        ours, stored = network(y, camera), again(y, camera)
        for here, there in zip(ours.cubes + ours.logits, stored.cubes + stored.logits, strict=True):
            assert torch.equal(here, there)

    def test_one_step_lowers_the_loss_of_a_fixed_batch(self):
        camera, network = self.camera(), self.network()
        cube, y = self.measure(camera, 2)
        classes = (cube[:, 0] > 0.5).long()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        before = self.loss(network(y, camera), cube, classes)
        before.backward()
        optimiser.step()
        with torch.no_grad():
            assert self.loss(network(y, camera), cube, classes) < before

    def test_counts_need_no_run(self):
        network, ran_on = self.network(), set()
        network.learnt_part.register_forward_hook(lambda module, inputs, output: ran_on.add(inputs[0].device.type))
        narrow, wide = (multiply_adds(network, 32, width) for width in (32, 64))
        assert ran_on == {"meta"}
        assert 1.9 * narrow < wide < 2.2 * narrow
        values = network.state_dict(keep_vars=True).values()
        assert parameters(network) == sum(value.numel() for value in values if value.requires_grad) > 0

    @staticmethod
    def loss(estimate, cube, classes):
        errors = [torch.nn.functional.mse_loss(x, cube) for x in estimate.cubes]
        errors += [1e-2 * torch.nn.functional.cross_entropy(theta, classes) for theta in estimate.logits]
        return torch.stack(errors).sum()

    def test_a_mask_with_closed_pixels(self):
        """Whole columns without light: nothing is divided by nothing, forward or backward."""
        mask = (np.random.default_rng(2).random((24, 20)) > 0.5).astype(np.float32)
        mask[:, :7] = mask[5] = 0
        learnt = torch.from_numpy(mask).requires_grad_()
        camera, network = crsdun.CassiCamera(learnt, bands=4), self.network()
        cube, y = self.measure(camera, 2)
        y.retain_grad()
        self.loss(network(y, camera), cube, torch.zeros(2, 24, 20).long()).backward()
        values = [y, learnt, *network.parameters()]
        gradients = [value.grad for value in values if value.grad is not None]
        assert len(gradients) > 2
        assert all(torch.isfinite(gradient).all() for gradient in gradients)

    def test_bands_may_come_in_any_order(self):
        """It sees them ascending, and returns them as they came."""
        network, order = self.network().eval(), [2, 0, 3, 1]
        camera = self.camera(wavelengths=(450, 500, 550, 600))
        y = self.measure(camera)[1]
        told, found = network(y, camera), network(y, camera.in_order(order))
        assert found.wavelengths == (550, 450, 600, 500)
        for here, there in zip(told.cubes, found.cubes, strict=True):
            torch.testing.assert_close(there, here[:, order], rtol=1e-4, atol=1e-5)
        for here, there in zip(told.logits, found.logits, strict=True):
            torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)

    def test_what_does_not_belong_together_is_refused(self):
        network, camera = self.network(), self.camera()
        y = self.measure(camera)[1]
        with pytest.raises(InputError, match="built for 4 bands but the camera has 6"):
            network(y, self.camera(bands=6))
        with pytest.raises(InputError, match=r"measurement\[None\]"):
            network(y[0], camera)
        with pytest.raises(InputError, match="what would fit"):
            network(y[..., :-1], camera)


class PublishedNetworkExamination(NetworkExamination):
    """The same, and outputs equal to those of the published network: ``published`` is a ``StoredRun``."""

    published: tuple[str, str]

    @torch.no_grad()
    def test_outputs_equal_the_published_network(self):
        run = StoredRun(*self.published)
        run.assert_equal(run.network(run.measurement, run.camera).cubes)


class ExportedNetworkExamination(NetworkExamination):
    """The same and an export, which takes some seconds: one heir for each kind of network, with its ``smallest``."""

    smallest: tuple[str, dict]

    def test_export(self):
        """The graph that all formats are made of, with its numbers at a size it was not traced at."""
        name, settings = self.smallest
        torch.manual_seed(0)
        network = crsdun.create(name, bands=self.bands, classes=self.classes, **settings).eval()
        graph = trace(network, self.camera(75, 52)).module(check_guards=False)
        camera = self.camera(40, 61)
        y = self.measure(camera)[1]
        with torch.inference_mode():
            estimate, outputs = network(y, camera), graph(y, camera.mask)
        for expected, ours in zip((estimate.cube, *estimate.logits[-1:]), outputs, strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
