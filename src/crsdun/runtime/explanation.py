"""What happens inside a network for one measurement: how the estimate grows, and where cross-aggregation looks.

A pixel belongs to the 3×3 super-tokens around it, to each with a share of Q. Each of these attends to all
super-tokens of the image, and every super-token was gathered from the pixels that belong to it. Following this path
to its end gives the pixels from which a pixel receives, and how much:

    pixel → its 9 super-tokens (association) → all super-tokens (attention) → their pixels (sources)

Legend: C bands · H, W scene · H', W' feature map of a node, padded · h token size there · m number of super-tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.evaluation import cube_metrics
from crsdun.methods import Method, RunOptions
from crsdun.networks.blocks import from_windows, to_windows
from crsdun.networks.super_tokens import SuperTokenAttention, add_from_neighbourhoods, neighbourhoods
from crsdun.runtime.preparation import PreparedMeasurement
from crsdun.runtime.reconstruction import Reconstruction, decode
from crsdun.scenes import Scene

# The names of the attention modules in the networks of the zoo.
PLACE = re.compile(r"(?:.*\.)?stages\.(\d+)\.(cube|class)_network\.node(\d)\.blocks\.(\d+)\.attention")
# Super-tokens whose attention is computed at once: to 1024 others, 4 MB per head.
ROWS = 1024


@dataclass(frozen=True)
class AttentionMaps:
    """Where one block of cross-aggregation looks for a pixel, or for many pixels on average.

    Attributes:
        stage, branch, node, block: as ``CrossAggregationRecord``.
        association: (H,W), its share in the super-token of each cell, 0..1, constant over a cell.
        attention: (H,W), how much its super-tokens attend to that of each cell, mean over heads, relative to uniform
            attention (1), constant over a cell.
        sources: (H,W), how much it receives from each pixel, relative to the same from every pixel (1).
        tokens: effective number of super-tokens that are attended to, 1..m: e to the entropy.
        own_class: mean of ``sources`` over the pixels of its own estimated class (for many pixels, of the most common
            one); 1 is no preference. None if the network does not segment.
    """

    stage: int
    branch: str
    node: int
    block: int
    association: np.ndarray
    attention: np.ndarray
    sources: np.ndarray
    tokens: float
    own_class: float | None = None


class RegionAttention(NamedTuple):
    """Where all blocks look for one pixel or region.

    Attributes:
        title: of the pixel or region, such as ``pixel 12 40`` or ``class real kiwi``.
        region: (H,W) bool, its pixels.
        blocks: one ``AttentionMaps`` for each block, in the order of ``Explanation.blocks``.
    """

    title: str
    region: np.ndarray
    blocks: tuple[AttentionMaps, ...]


@dataclass(frozen=True)
class CrossAggregationRecord:
    """The intermediate results of one block of cross-aggregation for one image.

    Attributes:
        stage: from 1.
        branch: that the block belongs to, ``cube`` or ``class``.
        node: 2 at half of the size, 1 at full size.
        block: from 1.
        association: Q, (m, h², 9): cells row by row, their pixels row by row, their 3×3 super-tokens row by row.
        query, key: of the attention among super-tokens, (heads, m, d/heads) each.
        grid: rows and columns of super-tokens.
        scale: pixels of the scene along the side of a pixel of the node.
        size: (H, W).
    """

    stage: int
    branch: str
    node: int
    block: int
    association: Tensor
    query: Tensor
    key: Tensor
    grid: tuple[int, int]
    scale: int
    size: tuple[int, int]

    @property
    def token(self) -> int:
        """h."""
        return int(self.association.shape[1] ** 0.5)

    @property
    def cell(self) -> int:
        """Pixels of the scene along the side of a super-token's cell."""
        return self.token * self.scale

    def attention(self, rows: slice | Tensor = slice(None)) -> Tensor:
        """softmax(q kᵀ (d/heads)^-½) for some super-tokens or all, (heads, rows, m)."""
        logits = self.query[:, rows] @ self.key.transpose(1, 2)
        return (logits * self.query.shape[-1] ** -0.5).softmax(-1)

    def look(self, weights: Tensor) -> AttentionMaps:
        """Where pixels look on average, with weights (H,W) that sum to 1."""
        h, (rows, columns) = self.token, self.grid
        shape = rows * h, columns * h

        # Per pixel of the node, then how much of each super-token they take: Σ w Q.
        padding = (0, columns * h * self.scale - self.size[1], 0, rows * h * self.scale - self.size[0])
        at_node = F.avg_pool2d(F.pad(weights, padding)[None, None], self.scale, divisor_override=1)
        taken = self._at_tokens(to_windows(at_node, h))

        attended = torch.zeros_like(taken)
        for some in taken.nonzero().flatten().split(ROWS):
            attended += taken[some] @ self.attention(some).mean(0)

        # A super-token is the mean of its pixels, weighted by Q.
        shares = attended / (self._at_tokens(torch.ones_like(self.association[..., :1])) + 1e-12)
        sources = self.association @ neighbourhoods(shares.view(1, 1, rows, columns))
        sources = from_windows(sources, h, *shape)[0, 0] * (shape[0] * shape[1])

        spread = attended / attended.sum().clamp(min=1e-12)
        return AttentionMaps(
            self.stage,
            self.branch,
            self.node,
            self.block,
            self._on_scene(taken.view(rows, columns), self.cell),
            self._on_scene(attended.view(rows, columns) * len(attended), self.cell),
            self._on_scene(sources, self.scale),
            float(torch.special.entr(spread).sum().exp()),
        )

    def _at_tokens(self, pixels: Tensor) -> Tensor:
        """The contributions of pixels (m, h², 1) to their super-tokens, (m,)."""
        return add_from_neighbourhoods(self.association.transpose(1, 2) @ pixels, self.grid).flatten()

    def _on_scene(self, values: Tensor, side: int) -> np.ndarray:
        """Each value repeated over side × side pixels of the scene, without padding: (H,W)."""
        H, W = self.size
        enlarged = values.repeat_interleave(side, 0).repeat_interleave(side, 1)
        return enlarged[:H, :W].cpu().numpy()


