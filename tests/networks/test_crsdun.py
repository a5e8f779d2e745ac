"""CRSDUN: the common examination, equality with the authors' network, and what its outputs cannot show."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import PUBLISHED, multiply_adds, parameters
from crsdun.networks.blocks import ChannelGroupNorm, ChannelLayerNorm
from crsdun.networks.checkpoint_adapters import rename
from crsdun.networks.unet import pad_to_multiple
from crsdun.networks.unfolding import gradient_step, soft_threshold
from tests.networks.examination import NetworkExamination

PARITY = Path(__file__).parent / "parity"


class TestCrsdun(NetworkExamination):
    name, settings = "crsdun_2stg", {}


class TestNarrow(NetworkExamination):
    """A width of its own, apart from the number of bands."""

    name, settings = "crsdun_2stg", {"width": 6}


class TestAffinityGradient(NetworkExamination):
    name, settings = "crsdun_2stg", {"affinity_gradient": True}


class TestBaseline(NetworkExamination):
    """The ablation without any cooperation between the branches."""

    name, settings = "crsdun_2stg_baseline1", {}


class TestWarm(NetworkExamination):
    """Begins with a solver and a classifier of single spectra, on a scale of its own."""

    name = "crsdun_2stg"
    settings = {
        "start": "lr-tv",
        "start_iterations": 25,
        "start_classes": True,
        "own_scale": True,
        "quiet": True,
        "noise_aware": True,
    }


# -- equal to the authors' network -----------------------------------------------------------------------------


class Parity:
    """One stored run of the authors' network: random weights, inputs, outputs, loss and gradient norms."""

    def __init__(self, path: Path):
        self.data = np.load(path)
        self.weights = {
            key.removeprefix("weight/"): torch.from_numpy(self.data[key].astype(np.float32))
            for key in self.data.files
            if key.startswith("weight/")
        }
        self.network = crsdun.networks.from_published("crsdun", self.weights)
        self.camera = crsdun.CassiCamera(self.data["mask"], bands=self.data["cube"].shape[1])
        self.cube = torch.from_numpy(self.data["cube"])
        self.classes = torch.from_numpy(self.data["label"]).long()
        self.y = torch.from_numpy(self.data["measurement"])


@pytest.fixture(params=sorted(PARITY.glob("*.npz")), ids=lambda path: path.stem)
def parity(request) -> Parity:
    return Parity(request.param)


def test_the_camera_measures_as_the_authors_do(parity):
    torch.testing.assert_close(parity.camera.forward(parity.cube), parity.y, rtol=0, atol=1e-5)


@torch.no_grad()
def test_outputs_of_every_stage_equal_the_authors(parity):
    estimate = parity.network.eval()(parity.y, parity.camera)
    for k in range(parity.network.config.stages):
        for name, ours in (("cube", estimate.cubes[k]), ("logits", estimate.logits[k])):
            theirs = torch.from_numpy(parity.data[f"eval/{name}_stage{k}"])
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), f"{name} of stage {k}"


def test_loss_and_every_gradient_norm_equal_the_authors(parity):
    loss = crsdun.training.joint_loss(
        parity.network.train()(parity.y, parity.camera),
        parity.cube,
        parity.classes,
        crsdun.training.LossConfig(stage_decay=0.7, cross_entropy_weight=float(parity.data["train/lambda_ce"])),
    )
    loss.backward()
    assert loss.item() == pytest.approx(float(parity.data["train/loss"]), rel=1e-5)

    theirs = {
        rename(key.removeprefix("train/gradnorm/"), parity.weights): float(parity.data[key])
        for key in parity.data.files
        if key.startswith("train/gradnorm/")
    }
    ours = {
        name: 0.0 if parameter.grad is None else parameter.grad.norm().item()
        for name, parameter in parity.network.named_parameters()
    }
    assert theirs.keys() <= ours.keys()
    for name, norm in ours.items():
        # A sum of one small number over all pixels: the stored value itself is up to 1.6e-5 off what float64 gives.
        tolerance = 2e-5 if name == "stages.0.estimate.fusion.bias" else 1e-5
        assert norm == pytest.approx(theirs.get(name, 0.0), rel=tolerance, abs=0), name


