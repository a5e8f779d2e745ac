"""Weights as the authors of the networks release them: their parameter names become ours.

Only names and shapes are known here; what holds nothing learnt (CRSDUN's frozen identity kernels, index tables) is
dropped. The sizes of a network are read off the shapes, its stages off the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.network import Network
from crsdun.networks.zoo import build

Rules = list[tuple[str, str]]  # pattern → name, applied one after the other

DROPPED = re.compile(r"\.fn\.(fold|unfold)\.weights$|\.relative_position_index$")

SWIN_BLOCK: Rules = [
    (r"\bblocks\.(\d+)\.0\.fn\.relative_position_bias_table$", r"\1.attention.position"),
    (r"\bblocks\.(\d+)\.0\.fn\.qkv\b", r"\1.attention.qkv"),
    (r"\bblocks\.(\d+)\.0\.fn\.proj\b", r"\1.attention.out"),
    (r"\bblocks\.(\d+)\.0\.norm\b", r"\1.norm1"),
    (r"\bblocks\.(\d+)\.1\.norm\b", r"\1.norm2"),
    (r"\bblocks\.(\d+)\.1\.fn\b", r"\1.ffn"),
]
CROSS_AGGREGATION_BLOCK: Rules = [
    (r"\bblocks\.(\d+)\.0\.fn\.stoken_refine\.qkv\b", r"blocks.\1.attention.refine.qkv"),
    (r"\bblocks\.(\d+)\.0\.fn\.stoken_refine\.proj\b", r"blocks.\1.attention.refine.out"),
    (r"\bblocks\.(\d+)\.0\.norm1\b", r"blocks.\1.norm_pixels"),
    (r"\bblocks\.(\d+)\.0\.norm2\b", r"blocks.\1.norm_classes"),
    (r"\bblocks\.(\d+)\.1\.norm\b", r"blocks.\1.norm"),
    (r"\bblocks\.(\d+)\.1\.fn\b", r"blocks.\1.ffn"),
]
RESIDUAL_BLOCKS: Rules = [
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
    (r"\bpos\b", "position"),
]
SPECTRAL_TRANSFORMER_BLOCK: Rules = [
    (r"\bblocks\.0\.0\.rescale$", "attention.scale"),
    (r"\bblocks\.0\.0\.to_q\b", "attention.query"),
    (r"\bblocks\.0\.0\.to_k\b", "attention.key"),
    (r"\bblocks\.0\.0\.to_v\b", "attention.value"),
    (r"\bblocks\.0\.0\.proj\b", "attention.out"),
    (r"\bblocks\.0\.0\.pos_emb\b", "attention.position"),
    (r"\bblocks\.0\.1\.norm\b", "norm"),
    (r"\bblocks\.0\.1\.fn\b", "ffn"),
]
FEED_FORWARD: Rules = [
    (r"\bffn\.net\.0\b", "ffn.widen"),
    (r"\bffn\.net\.2\b", "ffn.mix"),
    (r"\bffn\.net\.4\b", "ffn.narrow"),
]
U_NETS: Rules = [
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
RCUMP_STAGE: Rules = [
    *((rf"^rcb\.conv{i + 1}\.0\b", f"completion.chain.{i}") for i in range(5)),
    *((rf"^rcb\.omega{i + 1}$", f"completion.omega.{i}") for i in range(5)),
    (r"^rcb\.", "completion."),
    (r"^Ublock\.", "network."),
    (r"\bconv_in1\b", "embed"),
    (r"\bconv_in2\b", "embed_mask"),
    (r"\bconv_out1\b", "out"),
    *((rf"\bdown{i + 1}\b", f"encoder.{i}") for i in range(3)),
    (r"\bbottleneck\b", "encoder.3"),
    *((rf"\bdownsample{i + 1}\.conv\.0\b", f"down.{i}") for i in range(3)),
    *((rf"\bdownsample{i + 1}_mask\.downsmaple\.0\b", f"down_mask.{i}") for i in range(3)),
    *((rf"\bup{i + 1}\b", f"decoder.{i}") for i in range(3)),
    *((rf"\bupsample{i + 1}\.conv\.0\b", f"up.{i}") for i in range(3)),
    (r"\bSSRB\b", "data"),
    (r"\bmask_branch\.conv1\b", "mask"),
    # A convolution and its norm stand side by side there, as a pair here.
    *((rf"\bspectral\.{i}\b", f"around.{i // 3 * 2}.{i % 3}") for i in (0, 1, 3, 4)),
    *((rf"\bspatial\.{i}\b", f"point.{i // 3 * 2}.{i % 3}") for i in (0, 1, 3, 4)),
    (r"\bpara_estimator\b", "threshold"),
    (r"\bdown_sample\b", "down"),
    (r"(^|threshold\.)bias$", r"\1offset"),
]


class Release(NamedTuple):
    """What the authors of a network publish.

    Attributes:
        title: its name.
        signs: keys that every such state dict has.
        settings: of our network, from the state dict.
        rename: our name of a key; the state dict tells what else there is.
    """

    title: str
    signs: tuple[str, ...]
    settings: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    rename: Callable[[str, Mapping[str, Tensor]], str]


def from_published(system: str, state_dict: Mapping[str, Tensor]) -> Network:
    """The network that a state dict of a public checkpoint describes, with its weights, in evaluation mode.

    Args:
        system: ``crsdun``, ``ssr``, ``rcump``, ``mstpp`` (of the MST toolbox for CASSI) or ``seg``.
        state_dict: parameter name → tensor as released, with or without the prefix ``module.``; frozen kernels and
            index tables may be missing.

    Raises:
        InputError: it is no such state dict, or parameters are missing, unknown or of another shape.
    """
    if system not in RELEASES:
        raise InputError(
            f"there is no reader for published weights of {system!r}", f"there are {', '.join(RELEASES)}"
        )
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"expected a state dict (name → tensor), not {type(state_dict).__name__}",
            "read the authors' file with torch.load(path, weights_only=True)",
        )
    release = RELEASES[system]
    theirs = {key.removeprefix("module."): value for key, value in state_dict.items()}
    theirs = {key: value for key, value in theirs.items() if not DROPPED.search(key)}
    if not all(sign in theirs for sign in release.signs):
        raise InputError(
            f"this is not a state dict of the authors' {release.title} ({' or '.join(release.signs)} is missing; if "
            "it lies inside a checkpoint, pass checkpoint['state_dict']); it starts with "
            + (", ".join(list(theirs)[:3]) or "nothing")
        )
    settings = release.settings(theirs)
    network = build(system, settings)

    ours = {release.rename(key, theirs): value for key, value in theirs.items()}
    # A scalar may come without the axes that it is spread over.
    ours = {key: value.reshape(-1, 1, 1) if key.endswith("estimate.offset") else value for key, value in ours.items()}
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in ours.items()}
    wrong = [key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key)]
    if wrong:
        key = min(wrong)
        sizes = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        raise InputError(
            f"the state dict does not hold a whole {release.title} ({sizes}): {len(wrong)} parameters disagree, such "
            f"as {key} (expected {expected.get(key)}, given {given.get(key)})"
        )
    network.load_state_dict(
        {key: torch.as_tensor(value).to(torch.get_default_dtype()) for key, value in ours.items()}
    )
    return network.eval()


# -- CRSDUN ----------------------------------------------------------------------------------------------------

SHARED = {"phi": "dictionary", "s": "recurrence", "w": "analysis", "initial": "initial"}

# net_stage.{3k, 3k+1, 3k+2}: what stage k owns.
STAGE_PARTS = ("cube_network", "refine", "class_network")


def crsdun_settings(theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    C, N = theirs["phi.weight"].shape[:2]
    stages = count(theirs, r"^para_est\.(\d+)\.")
    return {"bands": C, "classes": N, "stages": stages, "width": width_of(theirs[MASK_EMBEDDING], C)}


def rename(key: str, theirs: Mapping[str, Tensor]) -> str:
    """Our name of a parameter of CRSDUN; ``theirs`` tells which blocks are cross-aggregation blocks."""
    part, _, rest = key.partition(".")
    if part in SHARED:
        return f"{SHARED[part]}.{rest}"
    index, _, rest = rest.partition(".")
    if part == "para_est":
        return f"stages.{index}.estimate." + re.sub(r"^bias$", "offset", rest)
    if part != "net_stage":
        return key

    cross = f"{key.partition('.blocks.')[0]}.blocks.0.0.norm1.weight" in theirs
    block = CROSS_AGGREGATION_BLOCK if cross else SWIN_BLOCK
    rest = apply([*block, *RESIDUAL_BLOCKS, *FEED_FORWARD, *U_NETS], rest)
    return f"stages.{int(index) // 3}.{STAGE_PARTS[int(index) % 3]}.{rest}"


# -- the parts of the two-stage systems ------------------------------------------------------------------------

MASK_EMBEDDING = "net_stage.0.mask_embedding.cnn.weight"


def ssr_settings(theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    C = len(theirs["initial.weight"])
    return {"bands": C, "stages": count(theirs, r"^rhos\.(\d+)\."), "width": width_of(theirs[MASK_EMBEDDING], C)}


def rename_ssr(key: str, theirs: Mapping[str, Tensor]) -> str:
    part, _, rest = key.partition(".")
    index, _, rest = rest.partition(".")
    if part == "rhos":
        return f"stages.{index}.estimate." + re.sub(r"^bias$", "offset", rest)
    if part != "net_stage":
        return key
    owner = STAGE_PARTS[int(index) % 2]
    return f"stages.{int(index) // 2}.{owner}." + apply([*RESIDUAL_BLOCKS, *FEED_FORWARD, *U_NETS], rest)


def rcump_settings(theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "bands": len(theirs["fusion.weight"]),
        "stages": count(theirs, r"^net_stage\.(\d+)\.rcb\."),
        "width": len(theirs["net_stage.0.Ublock.conv_in1.weight"]),
    }


def rename_rcump(key: str, theirs: Mapping[str, Tensor]) -> str:
    part, _, rest = key.partition(".")
    if part != "net_stage":
        return apply([(r"^fusion\b", "initial")], key)
    index, _, rest = rest.partition(".")
    owner = "step." if int(index) % 2 else ""
    return f"stages.{int(index) // 2}.{owner}" + apply(RCUMP_STAGE, rest)


def mstpp_settings(theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    C = len(theirs["fution.weight"])
    bodies = count(theirs, r"^body\.(\d+)\.")
    return {"bands": C, "bodies": bodies, "width": width_of(theirs["body.0.embedding.weight"], C)}


def rename_mstpp(key: str, theirs: Mapping[str, Tensor]) -> str:
    part, _, rest = key.partition(".")
    if part != "body":
        return apply([(r"^fution\b", "initial"), (r"^conv_in\b", "embed"), (r"^conv_out\b", "out")], key)
    index, _, rest = rest.partition(".")
    return f"bodies.{index}." + apply([*SPECTRAL_TRANSFORMER_BLOCK, *FEED_FORWARD, *U_NETS], rest)


def seg_settings(theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    embed = theirs["embedding.weight"]
    C = embed.shape[1]
    stages = count(theirs, r"^bottleneck\.blocks\.(\d+)\.") // 2
    return {"bands": C, "classes": len(theirs["mapping.weight"]), "stages": stages, "width": width_of(embed, C)}


def rename_seg(key: str, theirs: Mapping[str, Tensor]) -> str:
    return "unet." + apply([*SWIN_BLOCK, *FEED_FORWARD, *U_NETS], key)


RELEASES = {
    "crsdun": Release("CRSDUN", ("phi.weight", MASK_EMBEDDING), crsdun_settings, rename),
    "ssr": Release("SSR", ("rhos.0.bias", "initial.weight", MASK_EMBEDDING), ssr_settings, rename_ssr),
    "rcump": Release("RCUMP", ("fusion.weight", "net_stage.0.Ublock.conv_in1.weight"), rcump_settings, rename_rcump),
    "mstpp": Release("MST++", ("fution.weight", "body.0.embedding.weight"), mstpp_settings, rename_mstpp),
    "seg": Release("segmenter", ("embedding.weight", "mapping.weight"), seg_settings, rename_seg),
}


def apply(rules: Iterable[tuple[str, str]], key: str) -> str:
    for pattern, name in rules:
        key = re.sub(pattern, name, key)
    return key


def count(theirs: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers a pattern finds among the keys."""
    return len({found[1] for found in map(re.compile(pattern).search, theirs) if found})


def width_of(embed: Tensor, bands: int) -> int | None:
    """The setting ``width``, from the weight of the first convolution."""
    return None if len(embed) == bands else len(embed)
