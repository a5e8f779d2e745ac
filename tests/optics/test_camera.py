"""One examination for every kind of camera: each property runs over the whole list."""

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import (
    Blur,
    CassiCamera,
    Distortion,
    SideCamera,
    StackedCamera,
    Validity,
    dual_disperser,
    fitting_cameras,
    random_mask,
)
from crsdun.optics.geometry import bands_that_span

H, W, C = 5, 7, 4
generator = torch.Generator().manual_seed(0)
BINARY = torch.from_numpy(random_mask(H, W, seed=1)).double()
GREY = torch.rand(H, W, generator=generator, dtype=torch.float64)
PER_BAND = torch.rand(C, H, W, generator=generator, dtype=torch.float64)


def random_like(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


def field_for(camera: CassiCamera) -> torch.Tensor:
    """A smooth distortion that reaches beyond the border, (2,Hm,Wm)."""
    height, width = camera.measurement_shape
    down = torch.linspace(-1.3, 0.9, height, dtype=torch.float64)[:, None].expand(height, width)
    return torch.stack([down, 0.3 * down + torch.linspace(-0.8, 1.7, width, dtype=torch.float64)])


def dots(camera: CassiCamera) -> torch.Tensor:
    return torch.rand(camera.measurement_shape, generator=torch.Generator().manual_seed(5)) > 0.3


SPREAD = torch.rand(3, 5, generator=generator, dtype=torch.float64) / 15
SPREADS = torch.rand(C, 3, 3, generator=generator, dtype=torch.float64) / 9
plain, oblique = CAMERAS["binary, step 2"], CAMERAS["between four pixels"]
CAMERAS |= {
    "dead pixels": plain.through(Validity(dots(plain))),
    "blur": plain.through(Blur(SPREAD)),
    "blur of each band": CAMERAS["per band to the left"].through(Blur(SPREADS)),
    "blur of fractions": CAMERAS["fractional step"].through(Blur(SPREAD)),
    "distortion": plain.through(Distortion(field_for(plain))),
    "everything": oblique.through(
        Distortion(field_for(oblique)), Blur(SPREADS), Blur(SPREAD), Validity(dots(oblique))
    ),
    "double disperser": dual_disperser(random_like(H, W + 2 * (C - 1)), bands=C),
}
STACKED = {
    "two exposures": StackedCamera(plain, CAMERAS["per band"]),
    "different widths": StackedCamera(CAMERAS["grey, step 1"], CAMERAS["blur"], CAMERAS["grey, step 3"]),
    "grey beside it": StackedCamera(plain, SideCamera(random_like(C), H, W)),
    "RGB beside it": StackedCamera(CAMERAS["dead pixels"], SideCamera(random_like(3, C), H, W)),
}
EVERY = CAMERAS | STACKED
every_camera = pytest.mark.parametrize("camera", EVERY.values(), ids=EVERY.keys())
single_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())
bare = {name: camera for name, camera in CAMERAS.items() if not camera.parts}
bare_camera = pytest.mark.parametrize("camera", bare.values(), ids=bare.keys())


def cube_for(camera: CassiCamera, *batch: int) -> torch.Tensor:
    return random_like(*batch, camera.bands, camera.height, camera.width)


def dense(camera: CassiCamera) -> torch.Tensor:
    """A written down entry by entry from its definition, (Hm·Wm, C·H·W)."""
    if isinstance(camera, StackedCamera):
        return torch.cat([in_the_stack(view, camera.measurement_width) for view in camera.views])
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
    A = A[:high, :wide].reshape(high * wide, camera.bands, -1)
    for part in camera.parts:
        P = dense_part(part, camera.bands, high, wide)
        A = torch.stack([P[c] @ A[:, c] for c in range(camera.bands)], 1)
    return A.flatten(1)


