"""Produce-23: the same bytes everywhere, colours that cannot tell real from fake, spectra that can."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import nbk7_wavelengths
from crsdun.scenes import open_set
from crsdun.scenes.produce import (
    CLASS_NAMES,
    ProduceSet,
    StoredProduce,
    dataset,
    exact_arithmetic,
    make_produce,
    rendering,
    shapes,
)
from crsdun.scenes.produce.spectra import ILLUMINANTS, KINDS, measured, pairs
from tests.scenes.examination import SetExamination

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import colour

FEW = {"train": 1, "validation": 1, "test": 2}


@pytest.fixture(scope="class")
def folder(tmp_path_factory):
    """A folder as ``make_produce`` writes it, of few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SCENES", FEW)
        frozen = {split: hashes[: FEW[split]] for split, hashes in dataset.frozen_hashes().items()}
        patch.setattr(dataset, "frozen_hashes", lambda: frozen)
        calls = []
        out = tmp_path_factory.mktemp("produce") / "new"
        written = make_produce(out, progress=lambda done, total: calls.append((done, total)))
        assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert sorted(path.name for path in out.iterdir()) == sorted(written.files)
        assert json.loads(json.dumps(written.to_json()))["out"] == str(out)
        with pytest.raises(InputError, match="exists already; choose another out, or allow it with overwrite"):
            make_produce(out)
        yield out


class TestRendered(SetExamination):
    @pytest.fixture
    def scenes(self):
        return open_set("produce", "validation")


class TestStored(SetExamination):
    @pytest.fixture
    def scenes(self, folder):
        return open_set(folder, "test")

    def test_it_equals_what_is_rendered(self, scenes):
        stored, fresh = scenes[1], ProduceSet("test")[1]
        np.testing.assert_array_equal(stored.cube, fresh.cube)
        np.testing.assert_array_equal(stored.classes, fresh.classes)
        assert stored.provenance == fresh.provenance

    def test_files_of_another_version_are_refused(self, folder, tmp_path):
        path = tmp_path / dataset.file_name("test")
        path.write_bytes((folder / path.name).read_bytes())
        with h5py.File(path, "r+") as file:
            file.attrs["version"] = "0"
        with pytest.raises(InputError, match=r"holds Produce-23 0 .* not Produce-23 1"):
            StoredProduce(tmp_path, "test")
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(InputError, match="cannot be read"):
            StoredProduce(tmp_path, "test")

    def test_a_missing_file_is_refused_with_the_command_that_writes_it(self, tmp_path):
        with pytest.raises(InputError, match="crsdun data make produce"):
            StoredProduce(tmp_path, "train")


# -- the same bytes everywhere -------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "index"), [("train", 0), ("train", 255), ("validation", 7), ("test", 49)])
def test_frozen_hashes(split, index):
    scene = rendering.render(split, index)
    assert dataset.scene_hash(scene) == dataset.frozen_hashes()[split][index]


def test_hashes_of_the_splits_are_those_of_the_documentation():
    assert {split: dataset.split_hash(split) for split in dataset.SCENES} == {
        "train": "1cbe116f2a54cbdfa882d995609f617d295efa9a57c8207d4293b240d147c330",
        "validation": "ef1571556db1eb8f856cda16f1ef60eb88c679ba1ec4d75b40af5d7848aa7ad5",
        "test": "8d58a45fd52bb493c62fb99e88d2bcad89b401cce51c517b6186496c412776fc",
    }
    assert {split: len(hashes) for split, hashes in dataset.frozen_hashes().items()} == dataset.SCENES
    every = [each for hashes in dataset.frozen_hashes().values() for each in hashes]
    assert len(set(every)) == 331


def test_other_instructions_of_the_processor_give_the_same_bytes():
    """Without its vector instructions NumPy's sine differs in the last bit; the scenes must not."""
    features = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    code = "from crsdun.scenes.produce import dataset; print(dataset.scene_hash(dataset.render('train', 3)))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": features}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert printed.strip() == dataset.frozen_hashes()["train"][3]


