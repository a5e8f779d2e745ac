"""Checkpoints: whole or not at all, damage found, a full disk survived."""

import json
import os
import resource

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from crsdun.errors import InputError
from crsdun.storage import HIDDEN
from crsdun.training.checkpoints import (
    LAST,
    PREVIOUS,
    Checkpoint,
    CheckpointHeader,
    read_checkpoint,
    write_checkpoint,
)
from tests.training.small import small_config


def checkpoint(step, size=1000):
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(1, 8, 5, 5, generator=generator).to(memory_format=torch.channels_last)
    tensors = {"a": torch.randn(size, generator=generator), "b": weights, "n": torch.tensor(step)}
    header = CheckpointHeader(step, 20.0, 1.5, {"psnr_db": 20.0}, small_config("run"), {"train": "ab"})
    return Checkpoint(tensors, header)


def same(one, other):
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


def read(folder):
    said = []
    return read_checkpoint(folder, said.append), said


def test_the_last_and_the_one_before_are_kept(tmp_path):
    assert read(tmp_path) == (None, [])
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, checkpoint(step))
    found, said = read(tmp_path)
    assert same(found, checkpoint(3))
    assert found.header.step == 3
    assert said == []
    assert sorted(os.listdir(tmp_path)) == [LAST, PREVIOUS]
    (tmp_path / LAST).unlink()
    assert same(read(tmp_path)[0], checkpoint(2))


def cut_off(data):
    return data[: len(data) // 2]


def one_bit_wrong(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


@pytest.mark.parametrize("damage", [cut_off, one_bit_wrong, lambda data: b"", lambda data: b"{}" * 100])
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint(step))
    last = tmp_path / LAST
    last.write_bytes(damage(last.read_bytes()))
    found, said = read(tmp_path)
    assert same(found, checkpoint(1))
    assert len(said) == 1
    assert f"{last} is damaged" in said[0]
    assert "going on from the one before, step 1" in said[0]

    previous = tmp_path / PREVIOUS
    previous.write_bytes(damage(previous.read_bytes()))
    with pytest.raises(InputError, match="restore one from a copy"):
        read(tmp_path)


def test_what_a_dead_process_left_half_written_does_not_matter(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / f"{HIDDEN}{LAST}").write_bytes(b"half")
    assert same(read(tmp_path)[0], checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    assert sorted(os.listdir(tmp_path)) == [LAST, PREVIOUS]


def test_where_the_disk_takes_no_more_the_old_checkpoint_stays(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system itself refuses to write past this size.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match="the one before is intact: free some space"):
            write_checkpoint(tmp_path, checkpoint(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(os.listdir(tmp_path)) == [LAST]
    assert same(read(tmp_path)[0], checkpoint(1))


def edit(path, **changes):
    """Change the header of a checkpoint; None removes a key."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["checkpoint"])
    header = {name: value for name, value in {**header, **changes}.items() if value is not None}
    save_file(load_file(path), path, metadata={"checkpoint": json.dumps(header)})


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 3},
        {"seconds": 99.0},
        {"step": 999, "header_sha256": None},
        {"step": None, "header_sha256": None},
        {"step": "two"},
        {"config": None},
        {"data": 5},
        {"figures": {"psnr_db": []}},
    ],
)
def test_an_edited_header_gives_way_to_the_one_before(tmp_path, changes):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint(step))
    edit(tmp_path / LAST, **changes)
    found, said = read(tmp_path)
    assert same(found, checkpoint(1))
    assert len(said) == 1
    assert "going on from the one before, step 1" in said[0]


def test_a_checkpoint_of_an_earlier_version_has_no_hash_of_its_header(tmp_path):
    write_checkpoint(tmp_path, checkpoint(2))
    edit(tmp_path / LAST, header_sha256=None)
    found, said = read(tmp_path)
    assert same(found, checkpoint(2))
    assert found.header.config == small_config("run")
    assert said == []
