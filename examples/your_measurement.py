"""Decode a measurement of your own from Python: what ``crsdun reconstruct`` does, in one call.

python examples/your_measurement.py MEASUREMENT MASK OUT
"""

import sys

import crsdun
from crsdun.viewing.result_folder import write_results

measurement, mask, out = sys.argv[1:]

result = crsdun.reconstruct(measurement, mask, method="lr-tv", step=2)
print(result.metrics)
write_results(result, out)
