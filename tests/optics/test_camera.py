"""One examination for every kind of camera: each property runs over the whole list."""

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, fitting_cameras, random_mask

H, W, C = 5, 7, 4
generator = torch.Generator().manual_seed(0)
BINARY = torch.from_numpy(random_mask(H, W, seed=1)).double()
GREY = torch.rand(H, W, generator=generator, dtype=torch.float64)
PER_BAND = torch.rand(C, H, W, generator=generator, dtype=torch.float64)

CAMERAS = {
    "binary, step 2": CassiCamera(BINARY, bands=C, step=2),
    "grey, step 1": CassiCamera(GREY, bands=C, step=1),
    "grey, step 3": CassiCamera(GREY, bands=C, step=3),
    "step to the left": CassiCamera(GREY, bands=C, step=-2),
    "no dispersion": CassiCamera(GREY, bands=C, step=0),
    "per band": CassiCamera(PER_BAND, step=2),
    "per band to the left": CassiCamera(PER_BAND, step=-1),
    "one band": CassiCamera(GREY, bands=1),
    "one pixel": CassiCamera(GREY[:1, :1], bands=C),
    "fractional step": CassiCamera(GREY, bands=C, step=1.5),
    "fractional to the left": CassiCamera(GREY, bands=C, step=-0.75),
    "uneven offsets": CassiCamera(GREY, offsets=[0, 1, 3, 7]),
    "fractional offsets": CassiCamera(PER_BAND, offsets=[0.25, -1.5, 3.125, 2]),
    "offsets from 5": CassiCamera(GREY, offsets=[5, 7, 9, 11]),
    "to the right and down": CassiCamera(GREY, offsets=[(0, 0), (1, 2), (2, 4), (3, 6)]),
    "to the left and up": CassiCamera(PER_BAND, offsets=[(0, 0), (-1, -2), (-3, -3), (-1, 1)]),
    "down alone": CassiCamera(BINARY, offsets=[(1.5 * c, 0) for c in range(C)]),
    "between four pixels": CassiCamera(GREY, offsets=[(0.25, 0.5), (-1.5, 2.25), (2, 3.125), (1.75, -1)]),
    "wide and low": CassiCamera(torch.rand(2, 40, generator=generator, dtype=torch.float64), bands=9, step=4),
}
every_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())


