"""The spectra of cubes among the layers of a viewer, at places in it; nothing here knows Qt.

Legend: T scenes · C bands · H, W scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.interop.napari.layers import SOURCE, as_loaded
from crsdun.scenes import Scene
from crsdun.viewing.region_spectra import Entry, spectra_csv, spectrum_in
from crsdun.viewing.regions import Region

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

Pixel = tuple[int, int]  # row and column


@dataclass(frozen=True, eq=False)
class Cube:
    """A cube that is shown.

    Attributes:
        layer: of the viewer.
        data: (C,H,W), of a series the cube at which the slider stands.
        wavelengths: nm, length C; None where unknown, as of a layer that no longer shows what was loaded.
    """

    layer: Image
    data: Any
    wavelengths: tuple[float, ...] | None

    @property
    def name(self) -> str:
        return self.layer.name

    def pixel(self, place: Sequence[float]) -> Pixel | None:
        """The pixel at a place of the viewer (y, x); None where the cube does not reach."""
        corner = np.zeros(self.layer.ndim)
        corner[-2:] = place
        row, column = (round(float(at)) for at in self.layer.world_to_data(corner)[-2:])
        inside = 0 <= row < self.data.shape[1] and 0 <= column < self.data.shape[2]
        return (row, column) if inside else None

    def centre(self, pixel: Pixel) -> np.ndarray:
        """The place (y, x) of the centre of a pixel."""
        corner = np.zeros(self.layer.ndim)
        corner[-2:] = pixel
        return np.asarray(self.layer.data_to_world(corner)[-2:])

    def spectrum(self, pixel: Pixel) -> np.ndarray:
        """(C,) float32."""
        row, column = pixel
        return np.asarray(self.data[:, row : row + 1, column : column + 1])[:, 0, 0]


def visible_cubes(viewer: Viewer) -> list[Cube]:
    """The cubes whose layers are visible, the upmost first."""
    cubes = []
    for layer in reversed(viewer.layers):
        if layer.visible and isinstance(layer.metadata.get(SOURCE), Scene) and layer.ndim >= 3:
            point = viewer.dims.point[viewer.dims.ndim - layer.ndim :]
            time = [round(float(at)) for at in layer.world_to_data(point)[:-3]]
            data = layer.data[tuple(np.clip(time, 0, np.asarray(layer.data.shape[:-3]) - 1))] if time else layer.data
            cubes.append(Cube(layer, data, layer.metadata["wavelengths_nm"] if as_loaded(layer) else None))
    return cubes


def shown_plane(viewer: Viewer) -> bool:
    """Whether the viewer shows rows and columns, and not, say, rows and wavelengths."""
    dims = viewer.dims
    return dims.ndisplay == 2 and tuple(dims.displayed) == (dims.ndim - 2, dims.ndim - 1)


def spectra_table(cubes: Sequence[Cube], places: Iterable[Sequence[float]]) -> str:
    """The spectra of cubes at places (y, x), as the CSV that the explorer saves: a row for each place, cube and band.

    Places are numbered from 1 as they are in the plot; those outside a cube have no rows of it.
    """
    entries, numbered = [], list(enumerate(places, 1))
    for cube in cubes:
        data = np.asarray(cube.data)
        pixels = [(number, cube.pixel(place)) for number, place in numbered]
        for region in (Region(str(number), *pixel) for number, pixel in pixels if pixel is not None):
            entries.append(Entry(region, cube.name, cube.wavelengths, spectrum_in(data, region)))
    return spectra_csv(entries)
