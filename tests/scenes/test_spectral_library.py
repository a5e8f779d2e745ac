"""Reference spectra from ENVI libraries and from tables, and what is refused."""

import numpy as np
import pytest
from spectral.io.envi import SpectralLibrary as SpyLibrary

from crsdun.errors import InputError
from crsdun.scenes import read_spectral_library

NM = (450.0, 500.0, 550.0, 600.0)
LEAF, SOIL = (0.05, 0.08, 0.15, 0.07), (0.1, 0.15, 0.2, 0.25)


def read(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_spectral_library(tmp_path / name)


def is_leaf_and_soil(library, names=("leaf", "soil")):
    assert library.names == tuple(names)
    assert library.wavelengths == pytest.approx(NM)
    np.testing.assert_allclose(library.values, [LEAF, SOIL], rtol=1e-6)


def lines(separator, decimal=".", scale=1.0):
    rows = [[nm * scale, *values] for nm, *values in zip(NM, LEAF, SOIL, strict=True)]
    return "\n".join(separator.join(f"{value:g}".replace(".", decimal) for value in row) for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        "wavelength,leaf,soil\n" + lines(","),
        "\ufeffWavelength (nm),leaf,soil\r\n" + lines(",").replace("\n", "\r\n"),
        "# from the field\nwavelength_nm,leaf,soil,\n" + lines(",").replace("\n", ",\n") + ",\n\n",
        "Wavelength [µm];leaf;soil\n" + lines(";", ",", 1e-3),
        "um\tleaf\tsoil\n" + lines("\t", scale=1e-3),
        "wavelength,leaf,soil\n" + lines(",", scale=1e-3),  # without a unit, but too short for nm
        "Wavelength (angstrom),leaf,soil\n" + lines(",", scale=10),
        "wvl leaf soil\n" + lines("  "),
        "wavelength,leaf,soil\n" + "\n".join(reversed(lines(",").splitlines())),
        "material,450,500,550,600\nleaf,0.05,0.08,0.15,0.07\nsoil,0.1,0.15,0.2,0.25\n",  # a spectrum in each line
    ],
)
def test_a_table_is_understood(tmp_path, text):
    is_leaf_and_soil(read(tmp_path, text))


@pytest.mark.parametrize("title", ["id", "", "index", "nm"])
def test_numbered_spectra_in_lines(tmp_path, title):
    text = f"{title},450,500,550,600\n1,0.05,0.08,0.15,0.07\n2,0.1,0.15,0.2,0.25\n"
    is_leaf_and_soil(read(tmp_path, text), ("1", "2"))


@pytest.mark.parametrize("title", ["nm", "lambda", "um"])
def test_wavelengths_that_fall_or_are_in_micrometres_stay_in_their_column(tmp_path, title):
    first = (700, 600, 500) if title == "nm" else (0.5, 0.6, 0.7)
    rows = "".join(f"{each},{place},{place},{place}\n" for place, each in enumerate(first))
    found = read(tmp_path, f"{title},101,102,103\n{rows}")
    assert found.names == ("101", "102", "103")
    assert sorted(found.wavelengths) == pytest.approx([500, 600, 700])


def test_columns_that_are_called_by_numbers(tmp_path):
    text = "wavelength,450,550\n" + lines(",", scale=1e-3)
    is_leaf_and_soil(read(tmp_path, text), ("450", "550"))


def test_a_table_without_names_has_that_of_its_file(tmp_path):
    assert read(tmp_path, "450,0.1\n500,0.2\n", "brick.csv").names == ("brick",)
    is_leaf_and_soil(read(tmp_path, lines(",")), ("table 1", "table 2"))


