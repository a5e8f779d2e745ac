"""Weights of the authors' released CRSDUN: their parameter names become ours.

Only names and shapes are known here; the frozen identity kernels and index tables of the original, which hold
nothing learnt, are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from crsdun.networks.network import Network
from crsdun.networks.zoo import build
from crsdun.optics import InputError

DROPPED = re.compile(r"\.fn\.(fold|unfold)\.weights$|\.relative_position_index$")

SHARED = {"phi": "dictionary", "s": "recurrence", "w": "analysis", "initial": "initial"}

# net_stage.{3k, 3k+1, 3k+2}: what stage k owns.
STAGE_PARTS = ("cube_network", "refine", "class_network")

SWIN_BLOCK = [
    (r"\bblocks\.(\d+)\.0\.fn\.relative_position_bias_table$", r"\1.attention.position"),
    (r"\bblocks\.(\d+)\.0\.fn\.qkv\b", r"\1.attention.qkv"),
    (r"\bblocks\.(\d+)\.0\.fn\.proj\b", r"\1.attention.out"),
    (r"\bblocks\.(\d+)\.0\.norm\b", r"\1.norm1"),
    (r"\bblocks\.(\d+)\.1\.norm\b", r"\1.norm2"),
    (r"\bblocks\.(\d+)\.1\.fn\b", r"\1.ffn"),
]
CROSS_AGGREGATION_BLOCK = [
    (r"\bblocks\.(\d+)\.0\.fn\.stoken_refine\.qkv\b", r"blocks.\1.attention.refine.qkv"),
    (r"\bblocks\.(\d+)\.0\.fn\.stoken_refine\.proj\b", r"blocks.\1.attention.refine.out"),
    (r"\bblocks\.(\d+)\.0\.norm1\b", r"blocks.\1.norm_pixels"),
    (r"\bblocks\.(\d+)\.0\.norm2\b", r"blocks.\1.norm_classes"),
    (r"\bblocks\.(\d+)\.1\.norm\b", r"blocks.\1.norm"),
    (r"\bblocks\.(\d+)\.1\.fn\b", r"blocks.\1.ffn"),
]
RESIDUAL_BLOCKS = [
    (r"\bSARB\.WSSA\.fn\.to_qkv\b", "attention.qkv"),
    (r"\bSARB\.WSSA\.fn\.to_out\b", "attention.out"),
    (r"\bSARB\.WSSA\.norm\b", "norm1"),
    (r"\bSARB\.FFN\.fn\b", "ffn"),
    (r"\bSARB\.FFN\.norm\b", "norm2"),
    (r"\bSRB\b", "residual"),
    (r"\bCMB\.fn\.to_a\b", "modulation.context"),
    (r"\bCMB\.fn\.to_v\b", "modulation.value"),
    (r"\bCMB\.fn\.to_out\b", "modulation.out"),
    (r"\bCMB\.norm\b", "norm1"),
    (r"\bSAB\.fn\.conv\b", "attention.hidden"),
    (r"\bSAB\.fn\.SW\.0\b", "attention.gate"),
    (r"\bSAB\.fn\.Estimator\.0\b", "attention.map"),
    (r"\bSAB\.fn\.out\b", "attention.out"),
    (r"\bSAB\.norm\b", "norm2"),
    (r"\bffn\.net\.0\b", "ffn.widen"),
    (r"\bffn\.net\.2\b", "ffn.mix"),
    (r"\bffn\.net\.4\b", "ffn.narrow"),
    (r"\bpos\b", "position"),
]
U_NETS = [
    (r"^mask_embedding\.cnn\b", "embed"),
    (r"^mask_embedding\.mask\b", "embed_mask"),
    (r"^embedding\b", "embed"),
    (r"^down([12])\b", r"encoder\1"),
    (r"^downsample([12])\b", r"down\1"),
    (r"^encoder_layers\.0\.0\b", "encoder1"),
    (r"^encoder_layers\.0\.1\b", "down1"),
    (r"^encoder_layers\.1\.0\b", "encoder2"),
    (r"^encoder_layers\.1\.1\b", "down2"),
    (r"^up([12])\b", r"node\1"),
    (r"^upsample([12])\b", r"up\1"),
    (r"^fusion([12])\b", r"fuse\1"),
    (r"^arb([12])\b", r"residual\1"),
    (r"^decoder_layers\.0\.0\b", "up2"),
    (r"^decoder_layers\.0\.1\b", "fuse2"),
    (r"^decoder_layers\.0\.2\b", "node2"),
    (r"^decoder_layers\.1\.0\b", "up1"),
    (r"^decoder_layers\.1\.1\b", "fuse1"),
    (r"^decoder_layers\.1\.2\b", "node1"),
    (r"^(?:theta|x)_emb([12])\b", r"other\1"),
    (r"^mapping\b", "out"),
]


def from_authors(state_dict: Mapping[str, Tensor]) -> Network:
    """The network that a state dict of the authors' checkpoint describes, with its weights.

    Args:
        state_dict: parameter name → tensor as released, with or without the prefix ``module.``; the frozen
            kernels and index tables may be missing. K, C, N and the width are read off the shapes.

    Raises:
        InputError: it is not a CRSDUN state dict, or parameters are missing, unknown or of another shape.
    """
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"expected a state dict (name → tensor), not {type(state_dict).__name__}; read the authors' file with "
            "torch.load(path, weights_only=True)"
        )
    theirs = {key.removeprefix("module."): value for key, value in state_dict.items()}
    theirs = {key: value for key, value in theirs.items() if not DROPPED.search(key)}
    if "phi.weight" not in theirs or "net_stage.0.mask_embedding.cnn.weight" not in theirs:
        raise InputError(
            "this is not a state dict of the authors' CRSDUN (phi.weight or net_stage.0.mask_embedding.cnn.weight "
            "is missing; if it lies inside a checkpoint, pass checkpoint['state_dict']); it starts with "
            + (", ".join(list(theirs)[:3]) or "nothing")
        )
    C, N = theirs["phi.weight"].shape[:2]
    K = len({key.split(".")[1] for key in theirs if key.startswith("para_est.")})
    width = theirs["net_stage.0.mask_embedding.cnn.weight"].shape[0]
    network = build("crsdun", {"bands": C, "classes": N, "stages": K, "width": None if width == C else width})

    ours = {rename(key, theirs): value for key, value in theirs.items()}
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in ours.items()}
    wrong = [key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key)]
    if wrong:
        key = min(wrong)
        raise InputError(
            f"the state dict does not hold a whole CRSDUN of {K} stages, {C} bands and {N} classes: {len(wrong)} "
            f"parameters disagree, such as {key} (expected {expected.get(key)}, given {given.get(key)})"
        )
    network.load_state_dict(
        {key: torch.as_tensor(value).to(torch.get_default_dtype()) for key, value in ours.items()}
    )
    return network


def rename(key: str, theirs: Mapping[str, Tensor]) -> str:
    """Our name of the authors' parameter ``key``; ``theirs`` tells which blocks are cross-aggregation blocks."""
    part, _, rest = key.partition(".")
    if part in SHARED:
        return f"{SHARED[part]}.{rest}"
    index, _, rest = rest.partition(".")
    if part == "para_est":
        return f"stages.{index}.estimate." + re.sub(r"^bias$", "offset", rest)
    if part != "net_stage":
        return key

    cross = f"{key.partition('.blocks.')[0]}.blocks.0.0.norm1.weight" in theirs
    for pattern, name in (CROSS_AGGREGATION_BLOCK if cross else SWIN_BLOCK) + RESIDUAL_BLOCKS + U_NETS:
        rest = re.sub(pattern, name, rest)
    return f"stages.{int(index) // 3}.{STAGE_PARTS[int(index) % 3]}.{rest}"
