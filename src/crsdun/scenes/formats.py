"""Named arrays in the file formats of the field: what a file holds, without asking yet what it means.

Every format is a reader and a writer, side by side. A reader returns the arrays and the metadata of a file; a
writer takes the same two. 3-D arrays are handed to a writer bands first, (C,H,W); where the field expects bands
last (.mat, .npy, ENVI) they are stored so, and ``metadata["axes"]`` says which it was wherever the format can.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from crsdun.errors import InputError, UnitError
from crsdun.optics.wavelengths import to_nanometres
from crsdun.storage import atomic_file

Arrays = dict[str, np.ndarray]
Metadata = dict[str, Any]

# The text in which our own files keep their metadata, as JSON.
NOTES = "crsdun"
WAVELENGTH_KEYS = ("wavelengths", "wavelength", "wl", "lambda")
# What the data beside an ENVI header is called.
ENVI_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi", ".hyspex", ".cube")
# MATLAB's v5 format cannot hold more than this in one variable.
LARGEST_MAT5 = 2**31 - 1


@dataclass(frozen=True)
class ArrayFile:
    """What a file holds.

    Attributes:
        path: the file.
        format: its format in words.
        arrays: numeric arrays by name, in the order of the file; a format without names calls its array "image".
        metadata: whatever else the file tells. "wavelengths" and "wavelength_units" as stored; "axes", CHW or
            HWC, of 3-D arrays; "colour" and "palette" of pictures; and what our own writers put there.
    """

    path: Path
    format: str
    arrays: Arrays
    metadata: Metadata = field(default_factory=dict)

    @property
    def wavelengths(self) -> tuple[float, ...] | None:
        """Centres of the bands in nm, in the order of the file; None where the file does not tell.

        Without a unit, 100..20000 are taken as nm and 0.1..20 as µm.

        Raises:
            UnitError: the unit is unknown, or there is none and the values are neither.
        """
        values = self.metadata.get("wavelengths")
        unit = str(self.metadata.get("wavelength_units", "unknown")).strip().lower()
        if not values or unit == "index":
            return None
        if unit in ("nm", "nanometers"):  # as they are: a conversion would round them
            return tuple(float(value) for value in values)
        if unit not in ("", "unknown"):
            return to_nanometres(values, unit)
        for unit, low, high in (("nm", 100, 20000), ("um", 0.1, 20)):
            if low <= min(values) and max(values) <= high:
                return to_nanometres(values, unit)
        raise UnitError(
            f"{self.path} gives wavelengths of {min(values):g}–{max(values):g} without a unit",
            "add the unit to the file, or give the wavelengths in nm with <wavelengths>",
        )

    @property
    def listing(self) -> str:
        """Every array with its shape, in words."""
        return ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())


def read_arrays(path: str | Path) -> ArrayFile:
    """All numeric arrays of a file, whatever its format; recognised by its first bytes, not by its suffix.

    MATLAB .mat v5 and v7.3 (in MATLAB's axis order), NumPy .npy and .npz, HDF5 (nested data sets as
    "group/name"), ENVI (the header, or the data file beside it), TIFF (pages are bands) and PNG. Pickled
    objects are never opened.

    Raises:
        InputError: the file is missing, empty, damaged, of another format, or holds no numbers.
    """
    path = Path(path)
    format = _recognise(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries; what matters is raised
            arrays, metadata = READERS[format](path)
            if "wavelengths" in metadata:
                metadata["wavelengths"] = [float(value) for value in np.ravel(metadata["wavelengths"])]
    except Exception as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path} holds pickled Python objects, which crsdun never opens", "save plain arrays of numbers"
            ) from error
        raise InputError(
            f"{path} begins like {format} but cannot be read, so it is damaged or incomplete",
            f"get it again ({_in_one_line(error)})",
        ) from error
    if not arrays:
        raise InputError(f"{path} ({format}) holds no array of real numbers", "save the cube as a plain array")
    native = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}
    return ArrayFile(path, format, native, metadata)


def write_arrays(
    path: str | Path, arrays: Arrays, metadata: Metadata, overwrite: bool = False, mat_version: str | None = None
) -> None:
    """Write named arrays in the format of the suffix, whole or not at all.

    .mat, .npz, .h5/.hdf5 and .tif/.tiff hold everything. .hdr (ENVI) and .png hold the first array with the
    metadata, .npy the first array alone.

    Args:
        arrays: 3-D arrays bands first, (C,H,W).
        metadata: anything JSON can hold; entries of None are left out.
        overwrite: replace files that exist.
        mat_version: "5" or "7.3" for .mat; None takes 7.3 only where v5 is too small (2 GB).

    Raises:
        InputError: the suffix is unknown, the format cannot hold the first array, the file exists, or the disk
            refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise InputError(f"cannot write {path}: the suffix {suffix!r} is none of {', '.join(WRITERS)}")
    if mat_version not in (None, "5", "7.3"):
        raise InputError(f"there is no .mat version {mat_version!r} to write", "expected 5 or 7.3")
    too_large = max(array.nbytes for array in arrays.values()) > LARGEST_MAT5
    writer = WRITERS[suffix]
    if suffix == ".mat" and (mat_version == "7.3" or (mat_version is None and too_large)):
        writer = _write_mat73
    with atomic_file(path, overwrite, companion=".img" if suffix == ".hdr" else None) as part:
        writer(part, arrays, {name: value for name, value in metadata.items() if value is not None})


