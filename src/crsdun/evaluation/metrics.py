"""How good an estimate is. Every figure belongs to a named protocol; here the paper's, ``crsdun``."""

from __future__ import annotations

import torch
from torch import Tensor

from crsdun.optics import CassiCamera, InputError

PROTOCOL = "crsdun"
SSIM_KERNEL = 11


def cube_metrics(estimate: Tensor, truth: Tensor) -> dict[str, float | str | None]:
    """PSNR, SSIM, SAM and RMSE of one cube against the truth, protocol ``crsdun``.

    Args:
        estimate, truth: (C,H,W), reflectance with a range of 1; neither is clipped.

    Returns:
        ``psnr_db`` over the whole cube with data range 1 · ``ssim`` (Gaussian 11×11, σ 1.5, data range 1, mean over
        bands; None where the scene is smaller than its kernel) · ``sam_deg`` the mean spectral angle over pixels
        whose true spectrum is not black · ``rmse`` · ``protocol``.

    Raises:
        InputError: the shapes differ.
    """
    if estimate.shape != truth.shape:
        raise InputError(
            f"the truth has shape {tuple(truth.shape)} (bands, height, width) but the estimate "
            f"{tuple(estimate.shape)}; crop or resample the truth to the camera's bands and size"
        )
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    large = min(truth.shape[-2:]) >= SSIM_KERNEL
    ssim = structural_similarity_index_measure(estimate[None], truth[None], data_range=1.0) if large else None
    return {
        "psnr_db": float(peak_signal_noise_ratio(estimate, truth, data_range=1.0)),
        "ssim": float(ssim) if isinstance(ssim, Tensor) else None,
        "sam_deg": float(spectral_angles(estimate, truth)[truth.norm(dim=0) > 0].mean()),
        "rmse": float((estimate - truth).square().mean().sqrt()),
        "protocol": PROTOCOL,
    }


def spectral_angles(estimate: Tensor, truth: Tensor) -> Tensor:
    """Angle in degrees between the spectra of each pixel of two (C,H,W), (H,W)."""
    cosine = torch.nn.functional.cosine_similarity(estimate.double(), truth.double(), dim=0)
    return cosine.clamp(-1, 1).arccos().rad2deg()


def class_metrics(estimate: Tensor, truth: Tensor, classes: int) -> dict[str, float | str]:
    """mIoU and accuracy of a class map, protocol ``crsdun``.

    Args:
        estimate: (..., H, W) integers 0..N−1.
        truth: the same shape; negative where nobody knows, which counts nowhere.
        classes: N, background (class 0) included.

    Returns:
        ``miou`` the mean over the N−1 foreground classes of TP / (TP + FP + FN + 1e-4), pooled over all pixels, an
        absent class counting 0 · ``accuracy`` the share of labelled pixels that are right · ``protocol``.

    Raises:
        InputError: the shapes differ, or the truth holds classes from N on.
    """
    if estimate.shape != truth.shape:
        raise InputError(f"the true class map has shape {tuple(truth.shape)}, the estimate {tuple(estimate.shape)}")
    if int(truth.max()) >= classes:
        raise InputError(
            f"the truth holds class {int(truth.max())} but these weights know {classes} classes (0..{classes - 1}); "
            "use weights for the scene's classes"
        )
    known = truth >= 0
    confusion = torch.bincount(truth[known] * classes + estimate[known], minlength=classes**2).view(classes, classes)
    confusion = confusion.double()
    hits = confusion.diag()
    union = confusion.sum(0) + confusion.sum(1) - hits
    return {
        "miou": float((hits / (union + 1e-4))[1:].mean()) if classes > 1 else 0.0,
        "accuracy": float(hits.sum() / confusion.sum().clamp(min=1)),
        "protocol": PROTOCOL,
    }


def data_residual(measurement: Tensor, cube: Tensor, camera: CassiCamera) -> float:
    """‖y − A x‖ / ‖y‖: how much of the measurement (H,Wm) the cube (C,H,W) leaves unexplained."""
    unexplained = (measurement - camera.forward(cube)).norm()
    return float(unexplained / measurement.norm().clamp(min=torch.finfo(measurement.dtype).tiny))
