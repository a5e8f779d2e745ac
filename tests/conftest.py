import atexit
import os
import shutil
import tempfile

import torch

# Nothing is kept from one run to the next, nor left in the home of who runs the tests.
os.environ["CRSDUN_CACHE"] = tempfile.mkdtemp(prefix="crsdun-tests-")
atexit.register(shutil.rmtree, os.environ["CRSDUN_CACHE"], ignore_errors=True)

# Everything tested here is small: a second thread would mostly wait for the first.
torch.set_num_threads(1)
