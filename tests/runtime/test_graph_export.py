"""Exported networks: the same numbers from every engine, everything about the network inside, nothing sent home."""

import json
import multiprocessing
import subprocess
import sys
import zipfile
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import crsdun
from crsdun import CassiCamera, InputError
from crsdun.cli import main
from crsdun.networks import Network, ReconstructionConfig, zoo
from crsdun.optics import Estimate, ModelCard
from crsdun.runtime import graph_export
from crsdun.runtime.engines import Engine, first_use, open_engine
from crsdun.runtime.graph_export import FORMATS, export
from crsdun.runtime.optional_libraries import library

for name in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    try:
        library(name)  # silent from the first import on
    except InputError:
        pytest.skip("needs the extra engines", allow_module_level=True)

BANDS, CLASSES = 4, 3
SIZES = [(64, 96), (33, 70), (75, 41)]
CARD = ModelCard(
    wavelengths=(450.0, 500.5, 550.0, 600.0), class_names=("void", "épi", '"<&>"'), provenance={"a": [1]}
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=BANDS, classes=CLASSES, width=4).eval()
    del network.stages[0]  # the second stage has all that the first has, and super-tokens
    # Of random weights the threshold b may be negative; then rounding decides at 0 between b and -b.
    (stage,) = network.stages
    stage.estimate.offset.data[stage.scalar_names.index("b")] = 0.1
    network.card = CARD
    return network


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """The network in every format; its graph, which takes most of the time, is made once."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def once(function):
        def call(*given):
            if function not in made:
                made[function] = function(*given)
            return made[function]

        return call

    paths = {format: folder / f"network{suffix}" for format, (suffix, _) in FORMATS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_export, "trace", once(graph_export.trace))
        patch.setattr(graph_export, "to_onnx", once(graph_export.to_onnx))
        for format in ("torch", "onnx", "openvino"):
            export(network, paths[format], format)
    return paths


@pytest.fixture(scope="module")
def engines(files):
    return {
        "onnxruntime": open_engine(files["onnx"]),
        "openvino": open_engine(files["openvino"]),
        "openvino from .onnx": open_engine(files["onnx"], "openvino"),
    }


def example(height, width, batch=1, step=2):
    generator = torch.Generator().manual_seed(height)
    camera = CassiCamera(torch.rand(height, width, generator=generator), bands=BANDS, step=step)
    return camera.forward(torch.rand(batch, BANDS, height, width, generator=generator)), camera


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "openvino from .onnx"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_engines_round_hardly_more_than_pytorch(network, engines, engine, height, width):
    """What float32 costs depends on weights and processor, so it is measured: against PyTorch in float64."""
    measurement, camera = example(height, width, batch=3)  # three calls: nothing may be left from one to the next
    with torch.inference_mode():
        exact = deepcopy(network).double()(measurement.double(), camera.with_mask(camera.mask.double()))
        pytorch, estimate = network(measurement, camera), engines[engine](measurement, camera)
    for part in (lambda each: each.cube, lambda each: each.logits[-1]):
        error, usual = ((part(each) - part(exact)).abs().max() for each in (estimate, pytorch))
        assert 0 < error < 10 * usual < 1e-4


def test_ctrl_c_is_survived_when_engines_come_and_go(files):
    code = f"""
import os, signal
from crsdun.runtime import open_engine
first, second = (open_engine({str(files["openvino"])!r}) for _ in range(2))
del first
del second
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started this may ignore it
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr


def test_pytorchs_own_file_gives_the_numbers_of_pytorch(network, files):
    inside = {"crsdun": ""}
    graph = torch.export.load(files["torch"], extra_files=inside).module(check_guards=False)
    assert json.loads(inside["crsdun"])["config"]["bands"] == BANDS
    for size in SIZES:
        measurement, camera = example(*size)
        with torch.inference_mode():
            expected = network(measurement, camera)
            cube, logits = graph(measurement, camera.mask)
        torch.testing.assert_close(cube, expected.cube, rtol=0, atol=1e-4)
        torch.testing.assert_close(logits, expected.logits[-1], rtol=0, atol=1e-4)


def test_pytorchs_own_file_needs_no_pickle_for_weights(files):
    with zipfile.ZipFile(files["torch"]) as archive:
        payloads = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
    entries = [entry for payload in payloads for entry in payload["config"].values()]
    assert entries
    assert not any(entry["use_pickle"] for entry in entries)


