"""What the documentation tells a person to type is typed here, in a folder that holds the files it speaks of.

A page is gone through from top to bottom, and the language of a block says what it is: without one it holds
commands, each of which must run or stand in ``NOT_RUN`` with the reason; ``python`` blocks are programs and run too;
``yaml`` is a file, ``text`` something that was printed.
"""

import json
import re
import shlex
import shutil
import signal
import sys
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import crsdun
from crsdun.cli import main, parser
from crsdun.networks import find_weights
from crsdun.networks.zoo import KINDS, NAMES
from crsdun.optics import CameraRandomisation, Exposure, nbk7_wavelengths, random_mask
from crsdun.runtime import Preparation, simulate
from crsdun.scenes import Scene, write_arrays, write_measurement, write_scene
from crsdun.scenes.catalog import DATASETS
from crsdun.scenes.produce import CLASS_NAMES, ProduceSet, dataset
from crsdun.solvers import SOLVERS, create_solver
from crsdun.training import config_from
from crsdun.training.config import CameraConfig
from crsdun.training.losses import CUBE_LOSSES
from tests.networks.examination import NetworkExamination
from tests.networks.stand_in_hub import in_place_of_the_hub
from tests.networks.stored import checkpoint
from tests.optics.simulated_calibration import DARK, simulated
from tests.scenes.datasets import made_scene, write_release
from tests.scenes.examination import SetExamination

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Command → why it is not run. What it gives to crsdun must still be something that can be typed.
NOT_RUN = {
    "make demo": "tests/cli/test_cli.py runs what it calls, crsdun demo",
    "make test": "this is it",
    "crsdun export weights.safetensors --format onnx --out weights.onnx": (
        "takes half a minute; tests/runtime/test_graph_export.py does it once for all formats"
    ),
    "crsdun reconstruct y.npz --weights weights.onnx --engine onnxruntime --out result": "the same",
    "crsdun reconstruct big.zarr --large --mask tile.npy --repeat-mask --bands 28 --out strip": (
        "tests/cli/test_large.py does it with a smaller mask"
    ),
    "crsdun table configs/table_main_fvgnet.yaml data.source=produce23 steps=3 'sampling.crop=[64,128]' "
    "sampling.batch=1 sampling.workers=0 train.validation.every=3 train.validation.scenes=1 scenes=2 out=runs/try": (
        "takes two minutes"
    ),
    "torchrun --nproc_per_node=4 -m crsdun train configs/crsdun_3stg_fvgnet.yaml": (
        "needs FVgNET and GPUs; tests/training/test_distributed.py lets processes share a batch"
    ),
    "crsdun cost crsdun_3stg --size 512 512 --bands 31 --classes 10 --measure": (
        "half a minute of arithmetic; tests/cli/test_cost.py measures a small one"
    ),
    "crsdun app": "listens until it is interrupted; tests/viewing/test_app.py and test_app_browser.py talk to it",
    "crsdun app result": "the same",
    "crsdun app y.npz mask.mat truth.npz weights.safetensors": "the same",
    "crsdun app result/ other-result/": "the same",
    **{
        f"crsdun table configs/table_main_small.yaml {more}": "hours; tests/experiments/test_tables.py has small rows"
        for more in (
            "jobs=2",
            "--differences CRSDUN-3stg",
            "--equal-time",
            "--conditions",
            "--curves",
            "--pictures 3",
        )
    },
    "crsdun serve crsdun_small": "listens until it is interrupted; tests/service/test_service.py talks to one",
    "crsdun serve crsdun_small --camera lab=camera.npz --camera roof=second.npz": "the same",
    "crsdun serve lr-tv --mask mask.png --wavelengths 450-650:28 --bits 12 --port 9000": "the same",
    "crsdun table solvers": "half an hour; the page runs it on a scene of its own, below",
    "crsdun table solvers --rows lr-tv,gap-tv": "the same",
    "napari result --plugin=crsdun": "opens a window; tests/interop/napari does so",
    "napari y.npz --plugin=crsdun": "the same",
    "crsdun reconstruct captures/ --mask mask.npy --out results --on ray": (
        "starts Ray, half a minute; tests/cluster shares batches, evaluations and tables among two nodes"
    ),
    "crsdun reconstruct captures/ --mask mask.npy --out results --on ray --workers 4 --threads 2": "the same",
    "crsdun evaluate weights.safetensors produce --out evaluation --on ray": "the same",
    "crsdun table solvers --on ray": "the same",
    "RAY_USAGE_STATS_ENABLED=0 ray start --head --port 6379": "needs machines; tests/cluster has two nodes",
    "RAY_USAGE_STATS_ENABLED=0 ray start --address 10.0.0.1:6379": "the same",
    "crsdun reconstruct '/shared/captures/*.npz' --mask /shared/mask.npy --out /shared/results "
    "--on ray:10.0.0.1:6379": "the same",
    "crsdun reconstruct 's3://bucket/frames/*.npz' --mask s3://bucket/mask.npy --out s3://bucket/results": (
        "needs a bucket; tests/cluster/test_commands.py has one"
    ),
    "crsdun reconstruct 's3://bucket/frames/*.npz' --mask s3://bucket/mask.npy --out s3://bucket/results "
    "--on ray:auto": "the same",
    "python -m crsdun.training.denoiser runs/denoiser": "hours; tests/training/test_denoiser.py takes steps",
    "pip install torch --index-url https://download.pytorch.org/whl/cpu": (
        "what is installed here must stay; tests/test_packaging.py builds the wheel and reads it"
    ),
    "pip install '.[app,classes]'": "the same",
    "pip install '/home/you/crsdun[app,classes]'": "the same",
    "pip install 'crsdun[app,classes] @ git+file:///home/you/crsdun@main'": "the same",
    "pip install 'crsdun[app,classes] @ git+https://git.example.org/you/crsdun.git@main'": "the same",
    "make wheel": "the same",
    "pip install 'dist/crsdun-0.1.0-py3-none-any.whl[app,classes]'": "the same",
    "pip install -c constraints.txt '.[app,classes]'": "the same",
    "make sbom": "installs everything once more",
    "rattler-build build --recipe packaging/conda --channel conda-forge": (
        "needs conda-forge; tests/test_packaging.py compares the recipe with pyproject.toml"
    ),
    "docker build -f containers/cpu.Dockerfile -t crsdun:cpu .": (
        "needs a container engine; tests/test_packaging.py reads the file"
    ),
    "docker run --rm -v '$PWD:/data' crsdun:cpu reconstruct meas.mat --mask mask.mat --out result": "the same",
    "torchrun --nnodes=2 --nproc_per_node=4 --rdzv_backend=c10d --rdzv_endpoint=first:29500 "
    "-m crsdun train configs/crsdun_3stg_fvgnet.yaml": "the same on two machines",
}

