"""How fast the explorer answers: python benchmarks/explorer.py [SIZE]

A cube of 28×SIZE×SIZE (512), decoded by a network of two stages with fresh weights and by GAP-TV, two pictures side
by side in Chromium. From an event to the frame in which all of its change is seen: another band in both pictures,
another stage (in colour, in false colour and as a band; and of the map of spectral angles), the spectra under the
pointer. Writes explorer.json here.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import crsdun  # noqa: E402
from crsdun.optics import Exposure, nbk7_wavelengths  # noqa: E402
from crsdun.runtime import simulate  # noqa: E402
from crsdun.scenes import Scene, write_measurement, write_scene  # noqa: E402
from tests.viewing.browser import CHROMIUM, DESKTOP, QUIET  # noqa: E402
from tests.viewing.explorer import LATENCIES, running  # noqa: E402

REACH = {"band": 150, "stage": 150, "angle": 150, "spectrum": 100}  # ms


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    with tempfile.TemporaryDirectory() as folder, running(prepared(Path(folder), size)) as link:
        measured = in_browser(link)
    table = {
        name: {
            "median_ms": round(float(np.median(times)), 1),
            "worst_ms": round(max(times), 1),
            "reach_ms": REACH[name],
        }
        for name, times in measured.items()
    }
    for name, row in table.items():
        print(
            f"{name:9} median {row['median_ms']:6.1f} ms, worst {row['worst_ms']:6.1f} ms, to reach {REACH[name]} ms"
        )
    load = os.getloadavg()[0]
    print(f"processes that wanted one of {os.cpu_count()} cores meanwhile: {load:.1f}")
    record = {"cube": [28, size, size], "threads": torch.get_num_threads(), "load": load, **table}
    (HERE / "explorer.json").write_text(json.dumps(record, indent=2) + "\n")


def prepared(folder: Path, size: int) -> list[Path]:
    """A scene of waves with its measurement, and fresh weights that fit."""
    rows, columns = np.mgrid[:size, :size]
    waves = [0.5 + 0.4 * np.sin(rows / 31 + columns / 17 + band / 5) for band in range(28)]
    scene = Scene(np.stack(waves), nbk7_wavelengths(), (rows // 64 + columns // 64) % 4, tuple("abcd"), "waves")
    write_scene(scene, folder / "truth.npz")
    write_measurement(simulate(scene, Exposure()), folder / "y.npz")
    network = crsdun.create("crsdun_2stg", 28, 4, width=4)
    crsdun.save(network, folder / "fresh.safetensors", class_names=tuple("abcd"), step=2)
    return [folder / name for name in ("y.npz", "truth.npz", "fresh.safetensors")]


def in_browser(link: str) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        page = browser.new_page(viewport=DESKTOP)
        page.goto(link)
        page.wait_for_selector("body[data-ready]")
        page.click("#tab-decode")
        for method, iterations in (("gap-tv", "3"), ("fresh", "")):
            page.select_option("#method-name", method)
            if iterations:
                page.fill("#iterations", iterations)
            else:
                page.uncheck("#add-gap-tv")
            page.click("#decode-button")
            shown = "method => document.querySelectorAll('.view')[1].dataset.shown?.includes(`layer=${method}`)"
            page.wait_for_function(shown, arg=method, timeout=600_000)
            page.wait_for_selector("#decode-button:enabled")
        page.evaluate(LATENCIES)  # once to warm up
        page.reload()
        page.wait_for_selector("body[data-ready]")
        page.select_option("select[aria-label='second picture shows']", "fresh")
        page.click("#count [data-count='2']")
        measured = page.evaluate(LATENCIES)
        browser.close()
    return measured


if __name__ == "__main__":
    main()
