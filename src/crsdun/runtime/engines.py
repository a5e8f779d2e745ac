"""Engines: libraries other than PyTorch that run an exported network, with the same interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crsdun.cache import cache_folder
from crsdun.errors import InputError
from crsdun.methods import Progress
from crsdun.networks import Network, find_weights, load, name_of_weights
from crsdun.networks.checkpoint import HEADER, WeightsHeader
from crsdun.networks.network import WAVELENGTH_TOLERANCE_NM
from crsdun.networks.zoo import KINDS, config_from
from crsdun.optics import CassiCamera, Estimate
from crsdun.runtime.graph_export import CACHE, FORMATS, graph_of, is_exported, is_kept
from crsdun.runtime.optional_libraries import library

InferenceFunction = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


class Engine(Network):
    """An exported network that another library runs on the CPU, frame by frame.

    Attributes:
        config, card: of the network that was exported.
        engine: the library.
        exported: the dispersion and the smallest size of the exported graph.
    """

    precisions = ("float32",)
    takes_start = inspectable = exportable = batches = False
    stage_count = 1  # only the last one is exported

    def __init__(self, engine: str, header: WeightsHeader, run: InferenceFunction):
        super().__init__(config_from(header.kind, header.config))
        assert header.export is not None
        with torch.device("meta"):
            self.needs_scale = KINDS[header.kind].build(self.config).needs_scale
        self.card, self.engine, self.exported, self.run = header.card, engine, header.export, run

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """Cube and class map of the last stage.

        Raises:
            InputError: as for any network, or the graph was not exported for such a camera.
        """
        mask = camera.mask.float().cpu().numpy()
        frames = [self.run(frame[None], mask) for frame in measurement.float().cpu().numpy()]
        cube, *logits = (torch.from_numpy(np.concatenate(part)).to(measurement) for part in zip(*frames, strict=True))
        return Estimate([cube], logits)

    def check(self, measurement: Tensor, camera: CassiCamera | None) -> None:
        """Raise an InputError as any network, or unless the graph was exported for such a camera."""
        super().check(measurement, camera)
        assert camera is not None
        smallest, remedy = self.exported["smallest"], "use the weights (.safetensors) and set <engine> to torch"
        if camera.mask.ndim == 3:
            raise InputError("an exported network takes one mask for all bands, not one per band", remedy)
        if camera.parts:
            raise InputError(
                f"an exported network knows no optics behind the prism, and the camera has {camera.parts[0].name}",
                remedy,
            )
        if camera.offsets != tuple(self.exported["offsets"]):
            raise InputError(
                f"this network was exported for a dispersion of {self.exported['step']:g} pixels per band from 0 on, "
                f"and the camera has {camera.dispersion}",
                f"export it again for this <step>, or {remedy}",
            )
        known, given = self.card.wavelengths, camera.wavelengths
        if known and given and max(abs(a - b) for a, b in zip(given, known, strict=True)) > WAVELENGTH_TOLERANCE_NM:
            raise InputError(
                f"this network was exported for bands from {known[0]:g} to {known[-1]:g} nm, not {given[0]:g} to "
                f"{given[-1]:g} nm",
                remedy,
            )
        if min(camera.height, camera.width) < smallest:
            raise InputError(
                f"an exported network takes scenes from {smallest}×{smallest} on, not {camera.height}×{camera.width}",
                remedy,
            )


def open_engine(
    path: str | Path,
    engine: str | None = None,
    step: float | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Network:
    """The network in a weights file or an exported file, ready to be called.

    Args:
        path: .safetensors, .onnx or .xml, the name of shipped weights, or ``hf://owner/name``. For an engine other
            than torch, weights are exported first, which takes up to a minute per stage; the result is kept in the
            cache.
        engine: ``torch`` (weights), ``onnxruntime`` (weights, .onnx) or ``openvino`` (all three); None takes torch
            for weights, onnxruntime for .onnx and openvino for .xml.
        step: dispersion to export weights for; None as ``export``.
        device: of the torch engine; the others run on the CPU, with as many threads as PyTorch.
        progress: called several times a second while weights are exported, as in ``export_apart``; what it raises
            ends that. None exports here, which nothing can end.

    Raises:
        InputError: the file cannot be read, or the engine cannot read such files or is not installed.
    """
    network = _opened(find_weights(path), engine, step, device, progress)
    network.name = name_of_weights(path)
    return network


def first_use(path: str | Path, engine: str | None, step: float | None = None) -> str | None:
    """What ``open_engine`` has to do first, in one line, if that takes long; None if it does not.

    Raises:
        InputError: as ``open_engine``, as far as that does not depend on the engine.
    """
    if engine in (None, "torch"):
        return None
    file = find_weights(path)
    if is_exported(file) or is_kept(file, step):
        return None
    once = ", once" if cache_folder(CACHE) else ""
    return f"exporting the weights for {engine}{once}: this takes up to a minute per stage"


def _opened(
    path: Path, engine: str | None, step: float | None, device: str | torch.device, progress: Progress | None
) -> Network:
    suffix = path.suffix.lower()
    engine = engine or OWN.get(suffix, "torch")
    if engine != "torch" and engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}", f"there are torch, {', '.join(ENGINES)}")
    if suffix == FORMATS["torch"][0]:
        raise InputError(
            f"{path} may hold pickles, which crsdun does not run", "use the weights it was exported from"
        )
    if suffix not in OWN:
        if engine == "torch":
            return load(path, device)
        library(engine)  # before the work for it
        with graph_of(path, step, progress) as graph:
            return ENGINES[engine](graph)
    if engine not in (OWN[suffix], "openvino"):
        raise InputError(f"{path.name} is no file for the engine {engine}", "omit <engine>, or use the weights")
    if not path.is_file():
        raise InputError(f"there is no exported network {path}")
    return ENGINES[engine](path)


def _onnxruntime(path: Path) -> Engine:
    onnxruntime = library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base class
        raise _broken(path, error) from error
    header = _header(session.get_modelmeta().custom_metadata_map.get(HEADER), path)
    return Engine("onnxruntime", header, lambda y, mask: session.run(None, {"measurement": y, "mask": mask}))


def _openvino(path: Path) -> Engine:
    try:
        model = _core().read_model(path)
    except RuntimeError as error:
        raise _broken(path, error) from error
    place = ["framework", HEADER]
    header = _header(model.get_rt_info(place).value if model.has_rt_info(place) else None, path)
    # Compiled for all sizes: with a fixed size the model runs faster, but with super-tokens OpenVINO 2026.4 then
    # gives different numbers from the second call on.
    settings = {
        "EXECUTION_MODE_HINT": "ACCURACY",  # no faster arithmetic with fewer digits, whatever the processor has
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = _core().compile_model(model, "CPU", settings)
    return Engine("openvino", header, lambda y, mask: [np.array(part) for part in compiled([y, mask]).values()])


@cache
def _core() -> Any:
    """One instance for the whole process, never released.

    Each installs a signal stack of its own for its thread and removes it at the end. Of two, the one released first
    leaves the other to restore a stack that no longer exists (2026.4), and the next Ctrl-C kills the process.
    """
    return library("openvino").Core()


# How each engine opens an exported file.
ENGINES: dict[str, Callable[[Path], Engine]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}

# Suffix of an exported file → the engine it was exported for.
OWN = {".onnx": "onnxruntime", ".xml": "openvino"}


def _header(text: str | None, path: Path) -> WeightsHeader:
    if text is None:
        raise InputError(
            f"{path} contains a graph but no description of a crsdun network", "export the weights again"
        )
    return WeightsHeader.from_json(text, path)


def _broken(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{path} is not a whole exported network ({reason})", "export it again")