# Page → the word by which programs are known that another test runs, since they need what is not installed here.
ELSEWHERE = {"interop.md": "deepinv"}  # tests/interop/test_deepinv.py

# What is typed behind a command here, so that it takes seconds and may replace what the command before it left.
SHORTER = {
    "reconstruct": ("--overwrite",),
    "evaluate": ("--overwrite", "--first", "2"),
    "simulate": ("--overwrite",),
    "classes": ("--overwrite",),
    "calibrate": ("--overwrite",),
    "explain": ("--overwrite",),
    "report": ("--overwrite",),
    "figure": ("--overwrite",),
    "table": ("first=1", "noise=[{}]"),
    "train": (
        "network={name: crsdun_1stg, settings: {width: 4}}", "sampling.crop=[32, 32]", "sampling.batch=1",
        "optimiser.warm_up=0", "steps=2", "validation.scenes=1",
    ),
}  # fmt: skip
DEFAULT_SOLVER = ("--iterations", "2")
FEW_SCENES = {"train": 4, "validation": 1, "test": 4}  # of Produce-23
SECONDS = 600  # after which a command is taken to wait for something

BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# -- the folder ------------------------------------------------------------------------------------------------------

H, W, BANDS = 40, 48, 28


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with everything that the pages name."""
    folder = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs").symlink_to(ROOT / "configs")
        write_measurements()
        write_data()
        write_weights()
    return folder


def write_measurements() -> None:
    mask = random_mask(H, W)
    np.save("mask.npy", mask)
    write_arrays("mask.mat", {"mask": mask}, {})
    Image.fromarray((255 * mask).astype(np.uint8)).save("mask.png")
    Path("captures").mkdir()
    Path("scenes").mkdir()
    rows, columns = np.mgrid[:H, :W]
    for phase, path in enumerate(("y.npz", "large.npz", "more.npz", "captures/one.mat", "captures/two.mat")):
        cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + phase + band / 9) for band in range(BANDS)])
        scene = Scene(cube, wavelengths=nbk7_wavelengths())
        measurement = simulate(scene, Exposure(mask))
        write_measurement(measurement, path)
        write_scene(scene, f"scenes/{Path(path).stem}.npz")
    rows = [f"{row},{column},{name}" for name, column in (("leaf", 9), ("fruit", 30)) for row in (5, 15, 25, 35)]
    Path("points.csv").write_text("\n".join(["row,column,class", *rows]))
    write_arrays("meas.mat", {"meas_real": measurement.frame}, {})
    np.save("large.npy", measurement.frame)
    np.save("video.npy", np.stack([measurement.frame] * 3))
    counts = 64 + measurement.frame / BANDS * 4000
    for name, frame in (("frame", counts), ("dark", 0 * counts + 64), ("flat", 0 * counts + 4064)):
        Image.fromarray(frame.round().astype(np.uint16)).save(f"{name}.tif")


def write_data() -> None:
    """A copy of FVgNET, the folders of ``orchard.yaml`` in docs/data.md, and one with the classes of Produce-23."""
    write_release(Path("fvgnet"))
    colours = np.array([[0, 0, 0], [0, 128, 0], [192, 0, 0]], dtype=np.uint8)
    for folder in ("cubes", "labels", "mine/cubes", "mine/labels"):
        Path(folder).mkdir(parents=True)
    for index in range(10):
        cube, classes = made_scene(index, 26, 3)
        np.save(f"cubes/tree_{index}.npy", cube)
        Image.fromarray(colours[classes]).save(f"labels/tree_{index}.png")
        cube, classes = made_scene(index, BANDS)
        np.save(f"mine/cubes/{index}.npy", cube)
        np.save(f"mine/labels/{index}.npy", classes)
    mine = {
        "cubes": "mine/cubes/{name}.npy",
        "labels": "mine/labels/{name}.npy",
        "wavelengths": "nbk7",
        "classes": list(CLASS_NAMES),
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
    }
    for name in ("mine.yaml", "my_data.yaml"):
        Path(name).write_text(yaml.safe_dump(mine))


def write_weights() -> None:
    torch.manual_seed(0)
    for name, system in (("weights", "crsdun_1stg"), ("ssr", "ssr_1stg"), ("seg", "seg_1stg")):
        network = crsdun.create(system, bands=BANDS, classes=len(CLASS_NAMES), width=4)
        names = CLASS_NAMES if network.config.classes else None
        crsdun.save(network, f"{name}.safetensors", wavelengths=nbk7_wavelengths(), class_names=names, step=2)
    torch.save(checkpoint("ssr_9stg"), "ssr_9stg.pth")


@pytest.fixture(scope="module")
def few_scenes() -> Iterator[None]:
    """Produce-23 with few of its scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SCENES", FEW_SCENES)
        frozen = {split: hashes[: FEW_SCENES[split]] for split, hashes in dataset.frozen_hashes().items()}
        patch.setattr(dataset, "frozen_hashes", lambda: frozen)
        yield


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory) -> Iterator[None]:
    """A stand-in for the Hugging Face Hub, where pages publish weights."""
    with pytest.MonkeyPatch.context() as patch, in_place_of_the_hub(patch, tmp_path_factory.mktemp("hub")):
        yield