def test_what_never_gets_a_gradient(parity):
    """Q lets none through, so the norm of Θ gets none, and neither does what feeds e of the cube branch."""
    estimate = parity.network.train()(parity.y, parity.camera)
    crsdun.training.joint_loss(estimate, parity.cube, parity.classes).backward()
    for name, parameter in parity.network.named_parameters():
        still = parameter.grad is None or not parameter.grad.any()
        expected = "norm_classes" in name or "cube_network.other" in name
        assert still == expected, name


@pytest.mark.parametrize(("stages", "count"), [(3, 4_015_125), (5, 6_728_497)])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_checkpoints_are_taken_in(stages, count, prefix):
    shapes = json.loads((PARITY / f"authors_checkpoint_{stages}stg_keys.json").read_text())
    random = torch.Generator().manual_seed(0)
    theirs = {prefix + key: torch.rand(shape, generator=random) for key, shape in shapes.items()}
    network = crsdun.networks.from_published("crsdun", theirs)
    assert (network.config.bands, network.config.classes, network.config.stages) == (28, 23, stages)
    assert parameters(network) == count
    assert torch.equal(
        network.state_dict()["stages.1.class_network.node1.blocks.1.ffn.mix.weight"],
        theirs[prefix + "net_stage.5.decoder_layers.1.2.blocks.1.1.fn.net.2.weight"],
    )


def test_foreign_or_incomplete_state_dicts_are_refused(parity):
    with pytest.raises(InputError, match="not a state dict of the authors' CRSDUN"):
        crsdun.networks.from_published("crsdun", {"conv.weight": torch.zeros(1)})
    del parity.weights["net_stage.1.CMB.norm.bias"]
    with pytest.raises(InputError, match=r"1 parameters disagree, such as stages\.0\.refine\.norm1\.bias"):
        crsdun.networks.from_published("crsdun", parity.weights)


# -- counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "billions"), [("crsdun_3stg", 4_015_125, 59.29), ("crsdun_5stg", 6_728_497, 98.68)]
)
def test_published_counts(name, count, billions):
    network = crsdun.create(name, bands=28, classes=23)
    assert parameters(network) == count
    assert multiply_adds(network) / 1e9 == pytest.approx(billions, rel=5e-3)


def test_the_tiny_one_stays_small():
    network = crsdun.create("crsdun_tiny", bands=28, classes=23)
    assert parameters(network) == 751_583
    assert multiply_adds(network) < 15e9


def test_counts_of_the_parts():
    network = crsdun.create("crsdun_2stg", bands=28, classes=23)
    first, second = network.stages
    assert [parameters(part) for part in (first.cube_network, second.cube_network)] == [591_780, 620_564]
    assert [parameters(part) for part in (first.class_network, second.class_network)] == [694_672, 724_234]
    assert parameters(first.refine) == 7_980
    assert parameters(first.estimate) == 3_908


@pytest.mark.parametrize(("name", "count"), [("baseline1", 3_915_279), ("theta", 3_918_230), ("lista", 3_919_601)])
def test_counts_of_the_ablations(name, count):
    """Of the published 3.96 M, 0.05 M are unaccounted for."""
    network = crsdun.create(f"crsdun_3stg_{name}", bands=28, classes=23)
    assert parameters(network) == count
    assert multiply_adds(network) == pytest.approx(PUBLISHED[f"crsdun_3stg_{name}"].multiply_adds, rel=5e-3)


def test_the_ablations_are_switches_of_one_configuration():
    def config(name=""):
        return crsdun.create(f"crsdun_2stg{name}", bands=4, classes=3).config

    whole = config()
    assert replace(whole, cross_class=False) == config("_cross_cube")
    assert replace(whole, cross_cube=False) == config("_cross_class")
    none = replace(whole, cross_cube=False, cross_class=False)
    assert none == config("_cross_none")
    lista = replace(none, cube_in_class_input=True)
    assert lista == config("_lista")
    assert replace(lista, lista=False) == config("_theta")
    assert replace(lista, lista=False, theta_in_gradient=False) == config("_baseline1")


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"cross_class": False}, 4_015_125 - 2 * (724_234 - 694_672)),
        ({"cross_cube": False}, 4_015_125 - 2 * (620_564 - 591_780)),
    ],
)
def test_counts_of_one_sided_cross_aggregation(settings, count):
    """Stages 2 and 3 lose what one branch asks the other with."""
    assert parameters(crsdun.create("crsdun_3stg", bands=28, classes=23, **settings)) == count


