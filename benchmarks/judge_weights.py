"""Judge weights behind many cameras, beside a method without training: folders of ``crsdun evaluate`` for a card.

    python benchmarks/judge_weights.py runs/crsdun_small/weights.safetensors runs/judged/small --produce produce23
    python benchmarks/judge_weights.py lr-tv runs/judged/lr-tv --produce produce23 --threads 1

What a folder holds already is not judged again. ``model_card.py`` makes the card of such folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli import main as crsdun

# Name of a folder → data set and options; the first two and the fourth are the marks of the shipped weights.
CONDITIONS: dict[str, tuple[str, ...]] = {
    "plain": ("produce",),
    "photons500": ("produce", "--photons", "500"),
    "photons50": ("produce", "--photons", "50", "--first", "10"),
    "half_down": ("produce", "--mask-shift", "0.5,0"),
    "half_both": ("produce", "--mask-shift", "0.5,0.5", "--first", "10"),
    "one_right": ("produce", "--mask-shift", "0,1", "--first", "10"),
    "other_mask": ("produce", "--mask", "random:1", "--first", "10"),
    "step1": ("produce", "--step", "1", "--first", "10"),
    "step3": ("produce", "--step", "3", "--first", "10"),
    "left": ("produce", "--step=-2", "--first", "10"),
    "kaist": ("produce", "--wavelengths", "kaist", "--first", "10"),
    "even": ("produce", "--wavelengths", "420-680:28", "--first", "10"),
    "indian_pines": ("indian-pines", "--cubes-only"),
    "indian_pines_photons500": ("indian-pines", "--photons", "500", "--cubes-only"),
    "patchwork": ("patchwork", "--first", "20"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("out", type=Path)
    parser.add_argument("--produce", default="produce", help="folder of crsdun data make produce")
    parser.add_argument("--threads", default="1")
    options = parser.parse_args()
    for name, (data, *how) in CONDITIONS.items():
        out = options.out / name
        if not out.exists():
            source = options.produce if data == "produce" else data
            crsdun(["evaluate", options.method, source, *how, "--out", str(out), "--threads", options.threads])


if __name__ == "__main__":
    main()
