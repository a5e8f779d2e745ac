"""What is recorded inside a network is what it computes; and the maps made of it say what they promise."""

import time

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.networks.blocks import to_windows
from crsdun.networks.checkpoint import WeightsHeader
from crsdun.networks.super_tokens import SuperTokenAttention
from crsdun.optics import Exposure, ModelCard
from crsdun.runtime import Engine, Preparation, explain, simulate
from crsdun.runtime.explanation import recording
from crsdun.scenes import Scene

H, W, BANDS, CLASSES = 40, 52, 4, 3  # padded to 64×64
NAMES = ("soil", "leaf", "fruit")


def scene(height: int = H, width: int = W) -> Scene:
    rows, columns = np.mgrid[:height, :width]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(BANDS)])
    return Scene(cube, classes=(cube[0] > 0.5).astype(int), class_names=NAMES)


def network(name: str = "crsdun_2stg", **settings) -> crsdun.networks.Network:
    """Fresh weights, made large enough to look somewhere."""
    torch.manual_seed(0)
    made = crsdun.create(name, bands=BANDS, classes=CLASSES, **settings).eval()
    for part in made.modules():
        if isinstance(part, SuperTokenAttention):
            torch.nn.init.normal_(part.refine.qkv.weight)
    made.card = ModelCard(class_names=NAMES if made.config.classes else None)
    made.name = "weights"
    return made


def explained(made: crsdun.networks.Network, seen: Scene | None = None, truth: Scene | None = None):
    seen = scene() if seen is None else seen
    measurement = simulate(seen, Exposure(np.random.default_rng(0).random(seen.cube.shape[1:])))
    return explain(Preparation().prepare(measurement, truth), made)


@pytest.fixture(scope="module")
def explanation():
    return explained(network(), truth=scene())


def dense(block) -> torch.Tensor:
    """Q as a matrix, pixels of the node × super-tokens, pixel by pixel from what was recorded."""
    (rows, columns), h = block.grid, block.token
    matrix = torch.zeros(rows * columns, h * h, rows * columns)
    for cell in range(rows * columns):
        for neighbour in range(9):
            row, column = cell // columns + neighbour // 3 - 1, cell % columns + neighbour % 3 - 1
            if 0 <= row < rows and 0 <= column < columns:
                matrix[cell, :, row * columns + column] = block.association[cell, :, neighbour]
    return matrix.flatten(0, 1)


def on_image(values: torch.Tensor, block) -> np.ndarray:
    """Pixels of the node, cell by cell, as a picture of the scene."""
    (rows, columns), h = block.grid, block.token
    picture = values.view(rows, columns, h, h).permute(0, 2, 1, 3).reshape(rows * h, columns * h).numpy()
    return np.kron(picture, np.ones((block.scale, block.scale)))[:H, :W]


