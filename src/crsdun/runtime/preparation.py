"""From a file to what a method takes: the camera of the measurement, its scale, and the true scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crsdun.errors import InputError, renamed
from crsdun.methods import Method
from crsdun.methods.run import BRIGHTEST, check_scale, white_level
from crsdun.optics import (
    CameraFile,
    CassiCamera,
    Validity,
    are_points,
    below_and_above,
    check_height,
    dark_floor,
    describe_fits,
    hot_pixels,
    normalise_frame,
    saturation,
    subtract_dark,
)
from crsdun.optics.counts import MOST_LOST
from crsdun.optics.geometry import bands_that_span
from crsdun.optics.masks import for_bands
from crsdun.optics.wavelengths import as_wavelengths
from crsdun.runtime.scale_doubts import (
    DOUBTS,
    NORMALISED,
    References,
    check_is_raw,
    describe_hot,
    describe_saturation,
    doubts_of,
)
from crsdun.scenes import Exposures, Measurement, Scene, open_exposures, read_scene, read_stored_mask
from crsdun.scenes.array_roles import are_of_exposures
from crsdun.scenes.measurement import CALIBRATION_BESIDE, MASK_DIVISOR, unmasked
from crsdun.solvers import Refinement
from crsdun.solvers.self_calibration import on_detector

# In the provenance of a measurement: how its camera was found to deviate (``solvers.Refinement.record``).
REFINED = "refined_camera"
# And how many bad pixels of its camera were filled.
FILLED = "bad_pixels_filled"
# What a camera file says as well.
OF_A_CAMERA = ("mask", "mask_key", "bands", "wavelengths", "step", "offsets")
# Pixels per band where nothing tells them.
USUAL_STEP = 2
# More than any camera counts, and safely below where squares overflow.
LARGEST_VALUE = 1e15


@dataclass(frozen=True)
class PreparedMeasurement:
    """A measurement, with its camera and, if known, the true scene.

    Attributes:
        measurement: on the scale of y = A x, unless it holds ``counts``.
        counts: whether it holds counts of a camera that nothing brings to that scale. Methods that need none take
            them; their cubes are in counts per band.
        hot: the pixels that read more than light can give them, and do not count, bool (Hm,Wm); None where they were
            not looked for, or the scene is one of bright points.
    """

    measurement: Measurement
    camera: CassiCamera
    truth: Scene | None = None
    counts: bool = False
    hot: np.ndarray | None = None

    def check_scale(self, method: Method) -> None:
        """Raise an InputError if there are only counts, but the method or the true scene needs a scale."""
        if self.counts and (method.needs_scale or self.truth is not None):
            why = f"{method.name} needs the scale of its camera" if method.needs_scale else "a true scene has another"
            raise InputError(
                f"the measurement holds camera counts, and {why}",
                "normalise them: set <bits> to the camera's bit depth, or give <white> (a frame or a level), with "
                "<dark> and <exposure>" + (", or use lr-tv" if method.needs_scale else ", or leave out <truth>"),
            )
        if self.truth is not None and not method.needs_scale:  # which may be counts less a dark frame, or averages
            check_scale(torch.from_numpy(self.measurement.frame), self.camera)

    def is_like(self, other: PreparedMeasurement) -> bool:
        """Whether both have the same size, and cameras that are alike in everything."""
        one, two = self.camera, other.camera
        return (
            self.measurement.frame.shape == other.measurement.frame.shape
            and one.offsets == two.offsets
            and one.wavelengths == two.wavelengths
            and [part.name for part in one.parts] == [part.name for part in two.parts]
            and all(map(torch.equal, one.tensors, two.tensors))
        )

    def floor(self) -> float | None:
        """The level of the frame where no light arrives, if it matters (``optics.counts.dark_floor``)."""
        light, counting = self.camera.open_light.cpu().numpy(), self.camera.counted_pixels.cpu().numpy()
        return dark_floor(self.measurement.frame[counting], light[counting])

    def remarks(self) -> list[str]:
        """What was decided or is odd about the measurement, for whoever decodes it; settings in angle brackets.

        What the mask was divided by, doubts about the numbers, the order of the bands of a truth, and a dark that was
        not subtracted, which would become a veil and coloured borders.
        """
        provenance, truth, wavelengths = self.measurement.provenance, self.truth, self.camera.wavelengths
        lines = []
        divisor = provenance.get(MASK_DIVISOR)
        if divisor is not None:
            lines.append(f"the mask is read as transmission: its numbers divided by {divisor:g}")
        lines += provenance.get(DOUBTS, ())
        if truth is not None and truth.wavelengths is None and wavelengths and wavelengths[0] > wavelengths[-1]:
            lines.append(
                "the truth states no wavelengths and is taken to begin with the shortest one, while the bands of the "
                "camera begin with the longest: if both have the same order, turn the bands of the truth around"
            )
        beside = provenance.get(CALIBRATION_BESIDE, {})
        if "dark" in provenance.get(NORMALISED, {}):
            return lines
        if "dark" in beside:
            lines.append(
                f"the file also holds a dark frame, {beside['dark']}, which is not subtracted: to subtract it, set "
                "<dark> to this file too"
            )
        elif (floor := self.floor()) is not None:
            share = floor / float(self.measurement.frame.mean())
            level = f"{floor:.3g}" if NORMALISED not in provenance else "its dark level"
            lines.append(
                f"unlit pixels read about {floor:.3g}, {share:.0%} of the mean: set <dark> to {level}, or to a frame "
                "with the shutter closed, to subtract it"
            )
        return lines

    def refined(self, found: Refinement) -> PreparedMeasurement:
        """The same behind the camera that was found, with what was found in its provenance."""
        frame = found.frames(torch.from_numpy(self.measurement.frame)).numpy()
        provenance = {**self.measurement.provenance, REFINED: found.record}
        valid = self.measurement.valid
        if valid is not None:  # new pixels received no light at all
            valid = on_detector(torch.from_numpy(valid), found.told, found.camera).numpy()
        measurement = replace(self.measurement, frame=frame, provenance=provenance, valid=valid)
        return replace(self, measurement=measurement, camera=found.camera_for(self.camera), hot=None)

    def truth_for(self, camera: CassiCamera) -> Scene | None:
        """The true scene, if known, on the bands of a camera; errors as in ``match_bands``."""
        return None if self.truth is None else match_bands(camera, self.truth)


@dataclass(frozen=True)
class Preparation:
    """What is known about measurements besides what their files say; None leaves it to the files.

    Attributes:
        key: name of the exposure in its file.
        frame: number of the exposure, from 1, in files that hold several.
        camera_file: what a calibration measured, in place of mask, bands, wavelengths, step and offsets. Its dark and
            white are applied to integer counts, where no others are given; its bad pixels do not count, and show what
            is around them.
        mask: (H,W) or (C,H,W).
        mask_key: name of the mask in the file of the exposure, where there is no ``mask``.
        mask_divisor: what the numbers in the file of the mask were divided by; for the record alone.
        mask_wavelengths: of the bands of a (C,H,W) mask in nm, in its order, which need not be that of the camera.
        bands: C.
        wavelengths: centre of each band in nm, length C, or a text as for ``parse_wavelengths``.
        step: dispersion in pixels per band.
        offsets: displacement of each band in pixels instead of ``step``, as of ``CassiCamera``.
        bad: detector pixels that say nothing, (Hm,Wm), true where a pixel is dead or hot; they do not count, whatever
            they read in any frame, and show what is around them.
        saturated: value in the file from which on a pixel says nothing, because the detector was full; None finds
            out of counts where many pixels have the largest one that there is (``optics.saturation``).
        hot: whether hot pixels are looked for (``optics.hot_pixels``), and do not count.
        dark: counts with the shutter closed, a frame (H,Wm) or a level.
        white: counts of a white reference without the mask, a frame (H,Wm) or a level.
        bits: bit depth of the camera, if there is no white reference.
        exposure: exposure time relative to that of the white reference.
        truth_key: name of the true cube in its file.
        axes: of the true cube in its file, see ``read_scene``; or of a stack of exposures, see ``open_exposures``.
        divisor: of the true cube in its file.
        unlabelled: of its class map.
    """

    key: str | None = None
    frame: int | None = None
    camera_file: CameraFile | None = None
    mask: np.ndarray | None = None
    mask_key: str | None = None
    mask_divisor: float = 1.0
    mask_wavelengths: tuple[float, ...] | None = None
    bands: int | None = None
    wavelengths: tuple[float, ...] | None = None
    step: float | None = None
    offsets: tuple[float, ...] | tuple[tuple[float, float], ...] | None = None
    bad: np.ndarray | None = None
    saturated: float | None = None
    hot: bool = True
    dark: np.ndarray | float | None = None
    white: np.ndarray | float | None = None
    bits: int | None = None
    exposure: float | None = None
    truth_key: str | None = None
    axes: str | None = None
    divisor: float | None = None
    unlabelled: int | None = None

    def without_camera(self) -> Preparation:
        """The same without a mask and without a camera file, one of which is to be told."""
        return replace(self, camera_file=None, mask=None, mask_divisor=1.0, mask_wavelengths=None)

    def __post_init__(self) -> None:
        told = [name for name in OF_A_CAMERA if getattr(self, name) is not None]
        if self.camera_file is not None and told:
            what = told[0].replace("_", " ")
            raise InputError(f"a camera file already says the {what}", f"omit <{told[0]}>, or <camera>")
        for name in ("mask", "bad", "dark", "white"):  # Python may give lists and tensors
            given = getattr(self, name)
            if given is not None and not isinstance(given, Real):
                object.__setattr__(self, name, unmasked(given, f"the {name}"))
        for name in ("frame", "bands", "step", "saturated", "bits", "exposure", "divisor", "unlabelled"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Real):
                raise InputError(f"{name} is a number, not {given!r}", f"set <{name}> to one")
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", as_wavelengths(self.wavelengths))

    def read(self, file: str | Path, truth: str | Path | None = None) -> PreparedMeasurement:
        """A measurement and its true scene, from files.

        Raises:
            InputError: the contents of the files do not fit together; the message says what would.
        """
        measurement = self.open(file).one(self.frame)
        return self.prepare(measurement, None if truth is None else self.read_truth(truth))

    def open(self, file: str | Path) -> Exposures:
        """The exposures in a file, whose frames are read when they are asked for.

        Raises:
            InputError: as ``open_exposures``; several do not fit the camera; or they look like a cube: as many as
                bands, or no measurements of this camera, and nothing says what they are.
        """
        mask = self.mask if self.camera_file is None else self.camera_file.mask
        of_stack, beside = are_of_exposures(self.axes), None
        if mask is None and self.mask_key is not None:
            beside = read_stored_mask(file, self.mask_key, None if of_stack else self.axes)
            mask = beside.mask
        size = None if mask is None else mask.shape[-2:]
        exposures = open_exposures(file, self.key, self.wavelengths, size, self.axes if of_stack else None)
        if beside is not None:
            known = for_bands(beside.mask, beside.mask_wavelengths, exposures.wavelengths)
            exposures = replace(exposures, mask=known, mask_divisor=beside.mask_divisor)
        if len(exposures) > 1:  # what is wrong with all is said once
            frame = np.zeros(exposures.frames.shape[1:], np.uint8)
            outline = Measurement(frame, exposures.wavelengths, exposures.mask, exposures.step)
            try:
                bands = self.camera_for(outline).bands
            except InputError as error:
                raise (exposures.as_cube() if exposures.doubtful else error) from error
            if exposures.doubtful and bands == len(exposures):
                raise exposures.as_cube()
        return replace(exposures, doubtful=False)

    def read_truth(self, file: str | Path) -> Scene:
        """The true scene; errors as in ``read_scene``."""
        axes = None if are_of_exposures(self.axes) else self.axes
        with renamed("key", "truth_key"):
            return read_scene(file, self.truth_key, axes=axes, divisor=self.divisor, unlabelled=self.unlabelled)

    def of_rows(self, rows: slice | np.ndarray) -> Preparation:
        """What is known of these rows of the detector alone, a slice or their numbers."""

        def cut(frame: Any) -> Any:
            return frame[..., rows, :] if np.ndim(frame) > 1 else frame

        changes = {name: cut(getattr(self, name)) for name in ("mask", "bad", "dark", "white")}
        stored = self.camera_file
        if stored is not None:
            stored = replace(
                stored, **{name: cut(getattr(stored, name)) for name in ("mask", "dark", "white", "valid")}
            )
        return replace(self, camera_file=stored, **changes)

    def prepare(
        self, measurement: Measurement, truth: Scene | None = None, whole: bool = True, mean: float | None = None
    ) -> PreparedMeasurement:
        """The same for what has already been read; errors as in ``camera_for`` and ``to_measurement_scale``.

        ``whole``: whether these are all rows of a frame; some of them may be dark, and their mask closed. ``mean``:
        otherwise that of the frame, on the scale of y = A x or in counts.
        """
        if self.mask is not None or self.camera_file is not None:  # which takes the place of one beside the exposure
            changes = {name: each for name, each in measurement.provenance.items() if name != MASK_DIVISOR}
            changes |= {} if self.mask_divisor == 1 else {MASK_DIVISOR: self.mask_divisor}
            measurement = replace(measurement, provenance=changes)
        camera = self.camera_for(measurement, whole)
        scaled = self.to_measurement_scale(measurement, camera.bands, whole)
        full = (
            saturation(self.without_bad(measurement.frame), self.bits)
            if whole and self.may_be_full(measurement)
            else None
        )
        valid = self.valid_pixels(measurement.frame, None if full is None else full[0])
        hot = hot_pixels(scaled.frame, camera, mean) if self.hot else None
        if hot is not None and whole:
            held, light = float(scaled.frame[hot].sum()), float(scaled.frame.sum())
            hot = None if are_points(int(hot.sum()), held, light) else hot
        if hot is not None and hot.any():
            valid = ~hot if valid is None else valid & ~hot
        if valid is not None:
            camera = camera.through(Validity(valid))
        prepared = PreparedMeasurement(scaled, camera, truth, scaled.holds_counts, hot)
        return self.doubting(prepared, measurement, full) if whole else prepared

    def doubting(
        self, prepared: PreparedMeasurement, raw: Measurement, full: tuple[float, float] | None = None
    ) -> PreparedMeasurement:
        """With what is odd about its numbers, as they were read (``raw``), in the provenance.

        ``full``: the counts of full pixels and their part of all.
        """
        scaled = prepared.measurement
        doubts = [*doubts_of(raw, scaled, prepared.camera, self._scale(raw)), *self._left_out(prepared)]
        doubts += [] if full is None else [describe_saturation(*full)]
        doubts += [] if prepared.hot is None else describe_hot(int(prepared.hot.sum()))
        known = {name: each for name, each in scaled.provenance.items() if name != DOUBTS}  # an earlier reading's
        scaled = replace(scaled, provenance=known | ({DOUBTS: doubts} if doubts else {}))
        return replace(prepared, measurement=scaled)

    def camera_for(self, measurement: Measurement, whole: bool = True) -> CassiCamera:
        """The camera that took a measurement.

        The step is 2 pixels per band unless something says otherwise; the number of bands then follows from the two
        widths.

        Raises:
            InputError: there is no mask, or one of other bands, or the widths do not fit such a camera (the message
                says which would).
        """
        if self.camera_file is not None:
            camera = CassiCamera.load(replace(self.camera_file, valid=None))  # which is for ``valid_pixels``
            camera.check(measurement.frame)
            return camera
        mask = measurement.mask if self.mask is None else self.mask
        if mask is None:
            raise no_mask()
        if whole:
            check_open(bool((mask > 0).any()))
        if self.offsets is None:  # which may run down
            check_height(mask.shape[-2:], measurement.frame.shape)
        wavelengths = measurement.wavelengths if self.wavelengths is None else self.wavelengths
        if wavelengths is not None and len(set(wavelengths)) < len(wavelengths):
            raise InputError("two bands have the same wavelength", "correct <wavelengths>")
        if self.offsets is not None and self.step is not None:
            raise InputError("the dispersion is either one step or a list of offsets, not both", "omit <step>")
        step = self.step_of(measurement.step)
        bands = self.bands
        if bands is None and wavelengths is None and self.offsets is None and mask.ndim == 2:
            bands = bands_from_widths(measurement.frame.shape[1], mask.shape[1], step)
        if self.mask is not None and mask.ndim == 3:
            wavelengths = wavelengths or self.mask_wavelengths
            mask = for_bands(mask, self.mask_wavelengths, wavelengths)
        camera = CassiCamera(mask, bands=bands, wavelengths=wavelengths, step=step, offsets=self.offsets)
        camera.check(measurement.frame)
        return camera

    def detector_shape(self) -> tuple[int, int]:
        """(Hm, Wm) of every frame of this camera.

        Raises:
            InputError: the mask or the number of bands is not told.
        """
        if self.camera_file is not None:
            return CassiCamera.load(replace(self.camera_file, valid=None)).measurement_shape
        if self.mask is None:
            raise InputError("the size of a frame follows from its coded aperture", "set <mask>")
        return CassiCamera(
            self.mask, self.bands, self.wavelengths, self.step_of(None), self.offsets
        ).measurement_shape

    def step_of(self, told: float | None) -> float:
        """Pixels per band, where a file has ``told`` them or not."""
        return next(known for known in (self.step, told, USUAL_STEP) if known is not None)

    def valid_pixels(self, frame: np.ndarray, full: float | None = None) -> np.ndarray | None:
        """The pixels of a frame, as it was read, that say something, bool; None where nothing excludes any.

        ``full``: value of full pixels, where ``saturated`` does not tell it.
        """
        saturated = full if self.saturated is None else self.saturated
        valid = self.working
        if saturated is None:
            return valid
        valid = np.ones(frame.shape, bool) if valid is None else valid
        return valid if saturated is None or valid.shape != frame.shape else valid & (frame < saturated)

    @property
    def working(self) -> np.ndarray | None:
        """The detector pixels that are neither ``bad`` nor so in the camera file, bool (Hm,Wm); None if all are."""
        known = None if self.camera_file is None else self.camera_file.valid
        if self.bad is None:
            return known
        good = ~np.asarray(self.bad, bool)
        return good & known if known is not None and good.shape == known.shape else good

    @property
    def bad_pixels(self) -> int:
        """How many do not work."""
        working = self.working
        return 0 if working is None else int((~working).sum())

    def to_measurement_scale(self, measurement: Measurement, bands: int, whole: bool = True) -> Measurement:
        """The measurement on the scale of y = A x, calibrated if there is anything to calibrate with.

        Counts without a scale stay counts; a ``dark`` alone is subtracted.

        Raises:
            InputError: the frame contains more negative values than noise explains, which alone count as 0, or values
                that no camera counts, or no light.
        """
        references = {name: self.without_bad(each) for name, each in self._references(measurement).items()}
        if self.bad_pixels:
            measurement = replace(
                measurement,
                frame=self.without_bad(measurement.frame),
                provenance={**measurement.provenance, FILLED: self.bad_pixels},
            )
        check_is_raw(measurement, {"white": references["white"], "bits": self.bits, "exposure": self.exposure})
        for name, reference in references.items():
            if whole and np.array_equal(reference, measurement.frame):  # unlit rows may well be equal
                raise InputError(
                    f"the {name} frame is the measurement itself",
                    f"give the file of the {name} frame, or call its array {name!r}",
                )
        calibration = {**references, "bit_depth": self.bits, "exposure": self.exposure}
        calibration = {name: value for name, value in calibration.items() if value is not None}
        if calibration:
            frame = (
                subtract_dark(measurement.frame, calibration["dark"])
                if calibration.keys() == {"dark"}
                else normalise_frame(measurement.frame, bands, **calibration)
            )
            settings = {
                name: value if isinstance(value, int | float) else "frame" for name, value in calibration.items()
            }
            measurement = replace(
                measurement,
                frame=frame,
                provenance={**measurement.provenance, NORMALISED: settings},
                counts=measurement.holds_counts and settings.keys() == {"dark"},
            )
        if whole:
            check_below(float(measurement.frame.min()), *below_and_above(measurement.frame))
            check_light(float(measurement.frame.max()), calibrated=bool(calibration))
        check_most(float(measurement.frame.max()))
        frame = np.maximum(measurement.frame, 0).astype(np.float32, copy=False)
        return replace(measurement, frame=frame, counts=measurement.holds_counts)

    def is_as_read(self, measurement: Measurement) -> bool:
        """Whether nothing is subtracted from a frame, and it is divided by nothing."""
        told = (*self._references(measurement).values(), self.bits, self.exposure)
        return all(each is None for each in told)

    def _references(self, measurement: Measurement) -> dict[str, Any]:
        """The dark and white of a frame: those given, else for counts as the camera told them those of its file."""
        raw = NORMALISED not in measurement.provenance and (measurement.holds_counts or self.bits is not None)
        stored = self.camera_file if raw else None
        dark = stored.dark if self.dark is None and stored is not None else self.dark
        white = stored.white if self.white is None and stored is not None else self.white
        return {"dark": dark, "white": white}

    def _left_out(self, prepared: PreparedMeasurement) -> Iterator[str]:
        """Whether a frame has probably needed the dark and white of the camera file, and did not get them."""
        stored = self.camera_file
        unused = stored is not None and not (stored.dark is None and stored.white is None)
        if not unused or prepared.counts or self.bits is not None:
            return
        camera = prepared.camera
        high, most = float(camera.counted(torch.from_numpy(prepared.measurement.frame)).max()), white_level(camera)
        if high > BRIGHTEST * most:
            yield (
                f"the frame goes up to {high:.4g}, where a white scene gives {most:.3g}, but holds fractions: the "
                "dark and white of the camera file belong to counts and were not applied; if these are averages of "
                "counts, set <bits>"
            )

    def _scale(self, measurement: Measurement) -> References:
        return References(**self._references(measurement), bits=self.bits)

    def may_be_full(self, measurement: Measurement) -> bool:
        """Whether the largest count of a frame may tell which pixels were full."""
        return self.saturated is None and (self.bits is not None or measurement.holds_counts)

    def without_bad(self, frame: Any) -> Any:
        """A frame of the detector without its bad pixels; a level, or None, as it is."""
        valid = self.working
        return frame if valid is None or np.shape(frame) != valid.shape else filled(frame, valid)


def no_mask() -> InputError:
    """The error where there is none."""
    return InputError("a measurement can only be decoded with its coded aperture", "set <mask>")


def filled(frame: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A frame (H,Wm) with the mean of the nearest valid pixels in place of others, in the type of the frame."""
    from scipy.ndimage import uniform_filter

    values, known, missing = frame.astype(np.float64), valid.copy(), ~valid
    values[missing] = 0
    while missing.any() and known.any():
        weight = uniform_filter(known.astype(np.float64), 3, mode="constant")
        mean = uniform_filter(np.where(known, values, 0), 3, mode="constant")
        reached = missing & (weight > 1e-6)
        values[reached] = mean[reached] / weight[reached]
        known, missing = known | reached, missing & ~reached
    if frame.dtype.kind in "iu":
        values = np.rint(values)
    return np.where(valid, frame, values.astype(frame.dtype))


