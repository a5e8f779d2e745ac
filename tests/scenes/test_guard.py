"""What is refused before it is read: more than the budget, and files that refer to others."""

import gzip
import json
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

from crsdun.budget import limited_to
from crsdun.errors import InputError
from crsdun.scenes.formats import guard, open_arrays, read_arrays

h5py = pytest.importorskip("h5py")
MEGABYTE = 1 << 20

# Of MATLAB v5: kinds of elements, and classes of arrays.
UINT8, INT32, UINT32, MATRIX = 2, 5, 6, 14
CELL, DOUBLE = 1, 6


def element(kind, data, length=None):
    stated = len(data) if length is None else length
    return struct.pack("<II", kind, stated) + data + bytes(-len(data) % 8)


def matrix(kind, shape, content, length=None):
    flags, sides = struct.pack("<II", kind, 0), struct.pack(f"<{len(shape)}i", *shape)
    return element(MATRIX, element(UINT32, flags) + element(INT32, sides) + element(1, b"") + content, length)


def write_matlab(path, *matrices):
    """Compressed, with a header."""
    data = b"".join(element(15, zlib.compress(each)) for each in matrices)
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + data)


@pytest.fixture(params=[open_arrays, read_arrays])
def read(request):
    return request.param


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(b"secret" * 100)
    return path


