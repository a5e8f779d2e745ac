"""Decode a measurement of your own from Python: what ``crsdun reconstruct`` does, step by step.

python examples/your_measurement.py MEASUREMENT MASK OUT
"""

import sys

from crsdun import runtime, scenes
from crsdun.viewing.result_folder import write_results

measurement_file, mask_file, out = sys.argv[1:]

measurement = scenes.read_measurement(measurement_file)
camera = runtime.camera_for(measurement, mask=scenes.read_mask(mask_file), step=2)
name, method = runtime.open_method(method="admm-tv", iterations=20)

result = runtime.reconstruct(runtime.to_measurement_scale(measurement, camera.bands), camera, method, name)
print(result.metrics)
write_results(result, out)
