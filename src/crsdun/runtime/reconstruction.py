"""From a measurement to a cube: which camera, which method, and what came out."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crsdun import __version__
from crsdun.errors import InputError
from crsdun.evaluation import class_metrics, cube_metrics, data_residual
from crsdun.methods.precision import in_precision
from crsdun.methods.progress import report_layers
from crsdun.methods.tiles import Tiles, by_tiles
from crsdun.networks import ModelCard, Network, fit_to_card, pretrained_weights
from crsdun.networks.checkpoint import card_from_header, read_header
from crsdun.optics import CassiCamera, Estimate, check_height, describe_fits, normalise_frame
from crsdun.runtime.engines import Engine, open_engine
from crsdun.scenes import Measurement, Scene
from crsdun.solvers import by_name

Progress = Callable[[int, int], None]
Method = Callable[..., Estimate]

# What decodes where no weights fit.
DEFAULT_SOLVER = "admm-tv"

# Beyond any camera's counts, and safely below where squares overflow.
LARGEST_VALUE = 1e15


@dataclass(frozen=True)
class Reconstruction:
    """What came out, and from what.

    Attributes:
        measurement: the exposure, as a measurement on the scale of y = A x.
        camera: that took it.
        scene: the estimate, with wavelengths, and with classes where the method segments.
        truth: the true scene on the camera's bands, where it was given.
        metrics: ``data_residual``, and the protocol's figures where there is truth.
        record: how it was made, as plain JSON values.
        stages: cubes and logits of every stage, on the CPU and in the order of ``scene``'s bands, where they were
            asked for.
    """

    measurement: Measurement
    camera: CassiCamera
    scene: Scene
    truth: Scene | None
    metrics: dict[str, Any]
    record: dict[str, Any]
    stages: Estimate | None = None


# -- the camera ------------------------------------------------------------------------------------------------


def camera_for(
    measurement: Measurement,
    mask: Any = None,
    bands: int | None = None,
    wavelengths: tuple[float, ...] | None = None,
    step: float | None = None,
    offsets: tuple[float, ...] | None = None,
) -> CassiCamera:
    """The camera that took a measurement: what is given here wins over what the measurement's file tells.

    The step is 2 pixels per band where nobody tells; the number of bands then follows from the two widths.

    Raises:
        InputError: there is no mask, or the widths fit no such camera (the message says which would).
    """
    mask = measurement.mask if mask is None else mask
    if mask is None:
        raise InputError("a measurement can only be decoded with its coded aperture", "give <mask>")
    if not (mask > 0).any():
        raise InputError(
            "the mask is closed everywhere: no light came through", "was the right array read (<mask_key>)?"
        )
    check_height(mask.shape[-2], *measurement.frame.shape)
    wavelengths = measurement.wavelengths if wavelengths is None else wavelengths
    if wavelengths is not None and len(set(wavelengths)) < len(wavelengths):
        raise InputError("two bands have the same wavelength", "correct <wavelengths>")
    if offsets is not None and step is not None:
        raise InputError("the dispersion is either one step or a list of offsets, not both")
    if step is None:
        step = 2 if measurement.step is None else measurement.step
    if not any(told is not None for told in (bands, wavelengths, offsets)) and mask.ndim == 2:
        span = measurement.frame.shape[1] - mask.shape[1]
        if step == 0:
            raise InputError("without dispersion the width does not tell the number of bands", "give <bands>")
        if span == 0:
            raise InputError(
                "the measurement is as wide as the mask, so nothing was dispersed",
                "if it holds a single band, say <bands> 1, else give the mask of this measurement",
            )
        if span < 0 or span % abs(step):
            raise InputError(
                f"a measurement {measurement.frame.shape[1]} wide behind a mask {mask.shape[1]} wide fits no number "
                f"of bands at step {step:g}",
                f"{describe_fits(mask.shape[1], measurement.frame.shape[1])}",
            )
        bands = int(span // abs(step)) + 1
    camera = CassiCamera(mask, bands=bands, wavelengths=wavelengths, step=step, offsets=offsets)
    camera.check(measurement.frame)
    return camera


def to_measurement_scale(measurement: Measurement, bands: int, **calibration: Any) -> Measurement:
    """The measurement on the scale of y = A x; settings of ``normalise_frame`` that are not None apply.

    Raises:
        InputError: the frame holds counts or negative values and nothing says how to normalise them.
    """
    given = {name: value for name, value in calibration.items() if value is not None}
    if given:
        frame = normalise_frame(measurement.frame, bands, **given)
        settings = {name: value if isinstance(value, int | float) else "frame" for name, value in given.items()}
        measurement = replace(measurement, frame=frame, provenance={**measurement.provenance, "normalised": settings})
    low, high = measurement.frame.min(), measurement.frame.max()
    if measurement.frame.dtype.kind in "iu":
        raise InputError(
            f"the measurement holds integer camera counts ({low}..{high})",
            "say how to normalise them: <bits> for "
            "the camera's bit depth, or <white> (frame or level), with <dark> and <exposure>",
        )
    if low < 0:
        raise InputError(
            f"the measurement holds negative values (down to {low:.3g}), which light cannot be",
            "subtract the right dark frame with <dark> and <white>, or clip the file at 0",
        )
    if high > LARGEST_VALUE:
        raise InputError(f"the measurement goes up to {high:.3g}, which no camera counts", "is the file damaged?")
    if high <= 0:
        black = "the measurement is black everywhere: there is nothing to reconstruct"
        raise InputError(black, "check <dark> and <white>" if given else "")
    return measurement


# -- the method ------------------------------------------------------------------------------------------------


def open_method(
    weights: str | Path | None = None,
    method: str = DEFAULT_SOLVER,
    device: str = "cpu",
    engine: str | None = None,
    step: float | None = None,
    **settings: Any,
) -> tuple[str, Method]:
    """A name for the records and the callable: a network as ``open_engine``, or a training-free solver by name."""
    if weights is None:
        if engine is not None:
            raise InputError("an engine computes a network", "set <weights>, or omit <engine>")
        return method, by_name(method, **settings)
    if settings:
        raise InputError(f"{', '.join(settings)} is a setting of the training-free methods, not of weights")
    return Path(weights).name, open_engine(weights, engine, step, device)


def choose_weights(measurement: Measurement, camera: CassiCamera) -> tuple[str | None, str]:
    """Which shipped weights fit a measurement and its camera, or None, and why, in words."""
    reasons = []
    for name in pretrained_weights():
        card, bands = _card_of(name)
        try:
            fitting = fit_to_card(camera, card, bands)
            check_scale(measurement, camera)
        except InputError as error:
            reasons.append(f"{name}: {str(error).partition(';')[0]}")
            continue
        why = f"{name} fits this camera"
        if camera.wavelengths is None and fitting.wavelengths is not None:
            first, last = fitting.wavelengths[0], fitting.wavelengths[-1]
            why += f" if its bands go from {first:g} to {last:g} nm as those of the weights; else say <wavelengths>"
        return name, why
    return None, f"no shipped weights fit ({'; '.join(reasons)}), so {DEFAULT_SOLVER} decodes without"


@cache
def _card_of(name: str) -> tuple[ModelCard, int]:
    """The card of shipped weights, and their number of bands."""
    header = read_header(name)
    return card_from_header(header), header["config"]["bands"]


def check_method(name: str, method: Method, tiles: Tiles | None, precision: str, device: str | torch.device) -> None:
    """Raise an InputError where a method cannot be run in tiles, or not in this precision on this device."""
    in_precision(precision, device)
    if precision != "float32" and isinstance(method, Engine):
        raise InputError(f"the engine {method.name} computes in float32 here", "omit <precision>")
    for option, asked in (("--tile", tiles is not None), ("--precision", precision != "float32")):
        if asked and not isinstance(method, Network):
            raise InputError(f"{option} is for networks", f"{name} takes whole frames in float32: leave it away")


# -- the main job ----------------------------------------------------------------------------------------------


def reconstruct(
    measurement: Measurement,
    camera: CassiCamera,
    method: Method,
    name: str,
    truth: Scene | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    tiles: Tiles | None = None,
    precision: str = "float32",
    keep_stages: bool = False,
) -> Reconstruction:
    """Decode one measurement.

    Args:
        measurement: on the scale of y = A x (``to_measurement_scale``).
        method, name: as ``open_method`` gives them.
        truth: the true scene, for the metrics; resampled onto the camera's bands where both know wavelengths. Its
            classes count where they are called as those of the weights.
        device: where to compute, such as ``cpu`` or ``cuda``.
        progress: called with (done, total) by methods that iterate, from tile to tile, and by the layers of a network
            that PyTorch computes whole. What it raises ends the computation.
        tiles: how to cut the frame for a network; None computes it whole.
        precision: of a network's products and convolutions: float32, bfloat16 or float16. The results are float32.
        keep_stages: keep the cubes and logits of all stages, which tiles do not give, and not only those of the last.

    Raises:
        InputError: measurement, camera, weights and truth do not belong together, the method takes no tiles or the
            device no such precision, or the memory does not suffice.
    """
    check_method(name, method, tiles, precision, device)
    card = ModelCard()
    if isinstance(method, Network):
        card = method.card
        camera = fit_to_card(camera, card, method.config.bands)
        check_scale(measurement, camera)
    if truth is not None:
        truth = match_bands(camera, truth)

    camera = camera.to(device)
    y = torch.from_numpy(measurement.frame).to(device)
    start = time.perf_counter()
    with torch.inference_mode():
        estimate = _estimate(method, y[None], camera, progress, tiles, precision, keep_stages)
        cube = estimate.cube[0]
        seconds = time.perf_counter() - start
        if not bool(torch.isfinite(cube).all()):
            fewer = "" if precision == "float32" else "omit <precision>, or "
            raise InputError(
                f"{name} ended in values that are not finite",
                f"{fewer}bring the measurement to the scale of its camera (<bits>, or <white> and <dark>)",
            )
        cube, wavelengths = ascending(cube, camera.wavelengths)
        stages = None
        if keep_stages:
            cubes = [ascending(each[0], camera.wavelengths)[0][None].cpu() for each in estimate.cubes]
            stages = Estimate(cubes, [each.cpu() for each in estimate.logits])

        metrics: dict[str, Any] = {"data_residual": data_residual(y, estimate.cube[0], camera)}
        if truth is not None:
            metrics |= cube_metrics(cube, torch.from_numpy(truth.cube).to(device))
            if estimate.logits and truth.classes is not None and same_classes(card, truth):
                true_classes = torch.from_numpy(truth.classes).to(device)
                metrics |= class_metrics(estimate.classes[0], true_classes, estimate.logits[-1].shape[1])

    record = record_of(
        method,
        name,
        measurement,
        camera,
        truth,
        device,
        seconds=round(seconds, 3),
        engine=method.name if isinstance(method, Engine) else "torch",
        precision=precision,
        tiles=tiles and asdict(tiles),
    )
    scene = Scene(
        cube.cpu().numpy(),
        wavelengths=wavelengths,
        classes=estimate.classes[0].cpu().numpy() if estimate.logits else None,
        class_names=card.class_names if estimate.logits else None,
        name=measurement.name,
        provenance={"method": name, "made_by": record["made_by"], "measurement": record["measurement"]},
    )
    return Reconstruction(measurement, camera, scene, truth, metrics, record, stages)


def record_of(
    method: Callable[..., Estimate],
    name: str,
    measurement: Measurement,
    camera: CassiCamera,
    truth: Scene | None,
    device: str,
    **more: Any,
) -> dict[str, Any]:
    """How results were made, as plain JSON values."""
    return {
        "made_by": f"crsdun {__version__}",
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "method": name,
        "settings": _plain(method),
        "device": str(device),
        **more,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "camera": {
            "mask": list(camera.mask.shape),
            "bands": camera.bands,
            "wavelengths_nm": camera.wavelengths,
            "offsets_pixels": camera.offsets,
        },
        "measurement": {"name": measurement.name, **measurement.provenance},
        "truth": None if truth is None else {"name": truth.name, **truth.provenance},
    }


def _estimate(
    method: Method,
    y: Tensor,
    camera: CassiCamera,
    progress: Progress | None,
    tiles: Tiles | None,
    precision: str,
    keep_stages: bool,
) -> Estimate:
    """The last stage of a method, or all of them, in float32."""
    if not isinstance(method, Network):
        return method(y, camera, progress)
    try:
        with in_precision(precision, y.device), report_layers(method, progress if tiles is None else None):
            estimate = method(y, camera) if tiles is None else by_tiles(method, y, camera, tiles, progress)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        lower = "" if tiles is None else f", fewer than {tiles.rows}"
        raise InputError("the memory does not suffice for this frame", f"cut it with <tile>{lower}") from error
    last = slice(None) if keep_stages else slice(-1, None)
    return Estimate(
        [cube.float() for cube in estimate.cubes[last]], [logits.float() for logits in estimate.logits[last]]
    )


def is_out_of_memory(error: RuntimeError) -> bool:
    """PyTorch has a type of its own for that on graphics processors only."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def check_scale(measurement: Measurement, camera: CassiCamera) -> None:
    """Raise an InputError where a measurement is far brighter than a scene in 0..1 can be: networks know no scale."""
    brightest = float(camera.forward(torch.ones(camera.bands, camera.height, camera.width)).max())
    high = float(measurement.frame.max())
    if high > 10 * brightest:
        raise InputError(
            f"the measurement goes up to {high:.4g}, but a white scene gives {brightest:.4g} through this camera",
            "these look like raw counts: say how to normalise them with <bits>, or <white> and <dark>",
        )


