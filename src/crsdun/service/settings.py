"""What a request may say: the settings of its measurement, and of its answer.

One dataclass holds all of it: what may be said, what it means, and its range. Requests are parsed by it, and the
description in OpenAPI is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, parse_wavelengths
from crsdun.optics.wavelengths import MOST_BANDS
from crsdun.runtime import Preparation
from crsdun.web.values import MOST_STEP, Values, brief

RAW_TYPES = {"uint8": "<u1", "uint16": "<u2", "float32": "<f4"}
# What may be asked for → as which kinds of file, the first by default.
PRODUCTS = {
    "cube": ("npz", "safetensors"),
    "classes": ("npz", "safetensors", "png"),
    "picture": ("png",),
    "figures": ("json",),
    "everything": ("zip",),
}
KINDS = {
    "npz": "application/x-npz",
    "safetensors": "application/x-safetensors",
    "png": "image/png",
    "json": "application/json",
    "zip": "application/zip",
}
# What is sent where only the kind of file is known.
OF_KIND = {"npz": "cube", "safetensors": "cube", "png": "picture", "json": "figures", "zip": "everything"}
MOST_TEXT = 4096  # letters


class NotAcceptable(InputError):
    """Nothing that could be sent is what the request accepts."""


def said(description: str, **schema: Any) -> Any:
    """A setting that a request may leave out; ``schema`` is its JSON schema."""
    return field(default=None, metadata={"description": description, "schema": {"type": "string", **schema}})


@dataclass(frozen=True)
class Settings:
    """What one request says; None where it leaves it out."""

    camera: str | None = said("id of a camera that the service was started with")
    key: str | None = said("name of the exposure in its file, if the file holds several arrays")
    frame: int | None = said(
        "number of the exposure, from 1, in a file that holds several", type="integer", minimum=1
    )
    dtype: str | None = said(
        "the body is no file but the bare pixels of a frame of that camera, row by row, little-endian",
        enum=list(RAW_TYPES),
    )
    bits: int | None = said(
        "bit depth of raw counts, if there is no white reference", type="integer", minimum=1, maximum=32
    )
    exposure: float | None = said("exposure time relative to that of the white reference", type="number")
    dark: float | None = said("dark level in counts", type="number")
    white: float | None = said("level of a white reference without the mask, in counts", type="number")
    wavelengths: str | None = said(
        "wavelengths of the bands in nm, where neither camera nor file say them: 450,460,… or 400-700:31"
    )
    bands: int | None = said("number of bands", type="integer", minimum=1, maximum=MOST_BANDS)
    step: float | None = said("dispersion in pixels per band", type="number", minimum=-MOST_STEP, maximum=MOST_STEP)
    product: str | None = said("what to send back", enum=list(PRODUCTS))
    format: str | None = said("as which kind of file, in place of the header Accept", enum=list(KINDS))

    @classmethod
    def parse(cls, given: Iterable[tuple[str, str]]) -> Settings:
        """The settings among names and values.

        Raises:
            InputError: one is unknown, given twice, of another type or out of its range.
        """
        known, seen = {each.name: each for each in fields(cls)}, {}
        for name, value in given:
            if name not in known:
                raise InputError(f"there is no setting {brief(name)}", f"there are {', '.join(known)}")
            if name in seen:
                raise InputError(f"{name} is given twice", "give it once")
            if len(value) > MOST_TEXT:
                raise InputError(f"{name} is longer than {MOST_TEXT} letters")
            seen[name] = value
        values = Values(seen)
        return cls(**{name: _parsed(each, values) for name, each in known.items() if name in values})

    def prepared(self, preparation: Preparation) -> Preparation:
        """A preparation with what this request says besides; with a mask, or a camera file, it is of a known camera.

        Raises:
            InputError: the wavelengths cannot be read, or the camera is known and says something else.
        """
        names = ("key", "frame", "bits", "exposure", "dark", "white", "bands", "step")
        changes: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.wavelengths is not None:
            changes["wavelengths"] = parse_wavelengths(self.wavelengths)
        stored = preparation.camera_file
        for name in {"wavelengths", "bands", "step"} & changes.keys():
            told = getattr(preparation if stored is None else CassiCamera.load(replace(stored, valid=None)), name)
            is_known = stored is not None or preparation.mask is not None
            if is_known and told not in (None, changes[name]):
                raise InputError(
                    f"the service already knows the {name} of this camera, and the request says otherwise",
                    f"omit <{name}>",
                )
            if stored is not None and told is not None:
                del changes[name]  # which says the same
        return replace(preparation, **changes)

    @property
    def said(self) -> set[str]:
        """The names of those that the request says."""
        return {each.name for each in fields(self) if getattr(self, each.name) is not None}

    def answer(self, accept: str) -> tuple[str, str]:
        """The product and the kind of file that are sent back; ``accept`` is the header of that name.

        Raises:
            InputError: there is no such product as such a file.
            NotAcceptable: none is accepted.
        """
        if self.format is not None:
            product = self.product or OF_KIND[self.format]
            if self.format not in PRODUCTS[product]:
                raise InputError(
                    f"{product} is not sent as {self.format}",
                    f"{product} is sent as {' or '.join(PRODUCTS[product])}",
                )
            return product, self.format
        choices = list(OF_KIND) if self.product is None else list(PRODUCTS[self.product])
        kind = accepted(accept, {name: KINDS[name] for name in choices})
        if kind is None:
            listed = ", ".join(KINDS[name] for name in choices)
            raise NotAcceptable(f"nothing of what could be sent is accepted ({brief(accept)})", f"accept {listed}")
        return self.product or OF_KIND[kind], kind


def accepted(accept: str, choices: Mapping[str, str]) -> str | None:
    """The name of the media type that a header ``Accept`` likes best, the first of several; None where it likes none.

    Args:
        choices: media types by name, the preferred one first.
    """
    wanted: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            wanted[kind] = float(weight)
        except ValueError:
            wanted[kind] = 0.0
    if not accept.strip():
        wanted = {"*/*": 1.0}

    def liking(media: str) -> float:
        family = f"{media.partition('/')[0]}/*"
        return next((wanted[each] for each in (media, family, "*/*") if each in wanted), 0.0)

    best = max(choices, key=lambda name: liking(choices[name]))
    return best if liking(choices[best]) > 0 else None


def schema_of(setting: Field[Any]) -> dict[str, Any]:
    """The JSON schema of a setting."""
    return dict(setting.metadata["schema"])


def _parsed(setting: Field[Any], values: Values) -> Any:
    schema, name = schema_of(setting), setting.name
    if schema["type"] == "string":
        text = values.text(name)
        if text not in schema.get("enum", [text]):
            raise InputError(f"{name} is one of {', '.join(schema['enum'])}, not {brief(text)}")
        return text
    low, high = schema.get("minimum", -float("inf")), schema.get("maximum", float("inf"))
    read = values.whole if schema["type"] == "integer" else values.number
    return read(name, None, low, high)
