"""A network as a file for other engines: ONNX, OpenVINO, or PyTorch's own export."""

from __future__ import annotations

import io
import logging
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crsdun.cache import cache_folder, find_cached, keep_cached
from crsdun.errors import InputError
from crsdun.methods import Progress
from crsdun.networks import Network, load
from crsdun.networks.checkpoint import HEADER, WeightsHeader
from crsdun.networks.network import is_learnt_step, learnt_steps
from crsdun.networks.unet import SIZE_MULTIPLE
from crsdun.optics import CassiCamera
from crsdun.provenance import fingerprint, sha256_of
from crsdun.runtime.optional_libraries import library
from crsdun.storage import atomic_file, check_file, scratch_folder

# Format → its suffix, and the libraries that write it.
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "onnx": (".onnx", ("onnx", "onnxscript")),
    "openvino": (".xml", ("onnx", "onnxscript", "openvino")),
    "torch": (".pt2", ()),
}
# If one window fills the image, tracing cannot distinguish this size from all sizes: hence one pixel more.
SMALLEST = SIZE_MULTIPLE + 1
STEPS = 4  # of an export: the network is read, traced, converted, and written
WATCH_S = 0.1
CACHE = "graphs"  # the folder of the cache with weights that were exported for an engine
PACKAGE = Path(__file__).parents[1]


def is_exported(path: str | Path) -> bool:
    """Whether a file is an exported network, as its name says, and not weights."""
    return Path(path).suffix.lower() in {suffix for suffix, _ in FORMATS.values()}


def export(
    network: Network,
    path: str | Path,
    format: str,
    step: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a network as a graph from (measurement (1,H,Wm), mask (H,W)) to the last cube and logits.

    Any height and width of at least ``SMALLEST`` can be computed, but only the exported dispersion and the bands of
    the network's card. The file has the header of a weights file, with this dispersion. Exporting takes up to a
    minute per stage.

    Args:
        network: any network; it is not changed.
        path: .onnx, .xml (OpenVINO, with its weights in .bin) or .pt2 (torch). crsdun reads back the first two; a
            .pt2 is for other programs, since PyTorch unpickles what it contains.
        format: ``onnx``, ``openvino`` or ``torch``.
        step: dispersion in pixels per band; None takes that of the network's card, or 2.
        overwrite: replace existing files.
        progress: called after each of ``STEPS`` steps.

    Returns:
        What it was exported for, as in the file's header: format, step, offsets and smallest size.

    Raises:
        InputError: unknown format, a suffix that is not the format's, a training-free method in the network, another
            dispersion than the weights were trained for, a missing library, an existing file, or writing fails.
    """
    path = Path(path)
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r} to export to", f"there are {', '.join(FORMATS)}")
    suffix, libraries = FORMATS[format]
    if path.suffix.lower() != suffix:
        raise InputError(f"the {format} format is written to a file {path.stem}{suffix}, not {path.name}")
    if not network.exportable:
        if not network.solver:
            raise InputError(f"{network.name} is exported already", "export the weights (.safetensors)")
        raise InputError(
            f"{network.name} starts with {network.solver}, which cannot be exported",
            "export weights that start by themselves, such as crsdun_tiny, or decode with <engine> torch",
        )
    step = _step_of(network, step)
    for name in libraries:
        library(name)

    H, W = 2 * SIZE_MULTIPLE + 11, SIZE_MULTIPLE + 20  # any size: the graph is for all
    bands, wavelengths = network.config.bands, network.card.wavelengths
    camera = CassiCamera(torch.ones(H, W), bands=bands, wavelengths=wavelengths, step=step)
    exported = {"format": format, "step": step, "offsets": camera.offsets, "smallest": SMALLEST}
    header = WeightsHeader.of(network, export=exported).to_json()
    companion = ".bin" if format == "openvino" else None
    for file in [path] if companion is None else [path, path.with_suffix(companion)]:
        check_file(file, overwrite)  # before what takes a minute
    with _quiet():
        program = trace(network, camera)
        if progress:
            progress(2, STEPS)
        graph = None if format == "torch" else to_onnx(program)
        if progress:
            progress(3, STEPS)
        with atomic_file(path, overwrite, companion) as partial:
            if graph is None:
                whole = io.BytesIO()  # on a full disk PyTorch would abort the process
                torch.export.save(program, whole, extra_files={HEADER: header})
                partial.write_bytes(whole.getbuffer())
            else:
                graph.model.metadata_props[HEADER] = header
                graph.save(partial.with_suffix(".onnx"))
            if format == "openvino":
                openvino = library("openvino")
                # Through the ONNX file, not through convert_model, which reports to Intel. The metadata comes along.
                model = openvino.Core().read_model(partial.with_suffix(".onnx"))
                openvino.save_model(model, partial, compress_to_fp16=False)
    return exported


def _step_of(network: Network, step: float | None) -> float:
    """The dispersion to export a network for."""
    trained = network.card.step
    if None not in (step, trained) and not is_learnt_step(network.card, step):
        learnt = learnt_steps(network.card)
        raise InputError(f"these weights are for a dispersion of {learnt} pixels per band", "omit <step>")
    return next(known for known in (step, trained, 2) if known is not None)


@contextmanager
def graph_of(weights: Path, step: float | None, progress: Progress | None = None) -> Iterator[Path]:
    """The graph in ONNX of the weights in a file, exported once and then kept in the cache.

    Args:
        step: as ``export``.
        progress: as ``export_apart``; None exports in this process, which nothing can end.

    Raises:
        InputError: as ``export`` and ``load``.
    """
    network = load(weights)
    folder, key = cache_folder(CACHE), _key(network, weights, step)
    kept = find_cached(folder, key) if folder and key else None
    if kept:
        yield kept
        return
    with scratch_folder() as scratch:
        graph = scratch / "network.onnx"
        if progress is None:
            export(network, graph, "onnx", step)
        else:
            export_apart(weights, graph, "onnx", step, progress)
        if folder and key:
            keep_cached(graph, folder, key)
        yield graph


def is_kept(weights: Path, step: float | None) -> bool:
    """Whether ``graph_of`` has the graph in its cache; errors as there."""
    folder, key = cache_folder(CACHE), _key(load(weights), weights, step)
    return bool(folder and key and find_cached(folder, key))


def _key(network: Network, weights: Path, step: float | None) -> str | None:
    """Of all that a graph depends on: weights, dispersion, and the code that traces and converts them.

    None if there is code whose source is in no file, as in a notebook.
    """
    for name in FORMATS["onnx"][1]:
        library(name)
    modules = {sys.modules.get(type(part).__module__) for part in network.modules()}
    sources = {getattr(module, "__file__", None) for module in modules}
    if None in sources:
        return None
    sources |= {
        __file__,
        *map(str, (PACKAGE / "networks").glob("*.py")),
        *map(str, (PACKAGE / "optics").glob("*.py")),
    }
    versions = {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnx-ir")}
    given = {"weights": sha256_of(weights), "step": f"{_step_of(network, step):g}"}
    return fingerprint(given | versions | {source: sha256_of(source) for source in sources if source})[:32]


def export_apart(weights: Path, path: Path, format: str, step: float | None, progress: Progress) -> None:
    """Export the weights in a file in a process of its own: tracing cannot be interrupted, a process can be ended.

    Like all of ``multiprocessing``, it needs a main script that begins its work under ``if __name__ == "__main__"``.

    Args:
        path, format, step: as ``export``.
        progress: called every ``WATCH_S`` seconds with the steps that are done, and ``STEPS``; what it raises ends
            the process.

    Raises:
        InputError: as ``export`` and ``load``, or the process was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_export_apart, args=(sender, weights, path, format, step), daemon=True)
    process.start()
    sender.close()
    done = 0
    try:
        while True:
            progress(done, STEPS)
            if not receiver.poll(WATCH_S):
                continue
            told = receiver.recv()
            if isinstance(told, Exception):
                raise told
            done = told
            if done == STEPS:
                return
    except EOFError as error:
        raise InputError(
            f"the export of {weights.name} ended before it was complete", "is there enough memory for it?"
        ) from error
    finally:
        process.kill()
        process.join()
        receiver.close()


