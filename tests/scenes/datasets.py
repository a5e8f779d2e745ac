"""Small data sets in every layout, written by the tests themselves."""

import csv
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from crsdun.scenes import fvgnet

SIZE = 32


def made_scene(index: int, bands: int, classes: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """(bands, H, W) float64 and (H,W) classes: rectangles, each with the spectrum of its class, on a slope of light.

    Rows and columns play different parts, so that no turn of the scene looks like the scene.
    """
    random = np.random.default_rng(index)
    labels = np.zeros((SIZE, SIZE), dtype=np.int64)
    for left in (2, 12, 22):
        top, height = random.integers(2, 8), random.integers(6, 20)
        labels[top : top + height, left : left + random.integers(4, 9)] = random.integers(1, classes)
    spectra = np.random.default_rng(0).uniform(0.1, 1.1, (classes, bands))
    light = 0.8 + 0.2 * np.linspace(0, 1, SIZE)
    return np.moveaxis(spectra[labels], -1, 0) * light + random.normal(0, 0.01, (bands, SIZE, SIZE)), labels


def palette_picture(classes: np.ndarray) -> Image.Image:
    """A label map of the release."""
    return Image.fromarray(np.array(list(fvgnet.PALETTE.values()), dtype=np.uint8)[classes])


def pair_codes(classes: np.ndarray) -> np.ndarray:
    """A label map of the mirror, (H,W,2)."""
    code_of = {cls: code for code, cls in fvgnet.label_codes().items() if len(code) == 2}
    return np.array([code_of[cls] for cls in range(23)], dtype=np.uint8)[classes]


def write_list(path: Path, names: list[str], without_masks: tuple[str, ...] = ()) -> None:
    """A list of scenes as FVgNET's authors write it, in no order."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "names", "masks", "fruit", "realfake"])
        for row, name in enumerate([*reversed(names), *without_masks]):
            writer.writerow([row, name, name not in without_masks, "apple", "real"])


def names_of(count: int) -> list[str]:
    return [f"2021-11-03_{index:03}" for index in range(count)]


def write_release(folder: Path, train: int = 10, test: int = 3) -> Path:
    """The layout of the authors' release, with one listed scene that has no masks."""
    (folder / "visible_28").mkdir(parents=True)
    (folder / "labels").mkdir()
    for index, name in enumerate(names_of(train + test)):
        cube, classes = made_scene(index, 28)
        np.save(folder / "visible_28" / f"{name}.npy", np.moveaxis(cube, 0, -1))
        palette_picture(classes).save(folder / "labels" / f"{name}.png")
    write_list(folder / "train_data.csv", names_of(train), ("2021-12-01_000",))
    write_list(folder / "test_data.csv", names_of(train + test)[train:])
    return folder


def write_mirror(folder: Path, bands: int = 34, scenes: int = 12) -> Path:
    """The layout of the public mirror: one list, cubes transposed against labels of two channels."""
    (folder / "cubes").mkdir(parents=True)
    (folder / "raw_labels").mkdir()
    for index, name in enumerate(names_of(scenes)):
        cube, classes = made_scene(index, bands)
        turned = np.transpose(cube, (2, 1, 0))  # bands last, rows and columns exchanged
        if bands == 34:
            np.save(folder / "cubes" / f"{name}.npy", turned)
        else:
            with h5py.File(folder / "cubes" / f"{name}.h5", "w") as file:
                file.create_dataset("reflectance", data=turned, chunks=(16, 16, bands), compression="gzip")
        np.save(folder / "raw_labels" / f"{name}.npy", pair_codes(classes))
    write_list(folder / "list.csv", names_of(scenes), ("2021-12-01_000", "2021-12-01_001"))
    return folder