def random_like(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cube_for(camera: CassiCamera, *batch: int) -> torch.Tensor:
    return random_like(*batch, camera.bands, camera.height, camera.width)


def dense(camera: CassiCamera) -> torch.Tensor:
    """A written down entry by entry from its definition, (Hm·Wm, C·H·W)."""
    rows, columns, (high, wide) = camera.height, camera.width, camera.measurement_shape
    moves = np.array([move if isinstance(move, tuple) else (0, move) for move in camera.offsets])
    first = np.floor(moves.min(0)).astype(int)
    A = torch.zeros(high + 1, wide + 1, camera.bands, rows, columns, dtype=torch.float64)
    for c, move in enumerate(moves):
        (top, left), (down, right) = np.floor(move).astype(int) - first, move - np.floor(move)
        for h in range(rows):
            for w in range(columns):
                m = camera.mask[c, h, w] if camera.mask.ndim == 3 else camera.mask[h, w]
                A[h + top, w + left, c, h, w] += (1 - down) * (1 - right) * m
                A[h + top, w + left + 1, c, h, w] += (1 - down) * right * m
                A[h + top + 1, w + left, c, h, w] += down * (1 - right) * m
                A[h + top + 1, w + left + 1, c, h, w] += down * right * m
    assert (A[high] == 0).all()
    assert (A[:, wide] == 0).all()
    return A[:high, :wide].reshape(high * wide, -1)


@every_camera
def test_forward_and_adjoint_equal_the_dense_matrix(camera):
    A, x = dense(camera), cube_for(camera)
    y = camera.forward(x)
    assert y.shape == camera.measurement_shape
    torch.testing.assert_close(y.flatten(), A @ x.flatten(), rtol=0, atol=1e-12)
    torch.testing.assert_close(camera.adjoint(y).flatten(), A.T @ y.flatten(), rtol=0, atol=1e-12)


@every_camera
def test_adjoint_by_inner_products(camera):
    x = cube_for(camera, 3)
    y = random_like(3, *camera.measurement_shape, seed=3)
    left, right = (camera.forward(x) * y).sum(), (x * camera.adjoint(y)).sum()
    assert abs(left - right) <= 1e-10 * abs(left)


@every_camera
def test_diagonal_is_that_of_a_times_its_adjoint(camera):
    A = dense(camera)
    torch.testing.assert_close(camera.diagonal.flatten(), (A @ A.T).diag(), rtol=0, atol=1e-12)


@every_camera
def test_whole_offsets_make_a_times_its_adjoint_diagonal_and_fractions_do_not(camera):
    product = dense(camera) @ dense(camera).T
    coupled = (product - product.diag().diag()).abs().max() > 1e-12
    assert coupled == any(not by.is_integer() for move in camera.down_and_right for by in move)


@every_camera
def test_gradients(camera):
    x = cube_for(camera).requires_grad_()
    y = random_like(*camera.measurement_shape, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(camera.forward, (x,))
    assert torch.autograd.gradcheck(camera.adjoint, (y,))


@every_camera
def test_gradient_reaches_the_mask(camera):
    mask = camera.mask.clone().requires_grad_()
    traced = CassiCamera(mask, bands=camera.bands, offsets=camera.offsets)
    (traced.forward(cube_for(camera)).sum() + traced.diagonal.sum()).backward()
    assert mask.grad is not None
    assert (mask.grad != 0).any()


@every_camera
def test_batches_equal_singles(camera):
    x = cube_for(camera, 2, 3)
    y = camera.forward(x)
    assert torch.equal(y[1, 2], camera.forward(x[1, 2]))
    assert torch.equal(camera.adjoint(y)[1, 2], camera.adjoint(y[1, 2]))


@every_camera
def test_crop_is_the_camera_that_would_have_taken_it(camera):
    top, left = camera.height // 3, camera.width // 3
    height, width = max(camera.height // 2, 1), max(camera.width // 2, 1)
    part = camera.crop(top, left, height, width)
    x = cube_for(camera)
    alone = torch.zeros_like(x)
    alone[:, top : top + height, left : left + width] = x[:, top : top + height, left : left + width]
    seen = camera.forward(alone)[top : top + part.measurement_height, left : left + part.measurement_width]
    torch.testing.assert_close(part.forward(x[:, top : top + height, left : left + width]), seen, rtol=0, atol=1e-12)
    fresh = CassiCamera(
        camera.mask[..., top : top + height, left : left + width], bands=camera.bands, offsets=camera.offsets
    )
    assert torch.equal(part.diagonal, fresh.diagonal)


@every_camera
def test_moves_keep_the_camera(camera):
    single = camera.to(torch.float32)
    assert single.mask.dtype == torch.float32
    assert (single.offsets, single.wavelengths) == (camera.offsets, camera.wavelengths)
    x = cube_for(camera)
    torch.testing.assert_close(single.forward(x.float()).double(), camera.forward(x), rtol=1e-5, atol=1e-5)
    ghost = camera.to("meta")
    assert ghost.forward(x.to("meta")).shape == camera.forward(x).shape
    assert ghost.diagonal.device.type == "meta"


@every_camera
def test_the_first_guess_and_the_dispersed_mask(camera):
    """H and Φ of the field."""
    y = camera.forward(cube_for(camera, 2))
    torch.testing.assert_close(camera.initial_estimate(y), camera.gather(y * 2 / camera.bands))
    phi = camera.disperse(camera.mask_per_band)
    assert phi.shape == (camera.bands, *camera.measurement_shape)
    torch.testing.assert_close(phi.sum(-2).sum(-1), camera.mask_per_band.sum(-2).sum(-1))
    torch.testing.assert_close(phi.sum(0), camera.forward(torch.ones_like(camera.mask_per_band)))
    assert torch.equal(camera.diagonal > 0, phi.sum(0) > 0)


def test_grey_masks_are_squared_in_the_diagonal():
    camera = CassiCamera(torch.full((1, 1), 0.5), bands=2, step=1)
    assert camera.diagonal.tolist() == [[0.25, 0.25]]


def test_a_sheared_picture_by_hand():
    camera = CassiCamera(torch.ones(1, 2), bands=3, step=2)
    cube = torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]], [[100.0, 200.0]]])
    assert camera.forward(cube).tolist() == [[1, 2, 10, 20, 100, 200]]
    to_the_left = CassiCamera(torch.ones(1, 2), bands=3, step=-2)
    assert to_the_left.forward(cube).tolist() == [[100, 200, 10, 20, 1, 2]]


