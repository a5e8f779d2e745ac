"""One cluster of two nodes for all tests here, and a store like S3 that its nodes can reach."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

STORE_BYTES = 80 << 20  # of shared memory; Ray takes no less than 75 MB
ATTEMPTS = 3
# The head looks at its nodes every second, and gives one up after five failures.
LOOKS = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


class TwoNodes:
    """A cluster on the loopback, of two nodes with one core each; the second can be killed and comes back.

    Attributes:
        address: of the cluster.
    """

    def __init__(self, ray):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self._add(include_dashboard=False, _system_config=LOOKS)
        self.second = self._add()
        self.address = self.cluster.address
        ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")

    def _add(self, **how):
        """Another node; on a busy machine one may need longer than the half minute that Ray gives it."""
        how = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "no_monitor": True, **how}
        for _ in range(ATTEMPTS - 1):
            with suppress(Exception):
                return self.cluster.add_node(include_log_monitor=False, **how)
        return self.cluster.add_node(include_log_monitor=False, **how)

    def kill(self) -> None:
        """Kill the second node with all that runs on it, as a lost machine."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def heal(self) -> None:
        """Another node in place of the killed one."""
        self.second = self._add()


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The address of a bucket in a store that speaks S3, on the loopback."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem().mkdir("measured")
        yield "s3://measured"
    server.stop()


@pytest.fixture(scope="session")
def nodes(bucket) -> Iterator[TwoNodes]:
    from crsdun.cluster import connection

    ray = connection.library()
    before = os.environ.get("OMP_NUM_THREADS")
    # The connection of this process outlives that of a command, and Ray tells it of a killed node when it likes.
    with connection._on_loopback(ray, True), connection._silent(ray):
        made = TwoNodes(ray)
        yield made
        ray.shutdown()
        made.cluster.shutdown()
    assert os.environ.get("OMP_NUM_THREADS") == before
