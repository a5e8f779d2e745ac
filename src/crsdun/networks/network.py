"""The one network interface, ``network(measurement, camera) -> Estimate``, and what all configurations share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from crsdun.errors import InputError, InputWarning
from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress, StackedCamera
from crsdun.optics.values import ONE_TENSOR
from crsdun.optics.wavelengths import band_order

# If a band is further off than this, weights see other colours than they were trained for.
WAVELENGTH_TOLERANCE_NM = 5.0
# Peak memory of a network in bytes per pixel and channel of its width, in float32, without its outputs.
# Measured with CRSDUN, 2 and 4 stages, widths from 8 upwards, each size in a fresh process: peak of resident memory
# (VmHWM, with freed memory kept) above the loaded network. 119–182 on the CPU, 158–184 where features are not
# computed in chunks of rows (``row_chunks``), as on a GPU.
# To measure again: pytest -s tests/methods/test_tiles.py -k peak
BYTES_PER_PIXEL_AND_WIDTH = 200


# What no network exceeds, and a typing error should not try to build.
MOST = {"bands": 10_000, "classes": 10_000, "stages": 100, "bodies": 100, "width": 10_000}


class NetworkConfig:
    """What all configurations share; each network has its own frozen dataclass of settings.

    Attributes:
        bands: C.
        classes: N, background included.
    """

    if TYPE_CHECKING:

        @property
        def bands(self) -> int: ...
        @property
        def classes(self) -> int: ...

    @property
    def stages(self) -> int:
        """Number of cubes in the estimate; an unfolding network has a setting for it."""
        return 1

    @property
    def width(self) -> int | None:
        """Channels at full resolution; None for the number of bands."""
        return None

    @property
    def base(self) -> int:
        """The width in effect."""
        return self.bands if self.width is None else self.width


class ReconstructionConfig(NetworkConfig):
    """The configuration of a network that does not segment."""

    @property
    def classes(self) -> int:
        """0."""
        return 0


class Network(nn.Module):
    """A learnt method (see ``crsdun.methods.Method``).

    A network of your own only needs to override ``forward``.

    Attributes:
        config: the settings that decide its layers.
        card: what it was trained for.
        name: for tables and records.
        engine: the library that computes it.
        tileable: a frame may be cut into bands of rows that are computed separately and blended.
        precisions: in which it can compute.
        needs_scale: the measurement must be on the scale of y = A x.
        takes_start: a cube to begin with may be given; not to networks.
        inspectable: what its layers compute can be recorded.
        exportable: it can be exported as a graph for other engines.
        solver: name of the solver whose cube it starts with, which no graph can hold; empty if it starts by itself.
        batches: frames that are given together are estimated as each alone, and no slower.
    """

    engine = "torch"
    tileable = True
    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")
    needs_scale = True
    takes_start = False
    inspectable = True
    exportable = True
    solver = ""
    batches = True

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.card = ModelCard()
        self.name = type(self).__name__.lower()

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """The cube and, if the network segments, the class map of every stage.

        Args:
            measurement: y, (B,H,Wm), the plain sum over bands.
            camera: the camera that took it; its number of bands must be the network's.

        Raises:
            InputError: the measurement, the camera and the network do not fit together.
        """
        raise NotImplementedError

    def __call__(
        self,
        measurement: Tensor,
        camera: CassiCamera | None = None,
        progress: Progress | None = None,
        begun: Tensor | None = None,
    ) -> Estimate:
        """``check``, ``counted``, ``aligned`` except in training, ``begin``, then ``forward``.

        Networks learn bands by ascending wavelength: they see a camera with its bands in this order, and the estimate
        has them in the camera's own. Except in training, a camera that the card does not fit is an InputWarning.

        ``progress`` is called with the number of iterations and layers that have started, and of all of them.
        What it raises leaves the network, which is how a computation is cancelled.

        Args:
            begun: what ``begin`` returned for this measurement, if that was computed before.
        """
        order = band_order(camera.wavelengths) if isinstance(camera, CassiCamera) else None
        if order is not None:
            begun = None if begun is None else begun[:, order]
            estimate = self(measurement, cast(CassiCamera, camera).in_order(order), progress, begun)
            return estimate.in_order(np.argsort(order).tolist())
        self.check(measurement, camera)
        if camera is not None:
            measurement = camera.counted(measurement)
            if not (self.training or torch.compiler.is_compiling()):
                self._doubt(camera)
        told = cast(CassiCamera, camera)
        camera = told if self.training or begun is not None else self.aligned(measurement, told)
        with nullcontext() if progress is None else reporting_layers(self, progress) as report:
            if begun is None:
                begun = self.begin(measurement, camera, report)
            estimate = super().__call__(measurement, camera, **self.told(begun, report))
        found = estimate.camera if camera is told else camera
        wavelengths = None if camera is None else camera.wavelengths  # a segmenter is called without a camera
        return replace(estimate, camera=found, wavelengths=wavelengths)

    def aligned(self, measurement: Tensor, camera: CassiCamera) -> CassiCamera:
        """The camera, its mask where the network finds it; itself for one that does not look for it."""
        return camera

    def begin(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Tensor | None:
        """The cube (B,C,H,W) that the network begins with and that needs no weights, such as a solver's; or None.

        Training computes it ahead, in the threads that prepare batches. Arguments as for the call.
        """
        return None

    def told(self, begun: Tensor | None, progress: Progress | None) -> dict[str, Any]:
        """What else ``forward`` is called with: the cube of ``begin`` if there is one."""
        return {} if begun is None else {"begun": begun}

    def check(self, measurement: Tensor, camera: CassiCamera | None) -> None:
        """Raise an InputError unless this camera, with the network's bands, could have taken (B,H,Wm)."""
        if not isinstance(measurement, Tensor) or not isinstance(camera, CassiCamera):
            raise InputError(
                f"a network is called as network(measurement, camera) with a tensor and a CassiCamera, not with "
                f"{type(measurement).__name__} and {type(camera).__name__}",
                ONE_TENSOR,
            )
        if camera.bands != self.config.bands:
            raise InputError(
                f"the network was built for {self.config.bands} bands but the camera has {camera.bands}",
                "create or load one for the camera's bands",
            )
        if measurement.ndim != 3:
            raise InputError(
                f"a network takes measurements of shape (batch, height, width), not {tuple(measurement.shape)}",
                "for a single one use measurement[None]",
            )
        if isinstance(camera, StackedCamera):
            raise InputError(
                "networks decode one exposure, and this camera has several pictures of the scene",
                "use a method without training, such as lr-tv, or one exposure alone",
            )
        camera.check(measurement)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    @property
    def class_count(self) -> int:
        """N, 0 if it does not segment."""
        return self.config.classes

    @property
    def stage_count(self) -> int:
        """Number of cubes in its estimate."""
        return self.config.stages

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of submodules that can be trained one after the other; none if the network is trained as a whole."""
        return ()

    @property
    def learnt_part(self) -> Network:
        """The part that has weights."""
        return self

    def fit(self, camera: CassiCamera) -> CassiCamera:
        """The camera, completed by the network's card; see ``fit_card``."""
        return fit_card(camera, self.card, self.config.bands)

    def _doubt(self, camera: CassiCamera) -> None:
        """Warn of a camera for which ``fit`` has an error."""
        try:
            self.fit(camera)
        except InputError as error:
            warnings.warn(InputWarning(error.message, error.remedy), stacklevel=3)

    def peak_bytes(self, height: int, width: int) -> int:
        """Peak memory in bytes for a scene of this size, in float32, without the weights."""
        config = self.config
        outputs = 4 * (config.bands + config.classes) * config.stages
        return height * width * (BYTES_PER_PIXEL_AND_WIDTH * config.base + outputs)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Evaluation mode inside the block, the previous mode after it."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)


