"""Something to try the plugin with."""

from __future__ import annotations

from crsdun.interop.napari.layers import LayerData, measurement_layer, scene_layers
from crsdun.optics import Exposure
from crsdun.scenes import open_set


def produce() -> list[LayerData]:
    """A scene of Produce-23's test split, hidden, and its measurement behind a random mask."""
    from crsdun.runtime import simulate

    scene = open_set("produce", "test")[0]
    return [*scene_layers(scene, "truth", hidden=True), measurement_layer(simulate(scene, Exposure()))]
