"""Augmentation that keeps spectra as they are: flips, quarter turns and mosaics, of cube and classes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.scene import UNLABELLED, Scene


def flipped(scene: Scene, axis: int) -> Scene:
    """Mirrored: −1 swaps left and right, −2 top and bottom."""
    classes = None if scene.classes is None else np.flip(scene.classes, axis)
    return replace(scene, cube=np.flip(scene.cube, axis), classes=classes)


def turned(scene: Scene, quarters: int) -> Scene:
    """Rotated anticlockwise by so many quarter turns; (H,W) becomes (W,H) for an odd number."""
    classes = None if scene.classes is None else np.rot90(scene.classes, quarters)
    return replace(scene, cube=np.rot90(scene.cube, quarters, axes=(-2, -1)), classes=classes)


def mosaic(parts: Sequence[Scene]) -> Scene:
    """The mosaic usual in the field: four parts of scenes joined around one point.

    Args:
        parts: top left, top right, bottom left, bottom right, with the same bands; the edges of
            neighbours have the same length. Pixels of a part without labels become ``UNLABELLED``.

    Raises:
        InputError: there are not four parts, or their edges do not fit.
    """
    shapes = [part.cube.shape for part in parts]
    if len(shapes) != 4 or not (
        len({shape[0] for shape in shapes}) == 1
        and shapes[0][1] == shapes[1][1]
        and shapes[2][1] == shapes[3][1]
        and shapes[0][2] == shapes[2][2]
        and shapes[1][2] == shapes[3][2]
    ):
        raise InputError(f"a mosaic joins four parts whose edges fit, not {', '.join(map(str, shapes))}")
    cube = np.block([[parts[0].cube, parts[1].cube], [parts[2].cube, parts[3].cube]])
    classes = None
    if any(part.classes is not None for part in parts):
        labels = [
            np.full(part.cube.shape[1:], UNLABELLED) if part.classes is None else part.classes for part in parts
        ]
        classes = np.block([[labels[0], labels[1]], [labels[2], labels[3]]])
    name = "mosaic of " + ", ".join(part.name for part in parts)
    return replace(parts[0], cube=cube, classes=classes, name=name, provenance={})