def dense_part(part, bands: int, high: int, wide: int) -> torch.Tensor:
    """P for each band, from its definition, (C, Hm·Wm, Hm·Wm)."""
    P = torch.zeros(bands, high, wide, high, wide, dtype=torch.float64)
    for h in range(high):
        for w in range(wide):
            if isinstance(part, Validity):
                P[:, h, w, h, w] = part.values[h, w]
            elif isinstance(part, Blur):
                rows, columns = part.values.shape[-2:]
                for down in range(rows):
                    for right in range(columns):
                        row, column = h + down - rows // 2, w + right - columns // 2
                        if 0 <= row < high and 0 <= column < wide:
                            P[:, row, column, h, w] = part.values[..., down, right]
            else:
                row, column = (at + float(by) for at, by in zip((h, w), part.values[:, h, w], strict=True))
                for y in range(high):
                    for x in range(wide):
                        P[:, h, w, y, x] = max(0, 1 - abs(row - y)) * max(0, 1 - abs(column - x))
    return P.reshape(bands, high * wide, high * wide)


def in_the_stack(view, wide: int) -> torch.Tensor:
    """A of one view, with rows of zeros where it is narrower than the widest."""
    if isinstance(view, SideCamera):
        pixels = torch.eye(view.height * view.width, dtype=torch.float64)
        A = torch.cat([torch.cat([weight * pixels for weight in channel], 1) for channel in view.response])
    else:
        A = dense(view)
    rows, columns = view.measurement_shape
    return torch.nn.functional.pad(A.view(rows, columns, -1), (0, 0, 0, wide - columns)).flatten(0, 1)


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
def test_the_camera_knows_whether_a_times_its_adjoint_is_diagonal(camera):
    product = dense(camera) @ dense(camera).T
    coupled = (product - product.diag().diag()).abs().max() > 1e-12
    assert coupled != camera.uncoupled
    assert (
        torch.linalg.eigvalsh(
            product
            / (
                camera.row_sums.flatten()
                .clamp(min=1e-9)
                .sqrt()
                .outer(camera.row_sums.flatten().clamp(min=1e-9).sqrt())
            )
        ).max()
        <= 1 + 1e-9
    )


