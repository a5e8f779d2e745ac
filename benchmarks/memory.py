"""Where the peak of memory in inference comes from: tensors that are alive at once, and what the allocator adds.

python benchmarks/memory.py
"""

import ctypes
import multiprocessing
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from crsdun.experiments.bench import Case, prepare, status_mb, stopwatch
from crsdun.methods.memory import keep_freed_memory

CASE = Case("crsdun_3stg", 256)
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


class LivingTensors(TorchDispatchMode):
    """Counts the bytes of all tensors that are created while it is active, as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.sizes:
                storage = tensor.untyped_storage()
                self.sizes[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self.freed, storage._cdata)
        self.peak = max(self.peak, self.now)
        return made

    def freed(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)


def measure(allocator: str) -> str:
    """In a fresh process: peak above the model and the faster of two runs, or the tensors alone."""
    if allocator == "freed memory kept":
        keep_freed_memory()
    if allocator == "every block given back":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
    run = prepare(CASE)
    if allocator == "tensors alone":
        with LivingTensors() as living:
            run()
        return f"{living.peak / 2**20:.0f} MB"
    ready = status_mb("VmRSS")
    seconds = min(stopwatch(run) for _ in range(2))
    return f"{status_mb('VmHWM') - ready:.0f} MB, {seconds:.2f} s"


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for allocator in ("tensors alone", "glibc as it is", "freed memory kept", "every block given back"):
        with context.Pool(1) as pool:
            print(f"{CASE.name}, {allocator}: {pool.apply(measure, (allocator,))}")
