"""How much an estimate in tiles differs from that of the whole frame: the table in docs/performance.md.

python benchmarks/tiles.py
"""

import numpy as np
import torch

import crsdun
from crsdun.methods.tiles import Tiles, by_tiles

SIZE, BANDS, CLASSES, WIDTH = 128, 8, 4, 8

print("| tile / overlap (rows) | PSNR, dB | same class, % |")
print("|---|---|---|")
for rows, overlap in ((32, 0), (32, 16), (64, 0), (64, 16), (64, 32)):
    psnr, same = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        network = crsdun.create("crsdun_3stg", bands=BANDS, classes=CLASSES, width=WIDTH).eval()
        camera = crsdun.CassiCamera(crsdun.optics.random_mask(SIZE, SIZE, seed=seed), bands=BANDS)
        y, x = np.mgrid[:SIZE, :SIZE]
        waves = [0.5 + 0.5 * np.sin(x / (9 + seed) + y / (7 + band) + band) for band in range(BANDS)]
        measurement = camera.forward(torch.tensor(np.stack(waves), dtype=torch.float32))[None]
        with torch.inference_mode():
            whole = network(measurement, camera)
            tiled = by_tiles(network, measurement, camera, Tiles(rows, overlap))
        error = (tiled.cube - whole.cube).square().mean()
        peak = whole.cube.max() - whole.cube.min()
        psnr.append(float(10 * (peak.square() / error).log10()))
        same.append(100 * float((tiled.classes == whole.classes).float().mean()))
    print(f"| {rows} / {overlap} | {', '.join(f'{v:.1f}' for v in psnr)} | {', '.join(f'{v:.1f}' for v in same)} |")
