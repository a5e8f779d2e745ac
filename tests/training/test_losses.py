"""The joint loss against its formula."""

import math

import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import Estimate
from crsdun.training import IGNORED, joint_loss
from crsdun.training.losses import (
    CUBE_LOSSES,
    Balance,
    CubeErrors,
    LossConfig,
    Targets,
    frequency_weights,
    root,
    stage_losses,
)

generator = torch.Generator().manual_seed(0)
CUBES = [torch.rand(2, 3, 4, 5, generator=generator) for _ in range(3)]
LOGITS = [torch.randn(2, 6, 4, 5, generator=generator) for _ in range(3)]
TRUTH = torch.rand(2, 3, 4, 5, generator=generator)
CLASSES = torch.randint(0, 6, (2, 4, 5), generator=generator)


def expected(labelled: torch.Tensor) -> float:
    total = 0.0
    for k, (x, theta) in enumerate(zip(CUBES, LOGITS, strict=True)):
        log_likelihood = theta.log_softmax(1).gather(1, CLASSES.clamp(min=0)[:, None])[:, 0]
        total += 0.7 ** (2 - k) * (((x - TRUTH) ** 2).mean() - 0.01 * log_likelihood[labelled].mean()).item()
    return total


def test_stages_are_weighted_and_both_losses_are_means():
    loss = joint_loss(Estimate(CUBES, LOGITS), TRUTH, CLASSES, LossConfig(stage_decay=0.7, cross_entropy_weight=0.01))
    assert loss.item() == pytest.approx(expected(CLASSES >= 0), rel=1e-5)


def test_unlabelled_pixels_do_not_count():
    classes = CLASSES.clone()
    classes[:, :2] = IGNORED
    loss = joint_loss(Estimate(CUBES, LOGITS), TRUTH, classes, LossConfig(stage_decay=0.7, cross_entropy_weight=0.01))
    assert loss.item() == pytest.approx(expected(classes != IGNORED), rel=1e-5)
    nobody_knows = joint_loss(
        Estimate(CUBES, LOGITS), TRUTH, torch.full_like(CLASSES, IGNORED), LossConfig(cross_entropy_weight=1.0)
    )
    assert (
        nobody_knows.item()
        == joint_loss(Estimate(CUBES, LOGITS), TRUTH, CLASSES, LossConfig(cross_entropy_weight=0.0)).item()
    )


def test_shares_of_a_batch_add_up_to_its_losses():
    classes = CLASSES.clone()
    classes[0, :3] = IGNORED  # far fewer labels in the first share than in the second
    whole = stage_losses(Estimate(CUBES, LOGITS), Targets.alone(TRUTH, classes))
    parts = [
        stage_losses(
            Estimate([x[i : i + 1] for x in CUBES], [theta[i : i + 1] for theta in LOGITS]),
            Targets(TRUTH[i : i + 1], classes[i : i + 1], (classes != IGNORED).sum(), 0, share=0.5),
        )
        for i in range(2)
    ]
    for which in range(2):
        torch.testing.assert_close(parts[0][which] + parts[1][which], whole[which])


def test_the_mean_is_that_of_torch_bit_for_bit_where_all_is_known():
    mse, _ = stage_losses(Estimate(CUBES), Targets(TRUTH, CLASSES, torch.tensor(40), 0, share=1 / 3))
    assert mse.tolist() == [(1 / 3 * torch.nn.functional.mse_loss(x, TRUTH)).item() for x in CUBES]


