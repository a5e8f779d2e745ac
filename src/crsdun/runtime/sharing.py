"""Weights for others: published on the Hugging Face Hub with their settings and a card that a person can read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, Evaluation, parameters
from crsdun.evaluation.tables import caption, markdown, shown
from crsdun.networks import Network, find_weights, load, read_header
from crsdun.networks.checkpoint import WeightsHeader
from crsdun.networks.hub import WEIGHTS, HubAddress, library, publish
from crsdun.networks.network import learnt_steps
from crsdun.optics import ModelCard
from crsdun.provenance import sha256_of
from crsdun.version import __version__

CONFIG, CARD = "config.json", "README.md"
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # as the hub writes them: apache-2.0, cc-by-4.0, other
TAGS = ("cassi", "hyperspectral", "snapshot-compressive-imaging", "deep-unfolding")
IN_CONFIG = ("wavelengths", "class_names", "step", "steps", "grids")  # of the card


@dataclass(frozen=True)
class HubCard:
    """What a person says about weights that are published.

    Attributes:
        license: as the hub writes it, such as ``apache-2.0``; None names none.
        tags: besides those that follow from the network.
        evaluations: of these very weights; their figures become the metrics of the card.
        text: Markdown in place of the text that is made from the weights.
    """

    license: str | None = None
    tags: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    text: str | None = None

    def __post_init__(self) -> None:
        if self.license is not None and not LICENSE.fullmatch(self.license):
            raise InputError(f"{self.license!r} is no licence", "write <license> as the hub does, such as apache-2.0")


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        address: of these very weights: with their commit and SHA-256.
        card_kept: whether the repository had a card, which was left as it is.
    """

    address: str
    card_kept: bool


def push(
    weights: str | os.PathLike,
    address: str,
    card: HubCard | None = None,
    private: bool | None = None,
    overwrite: bool = False,
) -> Published:
    """Publish weights on the Hugging Face Hub as one commit, with ``config.json`` and a card, ``README.md``.

    The header of the file is published with it: it tells how they were trained (``crsdun info --json`` shows it).

    Args:
        weights: a .safetensors file, or the name of shipped weights.
        address: ``hf://owner/name``, or ``hf://owner/name@branch``; both are made where they are missing.
        card: what it says besides; None only what follows from the weights.
        private: whether a new repository is; None leaves that to the owner's settings.
        overwrite: replace the card that the repository has.

    Raises:
        InputError: the weights cannot be read, an evaluation is of others, or as ``networks.publish``.
    """
    where = HubAddress.parse(address)
    files = files_to_publish(weights, where, card or HubCard())
    keep = frozenset() if overwrite else frozenset({CARD})
    published, left = publish(where, files, f"Weights of {where.name}, by crsdun {__version__}", private, keep)
    return Published(str(published), CARD in left)


def files_to_publish(weights: str | os.PathLike, address: HubAddress, card: HubCard) -> dict[str, bytes]:
    """The files of a repository by name.

    Raises:
        InputError: the weights cannot be read, or an evaluation is of others.
    """
    path = find_weights(weights)
    network, header = load(path), read_header(path)
    judged = judgements(header, card.evaluations, path)
    told = asdict(header.card)
    config = {"library_name": "crsdun", "version": header.version, "kind": header.kind, "config": header.config}
    config |= {name: told[name] for name in IN_CONFIG if told[name] is not None}
    head = metadata(network, address, card, judged)
    text = told_by_weights(network, header, address, judged) if card.text is None else card.text
    return {
        WEIGHTS: path.read_bytes(),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        CARD: f"---\n{head}\n---\n\n{text.strip()}\n".encode(),
    }


# -- how good they are -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgement:
    """Figures of weights, and what they are.

    Attributes:
        data: name of the scenes.
        fingerprint: of the scenes; None if unknown.
        how: camera, noise and protocol, in one line.
        figures: by their names in ``FIGURES``.
    """

    data: str
    fingerprint: str | None
    how: str
    figures: dict[str, float]


def judgements(header: WeightsHeader, evaluations: Sequence[Evaluation], path: Path) -> list[Judgement]:
    """Of evaluations; without any, what a training noted in its weights, which were chosen by it.

    Raises:
        InputError: an evaluation is not of the weights in the file ``path``.
    """
    sha256 = sha256_of(path)
    for each in evaluations:
        if each.record.get("weights", {}).get("sha256") != sha256:
            raise InputError(
                f"the evaluation of {each.method} on {each.data['name']} is not of {path.name}",
                "evaluate these very weights",
            )
    judged = [
        Judgement(each.data["name"], each.data["fingerprint"], caption(each), _known(each.figures, shown(each)))
        for each in evaluations
    ]
    noted = _known(header.card.provenance.get("validation"), FIGURES)
    if noted and not judged:
        judged = [
            Judgement("validation", None, "on the scenes by which these weights were chosen in training", noted)
        ]
    return judged


def _known(figures: Any, names: Iterable[str]) -> dict[str, float]:
    """The numbers among ``figures``, which a file may have from anywhere, that have one of these names."""
    given = figures if isinstance(figures, Mapping) else {}
    return {name: float(given[name]) for name in names if isinstance(given.get(name), (int, float))}


