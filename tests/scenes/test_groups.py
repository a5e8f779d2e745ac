"""Files with groups: what lies beside an array belongs to it, and what may belong to several is never guessed."""

import h5py
import numpy as np
import pytest
import scipy.io

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.scenes import describe, open_exposures, open_set, read_arrays, read_mask, read_measurement, read_scene
from crsdun.scenes.array_roles import around

H, W, C = 6, 8, 4
RANDOM = np.random.default_rng(0)
CUBES = {"SWIR": RANDOM.random((C, H, W)), "VNIR": RANDOM.random((C, H, W))}
LISTS = {"SWIR": np.array([1500.0, 1600, 1700, 1800]), "VNIR": np.array([450.0, 500, 550, 600])}
FRAMES = {name: RANDOM.random((H, W + 6)) for name in ("cam1", "cam2")}
MASKS = {name: (RANDOM.random((H, W)) < 0.5).astype(float) for name in ("cam1", "cam2")}


def write(path, arrays):
    """An HDF5 file, or structs in a .mat."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
        return path
    structs = {}
    for name, array in arrays.items():
        group, _, last = name.rpartition("/")
        stored = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
        structs.setdefault(group, {})[last] = stored
    scipy.io.savemat(path, structs)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize("name", ["SWIR", "VNIR"])
def test_a_cube_has_the_wavelengths_of_its_group(tmp_path, suffix, name):
    arrays = {f"{n}/cube": CUBES[n] for n in CUBES} | {f"{n}/wavelengths": LISTS[n] for n in LISTS}
    path = write(tmp_path / f"two{suffix}", arrays)
    scene = read_scene(path, f"{name}/cube")
    assert scene.wavelengths == tuple(LISTS[name])
    np.testing.assert_allclose(scene.cube, CUBES[name], rtol=1e-6)
    with pytest.raises(InputError, match=r"several arrays: SWIR/cube .*, VNIR/cube .*; choose the cube with key"):
        read_scene(path)


def test_a_set_has_the_wavelengths_of_its_cubes(tmp_path):
    write(
        tmp_path / "a.h5",
        {f"{n}/cube": CUBES[n] for n in CUBES} | {f"{n}/wavelengths": LISTS[n] for n in LISTS},
    )
    given = "cubes: '{name}.h5'\ncube_key: VNIR/cube\nwavelengths: 450-600:4\nsplits: {test: [a]}\n"
    (tmp_path / "d.yaml").write_text(given)
    np.testing.assert_allclose(open_set(tmp_path / "d.yaml", "test")[0].cube, CUBES["VNIR"], rtol=1e-6)
    (tmp_path / "d.yaml").write_text(given.replace("VNIR", "SWIR"))
    with pytest.raises(InputError, match="has wavelengths of 1500–1800 nm but the data set 450–600 nm"):
        open_set(tmp_path / "d.yaml", "test")[0]


def test_what_belongs_to_another_cube_is_not_taken(tmp_path):
    path = write(tmp_path / "a.h5", {"S/cube": CUBES["SWIR"], "S/wl": LISTS["SWIR"], "V/cube": CUBES["VNIR"]})
    assert read_scene(path, "V/cube").wavelengths is None
    assert read_scene(path, "S/cube").wavelengths == tuple(LISTS["SWIR"])
    path = write(
        tmp_path / "b.h5", {"data/cube": CUBES["VNIR"], "about/wl": LISTS["VNIR"], "data/gt": np.ones((H, W))}
    )
    assert read_scene(path).wavelengths == tuple(LISTS["VNIR"]), "nothing else lies there to which it could belong"
    path = write(tmp_path / "c.h5", {"wl": LISTS["VNIR"], "SWIR/wl": LISTS["SWIR"], "VNIR/cube": CUBES["VNIR"]})
    assert read_scene(path).wavelengths == tuple(LISTS["VNIR"]), "that of the group around it"


def test_several_lists_in_one_place(tmp_path):
    path = write(tmp_path / "a.h5", {"c/cube": CUBES["VNIR"], "a/wl": LISTS["VNIR"], "b/wl": LISTS["SWIR"][:3]})
    assert read_scene(path).wavelengths == tuple(LISTS["VNIR"]), "the only one with a wavelength for each band"
    path = write(tmp_path / "b.h5", {"c/cube": CUBES["VNIR"], "a/wl": LISTS["VNIR"], "b/wl": LISTS["SWIR"]})
    with pytest.raises(InputError, match=r"several lists of wavelengths: a/wl, b/wl; choose the array"):
        read_scene(path)
    assert read_scene(path, wavelengths=(1, 2, 3, 4)).wavelengths == (1, 2, 3, 4)


def test_info_names_several_lists(tmp_path, capsys):
    path = write(tmp_path / "two.h5", {f"{n}/wavelengths": LISTS[n] for n in LISTS} | {"SWIR/cube": CUBES["SWIR"]})
    assert main(["info", str(path)]) == 0
    assert "several lists of wavelengths: SWIR/wavelengths, VNIR/wavelengths" in capsys.readouterr().out


def test_sensors_of_prisma_have_their_own_wavelengths(tmp_path):
    with h5py.File(tmp_path / "p.he5", "w") as file:
        file["D/VNIR_Cube"], file["D/SWIR_Cube"] = CUBES["VNIR"], CUBES["SWIR"][:3]
        file.attrs["List_Cw_Vnir"], file.attrs["List_Cw_Swir"] = LISTS["VNIR"], LISTS["SWIR"][:3]
    assert read_scene(tmp_path / "p.he5", "D/VNIR_Cube").wavelengths == tuple(LISTS["VNIR"])
    assert read_scene(tmp_path / "p.he5", "D/SWIR_Cube").wavelengths == tuple(LISTS["SWIR"][:3])


# -- exposures and masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize("name", ["cam1", "cam2"])
@pytest.mark.parametrize("by_rows", [False, True])
def test_an_exposure_has_the_mask_of_its_group(tmp_path, suffix, name, by_rows):
    arrays = {f"{n}/meas": FRAMES[n] for n in FRAMES} | {f"{n}/mask": MASKS[n] for n in MASKS}
    path = write(tmp_path / f"cams{suffix}", arrays)
    exposures = open_exposures(path, f"{name}/meas", by_rows=by_rows)
    mask = exposures.mask_rows.rows(0, H) if by_rows else exposures.mask
    np.testing.assert_array_equal(mask, MASKS[name])
    np.testing.assert_allclose(exposures.one().frame, FRAMES[name], rtol=1e-6)
    with pytest.raises(InputError, match=r"several arrays: cam1/meas .*, cam2/meas .*; choose the measurement"):
        open_exposures(path)
    with pytest.raises(InputError, match=r"cam1/mask .*, cam2/mask .*; set mask to this file, and mask_key to one"):
        read_mask(path)


def test_stacks_in_several_groups(tmp_path):
    stacks = {name: np.stack([frame] * 3) for name, frame in FRAMES.items()}
    path = write(tmp_path / "s.h5", {f"{n}/meas": stacks[n] for n in stacks} | {f"{n}/mask": MASKS[n] for n in MASKS})
    exposures = open_exposures(path, "cam2/meas")
    assert len(exposures) == 3
    np.testing.assert_array_equal(exposures.mask, MASKS["cam2"])
    with pytest.raises(InputError, match=r"several arrays: cam1/meas .*; choose the measurement"):
        open_exposures(path)


def test_the_mask_of_another_camera_is_not_taken(tmp_path):
    arrays = {"cam1/meas": FRAMES["cam1"], "cam1/mask": MASKS["cam1"], "cam2/meas": FRAMES["cam2"]}
    assert read_measurement(write(tmp_path / "a.h5", arrays), "cam2/meas").mask is None
    shared = write(
        tmp_path / "b.h5", {"cam1/meas": FRAMES["cam1"], "cam2/meas": FRAMES["cam2"], "mask": MASKS["cam1"]}
    )
    for name in FRAMES:
        np.testing.assert_array_equal(read_measurement(shared, f"{name}/meas").mask, MASKS["cam1"])
    apart = {"data/meas": FRAMES["cam1"], "data/dark": FRAMES["cam2"], "calibration/mask": MASKS["cam1"]}
    apart = write(tmp_path / "c.h5", apart)
    np.testing.assert_array_equal(read_measurement(apart, "data/meas").mask, MASKS["cam1"])
    several = {"data/meas": FRAMES["cam1"], "a/mask": MASKS["cam1"], "b/mask": MASKS["cam2"]}
    with pytest.raises(InputError, match=r"several arrays: a/mask .*, b/mask .*; set mask to this file"):
        read_measurement(write(tmp_path / "d.h5", several))


@pytest.mark.parametrize("names", [("coded_aperture", "mask"), ("mask", "coded_aperture")])
def test_one_file_has_one_mask(tmp_path, names):
    path = write(tmp_path / "a.h5", {"meas": FRAMES["cam1"], **dict(zip(names, MASKS.values(), strict=True))})
    expected = dict(zip(names, MASKS.values(), strict=True))["mask"]
    np.testing.assert_array_equal(read_mask(path), expected)
    np.testing.assert_array_equal(read_measurement(path).mask, expected)


def test_valid_pixels_are_those_of_the_group(tmp_path):
    valid = {name: RANDOM.random((H, W + 6)) < 0.5 for name in FRAMES}
    path = write(
        tmp_path / "v.h5",
        {f"{n}/meas": FRAMES[n] for n in FRAMES} | {f"{n}/valid": valid[n].astype(np.uint8) for n in valid},
    )
    np.testing.assert_array_equal(read_measurement(path, "cam2/meas").valid, valid["cam2"])


def test_structs_in_an_array_are_numbered(tmp_path):
    elements = np.zeros((1, 2), dtype=[("meas", object), ("mask", object)])
    for place, name in enumerate(FRAMES):
        elements[0, place] = FRAMES[name], MASKS[name]
    scipy.io.savemat(tmp_path / "s.mat", {"cam": elements})
    file = read_arrays(tmp_path / "s.mat")
    assert list(file.arrays) == ["cam/1/meas", "cam/1/mask", "cam/2/meas", "cam/2/mask"]
    np.testing.assert_array_equal(read_measurement(tmp_path / "s.mat", "cam/2/meas").mask, MASKS["cam2"])
    assert list(around(file, "cam/1/meas").arrays) == ["cam/1/meas", "cam/1/mask"]


def test_the_remedy_names_the_option_of_that_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "two.h5", {f"{n}/cube": CUBES[n] for n in CUBES})
    np.savez("y.npz", meas=FRAMES["cam1"], mask=MASKS["cam1"])
    assert main(["reconstruct", "y.npz", "--method", "lr-tv", "--truth", "two.h5", "--out", "o"]) == 2
    assert "choose the cube with --truth-key" in capsys.readouterr().err
    write(tmp_path / "labels.h5", {f"{n}/gt": np.ones((H, W)) for n in CUBES})
    np.savez("scene.npz", cube=CUBES["VNIR"])
    assert main(["classes", "scene.npz", "--labels", "labels.h5", "--out", "c.safetensors"]) == 2
    assert "choose the class map with --labels-key" in capsys.readouterr().err


def test_info_fits_an_exposure_to_the_mask_of_its_group(tmp_path):
    arrays = {f"{n}/meas": FRAMES[n] for n in FRAMES} | {"cam1/mask": MASKS["cam1"], "cam2/mask": np.eye(H, W + 2)}
    described = describe(write(tmp_path / "cams.h5", arrays))
    first, second = (described.fitting_cameras(each) for each in described.arrays if each.key.endswith("meas"))
    assert (C, 2) in first
    assert (C, 2) not in second
    assert (C - 1, 2) in second
