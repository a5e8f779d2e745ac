"""The wavelengths of bands: lists in nanometres, units, and common grids."""

import math
from collections.abc import Sequence

import numpy as np

from crsdun.errors import InputError, UnitError

# Bands of the TSA-Net prototype and of the CAVE/KAIST simulations of the field, in nm.
KAIST_WAVELENGTHS = (
    453.5, 457.5, 462.0, 466.0, 471.5, 476.5, 481.5, 487.0, 492.5, 498.0, 504.0, 510.0, 516.0, 522.5,
    529.5, 536.5, 544.0, 551.5, 558.5, 567.5, 575.5, 584.5, 594.5, 604.0, 614.5, 625.0, 636.5, 648.0,
)  # fmt: skip

MOST_BANDS = 10_000
# By how much the wavelengths of a band may differ that is taken for the same.
FURTHEST_NM = 5.0
# Wavelengths that are all below so many nm are in micrometres.
SHORTEST = 20.0

NANOMETRES_PER_UNIT = {
    "nm": 1.0, "nanometer": 1.0, "nanometers": 1.0, "nanometre": 1.0, "nanometres": 1.0,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "microns": 1e3,
    "micrometer": 1e3, "micrometers": 1e3, "micrometre": 1e3, "micrometres": 1e3,
    "mm": 1e6, "m": 1e9, "angstrom": 0.1, "angstroms": 0.1, "å": 0.1,
}  # fmt: skip


def to_nanometres(values: Sequence[float], unit: str) -> tuple[float, ...]:
    """Wavelengths in ``unit`` (nm, µm/um/micrometers, angstrom, mm or m; any case) as nanometres.

    Raises:
        UnitError: the unit is not one of these.
    """
    factor = NANOMETRES_PER_UNIT.get(unit.strip().lower())
    if factor is None:
        raise UnitError(
            f"unknown wavelength unit {unit!r}",
            "expected nm, um, angstrom, mm or m: correct the unit in the file, "
            "or give the wavelengths in nm with <wavelengths>",
        )
    return tuple(round(float(value) * factor, 6) for value in values)


def band_order(wavelengths: Sequence[float] | None) -> list[int] | None:
    """The indices that sort bands by ascending wavelength; None where they already ascend, or are unknown.

    A camera may disperse red first; a scene always begins with blue.

    Raises:
        InputError: bands that do not ascend include two of the same wavelength.
    """
    if wavelengths is None or list(wavelengths) == sorted(wavelengths):
        return None
    if len(set(wavelengths)) < len(wavelengths):
        raise InputError("two bands have the same wavelength", "drop one of them, or correct the list of wavelengths")
    return sorted(range(len(wavelengths)), key=lambda band: wavelengths[band])


def as_centres(wavelengths: Sequence[float], bands: int) -> tuple[float, ...]:
    """The centre of each of so many bands in nm, in any order.

    Raises:
        InputError: their number is another, one is not positive and finite, or all look like micrometres.
    """
    centres = as_wavelengths(wavelengths)
    if len(centres) != bands:
        raise InputError(f"there are {len(centres)} wavelengths for {bands} bands", "give one for each band")
    if not all(0 < value < math.inf for value in centres):
        raise InputError("the wavelengths of the bands must be positive numbers of nanometres")
    return centres


def check_same_bands(known: Sequence[float], wanted: Sequence[float], whose: str, remedy: str) -> None:
    """Raise an InputError unless bands are those that are wanted, in the same order, both in nm.

    Each may differ by half of the distance to the next band, and by ``FURTHEST_NM``.

    Args:
        whose: what has the bands that are known, and what the wanted ones, as the beginning of the message.
    """
    one, other = np.asarray(known, float), np.asarray(wanted, float)
    furthest = np.abs(one - other).max()
    if furthest > min([FURTHEST_NM, *(np.diff(np.sort(other)) / 2)]):
        raise InputError(f"{whose}: they differ by up to {furthest:.3g} nm", remedy)


def nbk7_refractive_index(wavelength: np.ndarray) -> np.ndarray:
    """Refractive index of Schott N-BK7 glass at wavelengths in nm (Sellmeier, Schott data sheet)."""
    square = (np.asarray(wavelength, dtype=np.float64) / 1000) ** 2
    strengths = (1.03961212, 0.231792344, 1.01046945)
    resonances = (0.00600069867, 0.0200179144, 103.560653)
    return np.sqrt(1 + sum(b * square / (square - c) for b, c in zip(strengths, resonances, strict=True)))


def nbk7_wavelengths(bands: int = 28, first: float = 400.0, last: float = 730.0) -> tuple[float, ...]:
    """Wavelengths (nm) that an N-BK7 prism spreads evenly over ``bands`` pixels from ``first`` to ``last``.

    Equal steps of the refractive index: the best-supported reading of "400–730 nm according to BK7
    dispersion" in the FVgNET data set.
    """
    grid = np.linspace(first, last, 20_000)  # fine enough to invert the index to a millionth of a nanometre
    index = nbk7_refractive_index(grid)
    steps = np.linspace(index[0], index[-1], bands)
    return tuple(float(value) for value in np.interp(-steps, -index, grid))


def parse_wavelengths(text: str) -> tuple[float, ...]:
    """Wavelengths (nm) from what a user types.

    ``450,460,470`` a list · ``400-700:31`` evenly spaced from–to:count · ``nbk7`` or ``nbk7:28`` the N-BK7
    prism grid from 400 to 730 nm · ``kaist`` the 28 bands of the TSA-Net prototype. A unit may follow
    numbers (``0.4-0.7:31um``).

    Raises:
        InputError: the text is none of these, a value is not positive, or it looks like micrometres without a unit.
    """
    name, _, count = text.strip().lower().partition(":")
    if name == "kaist":
        return KAIST_WAVELENGTHS
    try:
        if name == "nbk7":
            bands = int(count or 28)
            if not 0 < bands < MOST_BANDS:
                raise ValueError("too few or too many bands")
            return nbk7_wavelengths(bands)
        numbers = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZµμåÅ ")
        unit = text.strip()[len(numbers) :].strip()
        if ":" in numbers:
            span, _, points = numbers.partition(":")
            first, last = (float(part) for part in span.split("-"))
            values = [float(value) for value in np.linspace(first, last, min(int(points), MOST_BANDS))]
        else:
            values = [float(part) for part in numbers.replace(",", " ").split()]
    except ValueError:
        values = []
    if not values or not 0 < min(values) <= max(values) < float("inf") or len(values) >= MOST_BANDS:
        raise InputError(
            f"cannot read the wavelengths {text!r}",
            "expected a list in nm (450,460,470), a range with its number of bands (400-700:31), nbk7 or kaist",
        )
    if not unit and max(values) < SHORTEST:
        raise UnitError(f"the wavelengths {text!r} are too short for nm", f"if they are micrometres, write {text}um")
    return to_nanometres(values, unit or "nm")


def as_wavelengths(given: str | Sequence[float]) -> tuple[float, ...]:
    """Wavelengths (nm) from what Python or a user gives: a text as for ``parse_wavelengths``, or numbers in nm.

    Raises:
        InputError: as there.
    """
    if isinstance(given, str):
        return parse_wavelengths(given)
    values = tuple(float(value) for value in given)
    if values and 0 < max(values) < SHORTEST:
        raise UnitError(
            f"the wavelengths {min(values):g} to {max(values):g} are too short for nm",
            "if they are micrometres, multiply them by 1000",
        )
    return values
