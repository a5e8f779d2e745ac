"""What requests may say, and how the service may be started."""

import ast
import asyncio
import errno
from dataclasses import fields
from pathlib import Path

import pytest
from starlette.routing import Route

import crsdun
from crsdun.cli import main, parser
from crsdun.cli.serve import token_from
from crsdun.errors import SETTING, InputError
from crsdun.service.config import ServiceConfig
from crsdun.service.desk import Desk, Full
from crsdun.service.engine import Connection
from crsdun.service.front import Front, told
from crsdun.service.openapi import document, page
from crsdun.service.results import WRITERS
from crsdun.service.settings import KINDS, PRODUCTS, NotAcceptable, Settings, accepted
from crsdun.service.wording import control

MEDIA = {"npz": "application/x-npz", "png": "image/png", "json": "application/json"}


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", "npz"),
        ("*/*", "npz"),
        ("image/png", "png"),
        ("text/html, image/*;q=0.3, application/json;q=0.8", "json"),
        ("application/*;q=0.1, */*;q=0.5", "png"),
        ("*/*, application/x-npz;q=0", "png"),
        ("IMAGE/PNG", "png"),
        ("text/html", None),
        ("image/png;q=0", None),
        ("image/png;q=high", None),
        (",;,;q=", None),
    ],
)
def test_what_is_accepted(accept, name):
    assert accepted(accept, MEDIA) == name


def test_the_answer_that_is_asked_for():
    assert Settings().answer("") == ("cube", "npz")
    assert Settings(product="classes").answer("image/png") == ("classes", "png")
    assert Settings(format="png").answer("text/html") == ("picture", "png")
    assert Settings(product="everything").answer("*/*") == ("everything", "zip")
    with pytest.raises(NotAcceptable, match="accept image/png"):
        Settings(product="picture").answer("application/json")
    assert {(product, kind) for product, kinds in PRODUCTS.items() for kind in kinds} == WRITERS.keys()


def test_settings_reach_the_preparation():
    settings = Settings.parse([("bits", "12"), ("dark", "64.5"), ("wavelengths", "450-650:3"), ("key", "y")])
    prepared = settings.prepared(crsdun.runtime.Preparation(white=4000.0, step=1))
    assert (prepared.bits, prepared.dark, prepared.white, prepared.step) == (12, 64.5, 4000.0, 1)
    assert (prepared.wavelengths, prepared.key) == ((450.0, 550.0, 650.0), "y")
    with pytest.raises(InputError, match="longer than"):
        Settings.parse([("key", "y" * 10_000)])


def test_every_setting_that_a_remedy_names_has_a_name_in_requests():
    package, named = Path(crsdun.__file__).parent, set()
    for path in package.rglob("*.py"):
        if path.parent.name not in ("cli", "app") and path.name not in ("errors.py", "openapi.py"):
            strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            named |= {name for text in strings if isinstance(text, str) for name in SETTING.findall(text)}
    assert {"mask", "bits", "limit"} <= named
    assert {each.name for each in fields(Settings)} >= {"bits", "dark", "step"}
    assert control("mask") == "a mask as the part mask of the form"
    assert control("bits") == "the setting bits"
    assert all("--" not in control(name) and "_" not in control(name) for name in named)


def test_the_description_is_whole(tmp_path):
    config = ServiceConfig("lr-tv", token="a-token-for-tests-only", cameras={"lab": crsdun.runtime.Preparation()})
    described = document(config)
    front = Front(config, tmp_path, Connection(), {})
    routes = {route.path for route in front.app.app.routes if isinstance(route, Route)}
    assert routes - {"/"} == set(described["paths"])
    (post,) = described["paths"]["/v1/reconstruct"].values()
    names = [each.name for each in fields(Settings)]
    assert [each["name"] for each in post["parameters"]] == names
    assert set(post["responses"]["200"]["content"]) == set(KINDS.values())
    shown = page(described, config)
    assert all(f"<code>{name}</code>" in shown for name in names)
    assert "a-token-for-tests-only" not in shown + str(described) + repr(config)


def test_faults_of_ours_are_printed_and_not_told(capsys):
    answer = asyncio.run(told(None, KeyError("a secret of the inside")))
    assert (answer.status_code, b"secret" in answer.body) == (500, False)
    assert "a secret of the inside" in capsys.readouterr().err
    assert asyncio.run(told(None, OSError(errno.ENOSPC, "No space left"))).status_code == 507


def test_the_desk_says_when_to_come_again():
    desk = Desk(capacity=2, lanes=1)
    for _ in range(50):
        desk.took(30)
    with desk.place(), desk.place(), pytest.raises(Full) as full, desk.place():
        pass
    assert full.value.seconds == 30
    assert desk.inside == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("none", "there is no"),
        ("lr-tv --host 0.0.0.0", "put a token into the variable CRSDUN_TOKEN, or into a --token-file"),
        ("lr-tv --host 10.0.0.1", "choose another --host"),
        ("lr-tv --port 80", "choose another --port"),
        ("lr-tv --port 99999", "choose another --port"),
        ("lr-tv --queue -1", "queue lies between 0 and 100,000"),
        ("lr-tv --limit 0", "limit lies between 1 and 1,000,000"),
        ("lr-tv --timeout nan", "timeout lies between"),
        ("lr-tv --token-file missing", "the token cannot be read from missing"),
        ("lr-tv --token-file short", "16 letters or more"),
        ("lr-tv --camera lab.npz --camera lab.npz", "two cameras called 'lab'"),
        ("lr-tv --camera mask.npy", "is no camera file"),
        ("lr-tv --mask mask.npy --bands 4 --offsets 0,2", "a camera needs one number of bands"),
        ("lr-tv --batch 0", "batch lies between 1 and"),
        ("crsdun_tiny --iterations 3", "iterations is a setting of the training-free methods"),
    ],
)
def test_a_service_that_cannot_begin_says_why_in_one_line(arguments, words, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRSDUN_TOKEN", raising=False)
    for name in ("lab.npz", "mask.npy"):
        (tmp_path / name).write_bytes((given / name).read_bytes())
    (tmp_path / "short").write_text("short\n")
    assert main(["serve", *arguments.split()]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_a_token_is_what_a_header_can_bring(tmp_path, monkeypatch):
    monkeypatch.setenv("CRSDUN_TOKEN", "a-token-for-tests-only\n")
    assert token_from(None) == "a-token-for-tests-only"
    (tmp_path / "token").write_text("\ufeffa-token-for-tests-only\r\n", encoding="utf-8")
    assert token_from(tmp_path / "token") == "a-token-for-tests-only"
    monkeypatch.setenv("CRSDUN_TOKEN", " ")
    for token in (token_from(None), "a token for tests only", "a-token-for-\x07tests", "a-token-for-tests-ö"):
        with pytest.raises(InputError, match="16 letters or more of ASCII, without spaces; choose another token"):
            ServiceConfig("lr-tv", token=token)


def test_it_listens_on_this_machine_only_unless_told_otherwise():
    assert parser().parse_args(["serve", "lr-tv"]).host == "127.0.0.1"