@contextmanager
def reporting_layers(network: nn.Module, progress: Progress) -> Iterator[Progress]:
    """Inside the block each layer reports to ``progress`` when it starts; one that is used repeatedly counts once.

    Yields:
        What iterations before the first layer are to report to.
    """
    layers = list(_layers(network))
    started: set[nn.Module] = set()
    before = 0

    def iterate(done: int, total: int) -> None:
        nonlocal before
        before = total
        progress(done, total + len(layers))

    def start(layer: nn.Module, _: Any) -> None:
        started.add(layer)
        progress(before + len(started), before + len(layers))

    hooks = [layer.register_forward_pre_hook(start) for layer in layers]
    try:
        yield iterate
    finally:
        for hook in hooks:
            hook.remove()


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network that are called as a whole; norms may be computed with what follows them."""
    if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
        return
    children = list(module.children())
    if not children or hasattr(module, "cut"):
        yield module
    else:
        for child in children:
            yield from _layers(child)


def check_counts(network: str, **counts: int) -> None:
    """Raise an InputError unless all counts of a configuration are whole numbers of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, int) or not 1 <= value <= MOST[name]:
            raise InputError(f"{network} needs {name} of at least 1 and at most {MOST[name]:,}, not {value!r}")


def fit_card(camera: CassiCamera, card: ModelCard, bands: int) -> CassiCamera:
    """The camera, with the wavelengths of a card if it has none of its own.

    Its bands may have any order: what is compared is the same camera with ascending ones, as a network will see it.

    Raises:
        InputError: the card belongs to a network for other bands or another dispersion, or states ranges of both that
            do not include those of the camera.
    """
    remedy = "use weights for this camera, or a method that needs none, such as lr-tv"
    if camera.bands != bands:
        raise InputError(f"these weights are for {bands} bands but the camera has {camera.bands}", remedy)
    told, order = camera, band_order(camera.wavelengths)
    if order is not None:
        camera = camera.in_order(order)
    learnt = learnt_steps(card) if bands > 1 else ""  # a single band lies no step from any other
    mean = mean_step(camera) if card.steps else None
    if learnt and not is_learnt_step(card, mean if card.steps else camera.step):
        given = camera.dispersion if camera.step is None else f"{camera.step:g}"
        if camera.step is None and mean is not None:
            given = f"{given} with a mean of {mean:g}"
        if order is not None:
            given += ", with its bands by ascending wavelength"
        raise InputError(f"these weights are for a dispersion of {learnt} pixels per band, not {given}", remedy)
    if card.wavelengths is None:
        return told
    if camera.wavelengths is None:
        return camera.with_wavelengths(card.wavelengths)
    off = max(abs(a - b) for a, b in zip(camera.wavelengths, card.wavelengths, strict=True))
    if off > WAVELENGTH_TOLERANCE_NM and card.grids is not None:
        first, last = card.grids
        outside = [nm for nm in camera.wavelengths if not first - 1 <= nm <= last + 1]
        if outside:
            raise InputError(
                f"these weights are for any bands from {first:g} to {last:g} nm, but the camera has one at "
                f"{outside[-1]:g} nm",
                remedy,
            )
    elif off > WAVELENGTH_TOLERANCE_NM:
        raise InputError(
            f"these weights are for bands from {card.wavelengths[0]:g} to {card.wavelengths[-1]:g} nm, but the "
            f"camera has {camera.wavelengths[0]:g} to {camera.wavelengths[-1]:g} nm (up to {off:.0f} nm apart)",
            remedy,
        )
    return told


def mean_step(camera: CassiCamera) -> float | None:
    """The dispersion of a camera between its first and last band, in pixels per band.

    None where it does not run along the rows, or back and forth.
    """
    right = [right for _, right in camera.down_and_right]
    if not camera.along_rows or right not in (sorted(right), sorted(right, reverse=True)):
        return None
    return (right[-1] - right[0]) / max(camera.bands - 1, 1)


def learnt_steps(card: ModelCard) -> str:
    """The dispersions, in pixels per band, of which a card tells, in words; empty where it tells nothing."""
    if card.steps:
        return " or ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in card.steps)
    return "" if card.step is None else f"{card.step:g}"


def is_learnt_step(card: ModelCard, step: float | None) -> bool:
    """Whether a card that tells of dispersions includes this one; None for one that is uneven or also runs down."""
    if card.steps:
        return step is not None and any(low - 1e-6 <= step <= high + 1e-6 for low, high in card.steps)
    return step == card.step
