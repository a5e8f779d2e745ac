"""The work of a process that decodes, without HTTP and without LitServe."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import crsdun
from crsdun.methods.doubt import Doubt
from crsdun.optics import Exposure, random_mask, read_camera
from crsdun.runtime import Preparation, decode, decode_batch, open_method, simulate
from crsdun.scenes import UNLABELLED, read_arrays, read_scene, write_measurement
from crsdun.service import decoder as module
from crsdun.service.config import ServiceConfig
from crsdun.service.decoder import MASK, MEASUREMENT, Decoder, Job, Read
from crsdun.service.results import write_answer
from crsdun.service.settings import Settings
from tests.viewing.test_app import BANDS, NAMES, WAVELENGTHS, H, W, scene


@pytest.fixture(scope="module")
def decoder(given):
    made = Decoder(ServiceConfig(str(given / "net.safetensors"), batch=4), "cpu")
    yield made
    made.always.close()


@pytest.fixture
def job(tmp_path):
    def make(file, name="request", **changes):
        folder = tmp_path / name / MEASUREMENT
        folder.mkdir(parents=True)
        shutil.copy(file, folder / "y.npz")
        return replace(Job(folder.parent, Settings(), "cube", "npz", time.monotonic() + 600), **changes)

    return make


def test_frames_that_are_decoded_together_are_decoded_as_alone(given):
    method = open_method(given / "net.safetensors")
    mask = random_mask(H, W, seed=1)
    turned = replace(scene(), cube=scene().cube[:, ::-1].copy())
    several = [Preparation().prepare(simulate(each, Exposure(mask))) for each in (scene(), turned)]
    assert several[0].is_like(several[1])
    results = decode_batch(several, method)
    for prepared, result in zip(several, results, strict=True):
        alone = decode(prepared, method)
        np.testing.assert_allclose(result.scene.cube, alone.scene.cube, atol=1e-6)
        assert result.metrics["data_residual"] == pytest.approx(alone.metrics["data_residual"], rel=1e-4)
    assert not np.allclose(results[0].scene.cube, results[1].scene.cube)


def test_only_like_is_decoded_with_like(given, decoder, job, tmp_path):
    other = tmp_path / "other.npz"
    write_measurement(simulate(scene(), Exposure(random_mask(H, W, seed=2))), other)
    smaller = tmp_path / "smaller.npz"
    mask = random_mask(H - 8, W, seed=1)
    write_measurement(simulate(scene().cropped(0, 0, H - 8, W), Exposure(mask)), smaller)
    first, twin, behind_another, small = (
        decoder.read(job(file, f"{index}"))
        for index, file in enumerate((given / "y.npz", given / "y.npz", other, smaller))
    )
    assert decoder.together(first, twin, 2)
    assert not decoder.together(first, behind_another, 2)
    assert not decoder.together(first, small, 2)
    method = decoder.method
    assert not decoder.together(first, twin, 10**9), "there is not memory for so many"
    answers = decoder.decode([first, twin])
    assert [(each.status, each.batch) for each in answers] == [(200, 2), (200, 2)]
    assert read_scene(first.job.folder / answers[0].file).cube.shape == (BANDS, H, W)
    assert method.batches


@pytest.mark.parametrize("name", ["lr-tv", "gap-tv"])
def test_methods_that_would_mix_frames_decode_one_at_a_time(given, job, name):
    made = Decoder(ServiceConfig(name, {"iterations": 2}, batch=4), "cpu")
    first, twin = made.read(job(given / "y.npz", "a")), made.read(job(given / "y.npz", "b"))
    assert not made.together(first, twin, 2)
    assert not crsdun.create("crsdun_1stg", BANDS, 2, width=4, align=True).batches
    made.always.close()


def test_of_several_only_the_one_that_fails_fails(given, decoder, job):
    reads = [decoder.read(job(given / "y.npz", name)) for name in ("a", "b")]
    frame = reads[1].prepared.measurement.frame
    bright = replace(reads[1].prepared, measurement=replace(reads[1].prepared.measurement, frame=1000 * frame))
    answers = decoder.decode([reads[0], Read(reads[1].job, bright)])
    assert [answer.status for answer in answers] == [200, 400]
    assert "look like raw counts" in answers[1].error["error"]
    assert "the setting bits" in answers[1].error["remedy"]


def test_nothing_is_done_for_whoever_has_gone_or_is_late(given, decoder, job):
    late = decoder.read(job(given / "y.npz", "late", deadline=time.monotonic() - 1))
    assert late.status == 504
    gone = job(given / "y.npz", "gone")
    read = decoder.read(gone)
    shutil.rmtree(gone.folder)
    assert [answer.status for answer in decoder.decode([read])] == [499]
    assert decoder.read(gone).status == 499


def test_a_fault_of_ours_is_logged_and_not_told(given, decoder, job, monkeypatch, capsys):
    def broken(*_):
        raise KeyError("a secret of the inside")

    monkeypatch.setattr(module, "write_answer", broken)
    (answer,) = decoder.decode([decoder.read(job(given / "y.npz"))])
    assert answer.status == 500
    assert "secret" not in str(answer)
    assert "a secret of the inside" in capsys.readouterr().err


def preparation(seed: int) -> Preparation:
    """Of a camera that is known like one of ``--mask``."""
    return Preparation(mask=random_mask(H, W, seed=seed), wavelengths=WAVELENGTHS)


@pytest.mark.parametrize("cameras", [["camera", "lab"], ["camera"], []])
def test_a_camera_is_taken_where_it_is_named_or_the_only_one(given, job, cameras, tmp_path):
    """Whatever mask the service was started with."""
    known = {name: preparation(seed) for seed, name in enumerate(cameras, 7)}
    made = Decoder(ServiceConfig("gap-tv", cameras=known, preparation=preparation(7)), "cpu")

    def mask_of(name: str, file: str, **settings) -> np.ndarray:
        return made.read(job(given / file, name, settings=Settings(**settings))).prepared.camera.mask.numpy()

    own = np.load(given / "mask.npy")
    expected = known["camera"].mask if len(cameras) == 1 else own
    assert np.array_equal(mask_of("unnamed", "y.npz"), expected)
    for name in cameras:
        assert np.array_equal(mask_of(name, "y.npz", camera=name), known[name].mask)
    if len(cameras) != 1:
        np.savez(tmp_path / "bare.npz", measurement=np.load(given / "frame.npy"))
        refused = made.read(job(tmp_path / "bare.npz", "bare"))
        assert (refused.status, "with its coded aperture" in refused.error["error"]) == (400, True)
    made.always.close()


def test_what_was_not_used_of_a_file_is_noted(given, job):
    """And the way to have it used holds: the file as the part mask too."""
    known = {"lab": Preparation(mask=np.load(given / "mask.npy"), wavelengths=WAVELENGTHS), "roof": preparation(7)}
    made = Decoder(ServiceConfig("gap-tv", {"iterations": 1}, cameras=known), "cpu")
    own = job(given / "y.npz", "own")
    (own.folder / MASK).mkdir()
    shutil.copy(given / "y.npz", own.folder / MASK)
    asked = [job(given / "y.npz", name, settings=Settings(camera=name)) for name in known]
    answers = [made.decode([made.read(each)])[0] for each in (*asked, own)]
    same, other, mine = [answer.figures["notes"] for answer in answers]
    assert other[0].startswith("the camera of the service was used, not what the file says of its own (mask): ")
    assert (same, mine) == ([], [])
    assert np.array_equal(made.read(own).prepared.camera.mask, known["lab"].mask)
    made.always.close()


def test_what_the_service_knows_of_a_camera_is_not_said_otherwise(given, job):
    told = {"wavelengths": "500-900:6", "bands": 3, "step": 1.0}
    known = replace(preparation(1), bands=BANDS, step=2)
    made = Decoder(ServiceConfig("gap-tv", cameras={"camera": known}, preparation=known), "cpu")
    for name, value in told.items():
        refused = made.read(job(given / "y.npz", name, settings=Settings(**{name: value})))
        assert refused.status == 400
        assert (
            refused.error["error"]
            == f"the service already knows the {name} of this camera, and the request says otherwise"
        )
        assert refused.error["remedy"] == f"omit the setting {name}"
    same = made.read(job(given / "y.npz", "same", settings=Settings(bands=BANDS, step=2.0)))
    assert same.prepared.camera.wavelengths == WAVELENGTHS
    own = job(given / "y.npz", "own", settings=Settings(wavelengths="500-900:6"))
    (own.folder / MASK).mkdir()
    shutil.copy(given / "mask.npy", own.folder / MASK)
    assert made.read(own).prepared.camera.wavelengths == (500, 580, 660, 740, 820, 900)
    made.always.close()


def test_what_a_camera_file_says_may_be_said_again(given, job):
    known = Preparation(camera_file=read_camera(given / "lab.npz"))
    made = Decoder(ServiceConfig("gap-tv", cameras={"lab": known}), "cpu")
    told = {"wavelengths": ",".join(map(str, WAVELENGTHS)), "bands": BANDS, "step": 2.0}
    assert isinstance(made.read(job(given / "y.npz", "same", settings=Settings(**told))), Read)
    for name, other in (("wavelengths", "500-900:6"), ("bands", 3), ("step", 1.0)):
        refused = made.read(job(given / "y.npz", name, settings=Settings(**{name: other})))
        assert refused.error["error"].startswith(f"the service already knows the {name} of this camera")
    made.always.close()


def test_what_the_request_did_not_say_is_omitted_where_it_was_said(given, job):
    made = Decoder(ServiceConfig("gap-tv", preparation=Preparation(bits=12)), "cpu")
    own, said = (made.read(job(given / "y.npz", f"{bits}", settings=Settings(bits=bits))) for bits in (None, 12))
    assert "on the scale of y = A x already" in own.error["error"]
    assert own.error["remedy"] == "omit bits when starting crsdun serve"
    assert said.error["remedy"] == "omit the setting bits"
    made.always.close()


def test_auto_chooses_and_says_so(given, job):
    made = Decoder(ServiceConfig("auto"), "cpu")
    made.opened[None] = open_method("lr-tv", iterations=2)
    (answer,) = made.decode([made.read(job(given / "y.npz"))])
    assert answer.figures["method"] == "lr-tv"
    assert "no shipped weights fit" in answer.figures["notes"][0]
    made.always.close()


@pytest.mark.parametrize(("product", "kind"), [(p, k) for p in ("cube", "classes") for k in ("npz", "safetensors")])
def test_unknown_is_unknown_in_every_file(given, tmp_path, product, kind):
    result = decode(Preparation().read(given / "y.npz"), open_method(given / "net.safetensors"))
    doubt = np.linspace(0, 1, H * W, dtype=np.float32).reshape(H, W)
    result = replace(result, doubt=Doubt(doubt, doubt, coverage=0.5))
    write_answer(result, [], product, kind, path := tmp_path / f"answer.{kind}")
    classes = (load_file(path) if kind == "safetensors" else read_arrays(path).arrays)["classes"]
    assert np.array_equal(classes == UNLABELLED, doubt > 0.5)
    assert np.array_equal(classes[doubt <= 0.5], result.scene.classes[doubt <= 0.5])


def test_the_classes_of_a_network_keep_their_names(given, decoder, job):
    read = decoder.read(job(given / "y.npz", product="figures", kind="json"))
    (answer,) = decoder.decode([read])
    assert answer.name == "waves_figures.json"
    assert torch.is_tensor(read.prepared.camera.mask)
    text = (read.job.folder / answer.file).read_text()
    assert all(name in text for name in NAMES)
    assert str(WAVELENGTHS[0]) in text