@pytest.fixture
def program(monkeypatch) -> ModuleType:
    """The module in which the programs of a page run; before, it has what pages take for granted."""
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for table in (KINDS, NAMES, SOLVERS, CUBE_LOSSES, DATASETS):  # what a page registers goes again with it
        monkeypatch.setattr(table, "_rows", dict(table._rows))
    camera = crsdun.CassiCamera(random_mask(H, W), wavelengths=nbk7_wavelengths())
    cube = torch.rand(1, BANDS, H, W)
    given = {"mask": camera.mask, "wavelengths": camera.wavelengths, "cube": cube, "camera": camera}
    vars(module).update(given, measurement=camera.forward(cube))
    return module


def before_evaluation(program: ModuleType) -> None:
    np.save("mask.npy", random_mask(256, 256))  # there it stands before the scenes of Produce-23


def before_explain(program: ModuleType) -> None:
    """A measurement of produce, and a network that looks around."""
    scene = ProduceSet("test")[3]
    program.measurement = simulate(scene, Exposure())
    program.camera = Preparation().camera_for(program.measurement)
    program.network = crsdun.load("crsdun_tiny")
    Path("y.npz").unlink()  # the one of all other pages
    write_measurement(program.measurement, "y.npz")
    shutil.copy(find_weights("crsdun_tiny"), "weights.safetensors")


