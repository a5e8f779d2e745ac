"""``crsdun serve``: one method behind HTTP."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import (
    Commands,
    camera_and_scale_options,
    command,
    device_from,
    device_option,
    scaled_as,
    solver_options,
    solver_settings,
    with_mask,
)
from crsdun.cli.printing import notify
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.runtime import Preparation

LIBRARIES = ("litserve", "prometheus_client", "multipart")
TOKEN = "CRSDUN_TOKEN"  # variable of the environment


def add(commands: Commands) -> None:
    """The command and its options."""
    serve = command(commands, "serve", run, "Decode measurements that programs send over HTTP.")
    serve.add_argument(
        "method",
        help="name of shipped weights, .safetensors, or a method without training; auto takes shipped weights that "
        "fit the camera and explain the frame, or else lr-tv",
    )
    solver_options(serve)
    serve.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="[ID=]FILE",
        help="camera file of crsdun calibrate (.npz), which requests name by its id (default: the file name without "
        "suffix); may be repeated",
    )
    camera_and_scale_options(serve)
    device_option(serve)
    serve.add_argument("--host", default="127.0.0.1", help="127.0.0.1 (default: here only), 0.0.0.0 or ::")
    serve.add_argument("--port", type=int, default=8629, help="port to listen on; 0 for any free one (default: 8629)")
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with the token that requests must bring (default: the variable {TOKEN}, if it is set)",
    )
    serve.add_argument("--workers", type=int, default=1, help="worker processes per device (default: 1)")
    serve.add_argument(
        "--batch",
        type=int,
        help="maximum batch size, for measurements of one size and camera (default: 8 on a GPU, 1 elsewhere)",
    )
    serve.add_argument(
        "--queue", type=int, default=32, help="maximum queue length; further requests are rejected (default: 32)"
    )
    serve.add_argument(
        "--timeout", type=float, default=120, metavar="SECONDS", help="time limit per request (default: 120)"
    )
    serve.add_argument("--limit", type=int, default=256, metavar="MB", help="largest request (default: 256)")


def run(options: argparse.Namespace) -> None:
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise InputError(f'the service needs {" and ".join(missing)}: pip install "crsdun[serve]"')
    from crsdun.service.config import LOCAL, ServiceConfig
    from crsdun.service.server import start
    from crsdun.web.uploads import MEGABYTE

    device = device_from(options.device)
    config = ServiceConfig(
        options.method,
        solver_settings(options),
        cameras_from(options),
        scaled_as(options),
        device,
        options.workers,
        (8 if device == "cuda" else 1) if options.batch is None else options.batch,
        options.queue,
        options.timeout,
        options.limit * MEGABYTE,
        token_from(options.token_file),
        options.host,
        options.port,
        options.memory,
        options.threads,
    )

    def announce(link: str) -> None:
        if options.host != LOCAL:
            notify(f"WARNING: listening on {options.host}: the connection is not encrypted; put TLS in front of it")
        text = f"serving {options.method} at {link}, described at {link}/docs\nCtrl-C ends it"
        print(f'{{"link": "{link}"}}' if options.json else text, flush=True)

    start(config, announce)


def cameras_from(options: argparse.Namespace) -> dict[str, Preparation]:
    """The cameras that requests may name, by their ids."""
    from dataclasses import replace

    from crsdun.optics import read_camera

    told = with_mask(scaled_as(options), options)
    cameras: dict[str, Preparation] = {} if told.mask is None else {"camera": told}
    for given in options.camera:
        name, _, file = given.rpartition("=")
        name = name or Path(file).stem
        if name in cameras:
            raise InputError(f"there are two cameras called {name!r}", "give one another name with <camera> ID=FILE")
        cameras[name] = replace(told.without_camera(), camera_file=read_camera(file))
    return cameras


def token_from(file: Path | None) -> str | None:
    """The token in a file, or in the environment; None where there is none."""
    if file is None:
        token = os.environ.get(TOKEN)
        return token.strip() if token else None
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeError) as error:
        raise InputError(f"the token cannot be read from {file} ({error})", "choose another <token_file>") from error
