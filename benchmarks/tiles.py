"""How much an estimate in tiles differs from that of the whole frame: the table in docs/performance.md.

python benchmarks/tiles.py
"""

import numpy as np
import torch

import crsdun
from crsdun.methods import RunOptions, run_method
from crsdun.methods.tiles import Tiles, by_tiles
from crsdun.solvers import LrTv

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

print()
print("| LR-TV, tile / overlap (rows) | PSNR against the scene, dB |")
print("|---|---|")
height, width = 128, 64
generator, scene = np.random.default_rng(0), np.zeros((BANDS, height, width), np.float32)
for _ in range(60):  # rectangles of smooth spectra
    top, left = generator.integers(0, height - 8), generator.integers(0, width - 8)
    rows, columns = generator.integers(6, 30, 2)
    waves = 0.5 + 0.4 * np.sin(np.arange(BANDS) / generator.uniform(1, 4) + generator.uniform(0, 6))
    scene[:, top : top + rows, left : left + columns] = (waves * generator.uniform(0.2, 1))[:, None, None]
camera = crsdun.CassiCamera(crsdun.optics.random_mask(height, width, seed=1), bands=BANDS)
measurement = camera.forward(torch.from_numpy(scene))
noise = 0.02 * torch.randn(measurement.shape, generator=torch.Generator().manual_seed(0))
for tiles in (None, Tiles(64, 32), Tiles(32, 16), Tiles(32, 0)):
    options = RunOptions(tiles=tiles)
    cube = run_method(LrTv(), (measurement + noise).clamp(min=0), camera, options).estimate.cube[0]
    error = (cube - torch.from_numpy(scene)).square().mean()
    print(f"| {'whole' if tiles is None else f'{tiles.rows} / {tiles.overlap}'} | {float(-10 * error.log10()):.2f} |")