@every_camera
def test_gradients(camera):
    x = cube_for(camera).requires_grad_()
    y = random_like(*camera.measurement_shape, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(camera.forward, (x,))
    assert torch.autograd.gradcheck(camera.adjoint, (y,))


@single_camera
def test_gradient_reaches_the_mask(camera):
    mask = camera.mask.clone().requires_grad_()
    traced = camera.with_mask(mask)
    (traced.forward(cube_for(camera)).sum() + traced.diagonal.sum()).backward()
    assert mask.grad is not None
    assert (mask.grad != 0).any()


@every_camera
def test_the_exposure_is_the_same_with_and_without_a_gradient(camera):
    cube = random_like(2, *cube_for(camera).shape)
    torch.testing.assert_close(camera.forward(cube), camera.forward(cube.clone().requires_grad_()).detach())


@every_camera
def test_batches_equal_singles(camera):
    x = cube_for(camera, 2, 3)
    y = camera.forward(x)
    exact = 1e-14 if isinstance(camera, StackedCamera) else 0  # products of matrices may add up in another order
    torch.testing.assert_close(y[1, 2], camera.forward(x[1, 2]), rtol=exact, atol=exact)
    torch.testing.assert_close(camera.adjoint(y)[1, 2], camera.adjoint(y[1, 2]), rtol=exact, atol=exact)


@single_camera
def test_crop_is_the_camera_that_would_have_taken_it(camera):
    top, left = camera.height // 3, camera.width // 3
    height, width = max(camera.height // 2, 1), max(camera.width // 2, 1)
    part = camera.crop(top, left, height, width)
    x = cube_for(camera)
    alone = torch.zeros_like(x)
    alone[:, top : top + height, left : left + width] = x[:, top : top + height, left : left + width]
    seen = camera.forward(alone)[top : top + part.measurement_height, left : left + part.measurement_width]
    if sum(part.couples for part in camera.parts) < 2:  # else some light leaves the window and comes back
        alone = part.forward(x[:, top : top + height, left : left + width])
        torch.testing.assert_close(alone, seen, rtol=0, atol=1e-12)
    if camera.parts:
        return
    fresh = CassiCamera(
        camera.mask[..., top : top + height, left : left + width], bands=camera.bands, offsets=camera.offsets
    )
    assert torch.equal(part.diagonal, fresh.diagonal)


@every_camera
def test_upside_down_is_the_same_measurement_upside_down(camera):
    x = cube_for(camera)
    turned = camera.upside_down()
    if turned is None:
        assert isinstance(camera, StackedCamera) or camera.parts or not camera.along_rows
        return
    torch.testing.assert_close(turned.forward(x.flip(-2)), camera.forward(x).flip(-2))
    again = turned.upside_down()
    assert again is not None
    assert torch.equal(again.mask, camera.mask)


@every_camera
def test_moves_keep_the_camera(camera):
    single = camera.to(torch.float32)
    assert single.mask.dtype == torch.float32
    assert (single.offsets, single.wavelengths) == (camera.offsets, camera.wavelengths)
    x = cube_for(camera)
    torch.testing.assert_close(single.forward(x.float()).double(), camera.forward(x), rtol=1e-5, atol=1e-5)
    assert single.diagonal.dtype == torch.float32
    ghost = camera.to("meta")
    assert ghost.forward(x.to("meta")).shape == camera.forward(x).shape
    assert ghost.diagonal.device.type == "meta"


@single_camera
def test_bands_in_another_order_are_the_same_camera(camera):
    order = torch.randperm(camera.bands, generator=torch.Generator().manual_seed(4)).tolist()
    named = camera.with_wavelengths(range(400, 400 + camera.bands))
    turned, x = named.in_order(order), cube_for(camera, 2)
    assert turned.wavelengths == tuple(400 + band for band in order)
    torch.testing.assert_close(turned.forward(x[:, order]), camera.forward(x), rtol=0, atol=1e-12)
    again = turned.in_order(np.argsort(order).tolist())
    assert again.wavelengths == named.wavelengths
    torch.testing.assert_close(again.forward(x), camera.forward(x), rtol=0, atol=1e-12)


def test_red_first_to_the_right_is_blue_first_to_the_left():
    red_first = CassiCamera(GREY, wavelengths=(600, 500, 400), step=2)
    turned, other = red_first.in_order([2, 1, 0]), CassiCamera(GREY, wavelengths=(400, 500, 600), step=-2)
    assert (turned.offsets, turned.wavelengths, turned.step) == (other.offsets, other.wavelengths, -2)
    both = StackedCamera(red_first, SideCamera(random_like(2, 3), red_first.height, red_first.width))
    cube = cube_for(both)
    torch.testing.assert_close(both.ascending().forward(cube.flip(-3)), both.forward(cube))
    assert both.ascending().wavelengths == red_first.ascending().wavelengths == (400, 500, 600)
    assert other.ascending() is other


@every_camera
def test_what_is_kept_serves_a_backward_pass_later(camera):
    fresh = camera.to(torch.float32)
    with torch.inference_mode():
        _ = fresh.diagonal, fresh.open_light, fresh.lit, fresh.row_sums
    y = fresh.forward(cube_for(camera).float()).requires_grad_()
    (y * fresh.diagonal + y * fresh.row_sums + fresh.brightness(y)).sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()


@every_camera
def test_autocast_is_the_matter_of_networks(camera):
    fresh, again, cube = camera.to(torch.float32), camera.to(torch.float32), cube_for(camera).float()
    with torch.autocast("cpu", torch.bfloat16):
        _ = fresh.diagonal, fresh.row_sums
        measurement = fresh.forward(cube)
        sent_back = fresh.adjoint(measurement)
        assert fresh.forward(cube.bfloat16()).dtype == torch.float32
    assert torch.equal(fresh.diagonal, again.diagonal)
    assert torch.equal(fresh.row_sums, again.row_sums)
    assert torch.equal(measurement, again.forward(cube))
    assert torch.equal(sent_back, again.adjoint(measurement))


def test_a_camera_keeps_what_it_was_made_of():
    mask, spread, response = GREY.clone(), SPREAD.clone(), random_like(3, C).numpy()
    camera = CassiCamera(mask, bands=C).through(Blur(spread))
    stacked = StackedCamera(camera, SideCamera(response, H, W))
    before = stacked.forward(cube_for(camera))
    mask.zero_()
    spread.zero_()
    response[:] = 0
    assert torch.equal(stacked.forward(cube_for(camera)), before)


def test_of_a_learnt_mask_nothing_is_kept():
    mask = GREY.clone().requires_grad_()
    camera = CassiCamera(mask, bands=C)
    assert camera.mask is mask
    with torch.no_grad():
        before = camera.diagonal
        mask *= 0.5
    torch.testing.assert_close(camera.diagonal.detach(), before / 4)
    for _ in range(2):  # each with a graph of its own
        camera.diagonal.sum().backward()
    torch.testing.assert_close(mask.grad, 2 * 2 * C * mask.detach())


@pytest.mark.parametrize("camera", [plain, CassiCamera(GREY * 0, bands=C)], ids=["closed pixels", "closed"])
def test_unlit_pixels_give_no_gradient_and_not_a_bad_one(camera):
    mask = camera.mask.clone().requires_grad_()
    traced, y = camera.with_mask(mask), random_like(*camera.measurement_shape).requires_grad_()
    unlit = camera.open_light == 0
    assert unlit.any()
    guess = traced.mean_estimate(y)
    ratio = torch.where(camera.lit, y.detach() / camera.open_light, 0)
    assert torch.equal(guess.detach(), camera.gather(ratio))
    (guess.sum() + traced.brightness(y)).backward()
    assert y.grad is not None
    assert mask.grad is not None
    assert torch.isfinite(y.grad).all()
    assert torch.isfinite(mask.grad).all()


@pytest.mark.parametrize("part", ["blur", "blur of each band", "distortion", "dead pixels"])
def test_parts_take_more_digits_than_their_own(part):
    camera = CAMERAS[part].to(torch.float32)
    x = cube_for(camera)
    y = camera.forward(x)
    assert y.dtype == camera.adjoint(y).dtype == torch.float64
    torch.testing.assert_close(y, CAMERAS[part].forward(x), rtol=1e-6, atol=1e-6)


@bare_camera
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


@bare_camera
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
        ({"mask": np.full((3, 3), 255, np.uint8), "bands": 2}, "whole numbers up to 255.*read_mask"),
        ({"mask": "mask.mat", "bands": 2}, "read_mask"),
        ({"mask": np.round(GREY.numpy()) * 255, "bands": 2}, "whole numbers up to 255.*read_mask"),
        ({"mask": GREY * 255, "bands": 2}, r"values up to 2\d\d\..*in 0\.\.1"),
        ({"mask": np.ma.masked_greater(GREY.numpy(), 0.5), "bands": 2}, "the mask is a masked array.*fill them"),
        ({"mask": GREY, "offsets": np.ma.masked_equal([0, 2, 9], 9)}, "the list of offsets is a masked array"),
        ({"mask": [["a", "b"]], "bands": 2}, "does not consist of real numbers"),
        ({"mask": GREY.numpy() * 1j, "bands": 2}, "does not consist of real numbers"),
        ({"mask": GREY * 1j, "bands": 2}, "does not consist of real numbers"),
        ({"mask": GREY, "bands": 2.5}, "whole number, not 2.5"),
        ({"mask": GREY, "bands": 2, "step": None}, "number of pixels per band, not None"),
        ({"mask": GREY, "bands": 2, "step": "two"}, "number of pixels per band, not 'two'"),
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
    with pytest.raises(InputError, match=r"714 rows but the mask has 660.*transpose the measurement, or both if"):
        camera.check(torch.ones(714, 660))
    upright = CassiCamera(torch.ones(72, 80), bands=8)
    for size, remedy in [
        ((94, 72), "transpose the measurement$"),
        (
            (86, 80),
            "14 rows more, so its bands are probably dispersed down the columns; transpose both, or give offsets",
        ),
        ((86, 94), "crop one"),
    ]:
        with pytest.raises(InputError, match=remedy):
            upright.check(torch.ones(size))
    with pytest.raises(InputError, match=r"72 rows but the mask has 80.*transpose the mask"):
        CassiCamera(torch.ones(80, 72), bands=8).check(torch.ones(72, 94))
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


@pytest.mark.parametrize("step", [0.1, 0.5, 0.75, 1, 1.5, 1.9, -2, 2.25, 4.8])
def test_bands_that_span_are_those_of_cameras(step):
    widths = [CassiCamera(torch.ones(1, 1), bands, step=step).span for bands in range(1, 30)]
    for pixels in range(1, 14):
        expected = [bands for bands, width in enumerate(widths, 1) if width == pixels]
        assert [bands for bands in bands_that_span(pixels, step) if bands < 30] == expected


def test_what_would_fit_names_the_step_that_was_told():
    camera = CassiCamera(torch.ones(4, 64), bands=27, step=1.5)
    with pytest.raises(InputError, match=r"what would fit: 28 bands at step 1\.5, 42 bands at step 1"):
        camera.check(torch.ones(4, 64 + 41))


@pytest.mark.parametrize("step", [1, 2, 4.8])
def test_offsets_that_are_whole_but_for_rounding_are_whole(step):
    camera = CassiCamera(torch.ones(4, 6), offsets=np.arange(8) * step / 4.8 * 4.8 * (1 + 2e-16))
    told = CassiCamera(torch.ones(4, 6), bands=8, step=step)
    assert camera.measurement_shape == told.measurement_shape
    assert CassiCamera(torch.ones(4, 6), offsets=np.arange(8) * 4.8 / 4.8).measurement_width == 6 + 7


# -- parts ------------------------------------------------------------------------------------------------------


def test_dead_pixels_count_no_light_whatever_they_read():
    camera = plain.through(Validity(dots(plain)))
    y = camera.forward(cube_for(camera))
    assert (y[~dots(plain)] == 0).all()
    assert (camera.diagonal[~dots(plain)] == 0).all()
    broken = torch.where(dots(plain), y, torch.inf)
    assert torch.equal(camera.adjoint(broken), camera.adjoint(y))
    assert torch.equal(camera.counted(broken), y)
    assert torch.equal(camera.counted_pixels, dots(plain) > 0)
    both = StackedCamera(camera, plain.through(Distortion(field_for(plain))))
    assert torch.equal(both.counted_pixels, both.counted(torch.ones(both.measurement_shape)) > 0)
    assert camera.brightness(broken) == camera.brightness(y)


def test_of_the_pixels_that_count_some_may_be_left_out():
    camera = plain.through(Blur(SPREAD), Validity(dots(plain)))
    some = torch.ones(camera.measurement_shape, dtype=torch.bool)
    some[:, ::2] = False
    fewer = camera.counting(some)
    expected = torch.where(some, camera.forward(cube_for(camera)), 0)
    assert torch.equal(fewer.forward(cube_for(camera)), expected)
    assert [part.name for part in fewer.parts] == [part.name for part in camera.parts]
    assert camera.counted(torch.ones(camera.measurement_shape)).sum() == dots(plain).sum()
    with pytest.raises(InputError, match="optics of its own"):
        StackedCamera(plain, plain).counting(some)


def test_a_gaussian_blur_keeps_the_light():
    spread = Blur.gaussian([0.5, 2.0]).values
    assert spread.shape == (2, 13, 13)
    torch.testing.assert_close(spread.sum((-2, -1)), torch.ones(2))
    at = torch.arange(-6, 7)
    variance = (spread.sum(1) * at.square()).sum(1)
    torch.testing.assert_close(variance[1], torch.tensor(4.0), rtol=0.05, atol=0)
    assert Blur.gaussian(1.0).values.shape == (7, 7)


def test_a_distortion_moves_what_is_seen():
    ramp = torch.arange(7.0).expand(5, 7)
    seen = Distortion(torch.stack([torch.zeros(5, 7), torch.full((5, 7), 0.25)])).forward(ramp)
    torch.testing.assert_close(seen[:, :-1], ramp[:, :-1] + 0.25)
    assert (seen[:, -1] == 0.75 * 6).all()  # the light from beyond the border is missing


def test_a_double_disperser_by_hand():
    camera = dual_disperser(torch.tensor([[0.25, 0.5, 0.75, 1]]), bands=2, step=2)
    assert camera.mask.tolist() == [[[0.25, 0.5]], [[0.75, 1]]]
    assert camera.forward(torch.ones(2, 1, 2)).tolist() == [[1, 1.5]]


def test_pictures_become_one_measurement():
    camera = STACKED["RGB beside it"]
    first, second = camera.views
    x = cube_for(camera)
    colour = second.forward(x).view(3, H, W)
    assert torch.equal(camera.measurement(first.forward(x), colour), camera.forward(x))
    with pytest.raises(InputError, match="takes 2 pictures, not 1"):
        camera.measurement(colour)
    with pytest.raises(InputError, match="has 5×7 pixels, where its camera takes 5×13"):
        camera.measurement(colour, colour)
    with pytest.raises(InputError, match="takes one exposure"):
        camera.initial_estimate(camera.forward(x))
    with pytest.raises(InputError, match="one mask for each exposure"):
        camera.with_mask(plain.mask)
    with pytest.raises(InputError, match="2 pictures one below the other have 20×13"):
        camera.adjoint(torch.ones(5, 13))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blur(torch.ones(2, 3)), "k and l odd"),
        (lambda: Blur(-torch.ones(3, 3)), "not negative"),
        (lambda: Blur.gaussian(0.0), "between 0 and 100"),
        (lambda: plain.through(Blur(torch.ones(3, 3, 3))), "3 point spread functions for 4 bands"),
        (lambda: Distortion(torch.ones(3, 5, 7)), r"\(2, height, width\)"),
        (lambda: Distortion(5 * random_like(2, 5, 7)), "smooth one changes by less than one"),
        (lambda: Distortion(torch.full((2, 5, 7), torch.nan)), "NaN"),
        (lambda: plain.through(Distortion(torch.zeros(2, 5, 7))), "has 5×7 pixels but the measurement 5×13"),
        (lambda: Validity(torch.ones(3)), r"not \(3,\)"),
        (lambda: plain.through(Validity(torch.zeros(5, 13))), "leaves none"),
        (lambda: plain.through(Validity(torch.ones(5, 13)), Blur(SPREAD)), "come last"),
        (lambda: SideCamera(-torch.ones(3, 4), H, W), "0 or more"),
        (lambda: StackedCamera(plain, SideCamera(torch.ones(3, 5), H, W)), "sees 4×5×7 and another 5×5×7"),
        (lambda: STACKED["two exposures"].through(Blur(SPREAD)), "optics of its own"),
        (lambda: dual_disperser(torch.ones(5, 6), bands=4), "too narrow for 4 bands"),
    ],
)
def test_parts_that_cannot_be_meant(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_parts_reach_beyond_the_detector_that_was_told():
    valid = torch.ones(4, 5)
    valid[1, 2] = 0
    wider = Validity(valid).crop(-1, -2, 6, 8).values
    assert wider.shape == (6, 8)
    assert torch.equal(wider[1:5, 2:7], valid)
    assert wider.sum() == 19, "what is new does not count"
    field = torch.stack([torch.arange(4.0)[:, None] / 9 + torch.zeros(5), torch.arange(5.0) / 9 + torch.zeros(4, 1)])
    seen = Distortion(field).crop(-1, -2, 6, 8).values
    assert torch.equal(seen[:, 1:5, 2:7], field)
    assert torch.equal(seen[:, 0, 2:7], field[:, 0]), "as at the border"
    assert torch.equal(Distortion(field).crop(1, 1, 2, 3).values, field[:, 1:3, 1:4])


def test_each_band_alone_adds_up_to_the_exposure():
    camera = CassiCamera(random_mask(9, 8), offsets=[(0, 0), (0.5, 1), (1, 3)])
    seen = torch.ones(camera.measurement_shape)
    seen[4, 4] = 0
    camera = camera.through(Blur.gaussian([0.4, 0.5, 0.6]), Validity(seen))
    cube = torch.rand(2, 3, 9, 8)
    bands = camera.each_band(camera.mask * cube)
    assert bands.shape == (2, 3, *camera.measurement_shape)
    torch.testing.assert_close(bands.sum(1), camera.forward(cube))
    assert camera.with_parts().parts == ()
    assert [part.name for part in camera.with_parts(Blur.gaussian(0.5)).parts] == ["blur"]


def test_a_calibrated_mask_may_have_single_elements_above_open_ones():
    mask = random_mask(40, 40)
    mask[3, 4] = 2.7
    assert CassiCamera(mask * 1.1, bands=2).mask.max() > 2.9


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor, list])
def test_a_gaussian_for_each_band(kind):
    one, other = Blur.gaussian(0.4).values, Blur.gaussian(0.9).values
    spread = Blur.gaussian(kind([0.4, 0.9])).values
    torch.testing.assert_close(spread[0, 1:-1, 1:-1], one, atol=1e-6, rtol=0)
    torch.testing.assert_close(spread[1], other, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="one for each band"):
        Blur.gaussian([[0.4, 0.9]])


