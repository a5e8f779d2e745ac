"""Two-stage systems: networks and solvers joined with the segmenter, under one interface."""

import json
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import multiply_adds, parameters
from crsdun.methods import RunOptions, Tiles, run_method
from crsdun.networks import join, read_header
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.optics import Estimate
from crsdun.solvers import SOLVERS, DeepPrior, GapTv, LrTv, Pnp, Solver, register_solver
from tests.networks.examination import ExportedNetworkExamination, NetworkExamination


class TestNetworkAndSegmenter(ExportedNetworkExamination):
    name, settings = "ssr_2stg+seg", {"segmenter": {"stages": 1}}
    segmented = 1
    smallest = "ssr_1stg+seg", {"segmenter": {"stages": 1}}


class TestSolverAndSegmenter(NetworkExamination):
    name, settings = "gap_tv+seg", {"reconstruction": {"iterations": 3}, "segmenter": {"stages": 1}}
    stages, segmented = 1, 1


@pytest.mark.parametrize(
    ("name", "stages", "count", "billions"),
    [
        ("mstpp+seg", 3, 1_333_950 + 1_732_644, 45.61),
        ("ssr_6stg+seg", 6, 3_618_594 + 3_287_712, 108.05),
        ("ssr_9stg+seg", 9, 5_427_093 + 4_842_780, 160.99),
        ("rcump_9stg+seg", 9, 9_467_103 + 4_842_780, 152.10),
    ],
)
def test_published_counts(name, stages, count, billions):
    network = crsdun.create(name, bands=28, classes=23)
    assert network.config.segmenter.stages == stages
    assert parameters(network) == count
    assert multiply_adds(network) / 1e9 == pytest.approx(billions, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", ["mstpp", "ssr_2stg", "rcump_2stg", "admm-tv", "crsdun_1stg"])
def test_anything_that_reconstructs_can_be_joined(name):
    camera = NetworkExamination.camera(24, 20)
    y = NetworkExamination.measure(camera, 2)[1]
    settings = {"iterations": 2} if name == "admm-tv" else {}
    network = crsdun.create(f"{name}+seg", bands=4, classes=3, reconstruction=settings).eval()
    alone = network.reconstruction(y, camera)
    estimate = network(y, camera)
    assert all(map(torch.equal, estimate.cubes, alone.cubes))
    assert len(estimate.cubes) == len(alone.cubes)
    assert len(estimate.logits) == 1
    assert torch.equal(estimate.logits[0], network.segmenter(alone.cube).logits[0])


@torch.no_grad()
def test_what_the_reconstruction_found_is_kept():
    """The camera where it really is, by which its cubes are judged, and how well they explain what was held out."""
    camera, names = NetworkExamination.camera(32, 32), {"bands": 4, "classes": 3}
    y = NetworkExamination.measure(camera)[1]
    segmenter = crsdun.create("seg_1stg", **names).eval()
    for part in (crsdun.create("crsdun_1stg", **names, align=True).eval(), LrTv(iterations=20)):
        told = camera.with_mask(camera.mask.roll(1, 0))
        system = join(part, segmenter).eval()
        alone, run = run_method(part, y[0], told), run_method(system, y[0], told)
        assert torch.equal(run.estimate.cube, alone.estimate.cube)
        assert torch.equal(run.camera.mask, alone.camera.mask)
        assert (run.residuals, run.estimate.fits) == (alone.residuals, alone.estimate.fits)
        assert torch.equal(run.estimate.logits[0], segmenter(alone.estimate.cube).logits[0])


def test_a_joined_system_promises_what_its_reconstruction_does():
    camera = NetworkExamination.camera(24, 20)
    y = NetworkExamination.measure(camera)[1][0]
    settings = {"bands": 4, "classes": 3, "segmenter": {"stages": 1}, "reconstruction": {"iterations": 2}}
    gap, pnp, lr = (crsdun.create(f"{name}+seg", **settings) for name in ("gap_tv", "pnp", "lr_tv"))
    with pytest.raises(InputError, match=r"gap_tv\+seg takes whole frames"):
        run_method(gap, y, camera, RunOptions(tiles=Tiles(16)))
    assert lr.tileable
    calls = []
    for system in (gap, pnp, lr):
        calls.clear()
        half = run_method(system, y, camera, RunOptions(precision="bfloat16"), lambda *call: calls.append(call))
        alone = run_method(system.reconstruction, y, camera).estimate
        assert torch.equal(half.estimate.cube, alone.cube)
        done, totals = zip(*calls, strict=True)
        assert list(done) == sorted(done)
        assert done[0] == 1  # iteration
        assert done[-1] == totals[-1] == totals[0]


@torch.no_grad()
def test_trained_parts_are_joined_and_travel_together(tmp_path):
    camera = NetworkExamination.camera()
    y = NetworkExamination.measure(camera)[1]
    segmenter = crsdun.create("seg_1stg", bands=4, classes=3).eval()
    for part in (crsdun.create("mstpp", bands=4, bodies=1).eval(), GapTv(iterations=2)):
        joined, path = join(part, segmenter).eval(), tmp_path / "joined.safetensors"
        crsdun.save(joined, path)
        again = crsdun.load(path)
        assert torch.equal(again(y, camera).cube, part(y, camera).cube)
        assert torch.equal(again(y, camera).logits[0], segmenter(part(y, camera).cube).logits[0])
        config = read_header(path).config
        assert json.loads(json.dumps(config)) == config
        assert config["method"] == ("gap-tv" if isinstance(part, GapTv) else "mstpp")


def test_a_weights_file_names_no_other_file(tmp_path):
    """The checkpoint of a deep prior is for whoever runs it to name, and a file may not bring one along."""
    state, path = tmp_path / "state.safetensors", tmp_path / "w.safetensors"
    camera = NetworkExamination.camera(8, 8)
    y = NetworkExamination.measure(camera)[1][0]
    settings = {"bands": 4, "classes": 3, "segmenter": {"stages": 1}}
    with pytest.raises(InputError, match="deep-prior takes no checkpoint in a two-stage system"):
        crsdun.create("deep-prior+seg", **settings, reconstruction={"iterations": 1, "checkpoint": str(state)})

    segmenter = crsdun.create("seg_1stg", bands=4, classes=3)
    crsdun.save(join(DeepPrior(iterations=1, checkpoint=str(state)), segmenter), path)
    assert "checkpoint" not in read_header(path).config["reconstruction"]
    run_method(crsdun.load(path), y, camera)
    assert not state.exists()

    header, tensors = json.loads(read_header(path).to_json()), load_file(path)
    header["config"]["reconstruction"]["checkpoint"] = None  # as earlier versions wrote it
    save_file(tensors, path, metadata={"crsdun": json.dumps(header)})
    assert crsdun.load(path).config.reconstruction == DeepPrior(iterations=1)
    header["config"]["reconstruction"]["checkpoint"] = str(state)
    save_file(tensors, path, metadata={"crsdun": json.dumps(header)})
    with pytest.raises(InputError, match=r"w\.safetensors was damaged or edited: deep-prior takes no checkpoint"):
        crsdun.load(path)


def test_functions_are_for_no_file(tmp_path):
    segmenter = crsdun.create("seg_1stg", bands=4, classes=3)

    @dataclass(frozen=True)
    class Called(Solver):
        how: object = len

        def __call__(self, measurement, camera, progress=None): ...

    register_solver("called", Called)
    try:
        for solver, reason in (
            (Pnp(denoiser=lambda images, sigma: images), "no denoiser called '.*lambda>' comes with crsdun"),
            (Called(), "not JSON serializable"),
        ):
            words = rf"no file can describe {solver.name}\+seg \(.*{reason}.*; save its segmenter alone"
            with pytest.raises(InputError, match=words):
                crsdun.save(join(solver, segmenter), tmp_path / "w.safetensors")
    finally:
        SOLVERS.unregister("called")
    crsdun.save(join(Pnp(iterations=2), segmenter), tmp_path / "w.safetensors")
    assert crsdun.load(tmp_path / "w.safetensors").config.reconstruction == Pnp(iterations=2)


@torch.no_grad()
def test_a_solver_of_ones_own_reconstructs():
    camera = NetworkExamination.camera()
    cube, y = NetworkExamination.measure(camera)

    @dataclass(frozen=True)
    class Truth(Solver):
        def __call__(self, measurement, camera, progress=None):
            return Estimate([cube])

    segmenter = Segmenter(SegConfig(bands=4, classes=3, stages=1))
    estimate = join(Truth(), segmenter)(y, camera)
    assert torch.equal(estimate.cube, cube)
    assert torch.equal(estimate.logits[0], segmenter(cube).logits[0])


def test_a_frozen_reconstruction_stays_while_the_segmenter_learns():
    camera = NetworkExamination.camera()
    y = NetworkExamination.measure(camera)[1]
    network = crsdun.create("ssr_1stg+seg", bands=4, classes=3)
    network.reconstruction.requires_grad_(False)
    torch.nn.functional.cross_entropy(network(y, camera).logits[0], torch.zeros(1, 32, 32).long()).backward()
    assert all(each.grad is None for each in network.reconstruction.parameters())
    assert all(each.grad is not None and each.grad.any() for each in network.segmenter.parameters())


def test_parts_that_do_not_fit_are_refused():
    segmenter = crsdun.create("seg_1stg", bands=4, classes=3)
    with pytest.raises(InputError, match="gives 5 bands but the segmenter takes 4"):
        join(crsdun.create("mstpp", bands=5), segmenter)
    with pytest.raises(InputError, match="in this order"):
        join(segmenter, crsdun.create("mstpp", bands=4))
    with pytest.raises(InputError, match="only a network or a solver can be joined, not function"):
        join(lambda y, camera: None, segmenter)
    with pytest.raises(InputError, match="seg_3stg takes a cube in and makes none"):
        crsdun.create("seg_3stg+seg", bands=4, classes=3)
    with pytest.raises(InputError, match=r"no network called 'unet'.*gap_tv"):
        crsdun.create("unet+seg", bands=4, classes=3)
    with pytest.raises(InputError, match="its settings are method, reconstruction, segmenter"):
        crsdun.create("mstpp+seg", bands=4, classes=3, width=2)
    with pytest.raises(InputError, match="gap-tv has no setting 'width'"):
        crsdun.create("gap_tv+seg", bands=4, classes=3, reconstruction={"width": 2})


def test_a_solver_counts_nothing():
    system = crsdun.create("gap_tv+seg", bands=4, classes=3, segmenter={"stages": 1, "width": 4})
    assert multiply_adds(system, 32, 32) == multiply_adds(system.segmenter, 32, 32) > 0
