"""The picture of docs/app.md: python benchmarks/explorer_picture.py [WEIGHTS]

A sample decoded by the weights (a file; without one, the first that come with the package), with GAP-TV beside it,
three points kept and classes over the picture.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from crsdun.networks import pretrained_weights

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.viewing.browser import CHROMIUM, DESKTOP, QUIET  # noqa: E402
from tests.viewing.explorer import running  # noqa: E402

POINTS = {"peach": (0.15, 0.38, 0, 0), "cucumber": (0.38, 0.42, 0.08, 0.05), "lettuce": (0.83, 0.37, 0, 0)}
PATIENCE_MS = 600_000


def main() -> None:
    given = [Path(argument) for argument in sys.argv[1:2]]
    weights = given[0].stem if given else next(iter(pretrained_weights()))
    with tempfile.TemporaryDirectory() as folder, running(given) as link, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(link)
        page.wait_for_selector("body[data-ready]")
        page.click("#tab-decode")
        page.select_option("#method-name", weights)
        page.click("#decode-button")
        page.wait_for_selector(".result >> nth=1")
        for name, place in POINTS.items():
            keep(page, name, *place)
        page.mouse.move(5, 5)
        slider = "slider => { slider.value = 40; slider.dispatchEvent(new Event('input')); }"
        page.locator("#opacity").evaluate(slider)
        page.wait_for_timeout(3000)
        page.screenshot(path=Path(folder, "app.png"))
        browser.close()
        # 64 levels look the same and need half the bytes.
        with Image.open(Path(folder, "app.png")) as image:
            coarse = image.convert("RGB").point(lambda value: min(value + 2, 255) & 0xFC)
            coarse.save(HERE.parent / "docs" / "images" / "app.png", optimize=True)


def keep(page: Page, name: str, across: float, down: float, width: float, height: float) -> None:
    """Draw a box on the first picture, or click it; places are fractions of the scene."""
    stack = page.locator(".stack").first.bounding_box()
    corners = [(across, down), (across + width, down + height)]
    first, last = ((stack["x"] + x * stack["width"], stack["y"] + y * stack["height"]) for x, y in corners)
    count = page.locator("#points li").count()
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*last, steps=4)
    page.mouse.up()
    page.locator("#points input").nth(count).fill(name)


if __name__ == "__main__":
    main()
