"""``crsdun push``: weights for others, on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import notify, option, print_result


def add(commands: Commands) -> None:
    """The command and its options."""
    push = command(commands, "push", run, "Publish weights on the Hugging Face Hub, with a card that describes them.")
    push.add_argument("weights", help="a trained network (.safetensors), or the name of shipped weights")
    push.add_argument("address", help="hf://owner/name, or hf://owner/name@branch; created if missing")
    push.add_argument("--license", metavar="ID", help="licence, as the hub writes it, such as apache-2.0")
    push.add_argument(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder of crsdun evaluate with figures of these weights, for the card; may be repeated",
    )
    push.add_argument(
        "--tag", action="append", default=[], metavar="WORD", help="a tag to find them by; may be repeated"
    )
    push.add_argument(
        "--readme", type=Path, metavar="FILE", help="Markdown for the card, in place of what follows from the weights"
    )
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    overwrite_option(push)


def run(options: argparse.Namespace) -> None:
    from crsdun.evaluation import read_evaluation
    from crsdun.runtime import HubCard, push
    from crsdun.runtime.sharing import read_text

    card = HubCard(
        options.license,
        tuple(options.tag),
        tuple(read_evaluation(folder) for folder in options.evaluation),
        None if options.readme is None else read_text(options.readme),
    )
    published = push(options.weights, options.address, card, options.private, options.overwrite)
    if published.card_kept:
        notify(f"the repository has a README.md, which stays as it is; {option('overwrite')} replaces it")
    elif card.license is None:
        notify(f"the card names no licence, and so permits nobody to use the weights: {option('license')} names one")
    line = f"published: {published.address}"
    print_result({"address": published.address, "card_kept": published.card_kept}, line, options.json)