def test_an_engine_knows_what_the_weights_know(network, engines):
    for engine in engines.values():
        assert isinstance(engine, Engine)
        assert (engine.config, engine.card) == (network.config, CARD)
        assert engine.exported["step"] == 2
        assert engine.exported["smallest"] == 33


def test_export_changes_nothing_in_the_network(network, files):
    """What it was given stays: mode, weights, and no hidden file is left behind."""
    assert not network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    names = {path.name for path in files["onnx"].parent.iterdir()}
    assert names == {"network.onnx", "network.xml", "network.bin", "network.pt2"}


# -- refusals --------------------------------------------------------------------------------------------------


def test_a_camera_the_graph_was_not_made_for_is_refused(engines):
    engine = engines["onnxruntime"]
    for camera, words in [
        (CassiCamera(torch.rand(32, 48), bands=BANDS), "from 33×33 on, not 32×48; use the weights"),
        (CassiCamera(torch.rand(40, 48), bands=BANDS, step=1), "a step of 1; export it again"),
        (CassiCamera(torch.rand(40, 48), offsets=(0, 1, 3, 4)), "uneven offsets"),
        (CassiCamera(torch.rand(BANDS, 40, 48)), "one mask for all bands.*engine to torch"),
        (CassiCamera(torch.rand(40, 48), bands=5), "built for 4 bands"),
        (
            CassiCamera(torch.rand(40, 48), bands=BANDS, wavelengths=(450, 500, 550, 610)),
            "exported for bands from 450 to 600 nm, not 450 to 610 nm; use the weights",
        ),
    ]:
        with pytest.raises(InputError, match=words):
            engine(torch.rand(1, camera.height, camera.measurement_width), camera)


def test_what_cannot_be_exported_is_refused_at_once(network, tmp_path):
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    (tmp_path / "pair.bin").write_text("mine")
    for path, format, words in [
        ("a.onnx", "tflite", "no format 'tflite'.*onnx, openvino, torch"),
        ("a.bin", "openvino", "written to a file a.xml"),
        ("there.onnx", "onnx", "exists already.*overwrite"),
        ("pair.xml", "openvino", "pair.bin exists already"),
        ("none/a.onnx", "onnx", "there is no folder"),
    ]:
        with pytest.raises(InputError, match=words):
            export(network, tmp_path / path, format)
    trained = crsdun.create("crsdun_1stg", bands=BANDS, classes=CLASSES, width=4)
    trained.card = ModelCard(step=2)
    with pytest.raises(InputError, match="dispersion of 2 pixels per band; omit step"):
        export(trained, tmp_path / "a.onnx", "onnx", step=1)
    trained.card = ModelCard(step=2, steps=((1, 3),))
    with pytest.raises(InputError, match="dispersion of 1 to 3 pixels per band; omit step"):
        export(trained, tmp_path / "a.onnx", "onnx", step=4)
    assert there.read_text() == "mine"


