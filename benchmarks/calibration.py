"""How exactly ``calibrate`` finds a camera: the table of docs/your_camera.md.

python benchmarks/calibration.py

Scenes of 256×256 pixels: a prism at 15° to the rows, 2 pixels per band, a random mask that is blurred by 0.35 to 0.55
pixels along the bands and vignetted, 100 hot and 100 dead pixels. Prints a table.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from crsdun.optics import calibrate
from tests.optics.simulated_calibration import simulated

SIZE, BAD = (256, 256), 100


def main() -> None:
    print("| bands | noise | one frame, px | on the curve, px | masks | bad pixels found | others | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for bands in (8, 28):
        for noise in (0.01, 0.02, 0.05, 0.1):
            made = simulated(bands, SIZE, step=2, noise=noise, bad=BAD)
            start = time.process_time()
            found = calibrate(made.taken)
            seconds = time.process_time() - start
            true = np.array(made.camera.down_and_right)
            single, curve = (np.abs(moves - true).max() for moves in (found.moves, np.array(found.file.offsets)))
            masks = np.sqrt(((found.file.mask - made.camera.mask.numpy()) ** 2).mean())
            bad = ~found.file.valid
            print(
                f"| {bands} | {noise:.0%} | {single:.3f} | {curve:.3f} | {masks:.3f} | {bad[made.bad].mean():.1%} "
                f"| {int(bad[~made.bad].sum())} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