@torch.no_grad()
def test_what_is_recorded_is_what_the_network_computes():
    """The output of every CASTA, rebuilt from the recorded association and attention with dense matrices."""
    made, seen = network(), []
    for module in made.modules():
        if isinstance(module, SuperTokenAttention):
            module.register_forward_hook(lambda m, i, o: seen.append((m, i[0].clone(), o.clone())))
    blocks = explained(made).blocks
    places = [(block.stage, block.branch, block.node, block.block) for block in blocks]
    expected = [("cube", 2, 1), ("cube", 1, 1), ("class", 2, 1), ("class", 2, 2), ("class", 1, 1), ("class", 1, 2)]
    assert places == [(2, *place) for place in expected]
    assert [block.query.shape[0] for block in blocks] == [2, 1, 2, 2, 1, 1]  # heads
    for block, (module, X, output) in zip(blocks, seen, strict=True):
        Q, pixels = dense(block), to_windows(X, block.token).flatten(0, 1)
        S = Q.T @ pixels / Q.sum(0)[:, None]
        v = module.refine.split(S.T.reshape(1, -1, *block.grid))[2][0]
        mixed = (block.attention() @ v).transpose(0, 1).flatten(1)
        S = mixed @ module.refine.out.weight[:, :, 0, 0].T + module.refine.out.bias
        torch.testing.assert_close(Q @ S, to_windows(output, block.token).flatten(0, 1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_maps_say_where_a_pixel_and_a_region_look(explanation):
    region = np.random.default_rng(1).random((H, W)) > 0.7
    for looks in (explanation.pixel(17, 51), explanation.region(region)):
        for block, look in zip(explanation.blocks, looks.blocks, strict=True):
            Q, side = dense(block), block.scale * block.token
            mean = np.zeros((block.grid[0] * side, block.grid[1] * side), dtype=np.float32)
            mean[:H, :W] = looks.region / looks.region.sum()
            at_node = torch.from_numpy(mean).view(1, 1, *mean.shape)
            at_node = torch.nn.functional.avg_pool2d(at_node, block.scale) * block.scale**2
            taken = to_windows(at_node, block.token).flatten() @ Q
            attended = taken @ block.attention().mean(0)
            sources = Q @ (attended / Q.sum(0)) * len(Q)
            of_tokens = taken, attended * len(attended)
            cells = [on_image(each[:, None].expand(-1, block.token**2), block) for each in of_tokens]
            np.testing.assert_allclose(look.association, cells[0], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(look.attention, cells[1], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(look.sources, on_image(sources, block), rtol=1e-4, atol=1e-5)
            assert 1 <= look.tokens <= len(taken) + 1e-3


def test_a_pixel_belongs_to_the_nine_super_tokens_around_it(explanation):
    for look in explanation.pixel(20, 28).blocks:
        assert look.association[8:32, 16:40].min() > 0
        assert (
            look.association.sum()
            == pytest.approx(look.association[8:32, 16:40].sum())
            == pytest.approx(64, rel=1e-4)
        )  # shares sum to 1, each drawn over 8×8 pixels


def test_a_class_is_all_its_pixels_at_once(explanation):
    number = int(np.bincount(explanation.answer.classes.ravel()).argmax())
    by_name, by_number = explanation.of_class(NAMES[number]), explanation.of_class(number)
    assert by_name.title == by_number.title == f"class {NAMES[number]}"
    members = explanation.answer.classes == number
    assert np.array_equal(by_name.region, members)
    for a, b in zip(by_name.blocks, explanation.region(members).blocks, strict=True):
        assert np.array_equal(a.attention, b.attention)
        assert a.own_class == pytest.approx(a.sources[members].mean())


@torch.no_grad()
def test_recording_changes_nothing_and_leaves_nothing_behind():
    made, camera = network(), crsdun.CassiCamera(np.ones((H, W)), bands=BANDS)
    y = camera.forward(torch.rand(1, BANDS, H, W))
    plain = made(y, camera)
    with recording(made, (H, W)) as blocks:
        recorded = made(y, camera)
    assert len(blocks) == 6
    assert all(map(torch.equal, plain.cubes + plain.logits, recorded.cubes + recorded.logits))
    made(y, camera)
    assert len(blocks) == 6


def test_stages_grow(explanation):
    first, last = explanation.stages
    assert first.figures.keys() == {"data_residual", "psnr_to_answer_db", "same_class_as_answer", "psnr_db", "miou"}
    assert last.figures.keys() == {"data_residual", "psnr_db", "miou"}
    assert explanation.answer is last.scene
    same = (first.scene.classes == last.scene.classes).mean()
    assert first.figures["same_class_as_answer"] == pytest.approx(same)
    psnr = -10 * np.log10(np.square(first.scene.cube - last.scene.cube).mean())
    assert first.figures["psnr_to_answer_db"] == pytest.approx(psnr, rel=1e-4)
    assert explanation.result.record["method"] == "weights"


@pytest.mark.parametrize(
    ("name", "settings", "branches"),
    [
        ("crsdun_2stg", {"cross_cube": False}, {"class"}),
        ("crsdun_2stg", {"cross_class": False}, {"cube"}),
        ("crsdun_1stg", {}, set()),
        ("ssr_2stg+seg", {"segmenter": {"stages": 1}}, set()),
        ("mstpp", {"bodies": 1}, set()),
    ],
)
def test_networks_show_what_they_have(name, settings, branches):
    found = explained(network(name, **settings))
    assert {block.branch for block in found.blocks} == branches
    assert found.pixel(3, 4).blocks or not branches
    maps = [stage.scene.classes is not None for stage in found.stages]
    assert maps == {"ssr_2stg+seg": [False, True], "mstpp": [False]}.get(name, [True] * len(maps))


def test_another_pixel_is_quick():
    found = explained(network(), scene(256, 256))
    found.pixel(1, 1)
    start = time.process_time()
    found.pixel(100, 120)
    assert time.process_time() - start < 0.1


def test_questions_without_an_answer_are_refused(explanation):
    with pytest.raises(InputError, match=r"\(40, 0\) lies outside the scene of 40×52"):
        explanation.pixel(H, 0)
    with pytest.raises(InputError, match="no class 'stone'; there are soil, leaf, fruit"):
        explanation.of_class("stone")
    with pytest.raises(InputError, match="no pixel was taken for class 7; in this scene there are"):
        explanation.of_class(7)
    with pytest.raises(InputError, match="no class map; ask about a pixel"):
        explained(network("mstpp", bodies=1)).of_class("soil")


def test_an_exported_network_hides_its_inside():
    made = network("crsdun_1stg")
    header = WeightsHeader.of(made, export={})
    with pytest.raises(InputError, match=r"explain weights \(\.safetensors\)"):
        explained(Engine("onnxruntime", header, lambda frame, mask: []))
