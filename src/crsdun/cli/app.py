"""``crsdun app``: the explorer in the browser."""

from __future__ import annotations

import argparse
import html
import shutil
from importlib.util import find_spec
from pathlib import Path

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import notify
from crsdun.errors import InputError
from crsdun.storage import scratch_folder

LOCAL = ("127.0.0.1", "localhost", "::1")


def add(commands: Commands) -> None:
    """The command and its options."""
    app = command(commands, "app", run, "Look at measurements, cubes, spectra and classes in the browser.")
    app.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="measurements, masks, scenes (also folders with a picture for each band), weights (files, or "
        "hf://owner/name); or folders of crsdun reconstruct",
    )
    app.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, here only)")
    app.add_argument("--port", type=int, default=8628, help="port to listen on; 0 for any free one (default: 8628)")
    app.add_argument("--limit", type=int, default=1024, metavar="MB", help="largest file to upload (default: 1024)")
    app.add_argument("--no-browser", action="store_true", help="print the link without opening it")


def run(options: argparse.Namespace) -> None:
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(f'the explorer needs {" and ".join(missing)}: pip install "crsdun[app]"')
    from crsdun.methods.memory import keep_freed_memory
    from crsdun.viewing.app.server import start

    keep_freed_memory()
    links: list[str] = []

    def announce(link: str) -> None:
        links.append(link)
        first = len(links) == 1
        if first and options.host not in LOCAL:
            notify(
                f"WARNING: listening on {options.host}: whoever reaches it and has the link can compute on this "
                "machine and see the files named on the command line, and the connection is not encrypted"
            )
        text = f"open {link}\nCtrl-C ends it" if first else f"to look with another browser, open {link}"
        print(f'{{"link": "{link}"}}' if options.json else text, flush=True)
        if first and not options.no_browser and not options.json:
            _open_browser(link, folder)

    with scratch_folder() as folder:
        files = [_local(file, folder) for file in options.files]
        start(files, options.host, options.port, options.limit, announce)


def _local(file: Path, folder: Path) -> Path:
    """A file as it is; weights on the hub as a file in ``folder`` that is called as they are."""
    from crsdun.networks import find_weights, name_of_weights
    from crsdun.networks.hub import is_hub_address

    if not is_hub_address(file):
        return file
    return Path(shutil.copyfile(find_weights(file), folder / f"{name_of_weights(file)}.safetensors"))


def _open_browser(link: str, folder: Path) -> None:
    """Open a link by way of a file, since every account of this machine can read the command line of a browser."""
    import webbrowser

    page = folder / "open.html"  # in a folder that only this account can enter
    page.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(link)}">\n', encoding="utf-8")
    webbrowser.open(page.as_uri())
