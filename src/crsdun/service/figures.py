"""What Prometheus is told of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Figures:
    """The figures of a service since it was started.

    Args:
        inside: how many requests are decoded or wait.
        workers: the numbers of the processes that decode.
    """

    def __init__(self, inside: Callable[[], int], workers: Callable[[], Iterable[int]]):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Workers(workers))
        self.requests = Counter(
            "crsdun_requests", "Requests to decode, by the status of their answer", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "crsdun_request_seconds", "From the arrival of a request to its answer, where it was decoded",
            registry=self.registry, buckets=SECONDS,
        )  # fmt: skip
        self.decoding = Histogram(
            "crsdun_decoding_seconds", "Of the method alone, for each measurement", registry=self.registry,
            buckets=SECONDS,
        )  # fmt: skip
        self.batches = Histogram(
            "crsdun_batch_size", "Measurements that were decoded at once, seen by each of them",
            registry=self.registry, buckets=BATCHES,
        )  # fmt: skip
        self.received = Counter("crsdun_received_bytes", "Of the bodies of requests", registry=self.registry)
        Gauge("crsdun_requests_inside", "Requests that are decoded or wait", registry=self.registry).set_function(
            inside
        )


class _Workers(Collector):
    """The memory of each process that decodes, as far as the system tells."""

    def __init__(self, workers: Callable[[], Iterable[int]]):
        self.workers = workers

    def collect(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "crsdun_worker_resident_bytes", "Resident memory of a process that decodes", labels=["worker"]
        )
        for number, process in enumerate(self.workers()):
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
                kilobytes = next(line for line in lines if line.startswith("VmRSS")).split()[1]
                memory.add_metric([str(number)], 1024 * int(kilobytes))
        yield memory