class StageEstimate(NamedTuple):
    """The estimate after one stage.

    Attributes:
        scene: x_k, with the classes of θ_k if the stage has a class map.
        figures: ``data_residual``, ``psnr_to_answer_db`` and ``same_class_as_answer`` (not for the last
            stage), and with a true scene ``psnr_db`` and ``miou``.
    """

    scene: Scene
    figures: dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """One forward pass of a network, with its stages and its cross-aggregation.

    Attributes:
        stages: first to last; the last is the result.
        blocks: of cross-aggregation, in the order of computation; empty if the network has none.
        result: what the pass gave, judged as every reconstruction, with the true scene if it was given.
    """

    stages: tuple[StageEstimate, ...]
    blocks: tuple[CrossAggregationRecord, ...]
    result: Reconstruction

    @property
    def answer(self) -> Scene:
        """The estimate of the last stage."""
        return self.stages[-1].scene

    def pixel(self, row: int, column: int) -> RegionAttention:
        """Where each block looks for one pixel of the scene.

        Raises:
            InputError: it lies outside.
        """
        H, W = self.answer.cube.shape[1:]
        if not (0 <= row < H and 0 <= column < W):
            raise InputError(f"the pixel (row, column) = ({row}, {column}) lies outside the scene of {H}×{W} pixels")
        here = np.zeros((H, W), dtype=bool)
        here[row, column] = True
        return self.region(here, f"pixel {row} {column}")

    def of_class(self, name: str | int) -> RegionAttention:
        """Where each block looks on average for the pixels assigned to a class, given by name or number.

        Raises:
            InputError: the network does not segment, there is no such class, or no pixel was assigned to it.
        """
        classes, names = self.answer.classes, self.answer.class_names
        if classes is None:
            raise InputError("this network has no class map", "ask about a pixel instead")
        if names is not None and name in names:
            number = names.index(str(name))
        elif str(name).isdigit():
            number = int(name)
        else:
            known = "numbers from 0 on, since these weights know no names" if names is None else ", ".join(names)
            raise InputError(f"there is no class {name!r}", f"there are {known}")
        members = classes == number
        if not members.any():
            held = ", ".join(str(k) if names is None else names[k] for k in np.unique(classes))
            raise InputError(f"no pixel was taken for class {name}", f"in this scene there are {held}")
        return self.region(members, f"class {name if names is None else names[number]}")

    def region(self, pixels: np.ndarray, title: str = "region") -> RegionAttention:
        """Where each block looks on average for the pixels of a region, (H,W) bool."""
        weights = torch.from_numpy(pixels)
        with torch.inference_mode():
            looks = [block.look(weights.to(block.query) / pixels.sum()) for block in self.blocks]
        classes = self.answer.classes
        if classes is not None:
            own = classes == np.bincount(classes[pixels]).argmax()
            looks = [replace(look, own_class=float(look.sources[own].mean())) for look in looks]
        return RegionAttention(title, pixels, tuple(looks))