# -- the card ----------------------------------------------------------------------------------------------------


def metadata(network: Network, address: HubAddress, card: HubCard, judged: Sequence[Judgement]) -> str:
    """The head of a card, in YAML, which the hub searches; figures in the units of our tables."""
    hub = library()
    task = "image-segmentation" if network.class_count else "image-to-image"
    data = hub.ModelCardData(
        license=card.license,
        library_name="crsdun",
        pipeline_tag=task,
        tags=list(dict.fromkeys([*TAGS, *card.tags])),
        model_name=_title(address),
        eval_results=[
            hub.EvalResult(
                task_type=task,
                dataset_type=re.sub(r"[^\w.-]+", "-", each.data),
                dataset_name=each.data,
                dataset_config=each.how,
                dataset_revision=each.fingerprint,
                metric_type=name,
                metric_name=FIGURES[name].label,
                metric_value=float(FIGURES[name].number(value)),
            )
            for each in judged
            for name, value in each.figures.items()
        ]
        or None,
    )
    return str(data.to_yaml())


def told_by_weights(network: Network, header: WeightsHeader, address: HubAddress, judged: Sequence[Judgement]) -> str:
    """The text of a card, as far as weights and evaluations tell it."""
    at = replace(address, sha256=None)
    bands, classes, grid = network.config.bands, network.class_count, header.card.wavelengths
    spectrum = f" from {min(grid):g} to {max(grid):g} nm" if grid else ""
    segments = f" and a map of {classes} classes" if classes else ""
    parts = [
        f"# {_title(address)}",
        f"Weights for snapshot spectral imaging (CASSI): one coded exposure becomes a cube of {bands} bands{spectrum}"
        f"{segments}. `crsdun` reads them, from the file `{WEIGHTS}` alone.",
        f'```python\nimport crsdun\n\nnetwork = crsdun.load("{at}")\n```',
        f"```\ncrsdun reconstruct meas.mat --mask mask.mat --weights {at} --out result\n```",
        markdown([["", ""], *facts(header, parameters(network))], "", words=2).strip(),
    ]
    for each in judged:
        rows = [[FIGURES[name].label, FIGURES[name].number(value)] for name, value in each.figures.items()]
        parts.append(markdown([[each.data, ""], *rows], f"{each.how[0].upper()}{each.how[1:]}.").strip())
    return "\n\n".join(parts)


def facts(header: WeightsHeader, count: int | None) -> list[list[str]]:
    """Names and values of what weights say of themselves: what they are, which cameras they take, what they know.

    Args:
        count: of their parameters; None where the network is not known here.
    """
    card, settings = header.card, header.config
    learnt = learnt_steps(card)
    data = card.provenance.get("data")
    known = {
        "network": f"{header.kind}, "
        + ", ".join(f"{key} {settings[key]}" for key in ("stages", "width") if key in settings),
        "parameters": None if count is None else f"{count:,}",
        "bands": f"{settings['bands']}{_spectrum(card)}" if "bands" in settings else None,
        "dispersion": learnt and f"{learnt} pixels per band",
        "masks": _masks(card),
        "classes": card.class_names and f"{len(card.class_names)}: {', '.join(card.class_names)}",
        "class maps": card.calibration and f"calibrated, temperature {card.calibration.temperature:.3g}",
        "data": data if isinstance(data, str) else ", ".join(data) if isinstance(data, Mapping) else None,
    }
    return [[name, value] for name, value in known.items() if value]


def _spectrum(card: ModelCard) -> str:
    """Which bands a card tells of, in words; empty where it tells of none."""
    if card.grids:
        return f", any between {card.grids[0]:g} and {card.grids[1]:g} nm"
    return f", from {min(card.wavelengths):g} to {max(card.wavelengths):g} nm" if card.wavelengths else ""


def _masks(card: ModelCard) -> str | None:
    """Behind which masks weights were trained, as far as their recipe tells, which a file may have from anywhere."""
    camera: Any = card.provenance
    for name in ("recipe", "camera"):
        camera = camera.get(name) if isinstance(camera, Mapping) else None
    if not isinstance(camera, Mapping):
        return None
    random = camera.get("random")
    share = random.get("open") if isinstance(random, Mapping) else None
    if isinstance(share, Sequence) and len(share) == 2 and all(isinstance(each, (int, float)) for each in share):
        return f"random, {share[0]:.0%} to {share[1]:.0%} open"
    return str(camera["mask"]) if isinstance(camera.get("mask"), str) else None


def _title(address: HubAddress) -> str:
    return address.repository.rpartition("/")[2]


def read_text(path: str | Path) -> str:
    """The text of a card from a file.

    Raises:
        InputError: it cannot be read, or has a head of its own, which is made from the weights.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no text that can be read ({error})", "give a Markdown file in UTF-8") from error
    if text.lstrip().startswith("---"):
        raise InputError(f"{path} begins with metadata, which follow from the weights", "leave them out")
    return text
