"""What ``crsdun.interop.deepinv`` promises, with the real deepinv; ``test_deepinv.py`` runs it, in its own process.

Beside the CPU build of PyTorch, torchvision, which deepinv imports, cannot load its compiled operators, and then it
cannot be imported either, because two of them are not even declared. deepinv calls neither: here they are declared.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

if find_spec("torchvision") is None:
    raise ImportError("deepinv needs torchvision")
try:
    torch.ops.load_library(str(Path(find_spec("torchvision").origin).with_name("_C.so")))
except OSError:
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import deepinv
from deepinv.physics import CompressiveSpectralImaging, GaussianNoise, LinearPhysics

import crsdun
from crsdun.errors import InputError
from crsdun.interop.deepinv import CameraReconstructor, denoiser, for_pnp, physics, reconstructor
from crsdun.optics import Blur, CassiCamera, SideCamera, StackedCamera, Validity, random_mask
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import LrTv, Pnp
from crsdun.solvers.denoiser import shipped_denoiser
from tests.test_documented import BLOCK

ROOT = Path(__file__).parents[2]
BANDS, H, W = 4, 18, 22

# What deepinv itself warns of where its losses make physics of physics.
pytestmark = pytest.mark.filterwarnings(
    "ignore:You are composing two physics",
    "ignore:At least one input physics is a DecomposablePhysics",
    "ignore:Mask generator not defined",
)


def plain(**optics) -> CassiCamera:
    return CassiCamera(random_mask(H, W, seed=1), bands=BANDS, **optics)


def grey_per_band() -> CassiCamera:
    masks = 0.2 + 0.8 * torch.rand(BANDS, H, W, generator=torch.Generator().manual_seed(2))
    return CassiCamera(masks, offsets=[(0, 0), (1, 2), (2, 3), (1, 7)])


def with_dead_pixels() -> CassiCamera:
    camera = plain(step=-1)
    valid = torch.rand(camera.measurement_shape, generator=torch.Generator().manual_seed(3)) > 0.1
    return camera.through(Validity(valid))


def blurred() -> CassiCamera:
    return plain().through(Blur(torch.tensor([[0, 0.1, 0], [0.1, 0.6, 0.1], [0, 0.1, 0]])))


def two_pictures() -> CassiCamera:
    return StackedCamera(plain(), SideCamera(torch.rand(2, BANDS), H, W))


DIAGONAL = {"plain": plain, "grey per band": grey_per_band, "dead pixels": with_dead_pixels}
COUPLED = {"between pixels": lambda: plain(step=1.5), "blurred": blurred, "two pictures": two_pictures}
every_camera = pytest.mark.parametrize("made", [*DIAGONAL.values(), *COUPLED.values()], ids=[*DIAGONAL, *COUPLED])
diagonal_cameras = pytest.mark.parametrize("made", DIAGONAL.values(), ids=DIAGONAL)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def cubes(count: int = 2) -> torch.Tensor:
    return torch.rand(count, BANDS, H, W)


# -- physics -------------------------------------------------------------------------------------------------------


@every_camera
def test_the_adjoint_is_one_for_deepinv(made):
    model = physics(made())
    assert model.adjointness_test(num_samples=8) < 1e-5
    assert model.double().adjointness_test(num_samples=8, dtype=torch.float64) < 1e-13


@every_camera
def test_the_physics_is_the_camera(made):
    camera = made()
    x, model = cubes(), physics(camera)
    y = model(x)
    assert y.shape == (2, 1, *camera.measurement_shape)
    torch.testing.assert_close(y[:, 0], camera.forward(x))
    torch.testing.assert_close(model.A_A_adjoint(y), model.A(model.A_adjoint(y)))


@diagonal_cameras
def test_the_norm_that_deepinv_finds_is_the_largest_of_the_diagonal(made):
    camera = made()
    found = physics(camera).compute_norm(cubes(1)[0], max_iter=2000, tol=1e-7, squared=False, verbose=False)
    assert float(found) == pytest.approx(float(camera.diagonal.max().sqrt()), rel=2e-3)


@diagonal_cameras
def test_prox_and_pseudo_inverse_are_what_deepinv_iterates_to(made):
    model = physics(made()).double()
    x, z = cubes().double(), cubes().double()
    y = model(x) + 0.1 * torch.randn_like(model(x))
    for gamma in (0.3, torch.tensor([0.3, 20.0], dtype=torch.float64)):
        theirs = LinearPhysics.prox_l2(model, z, y, gamma, max_iter=500, tol=1e-12)
        torch.testing.assert_close(model.prox_l2(z, y, gamma), theirs, rtol=0, atol=1e-3)  # where theirs stops
    torch.testing.assert_close(model.prox_l2(None, y, 2.0), model.prox_l2(torch.zeros_like(z), y, 2.0))
    torch.testing.assert_close(model.prox_l2(0.5, y, 2.0), model.prox_l2(torch.full_like(z, 0.5), y, 2.0))
    theirs = LinearPhysics.A_dagger(model, y, max_iter=2000, tol=1e-12)
    torch.testing.assert_close(model.A_dagger(y), theirs, rtol=0, atol=1e-3)


@every_camera
def test_the_prox_solves_its_equation(made):
    """γ Aᵀ (A x − y) + x − z = 0, also where only conjugate gradients come near it."""
    camera = made()
    model = physics(camera, max_iter=300, tol=1e-10).double()
    z = cubes().double()
    y = model(cubes().double())
    x = model.prox_l2(z, y, 3.0)
    assert (3 * model.A_adjoint(model.A(x) - y) + x - z).abs().max() < (1e-12 if camera.uncoupled else 1e-5)


def test_the_prox_has_gradients_in_all_that_it_is_given():
    model = physics(CassiCamera(random_mask(3, 4), bands=2)).double()
    z, gamma = torch.rand(1, 2, 3, 4, dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    y = model(torch.rand_like(z))
    inputs = [each.requires_grad_() for each in (z, y, gamma)]
    assert torch.autograd.gradcheck(lambda z, y, gamma: model.prox_l2(z, y, gamma), inputs)
    assert torch.autograd.gradcheck(model.A_dagger, [y])


def test_pixels_without_light_say_nothing():
    camera = CassiCamera(torch.zeros(H, W), bands=BANDS)
    assert physics(camera).A_dagger(torch.ones(1, 1, *camera.measurement_shape)).abs().max() == 0


def test_it_moves_and_is_copied_like_a_module():
    model = physics(blurred())
    assert {tensor.dtype for tensor in model.double().camera.tensors} == {torch.float64}
    assert model(cubes().double()).dtype == torch.float64
    copied = model.clone().float()
    assert copied.camera.mask.dtype == torch.float32
    assert model.camera.mask.dtype == torch.float64
    meta = physics(plain()).to("meta")
    assert meta(cubes().to("meta")).shape == (2, 1, H, W + 2 * (BANDS - 1))


def test_physics_stack_and_have_noise():
    x, model = cubes(), physics(plain(), GaussianNoise(0.05))
    assert float((model(x) - model.A(x)).std()) == pytest.approx(0.05, rel=0.2)
    both = physics(plain()).stack(physics(plain(step=1)))
    assert both.adjointness_test(u=x, num_samples=4) < 1e-5


def test_it_agrees_with_their_single_disperser():
    """For odd sizes: on even ones that of deepinv 0.5.0 is off by a pixel, and its adjoint is none."""
    mask = torch.as_tensor(random_mask(19, 21)).float()
    theirs = CompressiveSpectralImaging((5, 19, 21), mask=mask.expand(1, 5, -1, -1), mode="sd", shear_dir="w")
    ours, x = physics(CassiCamera(mask, bands=5, step=1)), torch.rand(2, 5, 19, 21)
    torch.testing.assert_close(5 * theirs.A(x), ours.A(x))  # they average over the bands
    torch.testing.assert_close(5 * theirs.A_adjoint(ours.A(x)), ours.A_adjoint(ours.A(x)))


def test_a_measurement_without_its_axis_is_refused():
    model = physics(plain())
    with pytest.raises(InputError, match=r"\(batch, 1, height, width\) in deepinv, not \(2, 18, 28\)"):
        model.A_adjoint(model(cubes())[:, 0])


# -- reconstructors ------------------------------------------------------------------------------------------------


def small_network() -> crsdun.networks.Network:
    return crsdun.create("crsdun_1stg", bands=BANDS, classes=3, width=4)


def test_a_network_is_a_reconstructor():
    network, camera = small_network(), plain()
    model, view = reconstructor(network), physics(camera)
    assert isinstance(model, deepinv.models.Reconstructor)
    assert [*map(id, model.parameters())] == [*map(id, network.parameters())]
    y = view(cubes())
    expected = network.eval()(y[:, 0], camera)
    torch.testing.assert_close(model(y, view), expected.cube)
    torch.testing.assert_close(model.estimate(y, view).classes, expected.classes)


def test_a_solver_is_one_too():
    camera = plain()
    model, view = reconstructor("lr-tv", iterations=3), physics(camera)
    y = view(cubes())
    assert not [*model.parameters()]
    torch.testing.assert_close(model(y, view), LrTv(iterations=3)(y[:, 0], camera).cube)


def test_where_only_a_part_of_the_pixels_counts_the_others_are_not_looked_at():
    camera = with_dead_pixels()
    model, view = reconstructor("gap-tv", iterations=3), physics(camera)
    y = view(cubes())
    kept = (torch.rand(2, 1, *camera.measurement_shape) > 0.3).float()
    y1, part = deepinv.loss.SplittingLoss.split(kept, y, view)
    estimate = model(y1, part)
    torch.testing.assert_close(estimate, model(torch.where(kept > 0, y, 1e3), part))
    assert (estimate - model(y, view)).abs().max() > 1e-3
    for frame, mask, cube in zip(y, kept, estimate, strict=True):
        alone = model(frame[None], physics(camera.counting(mask[0])))
        torch.testing.assert_close(cube, alone[0])


def test_a_physics_that_is_no_camera_is_refused():
    model, y = reconstructor("lr-tv"), torch.rand(1, 1, H, W)
    with pytest.raises(InputError, match="needs a camera of crsdun, not Denoising; make the physics with"):
        model(y, deepinv.physics.Denoising())
    # A blur on the detector would be ignored.
    blurred = deepinv.physics.Blur(filter=torch.ones(1, 1, 3, 3) / 9) * physics(plain())
    with pytest.raises(InputError, match="not ComposedLinearPhysics"):
        model(y, blurred)


def test_weights_for_another_camera_are_refused():
    with pytest.raises(InputError, match="these weights are for 28 bands but the camera has 4"):
        reconstructor("crsdun_tiny")(torch.rand(1, 1, H, W), physics(plain()))


# -- learning without truth ----------------------------------------------------------------------------------------

SIGMA = 0.05


CHANCE = torch.Generator()  # of transformations; everything else draws from that of PyTorch
LOSSES = {
    "SURE": lambda: [deepinv.loss.SureGaussianLoss(SIGMA)],
    "equivariant": lambda: [
        deepinv.loss.MCLoss(), deepinv.loss.EILoss(deepinv.transform.Rotate(multiples=180, positive=True, rng=CHANCE))
    ],
    "splitting": lambda: [deepinv.loss.SplittingLoss(split_ratio=0.8)],
    "recorrupted": lambda: [deepinv.loss.R2RLoss(alpha=0.3)],
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_without_truth_teach_a_network(name):
    """A few steps on two frames: every weight learns, and the loss is smaller for the same draws of chance."""
    view, network = physics(plain(), GaussianNoise(SIGMA)), crsdun.create("ssr_1stg", bands=BANDS, width=4)
    used, model, y = LOSSES[name](), reconstructor(network), view(cubes())
    for loss in used:
        model = loss.adapt_model(model)
    kwargs = {} if isinstance(model, CameraReconstructor) else {"update_parameters": True}

    def total() -> torch.Tensor:
        x = model(y, view, **kwargs)
        return sum(loss(x_net=x, y=y, physics=view, model=model).mean() for loss in used)

    def figure() -> float:
        torch.manual_seed(5)
        CHANCE.manual_seed(5)
        return sum(total().item() for _ in range(4))

    weights = {key: value.clone() for key, value in network.named_parameters()}
    before = figure()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(8):
        optimiser.zero_grad()
        total().backward()
        optimiser.step()
    assert all(torch.isfinite(value).all() for value in network.parameters())
    assert [key for key, value in network.named_parameters() if torch.equal(value, weights[key])] == []
    assert figure() < before


def test_sure_knows_the_error_without_the_truth():
    view, model = physics(plain(), GaussianNoise(SIGMA)), reconstructor("gap-tv", iterations=5)
    x = torch.rand(1, BANDS, 1, 1).expand(24, -1, H, W) * torch.linspace(0.3, 1, W)
    y = view(x)
    with torch.no_grad():
        estimated = model(y, view)
        sure = deepinv.loss.SureGaussianLoss(SIGMA)(y=y, x_net=estimated, physics=view, model=model).mean()
        true = (view.A(estimated) - view.A(x)).square().mean()
        apparent = (view.A(estimated) - y).square().mean()
    assert float(sure) == pytest.approx(float(true), rel=0.25)
    assert abs(float(apparent - true)) > 2 * abs(float(sure - true))


def test_their_trainer_trains_our_network(tmp_path):
    view, network = physics(plain(), GaussianNoise(SIGMA)), small_network()
    scenes = [{"x": x, "y": view(x[None])[0]} for x in cubes(4)]
    data = torch.utils.data.DataLoader(scenes, batch_size=2)
    trainer = deepinv.Trainer(
        model=reconstructor(network), physics=view, optimizer=torch.optim.Adam(network.parameters(), 3e-3),
        train_dataloader=data, epochs=4, losses=[deepinv.loss.SupLoss()], metrics=[deepinv.metric.PSNR()],
        device="cpu", save_path=tmp_path, verbose=False, show_progress_bar=False, non_blocking_transfers=False,
    )  # fmt: skip
    before = trainer.test(data)["PSNR"]
    trainer.train()
    assert trainer.test(data)["PSNR"] > before + 0.5


# -- denoisers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def produce() -> torch.Tensor:
    return torch.as_tensor(ProduceSet("validation").crop(1, 80, 80, 64, 64).cube)[None]


def psnr(estimate: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10 * torch.log10((estimate - truth).square().mean()))


@pytest.fixture(scope="module")
def measured(produce) -> tuple[CassiCamera, torch.Tensor, torch.Tensor]:
    """A camera, its measurement with noise, and the cube of LR-TV."""
    camera = CassiCamera(random_mask(64, 64), bands=produce.shape[1])
    noise = 0.1 * torch.randn(1, *camera.measurement_shape, generator=torch.Generator().manual_seed(0))
    y = camera.forward(produce) + noise
    return camera, y, LrTv()(y, camera).cube


def test_their_denoiser_in_our_pnp(produce, measured):
    class Joint(deepinv.models.Denoiser):
        """Ours in the shape of theirs: of four pictures at once."""

        def forward(self, x, sigma, **_):
            return shipped_denoiser(x.device)(x, sigma)

    camera, y, first = measured
    solver = Pnp(images=4, denoiser=for_pnp(Joint(), channels=4))
    assert solver.settings["denoiser"] == "for_pnp(Joint)"
    cube = solver(y, camera).cube
    torch.testing.assert_close(cube, Pnp(images=4)(y, camera).cube)
    assert psnr(cube, produce) > psnr(first, produce) + 1


def test_a_denoiser_that_explains_less_leaves_the_estimate_of_lr_tv(measured):
    camera, y, first = measured
    calls = []
    model = deepinv.models.TVDenoiser(n_it_max=10)
    model.register_forward_hook(lambda model, given, result: calls.append(result.shape))
    cube = Pnp(iterations=2, denoiser=for_pnp(model))(y, camera).cube
    assert calls
    torch.testing.assert_close(cube, first)


def test_their_networks_get_pictures_of_their_channels():
    seen = []

    class Recorder(deepinv.models.Denoiser):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x, sigma, **_):
            seen.append((x, sigma, self.training))
            return self.gain * x

    model = Recorder()
    images, sigma = torch.rand(2, 5, 6, 7, dtype=torch.float64), torch.tensor([0.1, 0.2], dtype=torch.float64)
    denoised = for_pnp(model, channels=3)(images, sigma)
    ((x, level, training),) = seen
    assert (x.shape, x.dtype, level.tolist(), training) == (
        (4, 3, 6, 7), torch.float32, pytest.approx([0.1, 0.1, 0.2, 0.2]), False,
    )  # fmt: skip
    torch.testing.assert_close(x[3, 2], images[1, 4].float())  # there are five: the last one twice
    torch.testing.assert_close(denoised, 0.5 * images, rtol=0, atol=1e-6)
    assert denoised.dtype == torch.float64
    assert model.training
    real = deepinv.models.DnCNN(in_channels=3, out_channels=3, depth=3, nf=8, pretrained=None)
    assert for_pnp(real, channels=3)(images, sigma).shape == images.shape
    with pytest.raises(InputError, match="1 channel or more, not 0"):
        for_pnp(model, channels=0)


def test_our_denoiser_is_one_of_theirs(produce):
    model = denoiser()
    assert isinstance(model, deepinv.models.Denoiser)
    noisy = produce + 0.05 * torch.randn_like(produce)
    theirs = deepinv.models.TVDenoiser(n_it_max=50)
    with torch.no_grad():
        denoised = model(noisy, 0.05)
        assert psnr(denoised, produce) > psnr(theirs(noisy, 0.05), produce) + 1
        torch.testing.assert_close(model(noisy, torch.tensor([[0.05]])), denoised)
        assert model.double()(noisy.double(), 0.05).dtype == torch.float64


def test_our_denoiser_in_their_plug_and_play(produce, measured):
    """From the estimate of LR-TV on, as ``pnp`` does."""
    camera, y, first = measured
    sigmas = torch.logspace(-1, -1.3, 8).tolist()
    solver = deepinv.optim.HQS(
        data_fidelity=deepinv.optim.L2(), prior=deepinv.optim.PnP(denoiser()), sigma_denoiser=sigmas,
        stepsize=[(sigma / 0.1) ** 2 for sigma in sigmas], max_iter=len(sigmas), custom_init=reconstructor("lr-tv"),
    )  # fmt: skip
    with torch.no_grad():
        assert psnr(solver(y[:, None], physics(camera)), produce) > psnr(first, produce) + 0.4


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_programs_of_the_page_run():
    page, names = (ROOT / "docs" / "interop.md").read_text(), {}
    programs = [text for language, text in BLOCK.findall(page) if language == "python" and "deepinv" in text]
    assert len(programs) == 3
    for text in programs:
        exec(compile(text, "interop.md", "exec"), names)
