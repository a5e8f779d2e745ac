import torch

# Everything tested here is small: a second thread would mostly wait for the first.
torch.set_num_threads(1)