def test_learnt_balance_starts_where_the_fixed_one_stands_and_finds_the_uncertainties():
    mse, ce = torch.tensor([0.3, 0.1]), torch.tensor([2.0, 1.0])
    fixed = Balance(LossConfig(stage_decay=0.7, cross_entropy_weight=0.02))(mse, ce)
    learnt = Balance(LossConfig(stage_decay=0.7, cross_entropy_weight=0.02, balance="uncertainty"))
    start = 0.5 * fixed.item() + 0.5 * math.log(2 / 0.02)
    assert learnt(mse, ce).item() == pytest.approx(start, rel=1e-6)

    # At the minimum the variances are what the losses say: σ₁² = L_cube, σ₂² = 2 L_classes.
    optimiser = torch.optim.Adam(learnt.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        learnt(mse, ce).backward()
        optimiser.step()
    variances = learnt.log_variances.detach().exp()
    assert variances.tolist() == pytest.approx([0.7 * 0.3 + 0.1, 2 * (0.7 * 2 + 1)], rel=1e-3)


# -- the published loss of reconstruction networks -----------------------------------------------------------------


def test_rmse_of_the_last_four_stages_by_hand():
    """Constant errors of 0.5, 0.4, 0.3, 0.2, 0.1: their RMSE, of which the first stage does not count."""
    truth = torch.zeros(2, 3, 4, 5)
    cubes = [truth + error for error in (0.5, 0.4, 0.3, 0.2, 0.1)]
    settings = LossConfig(cube="rmse", stage_weights=(1, 0.7, 0.5, 0.3))
    loss = joint_loss(Estimate(cubes), truth, CLASSES, settings)
    assert loss.item() == pytest.approx(0.1 + 0.7 * 0.2 + 0.5 * 0.3 + 0.3 * 0.4, rel=1e-6)
    two = joint_loss(Estimate(cubes[-2:]), truth, CLASSES, settings)
    assert two.item() == pytest.approx(0.1 + 0.7 * 0.2, rel=1e-6)


def test_the_class_map_alone():
    logits = torch.tensor([2.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    classes = torch.zeros(1, 4, 5, dtype=torch.int64)
    estimate = Estimate([torch.ones(1, 2, 4, 5)], [logits])
    loss = joint_loss(estimate, torch.zeros(1, 2, 4, 5), classes, LossConfig(cube="none", cross_entropy_weight=1.0))
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)), rel=1e-6)


def test_the_root_is_that_of_the_whole_batch_in_value_and_gradient():
    """Two samples with RMSE 0.3 and 0.4: of both together 0.3536, not the mean of 0.35."""
    truth = torch.zeros(2, 1, 2, 2)
    x = torch.stack([torch.full((1, 2, 2), 0.3), torch.full((1, 2, 2), 0.4)]).requires_grad_()
    whole = (x - truth).square().mean().sqrt()
    (expected,) = torch.autograd.grad(whole, x)

    shares = [0.5 * x[i].square().mean()[None] for i in range(2)]
    together = sum(shares).detach()
    parts = [root(CubeErrors([], truth, share, together, 0.5)) for share in shares]
    assert sum(parts).item() == pytest.approx(math.sqrt(0.125), rel=1e-6)
    (found,) = torch.autograd.grad(sum(parts), x)
    torch.testing.assert_close(found, expected)
    (alone,) = torch.autograd.grad(root(CubeErrors([], truth, mse := x.square().mean()[None], mse)), x)
    torch.testing.assert_close(alone, expected)


def test_a_perfect_cube_has_no_gradient_and_not_none():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    mse = x.square().mean()[None]
    (gradient,) = torch.autograd.grad(root(CubeErrors([x], torch.zeros(1, 1, 2, 2), mse, mse)).sum(), x)
    assert not gradient.any()


# -- losses beyond the paper ---------------------------------------------------------------------------------------


def cube_loss(name: str, x: torch.Tensor, truth: torch.Tensor, targets: Targets | None = None) -> torch.Tensor:
    targets = targets or Targets.alone(truth, torch.zeros(len(truth), *truth.shape[2:], dtype=torch.int64))
    compared = targets.compared([x])
    known = targets.known
    return CUBE_LOSSES[name](CubeErrors(*compared, *2 * (torch.zeros(1),), targets.share, targets.weight, known))[0]


def test_absolute_and_charbonnier_errors_by_hand():
    truth = torch.full((1, 2, 1, 2), 0.5)
    x = truth + torch.tensor([0.1, -0.3, 0.0, 0.2]).view(1, 2, 1, 2)
    assert cube_loss("l1", x, truth).item() == pytest.approx(0.04 * 0.15, rel=1e-6)
    each = [math.hypot(error, 1e-3) - 1e-3 for error in (0.1, 0.3, 0, 0.2)]
    assert cube_loss("charbonnier", x, truth).item() == pytest.approx(0.04 * sum(each) / 4, rel=1e-5)
    truth[0, 1, 0, 1] = math.nan  # the error of 0.2 is not known
    assert cube_loss("l1", x, truth).item() == pytest.approx(0.04 * 0.4 / 3, rel=1e-6)