def before_reports(program: ModuleType) -> None:
    """The folders that reports are made of."""
    before_explain(program)
    write_scene(ProduceSet("test")[3], "scene.npz")
    for made in (
        "reconstruct y.npz --out result",
        "reconstruct y.npz --method gap-tv --truth scene.npz --out result/gap-tv",
        "reconstruct y.npz --weights weights.safetensors --truth scene.npz --out result/mine",
        "evaluate gap-tv produce --out results/gap-tv",
        "evaluate weights.safetensors produce --out results/mine",
        "train configs/crsdun_tiny_produce.yaml data.source=mine.yaml out=runs/first",
        "train configs/crsdun_tiny_produce.yaml data.source=mine.yaml out=runs/second",
    ):
        run(f"crsdun {made}")


def before_your_camera(program: ModuleType) -> None:
    """The frames of a calibration, and one of a scene."""
    made = simulated(6, (H, W))
    Path("mask_frames").mkdir()
    for frame, name in zip(made.taken.frames, made.taken.names, strict=True):
        Image.fromarray(frame).save(f"mask_frames/mask_{name.replace(' ', '')}.tif")
    Image.fromarray(made.taken.dark).save("mask_dark.tif")
    Image.fromarray((64 + 4000 * random_mask(H, W)).astype(np.uint16)).save("mask.tif")
    light = made.camera.forward(torch.full((6, H, W), 0.5)).numpy()
    Image.fromarray((DARK + 500 * light).round().astype(np.uint16)).save("my_frame.tif")


# What a page takes for granted besides.
BEFORE = {
    "evaluation.md": before_evaluation,
    "explain.md": before_explain,
    "reports.md": before_reports,
    "your_camera.md": before_your_camera,
}


# -- reading and typing ----------------------------------------------------------------------------------------------


