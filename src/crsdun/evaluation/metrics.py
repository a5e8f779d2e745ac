"""How good an estimate is: cubes under a named protocol, class maps by their confusion matrix.

Legend: C bands · H, W scene · N classes, 0 the background · a confusion matrix is (N,N), true × estimated class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.evaluation.protocols import get_protocol, missing_voxels

# Of a cube; and of the classes of a single scene.
CUBE_FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse")
CLASS_FIGURES = ("miou", "miou_present", "accuracy")
# Keeps the IoU of an absent class at 0 / 1e-4 = 0, as in the paper.
IOU_SMOOTHING = 1e-4
CALIBRATION_BINS = 15
# Intervals of doubt, 0..1, in which right and wrong pixels are counted.
DOUBT_BINS = 1000


# -- cubes -----------------------------------------------------------------------------------------------------


def cube_metrics(estimate: Tensor, truth: Tensor, protocol: str = "crsdun") -> dict[str, Any]:
    """PSNR, SSIM, SAM and RMSE of one cube against the truth.

    Voxels where the truth holds no data count nowhere: PSNR and RMSE are over the others (``Protocol.psnr``), SSIM
    over windows that touch none of them (``Protocol.ssim``), SAM over pixels with data in every band.

    Args:
        estimate, truth: (C,H,W), reflectance with a range of 1; neither is clipped. The truth is NaN where it holds
            no data.
        protocol: a name in ``PROTOCOLS``; it decides on ``psnr_db`` and ``ssim``.

    Returns:
        ``psnr_db`` · ``ssim`` (None if no window of its kernel fits) · ``sam_deg`` the mean spectral angle over
        pixels whose true spectrum is not black (None if there are none) · ``rmse`` · ``protocol``.

    Raises:
        InputError: the shapes differ, the truth holds no data at all, or there is no such protocol.
    """
    if estimate.shape != truth.shape:
        raise InputError(
            f"the truth has shape {tuple(truth.shape)} (bands, height, width) but the estimate "
            f"{tuple(estimate.shape)}",
            "crop or resample the truth to the camera's bands and size",
        )
    rules = get_protocol(protocol)
    angles = spectral_angles(estimate, truth)[truth.norm(dim=0) > 0]  # NaN is not above 0
    missing = missing_voxels(truth)
    errors = estimate - truth if missing is None else (estimate - truth)[~missing]
    return {
        "psnr_db": rules.psnr(estimate, truth),
        "ssim": rules.ssim(estimate, truth),
        "sam_deg": float(angles.mean()) if angles.numel() else None,
        "rmse": float(errors.square().mean().sqrt()),
        "protocol": protocol,
    }


def spectral_angles(estimate: Tensor, truth: Tensor) -> Tensor:
    """Angle in degrees between the spectra at each pixel of two cubes (C,H,W), (H,W); 90 where one is black."""
    product, *squares = (torch.zeros_like(truth[0], dtype=torch.float64) for _ in range(3))
    # Band by band in double precision, which takes a tenth of the time of converting both cubes.
    for pair in zip(estimate, truth, strict=True):
        x, t = (band.double() for band in pair)
        product.addcmul_(x, t)
        squares[0].addcmul_(x, x)
        squares[1].addcmul_(t, t)
    lengths = [square.sqrt().clamp_min(1e-8) for square in squares]
    return (product / (lengths[0] * lengths[1])).clamp(-1, 1).arccos().rad2deg()


# -- class maps ------------------------------------------------------------------------------------------------


def confusion_matrix(estimate: Tensor, truth: Tensor, classes: int) -> Tensor:
    """The number of pixels of each true class (rows) assigned to each class (columns), (N,N) int64.

    Args:
        estimate: (..., H, W) integers 0..N−1.
        truth: the same shape; negative where unknown, which is ignored.
        classes: N, background (class 0) included.

    Raises:
        InputError: the shapes differ, or the truth contains a class of N or more.
    """
    if estimate.shape != truth.shape:
        raise InputError(f"the true class map has shape {tuple(truth.shape)}, the estimate {tuple(estimate.shape)}")
    if int(truth.max()) >= classes:
        raise InputError(
            f"the truth holds class {int(truth.max())} but these weights know {classes} classes (0..{classes - 1})",
            "use weights for the scene's classes",
        )
    known = truth >= 0
    pairs = truth[known].long() * classes + estimate[known]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def class_scores(confusion: Tensor) -> dict[str, Tensor]:
    """Scores of each class of a confusion matrix (..., N, N); all are (..., N), and 0 for a class that never occurs.

    ``pixels`` in the truth · ``iou`` TP / (TP + FP + FN + 1e-4) · ``precision`` · ``recall`` · ``f1``.
    """
    confusion = confusion.double()
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    true, estimated = confusion.sum(-1), confusion.sum(-2)
    return {
        "pixels": true,
        "iou": hits / (true + estimated - hits + IOU_SMOOTHING),
        "precision": hits / estimated.clamp(min=1),
        "recall": hits / true.clamp(min=1),
        "f1": 2 * hits / (true + estimated).clamp(min=1),
    }


def class_figures(confusion: Tensor, class_names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """A few figures of a confusion matrix (..., N, N), (...) each.

    ``miou``, ``f1``, ``precision`` and ``recall`` are means over the N−1 foreground classes, an absent one
    counting as 0 (the paper's mIoU, if the matrix counts all pixels of a split) · ``miou_present`` the mean IoU over
    the foreground classes that occur in the truth, NaN if none does · ``accuracy`` the fraction of labelled pixels
    that are right, NaN if none is labelled.

    If classes come in pairs *real X* / *fake X*, among the pixels that truly belong to a pair: ``kind_accuracy`` the
    fraction assigned to the right X, real or fake; and among those, ``authenticity_accuracy`` the fraction for which
    real or fake is right too. Guessing gives about one half for the latter. Either is NaN
    where there are no such pixels.
    """
    confusion = confusion.double()
    scores = class_scores(confusion)
    count = max(confusion.shape[-1] - 1, 1)
    present = scores["pixels"][..., 1:] > 0
    figures = {
        "miou": scores["iou"][..., 1:].sum(-1) / count,
        "miou_present": (scores["iou"][..., 1:] * present).sum(-1) / present.sum(-1),
        **{name: scores[name][..., 1:].sum(-1) / count for name in ("f1", "precision", "recall")},
        "accuracy": confusion.diagonal(dim1=-2, dim2=-1).sum(-1) / confusion.sum((-2, -1)),
    }
    pairs = authenticity_pairs(class_names or ())
    if pairs:
        real, fake = torch.tensor(pairs, device=confusion.device).T
        right = (confusion[..., real, real] + confusion[..., fake, fake]).sum(-1)
        right_kind = right + (confusion[..., real, fake] + confusion[..., fake, real]).sum(-1)
        pixels = scores["pixels"][..., torch.cat([real, fake])].sum(-1)
        figures["kind_accuracy"] = right_kind / pixels
        figures["authenticity_accuracy"] = right / right_kind
    return figures


def authenticity_pairs(class_names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of the classes called ``real X`` and ``fake X``."""
    places = {name: place for place, name in enumerate(class_names)}
    kinds = [name.removeprefix("real ") for name in class_names if name.startswith("real ")]
    return [(places[f"real {kind}"], places[f"fake {kind}"]) for kind in kinds if f"fake {kind}" in places]


# -- confidence -------------------------------------------------------------------------------------------------


def reliability(logits: Tensor, truth: Tensor) -> Tensor:
    """How confident a class map is and how often it is right, binned by confidence.

    Args:
        logits: (N,H,W).
        truth: (H,W), negative where unknown, which is ignored.

    Returns:
        (3, 16) float64: pixels, sum of confidences (largest softmax) and right pixels, for 15 bins of confidence
        of equal width and, as in torchmetrics, one for a confidence of exactly 1.
    """
    confidence, estimate = logits.float().softmax(0).max(0)
    known = truth >= 0
    confidence, right = confidence[known], (estimate == truth)[known]
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, device=logits.device)
    bins = torch.bucketize(confidence, edges, right=True) - 1
    columns = torch.stack([torch.ones_like(confidence), confidence, right.to(confidence)]).double()
    return columns.new_zeros(3, CALIBRATION_BINS + 1).index_add_(1, bins, columns)


