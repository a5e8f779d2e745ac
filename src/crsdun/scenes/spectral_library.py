"""Reference spectra: ENVI spectral libraries, and tables of wavelengths and values as text (CSV)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import NANOMETRES_PER_UNIT
from crsdun.scenes.array_roles import LARGEST_NO_DATA, doubts, unit_range
from crsdun.scenes.formats import ArrayFile, read_arrays
from crsdun.scenes.formats.text_table import TABLES, read_cells

MOST_SPECTRA = 2000
BRIGHTEST = 2.0  # a reflectance; more is a percentage, or on another scale
# What the explorer saves: one row for each band.
OWN_COLUMNS = ("point", "cube", "stage", "wavelength_nm", "mean")
NO_WAVELENGTHS = re.compile(r"\b(wave ?numbers?|frequency|energy|bands?|index|channels?)\b")
# Titles of a first column that numbers or names spectra; nm may be the unit of the line.
OF_SPECTRA = re.compile(
    r"(unnamed: 0|id|index|no\.?|nr\.?|number|#|names?|samples?|spectr(um|a)|labels?|class|points?|nm)?"
)
WRITE_TABLE = "expected a column of wavelengths and a column of values for each spectrum, with a name above each"


@dataclass(frozen=True)
class SpectralLibrary:
    """Spectra on the same wavelengths.

    Attributes:
        names: of the spectra, N.
        wavelengths: in nm, C, ascending.
        values: (N,C) float32, reflectances, usually 0..1; NaN where there is none.
    """

    names: tuple[str, ...]
    wavelengths: tuple[float, ...]
    values: np.ndarray


def read_spectral_library(path: str | Path) -> SpectralLibrary:
    """The spectra in a file.

    An ENVI spectral library (.hdr with .sli), or a table separated by commas, semicolons (then with decimal points or
    commas), tabs or spaces, without or with a line of names above it. Its first column holds the wavelengths, in the
    unit that stands above it, else as ``ArrayFile.wavelengths``; or its first line does, with a spectrum in each
    other line. Also the table that the explorer saves.

    Raises:
        InputError: it is neither of them, or malformed; it holds more than ``MOST_SPECTRA``, or reflectances above
            ``BRIGHTEST``; two values have the same wavelength; or the unit of the wavelengths is not known.
    """
    path = Path(path)
    if path.suffix.lower() in TABLES:
        names, file, values = _read_table(path)
    else:
        names, file, values = _read_envi(path)
    wavelengths = file.wavelengths
    if wavelengths is None or len(wavelengths) != values.shape[1]:
        raise InputError(f"{path} gives no wavelengths for its {values.shape[1]} channels", "add them to the file")
    if len(names) > MOST_SPECTRA:
        raise InputError(f"{path} holds {len(names)} spectra", f"save the at most {MOST_SPECTRA} that you need")
    order = np.argsort(wavelengths)
    ascending = np.asarray(wavelengths)[order]
    if len(ascending) < 2 or (np.diff(ascending) == 0).any():
        raise InputError(f"{path} gives a wavelength twice, or only one", WRITE_TABLE)
    values = np.where(values <= LARGEST_NO_DATA, np.nan, values)[:, order].astype(np.float32)  # deleted channels
    known = values[np.isfinite(values)]
    if not known.size:
        raise InputError(f"{path} holds no values")
    if known.max() > BRIGHTEST:
        raise InputError(
            f"{path} goes up to {known.max():.4g}, where a reflectance goes to 1",
            "divide its values by 100 if they are percentages, or by their scale factor",
        )
    return SpectralLibrary(tuple(names), tuple(ascending.tolist()), values)


# -- ENVI ------------------------------------------------------------------------------------------------------


def _read_envi(path: Path) -> tuple[list[str], ArrayFile, np.ndarray]:
    file = read_arrays(path)
    names = file.metadata.get("spectra_names")
    if names is None:
        raise InputError(f"{path} is no spectral library", "expected an ENVI spectral library, or a table (.csv)")
    name, stored = next(iter(file.arrays.items()))  # spectra, channels, 1
    if stored.ndim != 3 or stored.shape[2] != 1 or len(names) != len(stored):
        raise InputError(f"{path} names {len(names)} spectra but holds {len(stored)}", "correct its header")
    if stored.dtype.kind in "iu" and (doubt := doubts(stored.transpose(1, 0, 2), file, name)):
        raise InputError(doubt.message, "state it in the header (reflectance scale factor)")
    values, _ = unit_range(stored.transpose(1, 0, 2), file, name)
    good = file.encodings[name].good_bands if name in file.encodings else ()
    if len(good) == len(values):
        values = np.where(np.asarray(good)[:, None, None], values, np.nan)
    return list(names), file, values[:, :, 0].T


# -- tables ----------------------------------------------------------------------------------------------------


def _read_table(path: Path) -> tuple[list[str], ArrayFile, np.ndarray]:
    rows, decimal, _ = read_cells(path, WRITE_TABLE)
    header = rows[0]
    if set(OWN_COLUMNS) <= set(header):
        return _own_table(path, rows)
    numbers = [_number(cell, decimal) for cell in header]
    if header[0] and None not in numbers:  # no names
        header = ["", *([path.stem] if len(header) == 2 else [f"{path.stem} {k}" for k in range(1, len(header))])]
    elif len(header) > 2 and _is_turned(header, numbers, [_number(row[0], decimal) for row in rows[1:]]):
        rows = [list(column) for column in zip(*rows, strict=True)]  # a spectrum in each line
        header, rows = rows[0], rows[1:]
        if NO_WAVELENGTHS.search(header[0].lower()):
            header[0] = ""  # what numbers the spectra
    else:
        rows = rows[1:]
    table = np.array(
        [[_value(path, cell, decimal, place == 0) for place, cell in enumerate(row)] for row in rows], float
    ).reshape(-1, len(header))
    if table.shape[1] < 2 or not len(table):
        raise InputError(f"{path} holds no spectrum", WRITE_TABLE)
    file = ArrayFile(
        path, "CSV", {}, {"wavelengths": table[:, 0].tolist(), "wavelength_units": _unit(path, header[0])}
    )
    names = [name or f"{path.stem} {number}" for number, name in enumerate(header[1:], 1)]
    return names, file, table[:, 1:].T


def _own_table(path: Path, rows: list[list[str]]) -> tuple[list[str], ArrayFile, np.ndarray]:
    """Spectra that the explorer saved: those of a region and a cube stand below each other."""
    place = {name: rows[0].index(name) for name in OWN_COLUMNS}
    spectra: dict[str, dict[float, float]] = {}
    for row in rows[1:]:
        point, cube, stage, nm, mean = (row[place[name]] for name in OWN_COLUMNS)
        if not nm:
            raise InputError(f"{path} was saved from a scene without wavelengths", "save it again, with them")
        spectrum = spectra.setdefault(f"{point}, {cube}" + ("" if stage == "1" else f", stage {stage}"), {})
        spectrum[_value(path, nm, ".", True)] = _value(path, mean, ".", False)
    axes = {tuple(spectrum) for spectrum in spectra.values()}
    if len(axes) != 1:
        raise InputError(f"{path} holds spectra on different wavelengths", "save them in files of their own")
    metadata = {"wavelengths": list(axes.pop()), "wavelength_units": "nm"}
    return (
        list(spectra),
        ArrayFile(path, "CSV", {}, metadata),
        np.array([[*each.values()] for each in spectra.values()]),
    )


def _unit(path: Path, title: str) -> str:
    """The unit in the title of the wavelengths: in brackets, or its last word; "unknown" where there is none."""
    lower = title.lower()
    if NO_WAVELENGTHS.search(lower.replace("_", " ")):
        raise InputError(f"the first column of {path} is {title!r}, not wavelengths", WRITE_TABLE)
    if bracketed := re.search(r"[(\[]([^)\]]*)[)\]]", lower):
        return bracketed[1].strip()
    words = re.split(r"[\s_,/]+", lower.strip())
    return words[-1] if words[-1] in NANOMETRES_PER_UNIT else "unknown"


def _number(text: str, decimal: str) -> float | None:
    """A number, NaN where the cell is empty or says so; None where it is something else."""
    if text.lower() in ("", "nan", "na", "n/a", "-"):
        return float("nan")
    try:
        return None if "_" in text else float(text.replace(decimal, "."))
    except ValueError:
        return None


def _value(path: Path, text: str, decimal: str, needed: bool) -> float:
    number = _number(text, decimal)
    if number is None or (needed and not np.isfinite(number)):
        raise InputError(f"{path} holds {text[:40]!r} where a number is expected", WRITE_TABLE)
    return number


def _is_turned(header: list[str], above: list[float | None], first: list[float | None]) -> bool:
    """Whether the wavelengths stand in the first line of a table, over spectra with names or numbers.

    Args:
        above, first: the numbers in the first line and in the column below it; None of other cells.
    """
    if None in above[1:] or None in first:
        return None not in above[1:]
    numbers_spectra = OF_SPECTRA.fullmatch(header[0].lower().strip())
    return numbers_spectra is not None and _are_nanometres(above[1:]) and not _are_nanometres(first)


def _are_nanometres(numbers: list[float | None]) -> bool:
    values = np.array(numbers, float)
    steps = np.diff(values)
    return bool((values >= 100).all() and (values <= 20000).all() and ((steps > 0).all() or (steps < 0).all()))
