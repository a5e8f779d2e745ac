"""What the page is told: what is open, what was found in files, and messages in its words."""

from __future__ import annotations

from typing import Any

from crsdun.scenes.inspection import cameras_that_fit
from crsdun.viewing.app.sessions import Session
from crsdun.viewing.app.workspace import Layer, Workspace
from crsdun.viewing.colour import css_colour, wavelength_to_rgb
from crsdun.viewing.palette import class_colours

# What an array looks like → the role it probably has.
ROLES = {"measurement": "measurement", "mask": "mask", "cube": "truth", "class map": "labels"}


def workspace_payload(subject: Workspace) -> dict[str, Any]:
    bands, height, width = subject.shape
    names = subject.class_names
    labels = [m for layer in subject.layers.values() for m in layer.class_maps if m is not None]
    count = max([len(names or ()), *(int(each.max()) + 1 for each in labels)])
    colours = [css_colour(colour) for colour in class_colours(count)]
    lights = [[255 * part for part in wavelength_to_rgb(nm)] for nm in subject.wavelengths or ()]
    camera = subject.camera
    return {
        "name": subject.name,
        "bands": bands,
        "height": height,
        "width": width,
        "wavelengths": subject.wavelengths,
        "lights": [css_colour(light) for light in lights],
        "camera": camera and repr(camera),
        "step": camera and camera.step,
        "detector": None if subject.measurement is None else list(subject.measurement.frame.shape),
        "has_truth": subject.truth is not None,
        "classes": [
            {"name": names[k] if names and k < len(names) else f"class {k}", "colour": colours[k]}
            for k in range(count)
        ],
        "notes": subject.notes,
        "layers": [_layer_payload(layer) for layer in subject.layers.values()],
    }


def _layer_payload(layer: Layer) -> dict[str, Any]:
    blocks = [(block.stage, block.branch, block.node, block.block) for block in layer.blocks]
    return {
        "name": layer.name,
        "stages": layer.stages,
        "segments": [each is not None for each in layer.class_maps],
        "probabilities": [each is not None for each in layer.probabilities],
        "metrics": layer.metrics,
        "stage_metrics": layer.stage_metrics,
        "seconds": layer.seconds,
        "blocks": [dict(zip(("stage", "branch", "node", "block"), each, strict=True)) for each in blocks],
    }


def suggested(session: Session) -> dict[str, Any]:
    """Which array is probably which, the newest file first: role → file and key."""
    roles: dict[str, Any] = {}
    for found in reversed(session.found.values()):
        for array in found.get("arrays", []):
            role = ROLES.get(array["looks_like"])
            if role is not None and role not in roles:
                roles[role] = {"file": found["name"], "key": array["key"]}
    if "labels" in roles and "truth" not in roles:
        del roles["labels"]  # of nothing
    return roles


def fits(session: Session) -> list[dict[str, int]]:
    """Cameras with whole steps that fit the measurement and the mask that were found."""
    roles = suggested(session)
    chosen = {}
    for role in ("measurement", "mask"):
        if role not in roles:
            return []
        arrays = session.found[roles[role]["file"]]["arrays"]
        chosen[role] = next(array for array in arrays if array["key"] == roles[role]["key"])
    cameras = cameras_that_fit(chosen["measurement"]["shape"], chosen["mask"]["shape"])
    return [{"bands": bands, "step": step} for bands, step in cameras]