def commands(block: str) -> list[str]:
    """The commands of a block without comments, each in one line."""
    lines = [shlex.join(shlex.split(line, comments=True)) for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def run(command: str) -> None:
    """Type a command; anything but success is an error."""
    words = shlex.split(command)
    if words[0] == "crsdun":
        more = SHORTER.get(words[1], ())
        if words[1] in ("reconstruct", "evaluate") and SOLVERS.keys() & set(words):
            more += DEFAULT_SOLVER
        # Changes of a configuration stand before options; of an option given twice the last one counts.
        options = [place for place, word in enumerate(words) if word.startswith("--")] or [len(words)]
        place = options[0] if words[1] in ("train", "table") else len(words)
        assert main([*words[1:place], *more, *words[place:]]) == 0
    elif words[:3] == ["python", "-m", "timeit"]:
        timeit.main(words[3:])
    else:
        pytest.fail("nobody knows how to run it here: teach `run`, or give the reason in NOT_RUN")


@contextmanager
def named(page: Path, what: str) -> Iterator[None]:
    """Failures of a part of a page say which it was; a part that waits for ever fails too."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} seconds; one that waits for a person belongs into NOT_RUN")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    except (Exception, SystemExit, pytest.fail.Exception) as error:
        raise AssertionError(f"{page.relative_to(ROOT)}: {what}: {error}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# -- the pages -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub 2.4 uploads so
@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_on_a_page_works(page, prepared, program, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "folder", symlinks=True))
    BEFORE.get(page.name, lambda program: None)(program)
    for language, text in BLOCK.findall(page.read_text()):
        if language == "":
            for command in commands(text):
                if command not in NOT_RUN:
                    with named(page, command):
                        run(command)
        elif language == "python":
            if page.name in ELSEWHERE and ELSEWHERE[page.name] in text:
                continue
            with named(page, text):
                exec(compile(text, page.name, "exec"), vars(program))
        elif language == "yaml":
            described = yaml.safe_load(text)
            if "name" in described:
                Path(f"{described['name']}.yaml").write_text(text)
        else:
            assert language == "text", f"{page.name} has a block of {language}; see the top of this file"


def test_what_is_not_run_is_there_and_can_be_typed():
    blocks = [text for page in PAGES for language, text in BLOCK.findall(page.read_text()) if language == ""]
    assert {command for text in blocks for command in commands(text)} >= NOT_RUN.keys()
    for command in NOT_RUN:
        words = shlex.split(command)
        if "crsdun" in words:
            assert callable(parser().parse_args(words[words.index("crsdun") + 1 :]).run)


def test_commands_in_sentences_exist():
    spans = [span for page in PAGES for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text()))]
    help_of_all = parser().format_help()
    for span in spans:
        words = span.split()
        if words[0] == "crsdun" and len(words) > 1 and words[1].islower():
            assert re.search(rf"^ +{words[1]}( |$)", help_of_all, re.MULTILINE), span
        for word in words[1:] if words[0] in ("python", "pytest") else ():
            assert not word.endswith(".py") or (ROOT / word).is_file(), span


def test_the_settings_of_lr_tv_are_those_of_the_page():
    page = (ROOT / "docs" / "solvers.md").read_text()
    told: dict[str, dict[str, str]] = {"normal": {}, "high": {}}
    for names, *values in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE):
        for effort, text in zip(told, values, strict=True):
            told[effort] |= dict(zip(re.findall(r"\w+", names), text.split(", "), strict=True))
    for effort, settings in told.items():
        expected = {name: str(value) for name, value in create_solver("lr-tv", effort).settings.items()}
        assert settings == {name: expected[name] for name in expected if name not in ("inner", "relaxation")}


def test_the_keys_of_random_cameras_are_those_of_the_page():
    page = (ROOT / "docs" / "training.md").read_text()
    section = re.search(r"## Behind any camera\n(.*?)\n## ", page, re.DOTALL)[1]
    told = {}
    for names, values in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", section, re.MULTILINE):
        told |= dict(zip(re.findall(r"\w+", names), yaml.safe_load(f"[{values}]"), strict=True))
    assert told == json.loads(json.dumps(asdict(CameraRandomisation())))
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])
    assert config_from(example["camera"], CameraConfig).random.steps == (1, 2)


def test_a_command_that_was_added_is_seen():
    text = "So:\n```\ncrsdun new a.npz \\\n    --out 'b c'   # and look\n\n# or\nmake it\n```\n\n```text\nmade\n```\n"
    assert [(language, commands(block)) for language, block in BLOCK.findall(text)] == [
        ("", ["crsdun new a.npz --out 'b c'", "make it"]),
        ("text", ["made"]),
    ]
    with pytest.raises(SystemExit):
        run("crsdun new a.npz")
    with pytest.raises(pytest.fail.Exception, match="nobody knows how to run it"):
        run("ls")


# -- docs/extending.md -----------------------------------------------------------------------------------------------


@pytest.fixture
def extended(program) -> ModuleType:
    """The programs of the page, as one module."""
    for language, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        assert language == "python"
        exec(text, vars(program))
    return program


class TestTheDataSetOfThePage(SetExamination):
    @pytest.fixture
    def scenes(self, extended, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("mine/test").mkdir(parents=True)
        for index in range(3):
            cube, classes = made_scene(index, 4, 3)
            scene = Scene(cube, (450, 500, 550, 600), classes, ("soil", "leaf", "fruit"), f"tree_{index}")
            write_scene(scene, f"mine/test/{scene.name}.npz")
        return extended.TestStored.scenes.__wrapped__(None)


class TestTheNetworkOfThePage(NetworkExamination):
    name, settings = "sharpener", {}
    stages, segmented = 1, 0

    @pytest.fixture(autouse=True)
    def added(self, extended):
        theirs = vars(extended.TestSharpener)
        assert {key: theirs[key] for key in ("name", "settings", "stages", "segmented")} == {
            "name": self.name, "settings": self.settings, "stages": self.stages, "segmented": self.segmented,
        }  # fmt: skip

    def test_it_joins_the_segmenter(self):
        network = crsdun.create("sharpener+seg", bands=4, classes=3, segmenter={"stages": 1, "width": 4})
        camera = self.camera()
        assert network(self.measure(camera)[1], camera).classes.shape == (1, 32, 32)
