"""Starts Ray on this machine alone and prints, as JSON, what it listens to and what it computed."""

import json
import os

import psutil
import ray

from crsdun.cluster import Staff, connected
from tests.cluster.test_crew import Tenfold


def listening() -> list[str]:
    """The addresses on which the processes that this one has started wait for others."""
    processes = psutil.Process().children(recursive=True)
    found = [each.laddr.ip for process in processes for each in process.net_connections() if each.status == "LISTEN"]
    return sorted(set(found))


if __name__ == "__main__":
    with connected(staff=Staff(1)) as crew:
        results = list(crew.work(Tenfold()).results([0, 2, 4]))
        facts = {
            "results": results,
            "listening": listening(),
            "reports": os.environ["RAY_USAGE_STATS_ENABLED"],
            "store_mb": ray.cluster_resources()["object_store_memory"] / 1e6,
            "folder": ray._private.worker._global_node.get_session_dir_path(),
        }
    print(json.dumps(facts))
