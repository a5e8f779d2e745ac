"""Open tables and the plugins that fill them."""

import re
from dataclasses import dataclass

import pytest

from crsdun import registry
from crsdun.errors import InputError
from crsdun.networks import ReconstructionConfig, Ssr, SsrConfig, create, join, load, register_network, save
from crsdun.networks.zoo import KINDS, NAMES
from crsdun.registry import PLUGINS, Registry
from crsdun.solvers import SOLVERS, GapTv, create_solver, register_solver


@pytest.fixture
def table():
    table = Registry("fruit")
    for name in ("pear", "plum", "apple"):
        table.register(name, object())
    return table


class Plugin:
    """An entry point."""

    def __init__(self, name, load):
        self.name, self.value, self.load = name, f"{name}.module", load


@pytest.fixture
def install(monkeypatch):
    """Let plugins be installed that are not loaded yet."""

    def installed(*plugins):
        monkeypatch.setattr(registry, "entry_points", lambda group: plugins if group == PLUGINS else ())
        monkeypatch.setattr(registry, "_loaded", False)

    return installed


def test_a_table_is_a_mapping_in_the_order_of_registration(table):
    assert list(table) == ["pear", "plum", "apple"]
    assert (len(table), "plum" in table, "fig" in table) == (3, True, False)
    assert table["plum"] is table.find("plum")
    with pytest.raises(KeyError):
        table["fig"]


def test_the_nearest_name_is_suggested(table):
    with pytest.raises(InputError, match="no fruit called 'plumm'; did you mean plum\\? There are pear, plum, apple"):
        table.find("plumm")
    with pytest.raises(InputError, match="no fruit called 'quince'; there are pear, plum, apple"):
        table.find("quince")


def test_a_name_is_given_once(table):
    pear = table["pear"]
    assert table.register("pear", pear) is pear
    with pytest.raises(InputError, match="already a fruit called 'pear'; register it under another name"):
        table.register("pear", object())
    assert table["pear"] is pear
    table.unregister("pear")
    table.unregister("pear")
    assert list(table) == ["plum", "apple"]


def test_plugins_are_loaded_once_and_only_when_needed(table, install):
    loaded = []

    def load():
        loaded.append("fig" in table)  # a plugin may look something up while it is imported
        table.register("fig", object())

    install(Plugin("figs", load))
    assert "pear" in table
    table.find("plum")
    assert loaded == []
    assert "fig" in table
    assert list(table) == ["pear", "plum", "apple", "fig"]
    assert loaded == [False]


def test_a_broken_plugin_is_a_warning_and_the_others_are_loaded(table, install):
    def broken():
        raise ImportError("no module named figs")

    install(Plugin("figs", broken), Plugin("limes", lambda: table.register("lime", object())))
    with pytest.warns(UserWarning, match=r"plugin figs \(figs\.module\) could not be loaded: no module named figs"):
        assert list(table) == ["pear", "plum", "apple", "lime"]
    assert "lime" in table  # without a second warning


class Config(ReconstructionConfig):
    pass


def test_a_network_of_ones_own_is_registered_by_kind_and_names():
    try:
        for _ in range(2):  # the same again changes nothing
            register_network("mine", Config, object, {"mine_{K}stg": {}})
        assert "mine" in KINDS
        assert "mine_{K}stg" in NAMES
        with pytest.raises(InputError, match="already a kind of network called 'mine'"):
            register_network("mine", Config, int)
        with pytest.raises(InputError, match="already a network called 'mstpp'"):
            register_network("other", Config, object, {"other_{K}stg": {}, "mstpp": {}})
        for name in ("crsdun_9stg", "mine_3stg", "crsdun_{K}stg", "mine+seg", "lr_tv"):
            with pytest.raises(InputError, match="already a"):
                register_network("other", Config, object, {name: {}})
        assert "other" not in KINDS
        assert "other_{K}stg" not in NAMES
    finally:
        for kind in ("mine", "other"):
            KINDS.unregister(kind)
        for name in ("mine_{K}stg", "other_{K}stg"):
            NAMES.unregister(name)
    with pytest.raises(InputError, match="no network called 'mine_3stg'"):
        create("mine_3stg", bands=4)


def test_weights_come_back_as_the_network_that_was_saved(tmp_path):
    @dataclass(frozen=True)
    class MineConfig(SsrConfig):
        more: int = 2

    class Mine(Ssr):
        pass

    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="Mine is not a registered network"):
        save(Mine(SsrConfig(bands=4, stages=1)), path)
    with pytest.raises(InputError, match="SsrConfig is already the configuration of ssr; give mine one of its own"):
        register_network("mine", SsrConfig, Mine)
    try:
        register_network("mine", MineConfig, Mine)
        save(create("mine", bands=4, stages=1, more=3), path)
        again = load(path)
        assert (type(again), again.config.more) == (Mine, 3)
    finally:
        KINDS.unregister("mine")
        NAMES.unregister("mine")

    class MySolver(GapTv):
        pass

    with pytest.raises(InputError, match="MySolver is not a registered solver"):
        save(join(MySolver(), create("seg_1stg", bands=4, classes=3)), path)


def test_a_solver_of_ones_own_is_registered_by_name():
    class Mine(GapTv):
        pass

    try:
        assert register_solver("mine", Mine) is Mine
        assert create_solver("mine", iterations=2).name == "mine"
        assert GapTv.name == "gap-tv"
        with pytest.raises(InputError, match="already a solver called 'gap-tv'"):
            register_solver("gap-tv", Mine)
        assert Mine.name == "mine"
        for name, known in [
            ("crsdun_tiny", "file of weights"), ("crsdun_tiny_1", "file of weights"), ("crsdun_9stg", "network"),
            ("gap_tv", "solver"), ("mine+seg", "two-stage system"),
        ]:  # fmt: skip
            with pytest.raises(InputError, match=f"already a {known} called {re.escape(repr(name))}"):
                register_solver(name, Mine)
        for name in ("", " mine", None):
            with pytest.raises(InputError, match="is no name for a solver"):
                register_solver(name, Mine)
        assert list(SOLVERS).count("mine") == 1
        with pytest.raises(InputError, match="already a solver called 'mine'"):
            register_network("mine", Config, object)
    finally:
        SOLVERS.unregister("mine")
