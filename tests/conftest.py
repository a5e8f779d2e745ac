import atexit
import os
import shutil
import sys
import tempfile

# Nothing is kept from one run to the next, left in the home of who runs the tests, or met by tests that run beside
# these: each process of pytest has a place of its own for caches and what programs put away. What tests write
# themselves stays where pytest keeps it.
ROOT = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
# Side by side, not one in another: the sockets of Ray have names of up to 107 characters.
tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="crsdun-", dir=ROOT)
os.environ["CRSDUN_CACHE"] = os.path.join(tempfile.tempdir, "cache")
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

# Everything tested here is small: a second thread would mostly wait for the first. Set before PyTorch is loaded, it
# holds for the programs that tests start too.
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402

# Zarr 3 takes Python 3.11.
collect_ignore = ["scenes/test_series.py", "runtime/test_sequence.py"] if sys.version_info < (3, 11) else []

torch.set_num_threads(1)