# -- which format ----------------------------------------------------------------------------------------------

SIGNATURES = (
    (b"MATLAB 7.3", "MATLAB v7.3"),
    (b"MATLAB", "MATLAB v5"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY", "NumPy .npy"),
    (b"PK\x03\x04", "NumPy .npz"),
    (b"ENVI", "ENVI"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
)


def _recognise(path: Path) -> str:
    if not path.exists():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    if not path.is_file():
        raise InputError(f"{path} is a folder or a device", "name a file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror})", "check its rights") from error
    if not start:
        raise InputError(f"{path} is empty", "get it again")
    for signature, format in SIGNATURES:
        if start.startswith(signature):
            return format
    if path.suffix.lower() in ENVI_SUFFIXES and _envi_header(path):
        return "ENVI"
    is_pickle = start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    found = "a Python pickle, which crsdun never opens" if is_pickle else f"it begins with {start!r}"
    raise InputError(
        f"{path} is of no format that crsdun reads ({found})",
        "expected MATLAB .mat (v5 or v7.3), .npy, .npz, HDF5, ENVI with its .hdr, TIFF or PNG",
    )


def _envi_header(data: Path) -> Path | None:
    """The header beside an ENVI data file: scene.hdr or scene.img.hdr for scene.img."""
    for header in (data.with_suffix(".hdr"), data.with_name(data.name + ".hdr")):
        if header != data and header.is_file():
            return header
    return None


# -- formats that hold several arrays by name ------------------------------------------------------------------


def _named(values: dict[str, Any]) -> tuple[Arrays, Metadata]:
    """Arrays of numbers on one side; on the other our notes, and the wavelengths that lie beside the arrays."""
    arrays = {
        name: value
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size
    }
    metadata = _json_object(str(np.ravel(values.get(NOTES, ""))[0]))
    for name in WAVELENGTH_KEYS:
        value = arrays.get(name, np.empty(0))
        # A single number called lambda is seldom a wavelength, except in a file of ours.
        if value.size == max(value.shape, default=1) and value.size > (0 if metadata else 1):
            metadata["wavelengths"] = arrays.pop(name)
            break
    return arrays, metadata


def _with_notes(arrays: Arrays, metadata: Metadata, axes: str) -> dict[str, Any]:
    """What ``_named`` takes apart: arrays in ``axes`` order, wavelengths as one of them, the rest as text."""
    metadata = {**metadata, "axes": axes}
    values: dict[str, Any] = dict(arrays) if axes == "CHW" else _bands_last(arrays)
    if "wavelengths" in metadata:
        values["wavelengths"] = np.asarray(metadata.pop("wavelengths"), dtype=np.float64)
    values[NOTES] = _to_json(metadata)
    return values


def _read_npz(path: Path) -> tuple[Arrays, Metadata]:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return _named({name: file[name] for name in file.files})


def _write_npz(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    np.savez(path, **_with_notes(arrays, metadata, "CHW"))


def _read_mat5(path: Path) -> tuple[Arrays, Metadata]:
    from scipy.io import loadmat

    return _named({name: value for name, value in loadmat(path).items() if not name.startswith("__")})


def _write_mat5(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    from scipy.io import savemat

    savemat(path, _with_notes(arrays, metadata, "HWC"))


def _read_hdf5(path: Path) -> tuple[Arrays, Metadata]:
    import h5py

    values: dict[str, Any] = {}

    def take(name: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset) or name.startswith("#") or "MATLAB_empty" in node.attrs:
            return
        matlab = node.attrs.get("MATLAB_class", b"").decode()
        if h5py.check_string_dtype(node.dtype) and node.shape == ():
            values[name] = node.asstr()[()]
        elif matlab == "char":
            values[name] = node[()].T.astype("<u2").tobytes().decode("utf-16-le")
        elif node.dtype.kind in "biuf" and node.shape is not None:
            value = node[()]
            # MATLAB writes its columns first, so everything lies transposed.
            values[name] = value.T.astype(bool if matlab == "logical" else value.dtype) if matlab else value

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return _named(values)


def _write_hdf5(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in _with_notes(arrays, metadata, "CHW").items():
            file.create_dataset(name, data=value)


def _write_mat73(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """HDF5 as MATLAB writes it: its header in the first 512 bytes, arrays transposed, their class named."""
    import h5py

    classes = {"float32": "single", "float64": "double", "bool": "logical"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in _with_notes(arrays, metadata, "HWC").items():
            is_text = isinstance(value, str)
            array = np.frombuffer(value.encode("utf-16-le"), "<u2") if is_text else value
            kind = "char" if is_text else classes.get(array.dtype.name, array.dtype.name)
            stored = array.astype(np.uint8) if kind == "logical" else array
            dataset = file.create_dataset(name, data=np.atleast_2d(stored).T)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            if kind in ("char", "logical"):
                dataset.attrs["MATLAB_int_decode"] = np.int32(stored.itemsize)
    header = b"MATLAB 7.3 MAT-file, Platform: crsdun, HDF5 schema 1.00 .".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


# -- formats that hold one array -------------------------------------------------------------------------------


def _read_npy(path: Path) -> tuple[Arrays, Metadata]:
    return _named({"image": np.load(path, allow_pickle=False)})


def _write_npy(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    np.save(path, _first(_bands_last(arrays)))


def _read_envi(path: Path) -> tuple[Arrays, Metadata]:
    from spectral.io import envi

    header = _envi_header(path) or path
    image = envi.open(str(header.absolute()), None if header == path else str(path.absolute()))
    told = image.metadata
    metadata = _json_object(unquote(told.get(NOTES, "")))
    metadata["axes"] = "HWC"
    if "wavelength" in told:
        metadata["wavelengths"] = told["wavelength"]
        metadata["wavelength_units"] = told.get("wavelength units", "unknown")
    if "class names" in told:
        metadata["class_names"] = told["class names"]
    if image.scale_factor != 1:
        metadata["scale"] = image.scale_factor
    data = image.open_memmap(interleave="bip")
    if data is None:
        raise ValueError("its data file is shorter than its header says")
    return {"image": np.array(data)}, metadata


def _write_envi(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    from spectral.io import envi

    told = dict(metadata)
    header = {}
    if "wavelengths" in told:
        header = {"wavelength": told.pop("wavelengths"), "wavelength units": told.pop("wavelength_units")}
    # Braces mean something in an ENVI header, so the JSON goes without them.
    header[NOTES] = quote(_to_json(told), safe=' :,"[]()/')
    envi.save_image(str(path), _first(_bands_last(arrays)), interleave="bip", ext=".img", metadata=header)


def _read_tiff(path: Path) -> tuple[Arrays, Metadata]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        metadata = _json_object(file.pages.first.description)
        if "layout" not in metadata:
            series = file.series[0]
            array, axes = series.asarray(), series.axes
            colour = "S" in axes
            metadata.update({"axes": "HWC" if colour else "CHW"}, **({"colour": True} if colour else {}))
            return {"image": np.moveaxis(array, axes.index("S"), -1) if colour else array}, metadata
        arrays, page = {}, 0
        for name, shape in metadata.pop("layout"):
            pages = shape[0] if len(shape) == 3 else 1
            arrays[name] = file.asarray(key=range(page, page + pages)).reshape(shape)
            page += pages
        return arrays, metadata


def _write_tiff(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    import tifffile

    layout = [[name, array.shape] for name, array in arrays.items()]
    description: str | None = _to_json({**metadata, "axes": "CHW", "layout": layout})
    large = sum(array.nbytes for array in arrays.values()) > 2**32 - 2**25
    with tifffile.TiffWriter(path, bigtiff=large) as file:
        for array in arrays.values():
            for page in array if array.ndim == 3 else [array]:
                file.write(page, photometric="minisblack", description=description, metadata=None)
                description = None  # on the first page only


def _read_png(path: Path) -> tuple[Arrays, Metadata]:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        metadata = _json_object(image.info.get(NOTES, ""))
        palette = image.getpalette()
        if image.mode == "P" and palette is not None:
            metadata["palette"] = np.reshape(palette, (-1, 3)).tolist()
        elif image.mode in ("LA", "RGBA"):  # transparency is not light
            image = image.convert(image.mode.removesuffix("A"))
        if image.mode == "RGB":
            metadata.update(colour=True, axes="HWC")
        array = np.asarray(image)
    # Older releases of Pillow widen 16-bit counts to 32.
    return {"image": array.astype(np.uint16) if array.dtype == np.int32 else array}, metadata


def _write_png(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    array = _first(arrays)
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"a .png holds counts, (height, width) of uint8 or uint16, not {array.shape} of {array.dtype}",
            "choose .npz, .h5, .mat or .tif",
        )
    notes = PngInfo()
    notes.add_itxt(NOTES, _to_json(metadata))
    Image.fromarray(array).save(path, pnginfo=notes)


READERS: dict[str, Callable[[Path], tuple[Arrays, Metadata]]] = {
    "MATLAB v5": _read_mat5,
    "MATLAB v7.3": _read_hdf5,
    "HDF5": _read_hdf5,
    "NumPy .npy": _read_npy,
    "NumPy .npz": _read_npz,
    "ENVI": _read_envi,
    "TIFF": _read_tiff,
    "PNG": _read_png,
}
WRITERS: dict[str, Callable[[Path, Arrays, Metadata], None]] = {
    ".mat": _write_mat5,
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".hdr": _write_envi,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".png": _write_png,
}


# -- small things ----------------------------------------------------------------------------------------------


def _first(arrays: Arrays) -> np.ndarray:
    return next(iter(arrays.values()))


def _bands_last(arrays: Arrays) -> Arrays:
    return {name: np.moveaxis(array, 0, -1) if array.ndim == 3 else array for name, array in arrays.items()}


def _to_json(metadata: Metadata) -> str:
    """ASCII on one line; arrays and NumPy numbers become lists and numbers, paths and the like text."""
    return json.dumps(metadata, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))


def _json_object(text: str) -> Metadata:
    """The object that a free text holds as JSON; nothing where it is some other text."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