class TestNoOtherFile:
    def refused(self, read, path):
        with pytest.raises(InputError, match="refers to another file"):
            read(path)

    def test_an_external_link(self, read, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["cube"] = np.ones((4, 5, 3))
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["cube"] = np.ones((4, 5, 3))
            file["group/link"] = h5py.ExternalLink("other.h5", "cube")
        self.refused(read, tmp_path / "a.h5")

    @pytest.mark.parametrize("shape", [(600,), (10, 10, 6)])
    def test_external_storage(self, read, tmp_path, secret, shape):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("cube", shape, "u1", external=[(str(secret), 0, 600)])
        self.refused(read, tmp_path / "a.h5")

    def test_external_storage_beside_a_type_that_numpy_does_not_have(self, read, tmp_path, secret):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            h5py.h5d.create(file.id, b"a", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2,)))
            file.create_dataset("b", (10, 10, 6), "u1", external=[(str(secret), 0, 600)])
        with pytest.raises(InputError):
            read(tmp_path / "a.h5")

    def test_a_virtual_data_set(self, read, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["x"] = np.ones((4, 5, 3))
        layout = h5py.VirtualLayout((4, 5, 3), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (4, 5, 3))
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_virtual_dataset("cube", layout)
        self.refused(read, tmp_path / "a.h5")

    def test_an_ome_tiff_of_several_files(self, read, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(tmp_path / "other.tif", np.ones((8, 8), np.uint16))
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="8" '
            'SizeZ="1" SizeC="2" SizeT="1"><Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>'
            '<TiffData IFD="0" FirstC="0"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
            '<TiffData IFD="0" FirstC="1"><UUID FileName="other.tif">urn:uuid:2</UUID></TiffData>'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((8, 8), np.uint16), description=xml, metadata=None)
        self.refused(read, tmp_path / "a.ome.tif")

    def test_an_ome_tiff_of_one_file_is_read(self, read, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((3, 8, 9), np.uint16))
        assert read(tmp_path / "a.ome.tif").arrays["image"].shape == (3, 8, 9)

    def test_a_soft_link_is_not_followed(self, read, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["cube"] = np.ones((4, 5, 3))
            file["again"] = h5py.SoftLink("/nowhere")
            file["nothing"] = h5py.Empty("f4")
        assert list(read(tmp_path / "a.h5").arrays) == ["cube"]


class TestBudget:
    def refused(self, read, path, what="GB of memory"):
        with limited_to(MEGABYTE), pytest.raises(InputError, match=what):
            read(path)

    def test_zeros_in_npz_although_another_array_is_wanted(self, read, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", y=np.ones((4, 6)), zeros=np.zeros(2 * MEGABYTE, np.uint8))
        self.refused(read, tmp_path / "a.npz")

    @pytest.mark.parametrize("descr", ["<U100000000", "<f8"])
    def test_a_header_of_npy_that_states_more_than_there_is(self, read, tmp_path, descr):
        header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (1000000, 1000), }}".ljust(117) + "\n"
        raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"0" * 64
        (tmp_path / "a.npy").write_bytes(raw)
        self.refused(read, tmp_path / "a.npy", "damaged")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("y.npy", raw)
        self.refused(read, tmp_path / "a.npz", "damaged")

    def test_hdf5_of_a_huge_shape_without_data(self, tmp_path):
        for shape in ((1 << 30, 1 << 10), (1 << 14, 1 << 14, 1 << 10)):
            with h5py.File(tmp_path / "a.h5", "w") as file:
                file.create_dataset("x", shape, "f4", chunks=(64,) * len(shape))
            with pytest.raises(InputError, match="GB of memory"):
                read_arrays(tmp_path / "a.h5")

    def test_a_cube_that_stays_in_its_file_may_be_larger(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("cube", (1 << 14, 1 << 14, 64), "f4", chunks=(64, 64, 64))
        assert open_arrays(tmp_path / "a.h5").arrays["cube"][:2, :2, :2].sum() == 0

    def test_compressed_elements_of_matlab(self, read, tmp_path):
        from scipy.io import savemat

        savemat(tmp_path / "a.mat", {"zeros": np.zeros(2 * MEGABYTE, np.uint8)}, do_compression=True)
        self.refused(read, tmp_path / "a.mat")

    def test_whole_numbers_of_matlab_count_as_the_doubles_that_they_become(self, read, tmp_path):
        from scipy.io import savemat

        write_matlab(tmp_path / "a.mat", matrix(DOUBLE, (1, MEGABYTE // 4), element(UINT8, bytes(MEGABYTE // 4))))
        self.refused(read, tmp_path / "a.mat")
        savemat(tmp_path / "a.mat", {"counts": np.zeros(MEGABYTE // 4, np.uint8)}, do_compression=True)
        with limited_to(MEGABYTE):
            assert read(tmp_path / "a.mat").arrays["counts"].size == MEGABYTE // 4

    @pytest.mark.parametrize("kind", ["cell", "struct"])
    def test_arrays_in_cells_and_structs_count_with_what_python_adds_to_them(self, read, tmp_path, kind):
        from scipy.io import savemat

        cells = np.empty((1, 20_000), object)
        cells.fill(np.zeros((0, 0)))
        content = np.zeros((1, 20_000), [("a", object)]) if kind == "struct" else cells
        if kind == "struct":
            content["a"] = cells
        savemat(tmp_path / "a.mat", {"x": content}, do_compression=True)
        assert (tmp_path / "a.mat").stat().st_size < 10_000
        with limited_to(4 * MEGABYTE), pytest.raises(InputError, match="GB of memory"):
            read(tmp_path / "a.mat")

    def test_one_large_array_in_a_struct_is_read(self, read, tmp_path):
        from scipy.io import savemat

        inside = {"cube": np.ones((50, 50, 30)), "name": "a", "parts": np.array([np.ones(3), "b"], object)}
        savemat(tmp_path / "a.mat", {"scene": inside}, do_compression=True)
        with limited_to(MEGABYTE):
            assert read(tmp_path / "a.mat").arrays["scene/cube"].shape == (50, 50, 30)

    @pytest.mark.parametrize("length", [None, 8])  # of each matrix; or a lie
    def test_cells_thousands_of_levels_deep_are_refused(self, read, tmp_path, length):
        content = matrix(DOUBLE, (1, 1), element(UINT8, b"1"))
        for _ in range(5000):  # which SciPy does not survive
            content = matrix(CELL, (1, 1), content, length)
        write_matlab(tmp_path / "a.mat", content)
        with pytest.raises(InputError, match="cells within cells"):
            read(tmp_path / "a.mat")

    @pytest.mark.parametrize(
        "content",
        [
            lambda kind: matrix(DOUBLE, (1, 1), element(kind, bytes(8))),
            lambda kind: matrix(DOUBLE | 0x800, (1, 1), element(UINT8, b"1") + element(kind, bytes(8))),
            lambda kind: matrix(CELL, (1, 1), matrix(DOUBLE, (1, 1), element(kind, bytes(8)))),
            lambda kind: matrix(kind, (1, 1), element(UINT8, b"1")),
        ],
        ids=["real", "imaginary", "within a cell", "class"],
    )
    @pytest.mark.parametrize("kind", [0, 19, 99, 200])
    def test_kinds_that_do_not_exist_never_reach_scipy(self, read, tmp_path, content, kind):
        """It would look for them behind the end of its table."""
        write_matlab(tmp_path / "a.mat", content(kind))
        with pytest.raises(InputError, match=r"there is no (kind|class)"):
            read(tmp_path / "a.mat")

    def test_the_stated_shape_of_a_cell_counts(self, read, tmp_path):
        write_matlab(tmp_path / "a.mat", matrix(CELL, (1, 1_000_000_000), b""))
        with pytest.raises(InputError, match="8 GB of memory"):
            read(tmp_path / "a.mat")

    def test_matlab_v4_has_no_tags(self, read, tmp_path):
        from scipy.io import savemat

        savemat(tmp_path / "a.mat", {"cube": np.full((100, 100), np.pi)}, format="4")
        with limited_to(MEGABYTE):
            assert read(tmp_path / "a.mat").arrays["cube"].shape == (100, 100)

    def test_hdf5_whose_chunks_are_larger_than_the_data(self, read, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            chunks = {"chunks": (100, 100, 100), "maxshape": (None, None, None)}
            file.create_dataset("cube", (4, 5, 6), "f4", compression="gzip", **chunks)
        self.refused(read, tmp_path / "a.h5")

    @pytest.mark.parametrize("listed", [True, False], ids=["listed", "one by one"])
    def test_hdf5_whose_chunk_inflates_beyond_its_size(self, read, tmp_path, monkeypatch, listed):
        if not listed:  # as older releases of HDF5 have it
            monkeypatch.setattr(guard, "hasattr", lambda *_: False, raising=False)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            cube = file.create_dataset("cube", (4, 5, 6), "f4", chunks=(4, 5, 6), compression="gzip", shuffle=True)
            cube.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(2 * MEGABYTE)))
        self.refused(read, tmp_path / "a.h5")

    def test_hdf5_that_is_compressed_twice(self, read, tmp_path):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 5, 6))
        properties.set_deflate(9)
        properties.set_deflate(9)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            space = h5py.h5s.create_simple((4, 5, 6))
            h5py.h5d.create(file.id, b"cube", h5py.h5t.NATIVE_FLOAT, space, properties)
        self.refused(read, tmp_path / "a.h5", "compressed more than once")

    @pytest.mark.parametrize("compression", ["gzip", "lzf", None])
    def test_compressed_hdf5_is_read(self, read, tmp_path, compression):
        cube = np.random.default_rng(0).random((10, 40, 50), np.float32)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            settings = {"shuffle": True, "fletcher32": True, "chunks": (5, 20, 25)}
            file.create_dataset("cube", data=cube, compression=compression, **settings)
            file.create_dataset("packed", data=np.arange(1000), scaleoffset=0, compression="gzip")
        with limited_to(MEGABYTE):
            np.testing.assert_array_equal(read(tmp_path / "a.h5").arrays["cube"][:, :, :], cube)

    def test_a_tiff_whose_strip_inflates_beyond_its_page(self, read, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            strip = zlib.compress(bytes(4 * MEGABYTE))
            file.write(iter([strip]), shape=(16, 16), dtype=np.uint8, compression="zlib", rowsperstrip=16)
        self.refused(read, tmp_path / "a.tif")

    @pytest.mark.parametrize("sharded", [False, True])
    @pytest.mark.parametrize("codec", ["gzip", "zstd", "zstd of unknown size", "blosc"])
    def test_zarr_whose_chunk_inflates_beyond_its_size(self, read, tmp_path, codec, sharded):
        zarr = pytest.importorskip("zarr", "3")
        from numcodecs import Blosc, Zstd

        name = codec.partition(" ")[0]
        compressor = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
        settings = {"compressors": compressor[name](), "chunks": (2, 5, 6), "shards": (4, 5, 6) if sharded else None}
        group.create_array("cube", data=np.random.default_rng(0).random((4, 5, 6), np.float32), **settings)
        with limited_to(MEGABYTE):
            assert read(tmp_path / "a.zarr").arrays["cube"].shape == (4, 5, 6)
        zeros = bytes(2 * MEGABYTE)
        if codec == "zstd of unknown size":  # 32 blocks, each of which repeats one byte
            blocks = [((1 << 17) << 3 | 1 << 1 | (k == 31)).to_bytes(3, "little") + b"\0" for k in range(32)]
            packed = b"\x28\xb5\x2f\xfd" + bytes([0, 0x38]) + b"".join(blocks)
            assert len(Zstd().decode(packed)) == 1 << 22
        else:
            packed = {"gzip": gzip.compress, "zstd": Zstd().encode, "blosc": Blosc().encode}[name](zeros)
        chunk = tmp_path / "a.zarr" / "cube" / "c" / "0" / "0" / "0"
        if sharded:  # the second one is not stored
            index = struct.pack("<4Q", 0, len(packed), 2**64 - 1, 2**64 - 1)
            packed += index + bytes(4)  # a checksum
        chunk.write_bytes(packed)
        self.refused(read, tmp_path / "a.zarr")

    def test_what_a_zarr_group_says_of_its_arrays_does_not_count(self, read, tmp_path):
        zarr = pytest.importorskip("zarr", "3")
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
        group.create_array("y", data=np.ones((4, 6), np.float32))
        with pytest.warns(UserWarning, match="[Cc]onsolidated"):
            zarr.consolidate_metadata(tmp_path / "a.zarr")
        mark = tmp_path / "a.zarr" / "zarr.json"
        said = json.loads(mark.read_text())
        said["consolidated_metadata"]["metadata"]["y"]["shape"] = [4000, 6000]
        mark.write_text(json.dumps(said))
        with limited_to(MEGABYTE):
            assert read(tmp_path / "a.zarr").arrays["y"].shape == (4, 6)

    def test_a_large_tiff(self, read, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 1024, 1024), np.uint8), photometric="minisblack")
        self.refused(read, tmp_path / "a.tif")

    def test_a_large_png(self, read, tmp_path):
        from PIL import Image

        Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(tmp_path / "a.png")
        self.refused(read, tmp_path / "a.png")

    def test_the_lines_of_an_envi_header(self, read, tmp_path):
        sizes = "samples = 1000\nlines = 1000000000\nbands = 100\ndata type = 4"
        (tmp_path / "a.hdr").write_text(f"ENVI\n{sizes}\ninterleave = bip\nbyte order = 0\n")
        (tmp_path / "a.img").write_bytes(bytes(1000))
        with pytest.raises(InputError):
            read(tmp_path / "a.hdr")

    def test_groups_thousands_of_levels_deep_are_refused_at_once(self, read, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            group = file
            for _ in range(3000):
                group = group.create_group("g")
            group["cube"] = np.ones((4, 5, 3))
        start = time.process_time()
        with pytest.raises(InputError, match="groups within groups"):
            read(tmp_path / "a.h5")
        assert time.process_time() - start < 2

    def test_the_message_names_the_budget_and_what_raises_it(self, tmp_path):
        np.savez(tmp_path / "a.npz", y=np.zeros((4000, 1000)))
        with limited_to(MEGABYTE), pytest.raises(InputError, match=r"0\.032 GB of memory.*0\.00105 GB") as raised:
            read_arrays(tmp_path / "a.npz")
        assert "<memory>" in raised.value.remedy
        with limited_to(100 * MEGABYTE):
            read_arrays(tmp_path / "a.npz")
