"""Several folders of results in the explorer: of one scene, each with its own measurement, camera and classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, decode, open_method, simulate
from crsdun.runtime.result_files import write_data
from crsdun.scenes import Scene
from crsdun.viewing.app.jobs import measured
from crsdun.viewing.app.open_scene import TRUTH, open_folders
from crsdun.viewing.app.pictures import value_map
from crsdun.viewing.app.requests import PictureRequest

H, W = 24, 20
NM = (450.0, 500.0, 550.0, 600.0)
NAMES = ("background", "leaf", "fruit")
ROWS, COLUMNS = np.mgrid[:H, :W]


def scene(phase: float = 0, nm: tuple[float, ...] | None = NM) -> Scene:
    cube = np.stack([0.5 + 0.4 * np.sin(ROWS / 6 + COLUMNS / 5 + band / 3 + phase) for band in range(4)])
    return Scene(cube.astype("float32"), nm, (COLUMNS // 8).astype(int), NAMES, "waves")


def written(folder: Path, seed=0, truth: Scene | None = None, nm=NM, names=NAMES, method="gap-tv") -> Path:
    """A folder of results behind a mask of its own, with the classes of the scene by their place in ``names``."""
    measurement = simulate(scene(nm=nm), Exposure(random_mask(H, W, seed=seed)))
    prepared = Preparation().prepare(measurement, truth)
    result = decode(prepared, open_method(method, iterations=2))
    labels = np.array([[each.lower() for each in names].index(name) for name in NAMES])[scene().classes]
    folder.mkdir()
    write_data(replace(result, scene=replace(result.scene, classes=labels, class_names=names)), folder)
    return folder


def test_results_of_one_scene_share_a_legend_and_keep_their_own_measurements(tmp_path):
    other = ("fruit", "Background", "leaf", "stone")
    folders = [
        written(tmp_path / "a"),
        written(tmp_path / "b", seed=1, names=other),
        written(tmp_path / "c", seed=2, truth=scene(), method="admm-tv"),
    ]
    opened = open_folders(folders)
    assert list(opened.layers) == [TRUTH, "gap-tv", "gap-tv · b", "admm-tv"]
    assert opened.class_names == (*NAMES, "stone")
    for layer in opened.layers.values():
        np.testing.assert_array_equal(layer.class_maps[-1], scene().classes, err_msg=layer.name)
        if layer.result is not None:
            y = layer.result.measurement.frame
            residual = value_map(opened, PictureRequest(layer.name, None, "residual", (0,))).values
            assert np.linalg.norm(residual) / np.linalg.norm(y) == pytest.approx(layer.metrics["data_residual"], 1e-3)
            shown = value_map(opened, PictureRequest(layer.name, None, "measurement", (0,))).values
            np.testing.assert_array_equal(shown, y)
    assert opened.notes == [
        f"{name} was decoded without a true scene, and is compared with that of c" for name in "ab"
    ]


def test_the_same_name_twice_is_two_layers(tmp_path):
    for parent in "xyz":
        (tmp_path / parent).mkdir()
    opened = open_folders([written(tmp_path / parent / "out") for parent in "xyz"])
    assert list(opened.layers) == ["gap-tv", "gap-tv · out", "gap-tv · out (2)"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"nm": (500.0, 600.0, 700.0, 800.0)}, "b has other wavelengths (500–800 nm) than a (450–600 nm)"),
        ({"truth": scene(1)}, "b was decoded with another true scene than a"),
    ],
)
def test_results_of_different_scenes_are_refused(tmp_path, given, told):
    folders = [written(tmp_path / "a", truth=scene()), written(tmp_path / "b", **given)]
    with pytest.raises(InputError) as refused:
        open_folders(folders)
    assert str(refused.value) == f"{told}; choose results of one scene"


def test_dim_counts_stay_counts_in_a_folder(tmp_path):
    exposure = simulate(scene(), Exposure(random_mask(H, W)))
    counts = replace(exposure, frame=np.rint(12 * exposure.frame / exposure.frame.max()).astype(np.uint8))
    result = decode(Preparation().prepare(counts), open_method("lr-tv", iterations=2))
    (tmp_path / "dim").mkdir()
    write_data(result, tmp_path / "dim")
    again = Preparation().read(tmp_path / "dim" / "measurement.npz")
    assert again.counts
    with pytest.raises(InputError, match="the measurement holds camera counts"):
        again.check_scale(open_method("crsdun_tiny_1"))
    opened = measured(open_folders([tmp_path / "dim"]))
    assert opened.counts
    assert not measured(open_folders([written(tmp_path / "scaled")])).counts
    for folders in ("dim", "scaled"), ("scaled", "dim"):
        with pytest.raises(InputError, match="dim is in camera counts, and scaled is not; decode both"):
            open_folders([tmp_path / folder for folder in folders])