def bands_from_widths(measurement_width: int, mask_width: int, step: float) -> int:
    """The number of bands that follows from the two widths and the step.

    Raises:
        InputError: none does, or several.
    """
    span = measurement_width - mask_width
    if step == 0:
        raise InputError("without dispersion the widths do not tell the number of bands", "set <bands>")
    if span == 0:
        raise InputError(
            "the measurement is as wide as the mask, so nothing was dispersed",
            "if it holds a single band, set <bands> to 1; otherwise set <mask> to the mask of this measurement",
        )
    fitting = bands_that_span(span, step)
    if not fitting:
        raise InputError(
            f"a measurement {measurement_width} wide behind a mask {mask_width} wide fits no number of bands at step "
            f"{step:g}",
            describe_fits(mask_width, measurement_width),
        )
    if len(fitting) > 1:
        counts = f"{fitting[0]}{' or ' if len(fitting) == 2 else ' to '}{fitting[-1]}"
        raise InputError(
            f"a measurement {measurement_width} wide behind a mask {mask_width} wide has {counts} bands at step "
            f"{step:g}: the widths do not tell",
            "set <bands>",
        )
    return fitting[0]


def check_open(is_open: bool) -> None:
    """Raise an InputError unless some of a mask ``is_open``."""
    if not is_open:
        raise InputError(
            "the mask is closed everywhere: no light came through",
            "check that the right array was read (<mask_key>)",
        )