# -- what stored outputs cannot show ---------------------------------------------------------------------------


def test_initial_weights():
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=16, classes=8)
    for stage in network.stages:
        assert stage.estimate.offset.flatten().tolist() == pytest.approx([1, 1, 0.01, 0])
    weights = dict(network.named_parameters())
    for name in (
        "stages.0.cube_network.bottleneck.attention.qkv.weight",
        "stages.0.cube_network.bottleneck.residual.modulation.value.weight",
        "stages.0.cube_network.bottleneck.residual.attention.hidden.weight",
        "stages.0.class_network.bottleneck.0.attention.qkv.weight",
        "stages.0.class_network.bottleneck.0.attention.position",
    ):
        assert weights[name].std().item() == pytest.approx(0.02, rel=0.15), name
    for module in network.modules():
        if isinstance(module, ChannelLayerNorm | torch.nn.GroupNorm | torch.nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert module.eps == 1e-5


def test_running_statistics_follow_the_batches():
    network = crsdun.create("crsdun_2stg", bands=4, classes=3)
    norm = network.stages[1].class_network.node1.blocks[0].norm
    seen = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    camera = NetworkExamination.camera()
    y = NetworkExamination.measure(camera, 2)[1]
    network.train()(y, camera)
    torch.testing.assert_close(norm.running_mean, 0.1 * seen[0].mean((0, 2, 3)))
    kept = norm.running_mean.clone()
    network.eval()(y, camera)
    assert torch.equal(norm.running_mean, kept)


def test_padding_reflects_or_else_repeats():
    x = torch.arange(20.0).view(1, 1, 1, 20)
    padded = pad_to_multiple(x)
    assert padded.shape == (1, 1, 32, 32)
    assert padded[0, 0, 0, 20:].tolist() == list(range(18, 6, -1))  # 12 columns can be reflected
    assert (padded == padded[:, :, :1]).all()  # one row can only be repeated
    whole = torch.rand(1, 1, 64, 32)
    assert pad_to_multiple(whole) is whole


def test_odd_sizes_pad_only_the_proximal_networks():
    """The same scene with black borders is another scene: the true size takes the gradient step."""
    network = crsdun.create("crsdun_1stg", bands=4, classes=3).eval()
    camera = NetworkExamination.camera(20, 24)
    y = NetworkExamination.measure(camera)[1]
    seen = {}
    stage = network.stages[0]
    stage.cube_network.register_forward_hook(lambda module, inputs, output: seen.update(z=inputs[0], out=output))
    stage.cube_network.embed.register_forward_hook(lambda module, inputs, output: seen.update(embedded=inputs[0]))
    stage.refine.register_forward_hook(lambda module, inputs, output: seen.update(refined=inputs[0]))
    network(y, camera)
    assert seen["z"].shape[-2:] == seen["out"].shape[-2:] == seen["refined"].shape[-2:] == (20, 24)
    assert torch.equal(seen["embedded"], pad_to_multiple(seen["z"]))


@pytest.mark.parametrize("offset", [0, 5, 100])
def test_group_norm_keeps_its_digits_in_channels_last_memory(offset):
    torch.manual_seed(0)
    norm = ChannelGroupNorm(12)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(3, 12, 96, 64) + offset
    exact = torch.nn.functional.group_norm(x.double(), 12, norm.weight.double(), norm.bias.double())
    ours = norm(x.contiguous(memory_format=torch.channels_last))
    # The input itself is only known to 1e-7 of its offset.
    assert (ours - exact).abs().max() <= (1 + offset) * 5e-7 * exact.abs().max()
    assert torch.equal(norm(x[..., :1, :1]), norm.bias.view(1, -1, 1, 1).expand(3, -1, 1, 1))


@torch.no_grad()
@pytest.mark.parametrize(("size", "batch"), [((1, 1), 3), ((64, 96), 1), ((33, 65), 2)])
def test_single_precision_keeps_what_double_says(size, batch):
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=5, classes=4).eval()
    camera = NetworkExamination.camera(*size, bands=5)
    y = 3 + NetworkExamination.measure(camera, batch)[1]
    single = network(y, camera)
    double = network.double()(y.double(), camera.to(torch.float64))
    for ours, exact in ((single.cube, double.cube), (single.logits[-1], double.logits[-1])):
        assert (ours - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_gradient_step_by_hand():
    camera = crsdun.CassiCamera(torch.tensor([[0.5]], dtype=torch.float64), bands=2, step=0)
    x = torch.tensor([[[[1.0]], [[3.0]]]], dtype=torch.float64)
    y = torch.tensor([[[4.0]]], dtype=torch.float64)
    # A x = 2, D = 0.5: the residual 2 / (0.5 + 0.5) comes back through the mask as 1.
    assert gradient_step(x, y, camera, damping=0.5).flatten().tolist() == [2, 4]
    assert gradient_step(x, y, camera).flatten().tolist() == [3, 5]
    assert camera.forward(gradient_step(x, y, camera)).item() == 4


def test_a_bad_damping_neither_explodes_nor_turns_the_step_around():
    camera = NetworkExamination.camera()
    x, y = NetworkExamination.measure(camera)
    for damping in (-1.0, -1e6, -camera.diagonal.max().item()):
        step = gradient_step(x, y + 0.1, camera, damping=torch.full((1, 1, 1, 1), damping)) - x
        assert torch.isfinite(step).all()
        assert (step >= 0).all()
    dark = crsdun.CassiCamera(torch.zeros(32, 32), bands=4)
    assert torch.equal(gradient_step(x, y, dark), x)


def test_pixels_that_are_all_but_unlit_do_not_explode():
    """Behind the grey border of a calibrated mask D is 1e-4 and less, and a frame has a floor of stray light."""
    mask = torch.from_numpy(np.random.default_rng(3).random((32, 32)) > 0.5).float()
    mask[:, :6] = 0.005
    camera = crsdun.CassiCamera(mask, bands=4)
    x = torch.full((1, 4, 32, 32), 0.5)
    step = gradient_step(x, camera.forward(x) + 0.02, camera) - x
    assert camera.diagonal[camera.diagonal > 0].min() < 1e-4 * camera.diagonal.mean()
    assert step.abs().max() <= 0.25


def test_soft_threshold_is_literal():
    v = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert soft_threshold(v, torch.tensor(1.0)).tolist() == [-1, 0, 0, 0, 1]
    assert soft_threshold(v, torch.tensor(-1.0)).tolist() == [-3, -1.5, 0, 1.5, 3]


def test_affinity_gradient_wakes_what_sleeps():
    camera = NetworkExamination.camera()
    cube, y = NetworkExamination.measure(camera)
    for setting in (False, True):
        torch.manual_seed(0)
        network = crsdun.create("crsdun_2stg", bands=4, classes=3, affinity_gradient=setting)
        crsdun.training.joint_loss(network(y, camera), cube, torch.zeros(1, 32, 32).long()).backward()
        gradient = network.stages[1].cube_network.other1.weight.grad
        assert (gradient is not None and gradient.any().item()) == setting


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(InputError, match="no network called 'unet'"):
        crsdun.create("unet", bands=4, classes=3)
    with pytest.raises(InputError, match="no setting depth; its settings are bands"):
        crsdun.create("crsdun_3stg", bands=4, classes=3, depth=2)
    with pytest.raises(InputError, match="classes of at least 1"):
        crsdun.create("crsdun_3stg", bands=4, classes=0)
    with pytest.raises(InputError, match="stages of at least 1"):
        crsdun.create("crsdun_0stg", bands=4, classes=3)
    with pytest.raises(InputError, match="cube_in_class_input=True"):
        crsdun.create("crsdun_3stg", bands=4, classes=3, lista=False)
