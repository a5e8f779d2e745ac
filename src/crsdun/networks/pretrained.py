"""Weights by what a person writes: a file, the name of shipped weights, or an address on the Hugging Face Hub.

Shipped weights lie in the package, each with its card (.md) and its training log (.csv). Those that others of the
same name have replaced stay loadable under their version, such as ``crsdun_tiny_1``.
"""

from __future__ import annotations

import os
from pathlib import Path

from crsdun.networks.hub import HubAddress, fetch, is_hub_address, pinned
from crsdun.provenance import sha256_of

FOLDER = Path(__file__).with_name("weights")
EARLIER = FOLDER / "earlier"


def pretrained_weights() -> dict[str, Path]:
    """Names and files of the shipped weights."""
    return _weights_in(FOLDER)


def earlier_weights() -> dict[str, Path]:
    """Names and files of shipped weights that have been replaced, each with its version; they are never chosen."""
    return _weights_in(EARLIER)


def _weights_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_weights(given: str | os.PathLike) -> Path:
    """The given file if there is one, otherwise the file of the shipped weights of this name.

    An address such as ``hf://owner/name`` is fetched from the Hugging Face Hub, or from its cache.

    Raises:
        InputError: as ``hub.fetch``.
    """
    if is_hub_address(given):
        return fetch(HubAddress.parse(given))
    path = Path(given)
    return path if path.is_file() else {**earlier_weights(), **pretrained_weights()}.get(str(given), path)


def name_of_weights(given: str | os.PathLike) -> str:
    """What weights are called in titles and records: the name of their file, or that of their repository."""
    return HubAddress.parse(given).name if is_hub_address(given) else Path(given).name


def record_of_weights(given: str | os.PathLike) -> dict[str, str] | None:
    """Name and hash of a file of weights, for records; None if there is none.

    Of weights on the hub, the name is their address with the commit that was fetched.
    """
    file = find_weights(given)
    if not file.is_file():
        return None
    name = str(pinned(file, HubAddress.parse(given))) if is_hub_address(given) else file.name
    return {"file": name, "sha256": sha256_of(file)}