def test_a_method_that_iterates_is_not_exported(tmp_path):
    system = crsdun.create("gap_tv+seg", bands=4, classes=3, segmenter={"stages": 1, "width": 4})
    with pytest.raises(InputError, match=r"gap_tv\+seg starts with gap-tv, which cannot.*engine torch"):
        export(system, tmp_path / "a.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there(network, tmp_path, monkeypatch):
    there = tmp_path / "there.pt2"
    there.write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(graph_export, "trace", lambda *_: None)
    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(InputError, match=r"could not write .*no space is left"):
        export(network, there, "torch", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]
    assert there.read_text() == "old"


def test_files_an_engine_cannot_read_are_refused(files, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(files["onnx"].read_bytes()[:1000])
    alone = tmp_path / "alone.xml"  # its .bin is missing
    alone.write_bytes(files["openvino"].read_bytes())
    for path, engine, words in [
        (files["onnx"], "tensorrt", "no engine 'tensorrt'"),
        (files["onnx"], "torch", "no file for the engine torch"),
        (files["openvino"], "onnxruntime", "no file for the engine onnxruntime"),
        (files["torch"], None, "pickles"),
        (tmp_path / "none.onnx", None, "there is no exported network"),
        (cut, None, "not a whole exported network"),
        (cut, "openvino", "not a whole exported network"),
        (alone, None, "not a whole exported network"),
    ]:
        with pytest.raises(InputError, match=words):
            open_engine(path, engine)


def test_a_graph_of_somebody_else_is_refused(files, tmp_path):
    import onnx

    model = onnx.load(files["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(InputError, match="no description of a crsdun network"):
            open_engine(tmp_path / "foreign.onnx", engine)


def test_a_missing_library_is_named_with_what_installs_it():
    with pytest.raises(InputError, match=r"nonesuch is not installed.*pip install 'crsdun\[engines\]'"):
        library("nonesuch")


# -- nothing is sent home --------------------------------------------------------------------------------------


def test_no_engine_reports_home(files, tmp_path):
    """Telemetry leaves an identifier in the home folder before it sends; here nothing is left and nothing loaded."""
    code = f"""
import sys
from crsdun.runtime.engines import open_engine
open_engine({str(files["onnx"])!r}), open_engine({str(files["openvino"])!r})
assert not any("telemetry" in name for name in sys.modules if name.startswith("openvino_")), sys.modules
"""
    environment = {"HOME": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert not list(tmp_path.iterdir())


# -- from the command line -------------------------------------------------------------------------------------


def test_an_exported_file_reconstructs_from_the_command_line(files, tmp_path, capsys):
    measurement, camera = example(40, 44)
    np.savez(tmp_path / "y.npz", measurement=measurement[0].numpy(), mask=camera.mask.numpy())
    command = ["reconstruct", str(tmp_path / "y.npz"), "--weights", str(files["openvino"]), "--out"]
    assert main([*command, str(tmp_path / "out"), "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (record["engine"], record["method"]) == ("openvino", "network.xml")
    for more, words in [
        (["--precision", "bfloat16"], "network.xml computes in float32, not in bfloat16"),
        (["--engine", "onnxruntime"], "no file for the engine onnxruntime"),
    ]:
        capsys.readouterr()
        assert main([*command, str(tmp_path / "more"), "--device", "cpu", *more]) == 2
        assert words in capsys.readouterr().err
    assert main([command[0], command[1], "--engine", "openvino", "--out", str(tmp_path / "more")]) == 2
    assert "set --weights" in capsys.readouterr().err


@dataclass(frozen=True)
class OneLayerConfig(ReconstructionConfig):
    bands: int


class OneLayer(Network):
    """So small that it is exported in a second."""

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Conv2d(config.bands, config.bands, 3, padding=1)

    def forward(self, measurement, camera):
        return Estimate([self.layer(camera.initial_estimate(measurement))])


@pytest.fixture
def one_layer(tmp_path, monkeypatch):
    """A function that writes the file of such a network, with weights of their own for each seed."""
    for table in (zoo.KINDS, zoo.NAMES):
        monkeypatch.setattr(table, "_rows", dict(table._rows))
    crsdun.register_network("one-layer", OneLayerConfig, OneLayer)

    def write(seed=0):
        torch.manual_seed(seed)
        network, path = crsdun.create("one-layer", bands=BANDS), tmp_path / f"{seed}.safetensors"
        crsdun.save(network, path)
        return network, path

    return write


class Colour(OneLayer):
    """Its cube tells on which bands it was computed, and it finds its scale itself."""

    needs_scale = False

    def forward(self, measurement, camera):
        cube = self.layer(camera.initial_estimate(measurement))
        return Estimate([cube + cube.new_tensor(camera.wavelengths or (0,) * BANDS)[:, None, None]])


def test_a_graph_is_traced_on_the_bands_of_the_weights(tmp_path, monkeypatch):
    for table in (zoo.KINDS, zoo.NAMES):
        monkeypatch.setattr(table, "_rows", dict(table._rows))
    crsdun.register_network("colour", OneLayerConfig, Colour)
    network = crsdun.create("colour", bands=BANDS).eval()
    network.card = ModelCard(wavelengths=CARD.wavelengths)
    export(network, tmp_path / "colour.onnx", "onnx")
    engine, (measurement, camera) = open_engine(tmp_path / "colour.onnx"), example(40, 44)
    assert engine.needs_scale is network.needs_scale is False
    check = torch.testing.assert_close
    with torch.inference_mode():
        check(engine(measurement, camera).cube, network(measurement, network.fit(camera)).cube, rtol=1e-5, atol=1e-4)


def test_export_from_the_command_line(one_layer, tmp_path, capsys):
    network, weights = one_layer()
    out = str(tmp_path / "w.onnx")
    command = ["export", str(weights), "--format", "onnx", "--step", "3", "--out", out]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"out": out, "format": "onnx", "step": 3, "offsets": [0, 3, 6, 9], "smallest": 33}
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert "step 3, scenes of at least 33×33" in capsys.readouterr().out

    camera = CassiCamera(torch.rand(35, 40), bands=BANDS, step=3)
    y = camera.forward(torch.rand(1, BANDS, 35, 40))
    torch.testing.assert_close(
        open_engine(out)(y, camera).cube, network(y, camera).cube.detach(), rtol=1e-4, atol=1e-5
    )


# -- weights straight into an engine ---------------------------------------------------------------------------


@pytest.fixture
def exports(monkeypatch):
    """The exports that were made, as (weights, step)."""
    made = []

    def counted(network, path, format, step=None):
        made.append((network.name, step))
        return export(network, path, format, step)

    monkeypatch.setattr(graph_export, "export", counted)
    return made


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRSDUN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


def check_numbers(network, engine, step=2):
    measurement, camera = example(40, 44, step=step)
    with torch.inference_mode():
        torch.testing.assert_close(engine(measurement, camera).cube, network(measurement, camera).cube)


def test_weights_are_exported_once_for_all_engines(one_layer, exports, cache):
    network, path = one_layer()
    assert first_use(path, "torch") is None
    assert (
        first_use(path, "openvino") == "exporting the weights for openvino, once: this takes up to a minute per stage"
    )
    for engine in ("openvino", "onnxruntime", "openvino"):
        check_numbers(network, open_engine(path, engine))
        assert first_use(path, engine) is None
        assert first_use(path, engine, step=2) is None, "which is what None means"
    assert exports == [(path.name, None)]
    assert len(list(cache.iterdir())) == 1


def test_other_weights_another_dispersion_or_other_code_are_exported_anew(one_layer, exports, cache, monkeypatch):
    network, path = one_layer()
    open_engine(path, "onnxruntime")
    check_numbers(network, open_engine(path, "onnxruntime", step=3), step=3)
    changed, other = one_layer(1)
    other.replace(path)  # under the same name
    check_numbers(changed, open_engine(path, "onnxruntime"))
    assert exports == [(path.name, step) for step in (None, 3, None)]
    monkeypatch.setattr(graph_export, "version", lambda name: "another")
    open_engine(path, "onnxruntime")
    assert len(exports) == 4
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-100], lambda data: data[:500] + b"?" + data[501:], lambda _: b""]
)
def test_a_damaged_graph_is_made_again(one_layer, exports, cache, harm):
    network, path = one_layer()
    open_engine(path, "onnxruntime")
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(harm(whole))
    check_numbers(network, open_engine(path, "onnxruntime"))
    assert len(exports) == 2
    (kept,) = cache.iterdir()
    assert len(kept.read_bytes()) == len(whole)


def test_without_a_cache_weights_are_exported_each_time(one_layer, exports, tmp_path, monkeypatch):
    network, path = one_layer()
    (tmp_path / "file").touch()
    for place in ("", str(tmp_path / "file")):
        monkeypatch.setenv("CRSDUN_CACHE", place)
        check_numbers(network, open_engine(path, "onnxruntime"))
        assert (
            first_use(path, "onnxruntime")
            == "exporting the weights for onnxruntime: this takes up to a minute per stage"
        )
    assert len(exports) == 2
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "file"}


def test_the_command_line_says_that_it_exports(one_layer, cache, tmp_path, capsys):
    _, path = one_layer()
    measurement, camera = example(40, 44)
    np.savez(tmp_path / "y.npz", measurement=measurement[0].numpy(), mask=camera.mask.numpy())
    command = ["reconstruct", str(tmp_path / "y.npz"), "--weights", str(path), "--engine", "openvino", "--out"]
    for out, said in (("first", True), ("second", False)):
        assert main([*command, str(tmp_path / out), "--device", "cpu"]) == 0
        assert ("exporting the weights for openvino, once" in capsys.readouterr().err) is said


@pytest.mark.slow
def test_weights_go_into_an_engine_by_way_of_an_export_apart(tmp_path):
    network = crsdun.create("ssr_1stg", bands=BANDS, width=2).eval()  # exported in half the time of crsdun_1stg
    crsdun.save(network, tmp_path / "network.safetensors")
    assert not isinstance(open_engine(tmp_path / "network.safetensors"), Engine)
    told = []
    engine = open_engine(
        tmp_path / "network.safetensors", "openvino", step=2, progress=lambda done, total: told.append((done, total))
    )
    assert isinstance(engine, Engine)
    assert told == sorted(told)
    assert set(told) == {(done, 4) for done in range(4)}
    measurement, camera = example(40, 40)
    expected = network(measurement, camera)
    np.testing.assert_allclose(engine(measurement, camera).cube, expected.cube.detach(), atol=1e-4)
    assert not multiprocessing.active_children()
