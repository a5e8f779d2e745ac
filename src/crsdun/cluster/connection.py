"""Joining a Ray cluster, or starting one on this machine alone, which nobody else can see and which ends with us."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crsdun.cluster.crew import Crew, Staff
from crsdun.errors import InputError
from crsdun.machine import cores

STORE_BYTES = 128 << 20  # of shared memory on this machine alone; frames and cubes never pass through it
ADDRESS = re.compile(r"auto|[^\s/:]+:\d+|\[[0-9a-f:]+\]:\d+")


@contextmanager
def connected(
    address: str | None = None, staff: Staff | None = None, notify: Callable[[str], None] = print
) -> Iterator[Crew]:
    """A crew of workers, hired for the length of the block.

    Args:
        address: of a cluster that this machine belongs to (``ray start``), as host:port, or ``auto`` for the one that
            runs here; None starts Ray on this machine alone, unless the program has joined a cluster already.
        staff: how many workers, and what each of them needs.
        notify: called with a line when workers come or go.

    Raises:
        InputError: Ray is not installed, the cluster cannot be joined, or it has no room for a worker.
    """
    if address is not None and not ADDRESS.fullmatch(address):
        raise InputError(
            f"{address} is no address of a cluster", "expected host:port, such as 10.0.0.1:6379, or auto"
        )
    ray = library()
    with _silent(ray), _joined(ray, address):
        crew = Crew(ray, staff or Staff(), notify)
        try:
            yield crew
        finally:
            crew.dismiss()


def library() -> Any:
    """The module ray, which reports nothing to anyone.

    Raises:
        InputError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a change to come
    try:
        import ray
        import ray._private.ray_constants
        import ray._private.worker
    except ImportError as error:
        raise InputError(f"Ray is not installed ({error})", "pip install 'crsdun[cluster]'") from error
    return ray


@contextmanager
def _joined(ray: Any, address: str | None) -> Iterator[None]:
    """Inside the block this process belongs to a cluster: that at an address, or else one that is its own."""
    if ray.is_initialized():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="crsdun-ray-", ignore_cleanup_errors=True) as folder:
        try:
            with _on_loopback(ray, address is None), _our_signals():
                _init(ray, _how(address, folder))
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            if address is None:
                raise InputError(f"Ray cannot be started here: {reason}", "try again when less is running") from error
            raise InputError(
                f"cannot join Ray at {address}: {reason}",
                "start it on every machine with ray start, this one too, and give the address of the first",
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _init(ray: Any, how: dict[str, Any]) -> None:
    """Join or start; on a busy machine Ray may need longer than the half minute that it gives itself."""
    try:
        ray.init(**how, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        if "timed out" not in str(error):
            raise
        ray.shutdown()
        ray.init(**how, log_to_driver=False, logging_level="ERROR")


def _how(address: str | None, folder: str) -> dict[str, Any]:
    """To join at an address; or to start what is small, and keeps its files in a folder."""
    if address is not None:
        return {"address": address}
    return {
        "address": "local",
        "num_cpus": cores(),
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
        "_temp_dir": folder,
    }


@contextmanager
def _on_loopback(ray: Any, alone: bool) -> Iterator[None]:
    """What is started in the block listens to this machine only, if that is wanted.

    Ray does so where it does not support clusters; this is its switch, for itself and for the processes it starts.
    """
    if not alone:
        yield
        return
    constants = ray._private.ray_constants
    name, before = constants.ENABLE_RAY_CLUSTERS_ENV_VAR, constants.ENABLE_RAY_CLUSTER
    environment = os.environ.get(name)
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(name)
        if environment is not None:
            os.environ[name] = environment


@contextmanager
def _silent(ray: Any) -> Iterator[None]:
    """Inside the block Ray prints nothing: it would write between the lines of a result what we say ourselves."""
    worker = ray._private.worker
    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextmanager
def _our_signals() -> Iterator[None]:
    """After the block signals do what they did before; Ray would take them over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