def test_arrays_of_any_strides_and_bytes_are_taken():
    response = random_like(3, C).numpy()
    plain, turned = SideCamera(response, H, W), SideCamera(response[::-1], H, W)
    assert torch.equal(turned.response, plain.response.flip(0))
    assert torch.equal(SideCamera(response.astype(">f8"), H, W).response, plain.response)
    spread = SPREAD.numpy()[:, ::-1]
    assert torch.equal(Blur(spread).values, SPREAD.flip(1))


@pytest.mark.parametrize("camera", [plain, StackedCamera(plain, plain)], ids=["one", "stacked"])
def test_a_measurement_without_rows_is_refused(camera):
    for call in (camera.adjoint, camera.check):
        with pytest.raises(InputError, match=r"rows and columns, but this one has the shape \(42,\)"):
            call(torch.zeros(42))


def test_micrometres_are_not_taken_for_nanometres():
    for make in (lambda um: CassiCamera(torch.ones(4, 5), wavelengths=um), CAMERAS["per band"].with_wavelengths):
        with pytest.raises(InputError, match="too short for nm; if they are micrometres, multiply them by 1000"):
            make([0.45, 0.5, 0.55, 0.6])


def test_a_distortion_looks_where_it_should_whatever_its_precision():
    field, picture = torch.zeros(2, 60, 3000), torch.zeros(60, 3000)  # more pixels than half precision can count
    field[1], picture[-1] = 1, torch.arange(3000)
    seen = Distortion(field.half()).forward(picture)
    assert torch.equal(seen[-1], torch.cat([picture[-1, 1:], torch.zeros(1)]))
    part, small = Distortion(torch.full((2, 5, 7), 0.25).half()), random_like(5, 7).half()
    assert part.forward(small).dtype == part.adjoint(small).dtype == torch.float16