def test_missing_values_are_gaps(tmp_path):
    library = read(tmp_path, "nm,a\n450,0.1\n500,\n550,-1.23e34\n600,NaN\n650,0.2\n")
    assert np.isnan(library.values[0]).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"\x00\x01\x02", "is no text"),
        ("wavelength,a\n", "holds no spectrum"),
        ("450\n500\n", "holds no spectrum"),
        ("nm,a\n450,0.1\n500\n", "2 columns in line 1 and 1 in line 3"),
        ("nm,a\n450,x\n500,1\n", "holds 'x' where a number is expected"),
        ("nm,a\n,0.1\n500,1\n", "holds '' where a number is expected"),
        ("nm,a\n450,1_0\n500,1\n", "holds '1_0' where"),
        ("nm,a\n450,0.1\n450,0.2\n", "gives a wavelength twice"),
        ("nm,a\n450,0.1\n", "or only one"),
        ("nm,a\n450,\n500,nan\n", "holds no values"),
        ("nm,percent\n450,12\n500,45\n", "goes up to 45, where a reflectance goes to 1; divide its values by 100"),
        ("Wavenumber (cm-1),a\n1000,0.1\n2000,0.2\n", "not wavelengths"),
        ("band,a\n1,0.1\n2,0.2\n", "not wavelengths"),
        ("wavelength (cm-1),a\n1000,0.1\n2000,0.2\n", "unknown wavelength unit 'cm-1'"),
        ("wavelength,a\n30,0.1\n60,0.2\n", "without a unit"),
        ('a,b\n"1,2', "columns"),
    ],
)
def test_what_is_no_table_of_spectra_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(InputError, match=r"table\.csv|unit") as raised:
        read(tmp_path, text)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


# -- ENVI ------------------------------------------------------------------------------------------------------


def write_envi(folder, **more):
    header = {"wavelength": list(NM), "wavelength units": "Nanometers", "spectra names": ["leaf", "soil"], **more}
    SpyLibrary(np.array([LEAF, SOIL]), header).save(str(folder / "library"))
    return folder / "library.hdr"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_an_envi_library_is_read_by_either_of_its_files(tmp_path):
    header = write_envi(tmp_path)
    for path in (header, header.with_suffix(".sli")):
        is_leaf_and_soil(read_spectral_library(path))


def test_the_unit_of_an_envi_library_counts(tmp_path):
    header = write_envi(tmp_path, wavelength=[nm / 1000 for nm in NM])
    edit(header, "Nanometers", "Micrometers")
    is_leaf_and_soil(read_spectral_library(header))
    edit(header, "Micrometers", "Wavenumber")
    with pytest.raises(InputError, match="unknown wavelength unit"):
        read_spectral_library(header)


def test_what_an_envi_library_states_about_its_numbers_is_applied(tmp_path):
    header = write_envi(tmp_path)
    stored = np.array([[500, 800, 1500, -9999], [1000, 1500, 2000, 2500]], "<i2")
    stored.tofile(header.with_suffix(".sli"))
    header.write_text(
        "ENVI\nsamples = 4\nlines = 2\nbands = 1\nheader offset = 0\nfile type = ENVI Spectral Library\n"
        "data type = 2\ninterleave = bsq\nbyte order = 0\nreflectance scale factor = 10000\n"
        "data ignore value = -9999\n"
        "wavelength units = Nanometers\nwavelength = {450, 500, 550, 600}\nspectra names = {leaf, soil}\n"
        "bbl = {1, 0, 1, 1}\n"
    )
    library = read_spectral_library(header)
    expected = [[0.05, np.nan, 0.15, np.nan], [0.1, np.nan, 0.2, 0.25]]
    np.testing.assert_allclose(library.values, expected, rtol=1e-6)
    edit(header, "reflectance scale factor = 10000\n", "")
    with pytest.raises(InputError, match="without their scale; state it in the header"):
        read_spectral_library(header)


def test_a_broken_envi_library_is_refused(tmp_path):
    header = write_envi(tmp_path)
    for old, new, words in (
        ("leaf , soil", "leaf", "names 1 spectra but holds 2"),
        ("spectra names", "names of spectra", "no spectral library"),
        ("wavelength =", "wave =", "no wavelengths for its 4 channels"),
    ):
        text = header.read_text()
        with pytest.raises(InputError, match=words):
            read_spectral_library(edit(header, old, new))
        header.write_text(text)
    header.with_suffix(".sli").unlink()
    with pytest.raises(InputError, match="its data file is missing"):
        read_spectral_library(header)
