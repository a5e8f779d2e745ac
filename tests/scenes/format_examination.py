"""The examination that every file format takes; its own test class states what it can hold."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import open_arrays, read_arrays, write_arrays
from crsdun.scenes.formats.array_file import LazyArray

METADATA = {
    "name": "grün {a} = b",
    "step": 2.0,
    "provenance": {"changes": ["sorted", None], "divided_by": 255},
    "wavelengths": [450.123456789, 500.0, 550.0, 600.0],
    "wavelength_units": "Nanometers",
}


class Malicious:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


class FormatExamination:
    """Inherit, set ``name`` and ``suffix``; every property below is then tested.

    ``named`` formats hold several arrays, the others their first one as "image"; ``axes`` is how a cube is stored;
    formats without ``metadata`` hold numbers alone; the cube of ``lazy`` formats stays in the file when it is opened.
    """

    name: str
    suffix: str
    mat_version: str | None = None
    named, metadata, lazy = True, True, False
    axes: str | None = "CHW"
    data_suffix: str | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(0)
        return {
            "cube": random.random((4, 60, 50), dtype=np.float32),
            "classes": random.integers(-1, 9, (60, 50)).astype(np.int32),
            "mask": random.random((60, 50)) > 0.5,
        }

    def stored(self) -> dict[str, np.ndarray]:
        """What comes back: bands where the format has them."""
        arrays = self.arrays() if self.named else {"image": next(iter(self.arrays().values()))}
        bands_last = self.axes == "HWC"
        return {n: np.moveaxis(a, 0, -1) if bands_last and a.ndim == 3 else a for n, a in arrays.items()}

    def write(self, folder: Path, overwrite: bool = False) -> Path:
        path = folder / f"file{self.suffix}"
        metadata = {**METADATA, "unknown": None}
        write_arrays(path, self.arrays(), metadata, overwrite, self.mat_version)
        return path

    def write_pickled(self, path: Path, value: object) -> None:
        """A file that runs code wherever it is unpickled; formats that can hold pickles put one in."""
        path.write_bytes(pickle.dumps(value))

    def test_what_is_written_is_read(self, tmp_path):
        file = read_arrays(self.write(tmp_path))
        assert file.format == self.name
        assert set(file.arrays) == set(self.stored())
        for name, array in self.stored().items():
            np.testing.assert_array_equal(file.arrays[name], array)
            if array.dtype != bool:  # which some formats store as bytes
                assert file.arrays[name].dtype == array.dtype
            assert type(file.arrays[name]) is np.ndarray
        expected = METADATA if self.metadata else {}
        assert file.metadata == expected | ({"axes": self.axes} if self.metadata and self.axes else {})
        assert file.wavelengths == (tuple(METADATA["wavelengths"]) if self.metadata else None)

    def test_opened_equals_read(self, tmp_path):
        path = self.write(tmp_path)
        file, whole = open_arrays(path), read_arrays(path)
        assert (file.path, file.format, file.metadata) == (whole.path, whole.format, whole.metadata)
        assert list(file.arrays) == list(whole.arrays)
        for name, array in file.arrays.items():
            assert (array.shape, array.ndim, array.dtype) == (
                whole.arrays[name].shape, whole.arrays[name].ndim, whole.arrays[name].dtype
            )  # fmt: skip
            if array.ndim == 3:
                assert isinstance(array, (np.memmap, LazyArray)) == self.lazy
                for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
                    part, expected = array.transpose(order), whole.arrays[name].transpose(order)
                    np.testing.assert_array_equal(part[1:3, :, 2:4], expected[1:3, :, 2:4])

    def test_a_truncated_file_is_refused(self, tmp_path):
        path = self.write(tmp_path)
        data = path.with_suffix(self.data_suffix or self.suffix)
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        for function in (read_arrays, open_arrays):
            with pytest.raises(InputError, match=f"begins like {self.name} .* damaged or incomplete") as refused:
                function(path)
            assert "\n" not in str(refused.value)

    def test_no_pickle_is_ever_opened(self, tmp_path):
        path, trace = tmp_path / f"bad{self.suffix}", tmp_path / "trace"
        self.write_pickled(path, Malicious(trace))
        for function in (read_arrays, open_arrays):
            with pytest.raises(InputError, match=r"pickle.*which crsdun never opens"):
                function(path)
        assert not trace.exists()
        loaded = np.load(path, allow_pickle=True)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            loaded = loaded["cube"]
        assert trace.exists()  # the file was dangerous indeed

    def test_existing_files_are_kept_without_overwrite(self, tmp_path):
        path = tmp_path / f"file{self.suffix}"
        path.write_text("precious")
        with pytest.raises(InputError, match=r"exists already.*overwrite"):
            self.write(tmp_path)
        assert path.read_text() == "precious"
        self.write(tmp_path, overwrite=True)
        assert read_arrays(path).format == self.name
        files = {path.name, path.with_suffix(self.data_suffix or self.suffix).name}
        assert {part.name for part in tmp_path.iterdir()} == files

    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = self.write(tmp_path)
        before = {part.name: part.read_bytes() for part in tmp_path.iterdir()}
        first = next(iter(self.arrays().values()))
        shape = (8, 64, 64) if first.ndim == 3 else (400, 400)
        code = (
            "import resource, sys, numpy as np\n"
            "from crsdun.errors import InputError\n"
            "from crsdun.scenes import write_arrays\n"
            f"noise = np.random.default_rng(0).integers(0, 255, {shape}).astype('{first.dtype}')\n"
            "import h5py, scipy.io, tifffile, spectral.io.envi, PIL.Image\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
            "try:\n"
            f"    write_arrays(sys.argv[1], {{'cube': noise}}, {{}}, True, {self.mat_version!r})\n"
            "except InputError as error:\n"
            "    print(error)\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, timeout=120
        )
        assert "could not write" in run.stdout, run.stderr
        assert {part.name: part.read_bytes() for part in tmp_path.iterdir()} == before