def test_the_step_is_told_only_where_there_is_one():
    assert CAMERAS["binary, step 2"].step == 2
    assert CAMERAS["fractional to the left"].step == -0.75
    assert CAMERAS["offsets from 5"].step == 2
    assert CAMERAS["uneven offsets"].step is None
    assert CAMERAS["to the right and down"].step is None


def test_offsets_that_do_not_run_down_are_the_same_camera():
    pairs = CassiCamera(GREY, offsets=np.array([(0, 2 * c) for c in range(C)]))
    plain = CassiCamera(GREY, bands=C, step=2)
    assert (pairs.offsets, pairs.step, pairs.by_rows) == (plain.offsets, 2, True)
    assert torch.equal(pairs.forward(cube_for(plain)), plain.forward(cube_for(plain)))


@every_camera
def test_offsets_make_the_same_camera_again(camera):
    again = CassiCamera(camera.mask, offsets=camera.offsets)
    assert (again.offsets, again.measurement_shape) == (camera.offsets, camera.measurement_shape)


def test_numbers_of_bands_are_inferred():
    assert CassiCamera(GREY, wavelengths=[450, 500, 550]).bands == 3
    assert CassiCamera(PER_BAND).bands == C
    assert CassiCamera(GREY.numpy(), bands=2).mask.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": GREY}, "one number of bands"),
        ({"mask": PER_BAND, "bands": 3}, "bands: 3, mask: 4"),
        ({"mask": GREY, "bands": 3, "wavelengths": [1, 2]}, "wavelengths: 2"),
        ({"mask": GREY, "bands": 0}, "at least 1"),
        ({"mask": GREY[0], "bands": 3}, r"shape \(7,\)"),
        ({"mask": -GREY, "bands": 3}, "negative, NaN or infinite"),
        ({"mask": GREY * float("nan"), "bands": 3}, "negative, NaN or infinite"),
        ({"mask": GREY, "offsets": [0, float("inf")]}, "finite offsets of at most 100,000"),
        ({"mask": GREY, "offsets": [(0, 0), (1, float("nan"))]}, "finite offsets of at most 100,000"),
        ({"mask": GREY, "offsets": [(0, 0, 0), (1, 2, 3)]}, "one pair, down and right"),
        ({"mask": GREY, "offsets": [0, (1, 2)]}, "one pair, down and right"),
        ({"mask": GREY, "bands": 9, "step": 1e7}, "finite offsets of at most 100,000"),
        ({"mask": GREY, "wavelengths": [450, float("nan")]}, "positive numbers of nanometres"),
        ({"mask": np.full((3, 3), 255, np.uint8), "bands": 2}, "integers up to 255.*read_mask"),
        ({"mask": "mask.mat", "bands": 2}, "read_mask"),
    ],
)
def test_bad_cameras_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        CassiCamera(**arguments)


def test_a_measurement_that_does_not_fit_is_told_what_would():
    camera = CassiCamera(torch.ones(660, 660), bands=31)
    with pytest.raises(InputError, match=r"720.*28 bands at step 2"):
        camera.check(torch.ones(660, 714))
    with pytest.raises(InputError, match=r"512 rows but the mask has 660.*crop one"):
        camera.check(torch.ones(512, 720))
    with pytest.raises(InputError, match=r"714 rows but the mask has 660.*transpose"):
        camera.check(torch.ones(714, 660))
    oblique = CassiCamera(torch.ones(20, 30), offsets=[(0, 0), (1.5, 2)])
    with pytest.raises(InputError, match="has 20 rows, but a mask of 20 rows behind these offsets gives 22"):
        oblique.check(torch.ones(20, 32))
    with pytest.raises(InputError, match="floating type"):
        camera.to(torch.int32)
    with pytest.raises(InputError, match="never gives a measurement 600 wide"):
        camera.check(torch.ones(660, 600))
    with pytest.raises(InputError, match="crop the cube or the mask"):
        camera.forward(torch.ones(31, 512, 512))
    with pytest.raises(InputError, match="leaves the 660×660 mask"):
        camera.crop(600, 0, 100, 100)


def test_fitting_cameras():
    assert (28, 2) in fitting_cameras(660, 714)
    assert all(660 + (bands - 1) * step == 714 for bands, step in fitting_cameras(660, 714))
    assert fitting_cameras(660, 660) == []