def explain(prepared: PreparedMeasurement, method: Method, options: RunOptions | None = None) -> Explanation:
    """Decode with a network, and record what its stages and its cross-aggregation compute.

    The frame is computed whole: each tile would only see its own super-tokens.

    Args:
        prepared: measurement, camera and, if known, the true scene.
        method: a network of weights (.safetensors).
        options: device and precision.

    Raises:
        InputError: as ``decode``, or the inside of the method cannot be recorded.
    """
    if not method.inspectable:
        raise InputError(f"{method.name} shows nothing of what it computes inside", "explain weights (.safetensors)")
    camera = prepared.camera
    options = replace(options or RunOptions(), keep_stages=True)
    with recording(method, (camera.height, camera.width)) as blocks:
        result = decode(prepared, method, options)

    answer, stages = result.stages, []
    assert answer is not None
    for k, (figures, (x, theta)) in enumerate(zip(result.stage_metrics, answer.stages, strict=True)):
        own: dict[str, Any] = {
            name: figures[name] for name in ("data_residual", "psnr_db", "miou") if name in figures
        }
        if k + 1 < len(answer.cubes):
            own["psnr_to_answer_db"] = cube_metrics(x[0], answer.cube[0])["psnr_db"]
            if theta is not None:
                own["same_class_as_answer"] = float((theta.argmax(1) == answer.classes).float().mean())
        scene = replace(
            result.scene,
            cube=np.nan_to_num(x[0].numpy(), posinf=0, neginf=0),
            classes=None if theta is None else theta[0].argmax(0).numpy(),
            class_names=None if theta is None else result.scene.class_names,
            name=f"{result.scene.name}, stage {k + 1}",
        )
        stages.append(StageEstimate(scene, own))
    return Explanation(tuple(stages), tuple(blocks), result)


@contextmanager
def recording(network: Any, size: tuple[int, int]) -> Iterator[list[CrossAggregationRecord]]:
    """Inside the context every block of cross-aggregation that computes an image of ``size`` is recorded."""
    records: list[CrossAggregationRecord] = []

    def record(place: tuple[str, ...], module: SuperTokenAttention, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        X, S0 = inputs
        stage, branch, node, block = place
        pixels, grid = to_windows(X, module.token), (S0.shape[-2], S0.shape[-1])
        Q = module.associate(pixels, S0)
        q, k, _ = module.refine.split(module.gather(pixels, Q, grid))
        records.append(
            CrossAggregationRecord(
                int(stage) + 1,
                branch,
                int(node),
                int(block) + 1,
                association=Q,
                query=q[0],
                key=k[0],
                grid=grid,
                scale=2 ** (int(node) - 1),
                size=size,
            )
        )

    hooks = []
    for name, module in network.named_modules():
        place = PLACE.fullmatch(name)
        if place and isinstance(module, SuperTokenAttention):
            hooks.append(module.register_forward_hook(partial(record, place.groups())))
    try:
        yield records
    finally:
        for hook in hooks:
            hook.remove()