def check_below(low: float, below: float, above: float) -> None:
    """Raise an InputError if a frame has more ``below`` 0, down to ``low``, than noise around a right dark explains.

    ``below`` and ``above`` as of ``optics.below_and_above``.
    """
    if below > MOST_LOST * above:
        raise InputError(
            f"the measurement holds negative values (down to {low:.3g}), and more than noise explains",
            "take the raw counts, with the right dark frame as <dark>, or set <dark> to 0 to count these values as 0",
        )


def check_most(high: float) -> None:
    """Raise an InputError if no camera counts so high."""
    if high > LARGEST_VALUE:
        raise InputError(f"the measurement goes up to {high:.3g}, which no camera counts", "is the file damaged?")


def check_light(high: float, calibrated: bool) -> None:
    """Raise an InputError if there is no light in a frame with values up to ``high``."""
    if high <= 0:
        raise InputError(
            "the measurement is black everywhere: there is nothing to reconstruct",
            "check <dark> and <white>" if calibrated else "",
        )


def match_bands(camera: CassiCamera, truth: Scene) -> Scene:
    """The true scene as this camera samples it.

    Raises:
        InputError: it has another size, other bands and does not know its wavelengths, or too little data on these.
    """
    ascending = camera.wavelengths and tuple(sorted(camera.wavelengths))
    if truth.bands == camera.bands and None in (
        ascending,
        truth.wavelengths,
    ):  # one side knows them: they are the same
        truth = replace(truth, wavelengths=ascending)
    if ascending and truth.wavelengths and ascending != truth.wavelengths:
        truth = truth.resampled(ascending)
        truth.check_data()
    expected = (camera.bands, camera.height, camera.width)
    if truth.cube.shape != expected:
        raise InputError(
            f"the truth has shape {truth.cube.shape} (bands, height, width) but the camera sees {expected}",
            "crop it, or give the wavelengths of both so that it can be resampled",
        )
    return truth