def calibration_error(bins: Tensor) -> float | None:
    """Expected calibration error (l1) of ``reliability``: Σ_bins fraction · |accuracy − mean confidence|, 0..1.

    None if no pixel is labelled. Source: Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    pixels, confidence, right = bins
    return float((right - confidence).abs().sum() / pixels.sum()) if pixels.sum() > 0 else None


def doubt_histogram(doubt: Tensor, estimate: Tensor, truth: Tensor) -> Tensor:
    """How many right and how many wrong pixels there are in each interval of doubt, (2, 1000) int64.

    Args:
        doubt: (H,W), 0..1.
        estimate: (H,W) classes.
        truth: (H,W), negative where unknown, which is ignored.
    """
    known = truth >= 0
    place = (doubt[known] * DOUBT_BINS).long().clamp(0, DOUBT_BINS - 1)
    wrong = (estimate != truth)[known].long()
    return torch.bincount(wrong * DOUBT_BINS + place, minlength=2 * DOUBT_BINS).view(2, DOUBT_BINS)


def doubt_figures(histogram: Tensor, coverage: float | None = None) -> dict[str, float | None]:
    """How well doubt tells wrong pixels from right ones, from a ``doubt_histogram``.

    ``doubt_auroc`` the area under the receiver operating characteristic: the probability that a wrong pixel is more
    doubtful than a right one, pixels of one interval counting half; None unless there are both. With a coverage also
    ``known`` the share of pixels whose doubt is not above it, and ``accuracy_known`` how many of these are right.
    """
    right, wrong = histogram.double()
    less = right.cumsum(0) - right / 2  # right pixels with less doubt than a wrong one of this interval
    pairs = float(right.sum() * wrong.sum())
    figures: dict[str, float | None] = {"doubt_auroc": float((wrong * less).sum()) / pairs if pairs else None}
    total = float(histogram.sum())
    if coverage is not None and total:
        last = round(coverage * DOUBT_BINS)
        known = float(histogram[:, :last].sum())
        figures["known"] = known / total
        figures["accuracy_known"] = float(right[:last].sum()) / known if known else None
    return figures