def test_an_absolute_error_has_the_gradient_of_the_squared_one_at_34_db():
    truth = torch.rand(1, 3, 4, 4, generator=generator)
    x = (truth + 0.02).requires_grad_()
    (expected,) = torch.autograd.grad((x - truth).square().mean(), x)
    (found,) = torch.autograd.grad(cube_loss("l1", x, truth), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_tempered_errors_by_hand():
    """Small errors count by their square, large ones by its logarithm, and half the light by twice the error."""
    bright = torch.full((2, 1, 2, 2), 0.5)
    x = bright + torch.tensor([0.001, 0.2]).view(2, 1, 1, 1)
    small, large = 0.001**2, 4e-4 * math.log(1 + 0.2**2 / 4e-4)
    assert cube_loss("tempered", x, bright).item() == pytest.approx((small + large) / 2, rel=2e-3)
    assert cube_loss("tempered", x / 2, bright / 2).item() == pytest.approx((small + large) / 2, rel=2e-3)
    night = cube_loss("tempered", x / 50, bright / 50).item()  # so dark that it counts less
    assert night == pytest.approx(4e-4 * math.log(1 + (0.2 / 50 * 5) ** 2 / 4e-4) / 2, rel=0.01)


@pytest.mark.parametrize("name", ["l1", "charbonnier", "l1+sam", "tempered"])
def test_what_is_missing_changes_no_mean_of_what_is_known(name):
    """Rows and bands of one of two samples, all of whose pixels and bands have the same error."""
    truth = torch.tensor([0.2, 0.4, 0.3]).view(1, 3, 1, 1).expand(2, 3, 8, 8).clone()
    x = truth + torch.tensor([0.02, 0.02]).view(2, 1, 1, 1)
    expected = cube_loss(name, x, truth)
    truth[1, :, :6] = math.nan
    torch.testing.assert_close(cube_loss(name, x, truth), expected)
    if name == "tempered":  # bad and good samples count alike
        bad, dark = torch.full((2, 1, 4, 4), 0.5), torch.full((2, 1, 4, 4), math.nan)
        dark[0], dark[1, :, 3] = 0.5, 0.5
        worse = bad + torch.tensor([0.02, 0.2]).view(2, 1, 1, 1)
        torch.testing.assert_close(cube_loss(name, worse, dark), cube_loss(name, worse, bad))


def test_the_angle_by_hand():
    """45° in one pixel, 90° in another that is too dark to count, 0° in two of the wrong brightness."""
    truth = torch.tensor([[0.5, 0.0], [0.018, 0.0], [0.5, 0.5], [0.2, 0.4]]).T.reshape(1, 2, 2, 2)
    x = torch.tensor([[0.5, 0.5], [0.0, 0.018], [0.4, 0.4], [0.1, 0.2]]).T.reshape(1, 2, 2, 2)
    error = (0.5 + 2 * 0.018 + 0.2 + 0.3) / 8
    expected = 0.04 * (error + 0.1 * math.pi / 4 / 4)
    # Angles of less than 0.0014 count as so much.
    assert cube_loss("l1+sam", x, truth).item() == pytest.approx(expected, rel=2e-3)
    brighter = torch.where(truth == 0.018, 0.03, truth)
    assert cube_loss("l1+sam", x, brighter) > 0.04 * 0.1 * (math.pi / 4 + math.pi / 2) / 4


@pytest.mark.parametrize("name", ["l1", "charbonnier", "l1+sam", "tempered"])
def test_gradients_are_finite_at_the_truth_at_nothing_and_where_there_is_no_data(name):
    truth = torch.rand(1, 3, 4, 4, generator=generator)
    truth[0, :, 0, 0] = 0
    truth[0, :2, 1] = math.nan
    for start in (truth.nan_to_num(0.5), torch.zeros_like(truth), -truth.nan_to_num(0.5)):
        x = start.clone().requires_grad_()
        loss = cube_loss(name, x, truth)
        (gradient,) = torch.autograd.grad(loss, x)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1
        assert not gradient[truth.isnan()].any()


@pytest.mark.parametrize("name", ["l1", "charbonnier", "l1+sam", "tempered"])
def test_shares_of_a_batch_add_up_to_its_cube_loss(name):
    truth = TRUTH.clone()
    truth[0, 1, :3] = math.nan  # all in the first share
    missing = int(truth.isnan().sum())
    whole = cube_loss(name, CUBES[0], truth)
    parts = [
        cube_loss(
            name, CUBES[0][i : i + 1], truth[i : i + 1],
            Targets(truth[i : i + 1], CLASSES[i : i + 1], torch.tensor(1), missing, share=0.5),
        )
        for i in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(sum(parts), whole)
    assert parts[0] != parts[1]


def test_a_network_without_cubes_has_no_cube_loss():
    for name in ("l1", "charbonnier", "l1+sam", "tempered"):
        none = torch.zeros(0)
        assert CUBE_LOSSES[name](CubeErrors([], TRUTH, none, none)).shape == (0,)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda errors: torch.ones(4), "shape (4,), not one value for each of 3 stages"),
        (lambda errors: errors.mse.sum(), "shape ()"),
        (lambda errors: 1.0, "returned float"),
    ],
)
def test_a_loss_of_ones_own_returns_a_value_for_each_stage(returned, words):
    CUBE_LOSSES.register("mine", returned)
    try:
        with pytest.raises(InputError) as caught:
            joint_loss(Estimate(CUBES, LOGITS), TRUTH, CLASSES, LossConfig(cube="mine"))
    finally:
        CUBE_LOSSES.unregister("mine")
    assert "the cube loss 'mine' returned" in str(caught.value)
    assert words in str(caught.value)