def _export_apart(sender: Any, weights: Path, path: Path, format: str, step: float | None) -> None:
    def progress(done: int, total: int) -> None:
        sender.send(done)

    try:
        network = load(weights)
        progress(1, STEPS)
        export(network, path, format, step, progress=progress)
        progress(STEPS, STEPS)
    except (InputError, OSError, RuntimeError, MemoryError) as error:
        sender.send(error)


class _LastStage(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, network: Network, camera: CassiCamera):
        super().__init__()
        self.network, self.camera = network, camera

    def forward(self, measurement: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        estimate = self.network(measurement, self.camera.with_mask(mask))
        return (estimate.cube, *estimate.logits[-1:])


def trace(network: Network, camera: CassiCamera) -> Any:
    """The graph of a network for a camera's dispersion and bands, and any height and width from ``SMALLEST`` on."""
    H, W = torch.export.Dim("H", min=SMALLEST), torch.export.Dim("W", min=SMALLEST)
    measurement = torch.ones(1, *camera.measurement_shape)
    copied = deepcopy(network).float().cpu().eval()
    copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with torch.no_grad():
        program = torch.export.export(
            _LastStage(copied, camera),
            (measurement, camera.mask),
            dynamic_shapes=({1: H, 2: W + camera.span}, {0: H, 1: W}),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    # Conditions on the size, which hold from SMALLEST on and do not exist in ONNX.
    for node in list(program.graph.nodes):
        if node.op == "call_function" and "assert" in str(node.target):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def to_onnx(program: Any) -> Any:
    """The graph in ONNX's operators."""
    outputs = ["cube", "logits"][: len(program.graph_signature.user_outputs)]
    return torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["measurement", "mask"], output_names=outputs
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's messages about torchvision, which is not used, and about a deprecated class of its own."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        registration.setLevel(level)
