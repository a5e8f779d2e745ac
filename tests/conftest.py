import atexit
import os
import shutil
import tempfile

# Nothing is kept from one run to the next, left in the home of who runs the tests, or met by tests that run beside
# these: each process of pytest has a place of its own for caches and what programs put away. What tests write
# themselves stays where pytest keeps it.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="crsdun-tests-")
os.environ["CRSDUN_CACHE"] = os.path.join(tempfile.tempdir, "cache")
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

# Everything tested here is small: a second thread would mostly wait for the first. Set before PyTorch is loaded, it
# holds for the programs that tests start too.
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402

torch.set_num_threads(1)
