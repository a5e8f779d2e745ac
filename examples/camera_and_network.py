"""A scene, a camera, a measurement, a network: the whole package in one page.

The network here has fresh weights, so its answer means nothing yet; the shapes and the calls are the real ones.
"""

import torch

import crsdun

scene = crsdun.scenes.indian_pines(crsdun.optics.nbk7_wavelengths(28))
mask = crsdun.optics.random_mask(145, 145, seed=0)
camera = crsdun.CassiCamera(mask, bands=28, wavelengths=scene.wavelengths, step=2)

cube = torch.from_numpy(scene.cube)[None]  # (1, C, H, W)
measurement = camera.forward(cube)  # (1, H, Wm)
print(camera)
print("measurement", tuple(measurement.shape))

network = crsdun.create("crsdun_1stg", bands=28, classes=16, width=8).eval()
with torch.inference_mode():
    estimate = network(measurement, camera)
print("stages", len(estimate.cubes), "cube", tuple(estimate.cube.shape), "classes", tuple(estimate.classes.shape))

without_weights = crsdun.solvers.GapTv(iterations=10)(measurement, camera)
print("GAP-TV", crsdun.evaluation.cube_metrics(without_weights.cube[0], cube[0]))