def test_a_machine_that_renders_other_bytes_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(
        dataset, "frozen_hashes", lambda: {split: ["0" * 64] * n for split, n in dataset.SCENES.items()}
    )
    dataset.verified.cache_clear()
    with pytest.raises(InputError, match=r"scene 0 of train has SHA-256 .* on this machine"):
        make_produce(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_exact_arithmetic():
    """No function whose last bit depends on the library, and no random numbers but raw PCG64."""
    text = "".join(
        Path(module.__file__).read_text(encoding="utf-8") for module in (exact_arithmetic, shapes, rendering)
    )
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    inexact = (
        "np.sin", "np.cos", "np.exp", "np.log", "np.power", "np.arctan", "np.hypot", "np.interp", "np.dot", " @ ",
        "np.mean", ".mean(", "np.linalg", "np.einsum", "default_rng", "np.sum", ".sum(", "import math",
    )  # fmt: skip
    assert [name for name in inexact if name in code] == []


def test_random_numbers():
    rng = exact_arithmetic.SceneRng("a")
    first = rng.uniforms(3)
    np.testing.assert_array_equal(first, exact_arithmetic.SceneRng("a").uniforms(3))
    assert (first != exact_arithmetic.SceneRng("b").uniforms(3)).all()
    other = rng.derived("something").uniform(0, 1)
    rng.uniforms(10)
    assert rng.derived("something").uniform(0, 1) == other
    many = rng.uniforms(20_000)
    assert 0 <= many.min() < 0.001
    assert 0.999 < many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01
    assert sorted(rng.shuffled(range(10))) == list(range(10))


def test_curves_stay_near_what_they_stand_for():
    turns = np.linspace(-2, 2, 4001)
    assert np.abs(exact_arithmetic.wave(turns) - np.cos(2 * np.pi * turns)).max() < 0.021
    angles = np.linspace(-0.499, 0.499, 999)
    found = exact_arithmetic.turns(np.sin(2 * np.pi * angles), np.cos(2 * np.pi * angles))
    assert np.abs(found - angles).max() < 0.001
    assert exact_arithmetic.curve((2, 2, 2), np.array([-1, 0, 0.3, 1, 2])) == pytest.approx(2)
    blot = np.zeros((40, 40))
    blot[20, 20] = 1
    soft = exact_arithmetic.blurred(blot, 2)
    assert soft.sum() == pytest.approx(1)
    assert soft[16:25, 20].tolist() == (soft[20, 20] * np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 5).tolist()
    np.testing.assert_array_equal(soft, soft.T)


# -- spectra -------------------------------------------------------------------------------------------------


def test_what_was_measured():
    assert (len(measured()), len(measured(artificial=True)), len(measured(artificial=False))) == (66, 46, 20)
    for values in measured().values():
        assert values.shape == (171,)
        assert 0 < values.min() < values.max() < 1
    banana = dict(zip(range(390, 732, 2), measured()["banana yellow (just turned)"], strict=True))
    assert banana[390] == 0.175
    assert banana[450] < 0.2 < 0.4 < banana[600]


def lab(reflectance: np.ndarray, illuminant: str) -> np.ndarray:
    """CIELAB (…, 3) of reflectances (…, C) that are linear between the bands and constant beyond."""
    curves, lamp = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"], colour.SDS_ILLUMINANTS[illuminant]
    nm = np.arange(360, 781)
    seen = np.stack([np.interp(nm, curves.wavelengths, curve) for curve in curves.values.T], axis=1)
    seen *= np.interp(nm, lamp.wavelengths, lamp.values)[:, None] / 1e4
    full = np.apply_along_axis(lambda each: np.interp(nm, pairs()["wavelengths"], each), -1, reflectance)
    white = seen.sum(axis=0)
    return colour.XYZ_to_Lab(full @ seen / white[1], white[:2] / white.sum())


@pytest.mark.parametrize("lamp", range(len(ILLUMINANTS)), ids=ILLUMINANTS)
def test_pairs_are_metamers(lamp):
    """Every fake has the colour of its original under its lamp, nearly so in daylight, and another spectrum."""
    real, fake = pairs()["real"], pairs()["fake"][lamp]
    assert real.shape == fake.shape == (11, 2, 4, 6, 28)
    under_the_lamp, in_daylight = (
        colour.delta_E(lab(real, light), lab(fake, light), method="CIE 2000") for light in (ILLUMINANTS[lamp], "D65")
    )
    assert under_the_lamp.max() < 0.1
    assert in_daylight.max() < 2.5
    cosine = (real * fake).sum(-1) / np.sqrt((real**2).sum(-1) * (fake**2).sum(-1))
    assert np.degrees(np.arccos(cosine.max())) > 5


def test_an_object_keeps_the_colour_of_its_other_self():
    """Real and fake are painted with the same random numbers, so the two differ in nothing but the spectrum."""
    for label in range(1, 23, 2):
        real, fake = (rendering.tones(exact_arithmetic.SceneRng("paint"), label + step, 1) for step in (0, 1))
        for mine, yours in zip(real, fake, strict=True):
            assert colour.delta_E(lab(mine, "LED-B3"), lab(yours, "LED-B3"), method="CIE 2000") < 0.1
            assert np.abs(mine - yours).max() > 0.01


def test_class_names():
    assert len(CLASS_NAMES) == 23
    assert CLASS_NAMES[:3] == ("background", "real banana", "fake banana")
    assert tuple(shapes.KINDS) == KINDS


# -- scenes --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def renderings():
    return [rendering.render("train", index) for index in range(12)]


def test_cubes_are_reflectances(renderings):
    for each in renderings:
        assert (each.cube.dtype, each.cube.shape) == (np.uint16, (28, 256, 256))
        assert np.mean(each.cube > rendering.ONE) < 0.01
        assert each.cube.max() < 2 * rendering.ONE
        paper = each.cube[:, each.classes == 0]
        assert 0.6 < np.median(paper) / rendering.ONE < 0.95
    assert ProduceSet("train").wavelengths == pytest.approx(nbk7_wavelengths())


def test_everything_occurs(renderings):
    counts = np.bincount(np.concatenate([each.classes.ravel() for each in renderings]), minlength=23)
    assert counts.min() > 0
    assert 0.3 < 1 - counts[0] / counts.sum() < 0.5
    assert {each.illuminant for each in renderings} == set(ILLUMINANTS)


def test_objects_are_whole_and_do_not_touch():
    """Each lies inside the margin, and two free pixels at least are around it."""
    for index in range(6):
        things = rendering.arrange(exact_arithmetic.SceneRng(str(index)))
        assert 6 <= len(things) <= 30
        taken = np.zeros((256, 256), dtype=int)
        for thing in things:
            grown = np.zeros((256, 256), dtype=bool)
            grown[thing.window] = thing.surface.cover > 0
            assert not grown[[0, -1]].any()
            assert not grown[:, [0, -1]].any()
            for axis in (0, 1):
                grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
            taken += grown
        assert taken.max() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_surfaces(kind):
    for seed in range(3):
        surface = shapes.KINDS[kind](exact_arithmetic.SceneRng(f"{kind} {seed}"), 1.0).trimmed()
        height, width = surface.cover.shape
        assert min(height, width) >= 25
        assert max(height, width) < 110
        assert surface.cover.max() == 1
        assert surface.cover.mean() > 0.25
        np.testing.assert_allclose((surface.normal**2).sum(axis=0), 1, rtol=1e-12)
        for share in (surface.cover, surface.tone, surface.shade):
            assert 0 <= share.min() <= share.max() <= 1


def test_references_belong_to_this_version():
    references = dataset.references()
    assert references["version"] == rendering.VERSION
    assert references["scenes"] == dataset.SCENES["test"]
    accuracy = {name: row["real_or_fake"] for name, row in references["references"].items()}
    assert accuracy["true cube"] > 0.95
    assert 0.4 < accuracy["colour under the lamp"] < 0.6


def test_unknown_splits_are_refused():
    with pytest.raises(InputError, match="no split 'all'; there are: train, validation, test"):
        ProduceSet("all")
