"""Weights that become the beginning of another network."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.networks import Network, NetworkConfig, Transfer, take_over, zoo

OLD, NEW = tuple(np.linspace(450, 650, 6)), tuple(np.linspace(460, 640, 8))
NAMES = ("background", "leaf", "stone")


def network(bands=6, classes=3, seed=0, name="crsdun_2stg_warm", **settings):
    torch.manual_seed(seed)
    made = crsdun.create(name, bands, classes, **{"width": 4, **settings})
    for each in made.parameters():
        torch.nn.init.normal_(each, std=0.1)
    return made


@pytest.fixture
def file(tmp_path):
    crsdun.save(network(), tmp_path / "old.safetensors", wavelengths=OLD, class_names=NAMES)
    return tmp_path / "old.safetensors"


def test_the_same_network_takes_over_everything(file):
    other = network(seed=1)
    taken = take_over(other, file, OLD, NAMES)
    assert taken == Transfer([], [], [], [])
    expected = network().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())
    assert not take_over(network(seed=1), file).fresh  # nothing is known of either: they are the same


def test_classes_are_taken_over_by_name_and_new_ones_stay_fresh(file):
    old, fresh, new = network(), network(classes=4, seed=1), network(classes=4, seed=1)
    taken = take_over(new, file, OLD, ("stone", "background", "water", "sand"))
    assert taken.new_classes == ["water", "sand"]
    assert not taken.fresh
    last = "stages.1.class_network.out.weight"
    assert last in taken.partly
    was, begun, now = (each.state_dict()[last] for each in (old, fresh, new))
    assert torch.equal(now[:2], was[[2, 0]])
    assert torch.equal(now[2:], begun[2:])
    was, begun, now = (each.dictionary.weight for each in (old, fresh, new))  # takes classes in
    assert torch.equal(now[:, :2], was[:, [2, 0]])
    assert torch.equal(now[:, 2:], begun[:, 2:])


@pytest.mark.parametrize("name", ["ssr_1stg+seg", "crsdun_1stg+seg", "gap_tv+seg"])
def test_the_parts_of_a_joined_system_are_taken_over_like_any_network(name, tmp_path):
    def joined(seed):
        torch.manual_seed(seed)
        return crsdun.create(name, 6, 3, segmenter={"stages": 1, "width": 4})

    old, fresh, new = joined(0), joined(1), joined(1)
    crsdun.save(old, tmp_path / "old.safetensors", wavelengths=OLD, class_names=NAMES)
    taken = take_over(new, tmp_path / "old.safetensors", OLD, ("background", "stone", "water"))
    assert (taken.new_classes, taken.fresh) == (["water"], [])
    last = "segmenter.unet.out.weight"
    assert last in taken.partly
    was, begun, now = (each.state_dict()[last] for each in (old, fresh, new))
    assert torch.equal(now[:2], was[[0, 2]])
    assert torch.equal(now[2], begun[2])
    again = joined(1)
    taken = take_over(again, tmp_path / "old.safetensors")  # nothing is known of either: they are the same
    assert taken == Transfer([], [], [], [])
    expected = old.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())


def test_bands_are_interpolated_between_wavelengths(file):
    old, new = network(), network(bands=8, seed=1)
    taken = take_over(new, file, NEW, NAMES)
    assert not taken.fresh
    assert "dictionary.weight" in taken.resampled
    theta = torch.rand(1, 3, 2, 2)
    spectra = old.dictionary(theta).detach().permute(0, 2, 3, 1).numpy()
    expected = np.apply_along_axis(lambda s: np.interp(NEW, OLD, s), -1, spectra)
    np.testing.assert_allclose(new.dictionary(theta).detach().permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    # What takes a cube in sees it on the bands it knows.
    cube = torch.rand(1, 8, 2, 2)
    seen = np.apply_along_axis(lambda s: np.interp(OLD, NEW, s), 1, cube.numpy()).astype(np.float32)
    torch.testing.assert_close(new.analysis(cube), old.analysis(torch.from_numpy(seen)), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["mstpp", "ssr_1stg", "rcump_1stg"])
def test_networks_without_classes_interpolate_bands_too(name, tmp_path):
    old, new = (crsdun.create(name, bands, width=8) for bands in (6, 8))
    crsdun.save(old, tmp_path / "old.safetensors", wavelengths=OLD)
    taken = take_over(new, tmp_path / "old.safetensors", NEW)
    assert not taken.fresh
    assert "initial.weight" in taken.resampled


@dataclass(frozen=True)
class PixelConfig(NetworkConfig):
    bands: int
    classes: int


class Pixel(Network):
    """The class of each pixel from its spectrum alone."""

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Conv2d(config.bands, config.classes, 1)


def test_classes_of_ones_own_network_are_taken_over_by_name(tmp_path, monkeypatch):
    for table in (zoo.KINDS, zoo.NAMES):
        monkeypatch.setattr(table, "_rows", dict(table._rows))
    crsdun.register_network("pixel", PixelConfig, Pixel)
    old, new = (crsdun.create("pixel", 6, 3) for _ in range(2))
    fresh = new.layer.weight.detach().clone()
    crsdun.save(old, tmp_path / "old.safetensors", wavelengths=OLD, class_names=NAMES)
    taken = take_over(new, tmp_path / "old.safetensors", OLD, ("background", "stone", "sand"))
    assert (taken.partly, taken.new_classes) == (["layer.weight", "layer.bias"], ["sand"])
    assert torch.equal(new.layer.weight[:2], old.layer.weight[[0, 2]])
    assert torch.equal(new.layer.weight[2], fresh[2])


def test_without_wavelengths_layers_of_other_bands_stay_fresh(file):
    new = network(bands=8, seed=1)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    taken = take_over(new, file, None, NAMES)
    assert "dictionary.weight" in taken.fresh
    assert not taken.resampled
    assert all(torch.equal(new.state_dict()[name], before[name]) for name in taken.fresh)
    assert "recurrence.weight" not in taken.fresh


def test_more_stages_and_another_width_take_over_what_fits(file):
    taken = take_over(network(stages=3, seed=1), file, OLD, NAMES)
    assert {name.split(".")[1] for name in taken.fresh} == {"2"}
    wider = take_over(network(width=8, seed=1), file, OLD, NAMES)
    assert "dictionary.weight" not in wider.fresh
    assert "stages.0.cube_network.embed.weight" in wider.fresh


def test_weights_of_another_kind_are_refused(file):
    with pytest.raises(InputError, match="holds weights of crsdun, not of ssr"):
        take_over(crsdun.create("ssr_2stg", 6, width=4), file)
