import os

import torch

# Nothing is kept from one run to the next, nor left in the home of who runs the tests.
os.environ["CRSDUN_CACHE"] = ""

# Everything tested here is small: a second thread would mostly wait for the first.
torch.set_num_threads(1)
