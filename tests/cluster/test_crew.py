"""Workers: order, back-pressure, work made once, and what happens when they die."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crsdun.cluster import Staff, connected
from crsdun.cluster.crew import _lost
from crsdun.errors import InputError

MOST_MEMORY = 80e6  # half of what all frames take together


@pytest.fixture(scope="module")
def lines():
    """What the crew has said."""
    return []


@pytest.fixture(scope="module")
def crew(nodes, lines):
    with connected(nodes.address, Staff(), lines.append) as crew:
        yield crew


# -- what workers do: each is sent to them, and makes what they call ------------------------------------------------


class Tenfold:
    """Ten times a number; odd ones are refused, and 13 ends the process."""

    def __call__(self):
        return self.of

    def of(self, number):
        if number == 13:
            os._exit(1)
        if number % 2:
            raise InputError(f"{number} is odd", "set <bits>")
        time.sleep(0.01 * (number % 3))  # so that they end in another order
        return 10 * number


class Mean:
    """The mean of a frame."""

    def __call__(self):
        return lambda frame: float(frame.mean())


class Marked:
    """Who computed an item; each making leaves a line in a file."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self):
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return lambda _: (time.sleep(0.05), os.getpid())[1]


class Unmade:
    def __call__(self):
        raise InputError("there are no weights here")


# -- before all others, whose crew takes all there is ----------------------------------------------------------------


def test_another_version_is_refused(nodes, monkeypatch):
    with connected(nodes.address, Staff(1)) as other:
        monkeypatch.setattr("crsdun.cluster.crew.__version__", "9.9")
        with pytest.raises(InputError, match=r"and this machine 9\.9; install the same"):
            list(other.work(Tenfold()).map([2]))


class Broken:
    def __init__(self, *_):
        raise ModuleNotFoundError("No module named 'crsdun'")

    def greeting(self):
        pass


def test_workers_that_do_not_start_end_it(nodes, monkeypatch):
    monkeypatch.setattr("crsdun.cluster.crew._Hand", Broken)
    said = []
    missing = pytest.raises(InputError, match=r"no worker could be started: .*No module named 'crsdun'")
    with connected(nodes.address, Staff(1), said.append) as other, missing:
        list(other.work(Tenfold()).map([2]))
    assert len(said) == 2


# -- in order ------------------------------------------------------------------------------------------------------


def test_results_come_in_order_and_failures_in_place(crew):
    outcomes = list(crew.work(Tenfold()).map(range(9)))
    assert [item for item, _ in outcomes] == list(range(9))
    assert [outcome for _, outcome in outcomes[::2]] == [0, 20, 40, 60, 80]
    odd = outcomes[5][1]
    assert isinstance(odd, InputError)
    assert (odd.message, odd.remedy) == ("5 is odd", "set <bits>")
    assert list(crew.work(Tenfold()).map([])) == []


def test_a_stream_inside_a_stream(crew):
    work, seen = crew.work(Tenfold()), []
    for item, outcome in work.map(range(0, 40, 2)):
        seen.append((item, outcome))
        if item == 4:
            seen += work.map([2, 0])
    assert seen[:6] == [(0, 0), (2, 20), (4, 40), (2, 20), (0, 0), (6, 60)]
    assert len(seen) == 22


def test_the_first_failure_where_all_are_needed(crew):
    results = crew.work(Tenfold()).results([2, 4, 5, 6])
    assert [next(results), next(results)] == [20, 40]
    with pytest.raises(InputError, match="5 is odd"):
        next(results)


# -- of many -------------------------------------------------------------------------------------------------------


def test_ten_thousand_frames_are_never_together_in_memory(crew):
    taken = 0

    def frames():
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield np.full((64, 64), number, np.float32)

    ahead, before, grown = 0, None, 0.0
    for number, (_, mean) in enumerate(crew.work(Mean()).map(frames())):
        assert mean == number
        ahead = max(ahead, taken - number)
        if number % 500 == 0:
            before = resident() if number == 1000 else before
            grown = max(grown, resident() - (before or resident()))
    assert number == 9999
    assert ahead <= 4 * 2
    assert grown < MOST_MEMORY


def resident() -> float:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_slow_reader_holds_up_the_stream(crew):
    taken = []
    stream = crew.work(Tenfold()).map(taken.append(number) or number for number in range(0, 1000, 2))
    next(stream)
    time.sleep(0.3)
    assert len(taken) <= 4 * 2 + 1


# -- the work ------------------------------------------------------------------------------------------------------


def test_each_worker_makes_the_work_once(crew, tmp_path):
    work = crew.work(Marked(tmp_path / "made"))
    workers = Counter([*work.results(range(12)), *work.results(range(12))])
    assert sum(workers.values()) == 24
    assert len(workers) == 2
    assert Counter(map(int, (tmp_path / "made").read_text().split())) == dict.fromkeys(workers, 1)


def test_work_that_cannot_be_made_ends_all(crew):
    with pytest.raises(InputError, match="no weights here"):
        list(crew.work(Unmade()).map(range(3)))
    assert list(crew.work(Tenfold()).results([2])) == [20]


def test_an_item_that_workers_die_of_is_given_up_and_the_others_are_done(crew, lines):
    before = len(lines)
    outcomes = [outcome for _, outcome in crew.work(Tenfold()).map([2, 4, 13, 6, 8])]
    assert [outcome for place, outcome in enumerate(outcomes) if place != 2] == [20, 40, 60, 80]
    assert isinstance(outcomes[2], InputError)
    assert "3 workers died on it" in str(outcomes[2])
    told = lines[before:]
    assert len(told) >= 3  # and one more where another item was with it at first
    assert all("a worker was lost" in line for line in told)


def test_a_worker_that_is_killed_for_memory_is_lost():
    exceptions = pytest.importorskip("ray.exceptions")
    import ray

    assert issubclass(exceptions.OutOfMemoryError, _lost(ray))


# -- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "nowhere", "10.0.0.1", "http://10.0.0.1:6379", "a b:1"])
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match="is no address of a cluster"), connected(address):
        pass


def test_a_worker_that_fits_nowhere(nodes):
    with pytest.raises(InputError, match="has 64 cores for a worker"), connected(nodes.address, Staff(threads=64)):
        pass


# -- alone ---------------------------------------------------------------------------------------------------------


def test_alone_it_listens_to_this_machine_only_and_leaves_nothing(tmp_path):
    environment = {**os.environ, "TMPDIR": "/tmp"}
    told = subprocess.run(
        [sys.executable, "-m", "tests.cluster.alone"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert told.stderr == ""
    facts = json.loads(told.stdout)
    assert facts["results"] == [0, 20, 40]
    assert facts["listening"]
    assert set(facts["listening"]) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert facts["reports"] == "0"
    assert facts["store_mb"] < 150
    assert not Path(facts["folder"]).exists()
