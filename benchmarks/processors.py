"""Kernels for older processors beside PyTorch on the same: "Kernels" in docs/performance.md.

python benchmarks/processors.py

A processor also runs the instructions of older ones. Each kind has a process of its own, in which the kernels are
compiled for it, and PyTorch, oneDNN and MKL are kept to its instructions (MKL may not listen on an AMD).
"""

import os
import statistics
import subprocess
import sys

import torch

from crsdun.experiments.bench import Case, prepare, stopwatch
from crsdun.methods.memory import keep_freed_memory
from crsdun.native import build, functions
from crsdun.optics import CassiCamera, random_mask
from crsdun.solvers import create_solver

REPETITIONS = 5
KINDS = {  # -march: its vectors, and what keeps PyTorch, oneDNN and MKL to them
    "native": ("this processor", {}),
    "x86-64-v3": ("AVX2", ("avx2", "AVX2", "AVX2")),
    "x86-64-v2": ("SSE4.2", ("default", "SSE41", "SSE4_2")),
}
SWITCHES = "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"
CASES = {
    "inference, 3 stages, 256×256": Case("crsdun_3stg", 256),
    "training step, crsdun_tiny, 2×64×128": Case("crsdun_tiny", 64, 2, training=True, width=128),
}


def decoding(name, **settings):
    """A whole decoding of 256×256 pixels and 28 bands by a solver."""
    torch.manual_seed(0)
    camera = CassiCamera(random_mask(256, 256), bands=28, step=2)
    measurement = camera.forward(torch.rand(1, 28, 8, 8).repeat_interleave(32, 2).repeat_interleave(32, 3))
    return lambda: create_solver(name, **settings)(measurement, camera)


def compared(run):
    """Median seconds with kernels and without, interleaved."""
    library, seconds = functions.library, {True: [], False: []}
    for _ in range(REPETITIONS + 1):
        for kernels in seconds:
            functions.library = library if kernels else lambda: None
            seconds[kernels].append(stopwatch(run))
    functions.library = library
    return [statistics.median(values[1:]) for values in seconds.values()]


def measure(kind):
    """Print the rows of one kind of processor, in a process that has its switches."""
    build.FLAGS = [flag.replace("native", kind) for flag in build.FLAGS]
    keep_freed_memory()
    torch.set_num_threads(1)
    runs = {name: prepare(case) for name, case in CASES.items()}
    runs |= {f"{name}, 20 iterations": decoding(name, iterations=20) for name in ("lr-tv", "gap-tv")}
    for name, run in runs.items():
        ours, theirs = compared(run)
        print(f"| {KINDS[kind][0]} | {name} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} |", flush=True)


if len(sys.argv) > 1:
    measure(sys.argv[1])
else:
    print("| vectors | case | kernels, s | PyTorch, s | ratio |\n|---|---|---|---|---|", flush=True)
    for kind, (_, switches) in KINDS.items():
        environment = dict(os.environ) | dict(zip(SWITCHES, switches, strict=False))
        subprocess.run([sys.executable, __file__, kind], env=environment, check=True)
