"""Weights on disk: one safetensors file whose header contains everything needed to build and use the network."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from crsdun.budget import is_out_of_memory
from crsdun.errors import InputError
from crsdun.machine import check_device
from crsdun.networks.network import Network
from crsdun.networks.pretrained import find_weights, name_of_weights, pretrained_weights
from crsdun.networks.zoo import build, config_from, kind_of
from crsdun.optics import ModelCard
from crsdun.storage import atomic_file
from crsdun.tensor_file import read_tensors
from crsdun.typed import FormatOnly, parse_versioned, typed
from crsdun.version import __version__

HEADER = "crsdun"  # the one metadata entry, JSON
FORMAT = 1


def save(network: Network, path: str | os.PathLike, **card: Any) -> None:
    """Write a network's weights and everything about it, atomically.

    Args:
        network: any network of crsdun.
        path: a ``.safetensors`` file, replaced if it exists.
        **card: fields of ``ModelCard`` (wavelengths, class_names, step, steps, grids, provenance, calibration) that
            change the network's own card.

    Raises:
        InputError: an unknown field or a value of another type, wavelengths or names that do not fit the network, a
            network that no file can describe, or the file cannot be written.
    """
    path = Path(path)
    if not isinstance(network, Network):
        raise InputError(f"crsdun.save takes a network of crsdun, not {type(network).__name__}")
    unknown = [name for name in card if name not in asdict(ModelCard())]
    if unknown:
        raise InputError(
            f"a card has no field {', '.join(unknown)}", f"its fields are {', '.join(asdict(ModelCard()))}"
        )
    complete = typed(ModelCard, _plain(asdict(replace(network.card, **card))), "the card")
    _check_card(complete, network.config)
    # Contiguous copies: the file does not store memory formats.
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic_file(path) as part:
        part.write_bytes(to_bytes(tensors, metadata={HEADER: WeightsHeader.of(network, complete).to_json()}))


def _plain(value: Any) -> Any:
    """A value with lists and numbers in place of arrays and tensors, at any depth."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


class ExportedFor(TypedDict):
    """What a graph was exported for."""

    format: str
    step: float
    offsets: list[float]
    smallest: int


class StoredHeader(FormatOnly):
    """The header as it is stored; that of an exported graph also has ``export``."""

    version: str
    kind: str
    config: dict[str, Any]
    card: ModelCard


class StoredExportHeader(StoredHeader, total=False):
    export: ExportedFor


@dataclass(frozen=True)
class WeightsHeader:
    """Everything about a network except its weights, as stored in the header of a file.

    Attributes:
        kind: of network, a row of ``zoo.KINDS``.
        config: its settings, as plain values.
        card: what it was trained for.
        version: of crsdun that wrote the file.
        export: for an exported graph, what it was exported for (``runtime.graph_export``); otherwise None.
    """

    kind: str
    config: dict[str, Any]
    card: ModelCard
    version: str = __version__
    export: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, network: Network, card: ModelCard | None = None, export: dict[str, Any] | None = None
    ) -> WeightsHeader:
        """The header of a network, perhaps with another card or for an exported graph.

        Raises:
            InputError: nothing could be built from it, as where a solver in the network has a denoiser of one's own.
        """
        header = cls(kind_of(network), network.settings, card or network.card, export=export)
        try:
            config_from(header.kind, json.loads(header.to_json())["config"])
        except (InputError, TypeError) as error:
            reason = error.message if isinstance(error, InputError) else error
            remedy = "save its segmenter alone, and join it again when it is loaded" if network.parts else ""
            raise InputError(f"no file can describe {network.name} ({reason})", remedy) from error
        return header

    def to_json(self) -> str:
        """The text that is stored in a file."""
        values = {"format": FORMAT, "version": self.version, "kind": self.kind, "config": self.config}
        values |= {"card": asdict(self.card)} | ({} if self.export is None else {"export": self.export})
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str, path: str | os.PathLike) -> WeightsHeader:
        """The header in the text stored in the file ``path``.

        Raises:
            InputError: it was written by a newer version of crsdun, or is incomplete or inconsistent.
        """
        remedy = "copy or download the weights again"
        values = parse_versioned(StoredExportHeader, FORMAT, text, path, remedy)
        header = cls(values["kind"], values["config"], values["card"], values["version"], values.get("export"))
        try:
            config = config_from(header.kind, header.config)
            _check_card(header.card, config)
        except InputError as error:
            raise InputError(f"{path} was damaged or edited: {error}", remedy) from error
        return header


def _check_card(card: ModelCard, config: Any) -> None:
    """Raise an InputError unless a card has as many wavelengths and names as a network has bands and classes."""
    for field, count in (("wavelengths", config.bands), ("class_names", config.classes)):
        values = getattr(card, field)
        if values is not None and len(values) != count:
            raise InputError(f"the network needs {count} {field}, not {len(values)}")


def read_header(path: str | os.PathLike) -> WeightsHeader:
    """The header of weights, given as for ``load``, without reading the weights.

    Raises:
        InputError: as ``find_weights``, or the file is missing, cut off, of another kind, or of a newer format.
    """
    path = find_weights(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        names = ", ".join(pretrained_weights())
        raise InputError(f"there is no weights file {path}", f"the package ships weights called {names}") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error})", "copy or download it again") from error
    if HEADER not in metadata:
        raise InputError(
            f"{path} contains tensors but no description of a crsdun network",
            "weights are written by crsdun.save (for public checkpoints: crsdun.networks.from_published)",
        )
    return WeightsHeader.from_json(metadata[HEADER], path)


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> Network:
    """The network of a weights file, of shipped weights by name, or of ``hf://owner/name``, in evaluation mode.

    An address on the Hugging Face Hub may name a revision and a checksum: ``hf://owner/name@revision#sha256=…``.
    ``network.card`` says what it was trained for; ``crsdun.networks.pretrained_weights()`` lists the shipped weights.

    Raises:
        InputError: as ``read_header``, or the weights do not fit the layers the header describes, or there is no such
            device.
    """
    check_device(device)
    given, path = path, find_weights(path)
    header = read_header(path)
    network = build(header.kind, header.config)
    try:
        network.load_state_dict(read_tensors(path)[1])
    except (RuntimeError, OSError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise InputError(
            f"the weights in {path} do not fit the network its header describes ({reason[:200]})",
            "copy or download the weights again",
        ) from error
    network.card, network.name = header.card, name_of_weights(given)
    return network.to(device).eval()