def test_arrays_in_place_of_tensors_are_refused():
    x = cube_for(plain)
    y = plain.forward(x)
    for call, given in [
        (plain.forward, x), (plain.adjoint, y), (plain.gather, y), (plain.mean_estimate, y),
        (plain.initial_estimate, y), (plain.brightness, y),
    ]:  # fmt: skip
        with pytest.raises(InputError, match="from_numpy makes a tensor of an array"):
            call(given.numpy())


def test_wavelengths_that_are_told_later_are_checked():
    for camera in (plain, StackedCamera(plain, plain)):
        with pytest.raises(InputError, match="2 wavelengths for 4 bands"):
            camera.with_wavelengths([500, 600])
        with pytest.raises(InputError, match="positive numbers of nanometres"):
            camera.with_wavelengths([400, 500, float("nan"), 600])


def test_exposures_of_one_scene_agree_about_their_bands():
    ascending = (450.0, 500.0, 550.0, 600.0)
    first = CassiCamera(GREY, wavelengths=ascending)
    assert StackedCamera(first, CAMERAS["per band"], first.with_wavelengths((451, 500, 550, 600))).bands == C
    for other in (ascending[::-1], tuple(nm + 100 for nm in ascending)):
        with pytest.raises(InputError, match=r"same bands in the same order.*up to 1[05]0 nm"):
            StackedCamera(first, first.with_wavelengths(other))