def same_classes(card: ModelCard, truth: Scene) -> bool:
    """Whether the classes of weights and of a true scene are the same ones, as far as anybody says."""
    return None in (card.class_names, truth.class_names) or card.class_names == truth.class_names


def ascending(cube: Tensor, wavelengths: tuple[float, ...] | None) -> tuple[Tensor, tuple[float, ...] | None]:
    """Bands in the order of their wavelengths: a camera may spread red first, a scene begins with blue."""
    if wavelengths is None or list(wavelengths) == sorted(wavelengths):
        return cube, wavelengths
    order = sorted(range(len(wavelengths)), key=lambda band: wavelengths[band])
    return cube[order], tuple(wavelengths[band] for band in order)


def match_bands(camera: CassiCamera, truth: Scene) -> Scene:
    """The true scene as this camera samples it.

    Raises:
        InputError: it has another size, or other bands and does not know its wavelengths.
    """
    ascending = camera.wavelengths and tuple(sorted(camera.wavelengths))
    if ascending and truth.wavelengths and ascending != truth.wavelengths:
        truth = truth.resampled(ascending)
    expected = (camera.bands, camera.height, camera.width)
    if truth.cube.shape != expected:
        raise InputError(
            f"the truth has shape {truth.cube.shape} (bands, height, width) but the camera sees {expected}",
            "crop it, or give the wavelengths of both so that it can be resampled",
        )
    return truth


def _plain(method: Any) -> dict[str, Any]:
    """The settings of a solver or of a network's configuration."""
    return asdict(method.config) if isinstance(method, Network) else dict(vars(method))
