"""What decides on a result, as hashes: whether it would be the same if the same command made it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.networks import find_weights, pretrained_weights, record_of_weights
from crsdun.provenance import sha256_of
from crsdun.runtime.preparation import PreparedMeasurement


def deciding_files(weights: Path | None, classes: Path | None) -> dict[str, Any]:
    """Name and hash of the weights and of the classifier that a command names, as plain JSON values.

    Args:
        weights: None stands for the shipped ones, of which some may be chosen.
        classes: file of a classifier; None where there is none.
    """
    given = pretrained_weights() if weights is None else [weights]
    decides = {
        "weights": [record_of_weights(each) for each in given],
        "classes": None if classes is None else sha256_of(classes),
    }
    graph = None if weights is None else find_weights(weights)
    if graph is not None and graph.suffix.lower() == ".xml" and graph.with_suffix(".bin").is_file():
        decides["values"] = sha256_of(graph.with_suffix(".bin"))  # of a graph for OpenVINO
    return decides


def fingerprint_of(prepared: PreparedMeasurement, files: Mapping[str, Any]) -> str:
    """SHA-256 of what a cube, its classes and their figures depend on, besides the command.

    Args:
        files: of ``deciding_files``.
    """
    frame, camera, truth = prepared.measurement.frame, prepared.camera, prepared.truth
    arrays = [frame, *(values.cpu().numpy() for values in camera.tensors)]
    told: list[Any] = [camera.offsets, camera.wavelengths, [part.name for part in camera.parts], prepared.counts]
    if truth is not None:
        arrays += [each for each in (truth.cube, truth.classes) if each is not None]
        told += [truth.wavelengths, truth.class_names]
    told += [(array.shape, array.dtype.str) for array in arrays]
    digest = hashlib.sha256(json.dumps([told, files]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