def test_rare_classes_weigh_by_the_inverse_root_of_their_frequency():
    weights = frequency_weights(torch.tensor([16, 4, 0, 1]))
    # 1/4, 1/2, as the rarest, 1, so that 16/4 + 4/2 + 1 = 7 stand for 21 pixels
    assert weights.tolist() == pytest.approx([0.75, 1.5, 3.0, 3.0])
    assert frequency_weights(torch.tensor([5, 5])).tolist() == [1, 1]


def test_weighted_and_smoothed_cross_entropy_by_hand():
    logits = torch.tensor([2.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 3)
    classes = torch.tensor([[[0, 2, IGNORED]]])
    log_p = logits[0, :, 0, 0].log_softmax(0).tolist()
    smooth = [-(0.7 * log_p[c] + 0.3 * sum(log_p) / 3) for c in range(3)]
    estimate, cube = Estimate([], [logits]), torch.zeros(1, 2, 1, 3)
    settings = LossConfig(cube="none", cross_entropy_weight=1.0, label_smoothing=0.3)
    plain = joint_loss(estimate, cube, classes, settings)
    assert plain.item() == pytest.approx((smooth[0] + smooth[2]) / 2, rel=1e-6)
    weighted = joint_loss(estimate, cube, classes, settings, torch.tensor([0.5, 9.0, 2.0]))
    assert weighted.item() == pytest.approx((0.5 * smooth[0] + 2 * smooth[2]) / 2, rel=1e-6)
    unsmoothed = joint_loss(
        estimate, cube, classes, LossConfig(cube="none", cross_entropy_weight=1.0), torch.tensor([0.5, 9, 2])
    )
    assert unsmoothed.item() == pytest.approx(-(0.5 * log_p[0] + 2 * log_p[2]) / 2, rel=1e-6)


def test_shares_of_a_weighted_cross_entropy_add_up():
    weights = torch.rand(6, generator=generator)
    classes = CLASSES.clone()
    classes[0, :3] = IGNORED
    labelled = (classes != IGNORED).sum()

    def of(part, share):
        estimate = Estimate([x[part] for x in CUBES], [theta[part] for theta in LOGITS])
        return stage_losses(estimate, Targets(TRUTH[part], classes[part], labelled, 0, share, weights, 0.1))[1]

    torch.testing.assert_close(of(slice(1), 0.5) + of(slice(1, 2), 0.5), of(slice(2), 1.0))


def test_the_classes_of_the_last_stage_alone():
    mse, ce = torch.tensor([0.3, 0.1]), torch.tensor([2.0, 1.0])
    last = Balance(LossConfig(stage_decay=0.7, cross_entropy_weight=0.02, class_stages="last"))
    assert last(mse, ce).item() == pytest.approx(0.7 * 0.3 + 0.1 + 0.02 * 1.0)
    assert last(mse, ce[:0]).item() == pytest.approx(0.7 * 0.3 + 0.1)
    weighted = Balance(LossConfig(stage_weights=(2.0, 0.5), cross_entropy_weight=0.02, class_stages="last"))
    assert weighted(mse, ce).item() == pytest.approx(2 * 0.1 + 0.5 * 0.3 + 0.02 * 2 * 1.0)


def test_the_focal_loss_is_the_cross_entropy_times_what_is_left_of_certainty():
    theta = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]]).view(1, 3, 1, 2).requires_grad_()
    classes = torch.tensor([[[0, 1]]])
    p = theta.detach().softmax(1)
    expected = sum(-((1 - q) ** 2) * q.log() for q in (p[0, 0, 0, 0], p[0, 1, 0, 1])) / 2
    settings = LossConfig(cube="none", cross_entropy_weight=1.0, focal=2.0)
    loss = joint_loss(Estimate([], [theta]), torch.zeros(1, 1, 1, 2), classes, settings)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    certain = (100 * torch.eye(3)[:, :2]).view(1, 3, 1, 2).requires_grad_()
    settings = LossConfig(cube="none", cross_entropy_weight=1.0, focal=0.5)
    joint_loss(Estimate([], [certain]), torch.zeros(1, 1, 1, 2), classes, settings).backward()
    assert torch.isfinite(certain.grad).all()
