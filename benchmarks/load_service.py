"""What the service stands: python benchmarks/load_service.py [SECONDS] [--method NAME] [--side PIXELS] [--batch N] …

Clients on this machine (8) send a frame of Produce-23 again and again for SECONDS (120) and fetch the cube: seconds
from the request to the last byte, failures, and the memory of every process of the service before and after. Writes
load_service.json here.
"""

import argparse
import http.client
import io
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from crsdun.machine import processor_in_words  # noqa: E402
from crsdun.optics import Exposure, random_mask  # noqa: E402
from crsdun.runtime import simulate  # noqa: E402
from crsdun.scenes import write_measurement  # noqa: E402
from crsdun.scenes.produce import ProduceSet  # noqa: E402
from tests.service.serving import TOKEN, Service, serving  # noqa: E402

WARM_UP = 2  # requests of each client before memory is measured


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame = measured(folder, options.side)
        arguments = [options.method, "--batch", str(options.batch), "--queue", str(options.clients)]
        with serving(folder / "service", *arguments, "--timeout", "600") as service:
            row = loaded(service, frame, options)
    record = {
        "command": f"python benchmarks/load_service.py {' '.join(sys.argv[1:])}".strip(),
        "processor": processor_in_words(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "method": options.method,
        "frame": [options.side, options.side],
        "batch": options.batch,
        "clients": options.clients,
        **row,
    }
    for key, value in record.items():
        print(f"{key}: {value}")
    (HERE / "load_service.json").write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(bool(record["failures"]))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=120)
    parser.add_argument("--method", default="crsdun_tiny_1")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    return parser.parse_args()


def measured(folder: Path, side: int) -> bytes:
    """A file with the middle of a scene behind a random mask."""
    scene = ProduceSet("test")[3]
    start = (scene.cube.shape[1] - side) // 2
    exposure = Exposure(random_mask(side, side))
    write_measurement(simulate(scene.cropped(start, start, side, side), exposure), folder / "y.npz")
    return (folder / "y.npz").read_bytes()


def loaded(service: Service, frame: bytes, options: argparse.Namespace) -> dict:
    """The figures of a service under load."""
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(lambda _: client(service, frame, 0, WARM_UP), range(options.clients)))
        before, seconds_before = memory(service), computing(service)
        until = time.monotonic() + options.seconds
        start = time.monotonic()
        clients = list(pool.map(lambda _: client(service, frame, until, None), range(options.clients)))
        elapsed = time.monotonic() - start
    after, seconds_after = memory(service), computing(service)
    times = np.array([seconds for each, _ in clients for seconds in each])
    batches = service.figure("crsdun_batch_size_sum") / service.figure("crsdun_batch_size_count")
    return {
        "seconds": round(elapsed, 1),
        "requests": len(times),
        "failures": sum(failed for _, failed in clients),
        "p50_s": round(float(np.percentile(times, 50)), 2),
        "p95_s": round(float(np.percentile(times, 95)), 2),
        "worst_s": round(float(times.max()), 2),
        "requests_per_minute": round(60 * len(times) / elapsed, 1),
        "cpu_seconds_per_request": round((seconds_after - seconds_before) / len(times), 2),
        "mean_batch": round(batches, 2),
        "memory_before_mb": before,
        "memory_after_mb": after,
    }


def client(service: Service, frame: bytes, until: float, count: int | None) -> tuple[list[float], int]:
    """Seconds of each request of one client, and how many failed; until a time, or a number of them."""
    times, failed = [], 0
    connection = http.client.HTTPConnection(service.address, timeout=600)
    while len(times) < count if count is not None else time.monotonic() < until:
        start = time.monotonic()
        connection.request("POST", "/v1/reconstruct", frame, {"authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        content = response.read()
        times.append(time.monotonic() - start)
        failed += response.status != 200 or "cube" not in np.load(io.BytesIO(content))
    connection.close()
    return times, failed


def processes(service: Service) -> dict[str, int]:
    """The numbers of the processes of the service, by what they do."""
    found = {"command": service.process.pid}
    worker = next(service.temporary.glob(".crsdun-*/workers/0")).read_text()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            fields = (each / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == service.process.pid and each.name != worker:
            found[f"child {len(found)}"] = int(each.name)
    return {**found, "decoding": int(worker)}


def memory(service: Service) -> dict[str, float]:
    """Resident memory of each process in MB."""
    pages = {name: (Path(f"/proc/{each}/statm").read_text().split()[1]) for name, each in processes(service).items()}
    return {name: round(int(count) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1) for name, count in pages.items()}


def computing(service: Service) -> float:
    """Processor seconds of all of its processes."""
    ticks = 0
    for each in processes(service).values():
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
