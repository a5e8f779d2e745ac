import atexit
import os
import shutil
import sys
import tempfile

import torch

# Zarr 3 takes Python 3.11.
collect_ignore = ["scenes/test_series.py", "runtime/test_sequence.py"] if sys.version_info < (3, 11) else []

# Nothing is kept from one run to the next, nor left in the home of who runs the tests.
os.environ["CRSDUN_CACHE"] = tempfile.mkdtemp(prefix="crsdun-tests-")
atexit.register(shutil.rmtree, os.environ["CRSDUN_CACHE"], ignore_errors=True)

# Everything tested here is small: a second thread would mostly wait for the first.
torch.set_num_threads(1)
