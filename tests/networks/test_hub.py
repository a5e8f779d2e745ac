"""Weights at ``hf://owner/name``, against a stand-in for the hub: fetched, pinned, checked, kept, refused."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import crsdun
from crsdun.errors import InputError
from crsdun.networks import find_weights, name_of_weights, read_header, record_of_weights
from crsdun.networks.hub import HubAddress, is_hub_address, publish
from tests.networks.stand_in_hub import TOKEN, in_place_of_the_hub, serving

HERE = "hf://lab/orchard"

# huggingface_hub 2.4 sends large files in a way that its own HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, bytes]:
    """Two files of weights."""
    made = {}
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("weights") / name
        network = crsdun.create("crsdun_1stg", bands=3, classes=2, width=2)
        crsdun.save(network, path, wavelengths=[450, 550, 650], class_names=("leaf", "soil"), step=2)
        made[name] = path.read_bytes()
    return made


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache") as made:
        yield made


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def forget(monkeypatch) -> None:
    """As a new process would: only the cache on disk is left."""
    monkeypatch.setattr("crsdun.networks.hub._fetched", {})


def offline(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


# -- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", "@refs/pr/3", f"@{'a' * 40}"])
@pytest.mark.parametrize("checksum", ["", f"#sha256={'0' * 64}"])
def test_an_address_is_read_and_written_alike(revision, checksum):
    text = f"hf://a-lab/Orchard_2.0{revision}{checksum}"
    assert str(HubAddress.parse(text)) == text
    assert str(HubAddress.parse(Path(text))) == text  # which has one slash
    assert name_of_weights(text) == f"Orchard_2.0{revision if len(revision) < 41 else revision[:9]}"


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://owner", "hf://owner/name/file", "hf://datasets/owner/name", "hf://../name", "hf://owner/..",
        "hf://owner/name@", "hf://owner/name#sha256=12", "hf://owner/name#md5=0", "hf://o/n@a b", "hf://o/n?x",
        "hf://o/n\n", "hf://o/n@../../x", "hf://o/n@a/../b", "hf://o/n@a//b", "hf://o/n@.x", "hf://ö/n", "hf:///o/n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_asked(text, hub):
    assert is_hub_address(text)
    with pytest.raises(InputError, match="is no address of weights on the hub; write hf://owner/name"):
        crsdun.load(text)
    assert hub.requests == []


def test_files_and_names_are_no_addresses(tmp_path):
    for given in ("crsdun_tiny", "weights.safetensors", tmp_path / "hf" / "x", "hf", "./hf:/a/b"):
        assert not is_hub_address(given)


# -- fetching ----------------------------------------------------------------------------------------------------


def test_weights_are_fetched_once_and_are_the_same(hub, weights, monkeypatch):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"], "config.json": b"{}"})
    network = crsdun.load(HERE)
    assert (network.name, network.card.class_names) == ("orchard", ("leaf", "soil"))
    assert find_weights(HERE).read_bytes() == weights["first"]
    crsdun.load(HERE)
    fetched = [line for line in hub.asked() if line.startswith("GET")]
    assert fetched == [f"GET /lfs/{sha256(weights['first'])}"]
    forget(monkeypatch)
    crsdun.load(HERE)  # asks whether it is still the newest, and takes the cache
    assert [line for line in hub.asked() if line.startswith("GET")] == fetched
    assert {line.split("/")[-1] for line in hub.asked() if line.startswith("HEAD")} == {"model.safetensors"}


def test_revisions_are_pinned_and_branches_move(hub, weights, monkeypatch):
    repository = hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    repository.names["v1"] = first = repository.at("main")
    assert find_weights(HERE).read_bytes() == weights["first"]
    hub.objects[sha256(weights["second"])] = weights["second"]
    second = repository.commit({"model.safetensors": weights["second"]})
    assert find_weights(HERE).read_bytes() == weights["first"]  # as long as this process lives
    forget(monkeypatch)
    assert find_weights(HERE).read_bytes() == weights["second"]
    for revision, name in ((first, "first"), ("v1", "first"), (second, "second"), ("main", "second")):
        assert find_weights(f"{HERE}@{revision}").read_bytes() == weights[name]
    assert record_of_weights(f"{HERE}@v1") == {"file": f"{HERE}@{first}", "sha256": sha256(weights["first"])}
    before = len(hub.requests)
    forget(monkeypatch)
    find_weights(f"{HERE}@{first}")
    assert len(hub.requests) == before  # a commit cannot change


def test_nothing_is_told_besides(hub, weights, monkeypatch):
    """No telemetry, no versions of other software, nothing of who started us; the token goes to the hub alone."""
    monkeypatch.setenv("AI_AGENT", "somebody")
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    crsdun.load(HERE)
    paths = {path.split("/")[1] for _, path, _ in hub.requests}
    assert paths == {"lab", "lfs"}
    for _, path, headers in hub.requests:
        assert ("authorization" in headers) == path.startswith("/lab")
        assert headers["user-agent"].startswith("crsdun/")
        assert "torch" not in headers["user-agent"]
        assert "somebody" not in headers["user-agent"]


def test_private_repositories_take_the_users_token(hub, weights, monkeypatch):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]}, private=True)
    crsdun.load(HERE)
    hub.repository("lab/other", {"model.safetensors": weights["first"]}, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match=r"no repository lab/other on the hub, or it is private.*hf auth login"):
        crsdun.load("hf://lab/other")
    hub.repository("lab/asks", {"model.safetensors": weights["first"]}, gated=True)
    with pytest.raises(InputError, match="the owner of lab/asks asks for consent first"):
        crsdun.load("hf://lab/asks")


# -- without the hub ---------------------------------------------------------------------------------------------


def test_what_was_fetched_is_there_offline(hub, weights, monkeypatch):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    crsdun.load(HERE)
    asked = len(hub.requests)
    forget(monkeypatch)
    offline(monkeypatch)
    assert crsdun.load(HERE).name == "orchard"
    assert crsdun.load(f"{HERE}#sha256={sha256(weights['first'])}").name == "orchard"
    with pytest.raises(InputError, match=r"hf://lab/orchard@v2 is not in the cache, and HF_HUB_OFFLINE"):
        crsdun.load(f"{HERE}@v2")
    assert len(hub.requests) == asked


def test_a_hub_that_cannot_be_reached(hub, weights, monkeypatch):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    crsdun.load(HERE)
    forget(monkeypatch)
    gone = "http://127.0.0.1:9"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", gone)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        f"{gone}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    assert crsdun.load(HERE).name == "orchard"
    with pytest.raises(InputError, match=r"not in the cache, and the hub cannot be reached \(.*Connect"):
        crsdun.load("hf://lab/other")


# -- what is not there, and what is not right --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://lab/nothing", "there is no repository lab/nothing on the hub, or it is private"),
        ("hf://lab/orchard@v2", "lab/orchard has no revision v2; name a branch"),
        (f"hf://lab/orchard@{'0' * 40}", "lab/orchard has no revision 0000"),
        ("hf://lab/pickles", r"hf://lab/pickles holds no model.safetensors; .*no pickles"),
    ],
)
def test_what_is_missing_is_said(address, message, hub, weights):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    hub.repository("lab/pickles", {"pytorch_model.bin": b"\x80\x04.", "model.pkl": b"\x80\x04.", "model.pt": b"PK"})
    with pytest.raises(InputError, match=message):
        crsdun.load(address)
    assert not [line for line in hub.asked() if line.startswith("GET")]


def test_a_file_that_is_not_what_the_hub_states_is_refused_and_forgotten(hub, weights, tmp_path):
    whole = weights["first"]
    hub.repository("lab/orchard", {"model.safetensors": whole})
    hub.swapped[sha256(whole)] = weights["second"][: len(whole)].ljust(len(whole), b"\0")
    for _ in range(2):
        with pytest.raises(InputError, match=f"is not what the hub states: its SHA-256 is .*, not {sha256(whole)}"):
            crsdun.load(HERE)
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.swapped.clear()
    assert crsdun.load(HERE).name == "orchard"


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub, weights, monkeypatch):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    path = find_weights(HERE).resolve()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    forget(monkeypatch)
    with pytest.raises(InputError, match="removed from the cache: fetch it again"):
        crsdun.load(HERE)
    assert crsdun.load(HERE).name == "orchard"


def test_the_checksum_of_an_address_decides(hub, weights):
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    right, wrong = (sha256(weights[name]) for name in ("first", "second"))
    assert crsdun.load(f"{HERE}#sha256={right.upper()}").name == "orchard"
    with pytest.raises(InputError, match=f"the SHA-256 of hf://lab/orchard is {right}, not {wrong}"):
        crsdun.load(f"{HERE}#sha256={wrong}")
    assert crsdun.load(HERE).name == "orchard"  # what is in the cache is right


def test_a_file_outside_lfs_is_checked_by_the_hash_that_git_has_of_it(hub, weights, monkeypatch):
    monkeypatch.setattr("tests.networks.stand_in_hub.LFS", ())
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    path = find_weights(HERE).resolve()
    assert len(path.name) == 40
    forget(monkeypatch)
    path.write_bytes(weights["second"])
    with pytest.raises(InputError, match="is not what the hub states"):
        crsdun.load(HERE)


def test_without_links_the_hub_is_asked_for_the_checksum(hub, weights, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True)
    hub.repository("lab/orchard", {"model.safetensors": weights["first"]})
    path = find_weights(HERE)
    assert not path.is_symlink()
    path.write_bytes(weights["second"])
    forget(monkeypatch)
    with pytest.raises(InputError, match="is not what the hub states"):
        crsdun.load(HERE)


def test_what_a_repository_holds_or_names_besides_is_never_read(hub, weights, tmp_path):
    """Its settings, an index and the header itself name other files, here and in the repository."""
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(weights["second"])
    index = f'{{"weight_map": {{"a": "{secret}", "b": "../../secret.safetensors"}}}}'.encode()
    others = {"model.safetensors.index.json": index, "config.json": index, "model.pkl": b"\x80\x04.", "x.py": b"boom"}
    hub.repository("lab/orchard", {"model.safetensors": weights["first"], **others})
    secret.chmod(0)
    crsdun.load(HERE)
    assert {path.rpartition("/")[2] for _, path, _ in hub.requests} == {"model.safetensors", sha256(weights["first"])}
    files = {path.name for path in (tmp_path / "cache").rglob("*") if not path.is_dir()}
    assert not files & others.keys()


def test_malformed_weights_are_refused_in_words(hub, weights, tmp_path):
    cut = weights["first"][:-100]
    hub.repository("lab/cut", {"model.safetensors": cut})
    with pytest.raises(InputError, match="not a whole safetensors file"):
        crsdun.load("hf://lab/cut")
    hub.repository("lab/pickle", {"model.safetensors": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."})
    with pytest.raises(InputError, match="not a whole safetensors file"):
        crsdun.load("hf://lab/pickle")
    save_file({"a": torch.zeros(2)}, tmp_path / "bare")
    hub.repository("lab/bare", {"model.safetensors": (tmp_path / "bare").read_bytes()})
    with pytest.raises(InputError, match="no description of a crsdun network"):
        read_header("hf://lab/bare")
    with safe_open(tmp_path / "bare", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = '{"format": 1, "version": "0", "kind": "crsdun", "config": {"file": "/etc/passwd"}, "card": {}}'
    save_file(tensors, tmp_path / "named", metadata={"crsdun": header})
    hub.repository("lab/named", {"model.safetensors": (tmp_path / "named").read_bytes()})
    with pytest.raises(InputError, match="damaged or edited"):
        crsdun.load("hf://lab/named")


def test_without_huggingface_hub_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"need huggingface_hub, .*pip install 'crsdun\[hub\]'"):
        crsdun.load(HERE)


# -- publishing --------------------------------------------------------------------------------------------------


def test_published_files_are_one_commit(hub, weights):
    files = {"model.safetensors": weights["first"], "README.md": b"---\nlicense: mit\n---\n# Orchard\n"}
    published, left = publish(HubAddress("lab/orchard"), files, "first")
    repository = hub.repositories["lab/orchard"]
    assert len(repository.commits) == 2  # the empty one, and ours
    assert repository.commits[repository.names["main"]].items() >= files.items()
    assert str(published) == f"{HERE}@{repository.names['main']}#sha256={sha256(weights['first'])}"
    assert left == set()
    assert not repository.private
    assert crsdun.load(str(published)).name.startswith("orchard@")


def test_the_second_commit_keeps_what_it_is_told_to(hub, weights):
    address, card = HubAddress("lab/orchard"), b"# By a person\n"
    publish(address, {"model.safetensors": weights["first"], "README.md": card}, "first", private=True)
    files = {"model.safetensors": weights["second"], "README.md": b"# By a program\n"}
    _, left = publish(address, files, "second", keep=frozenset({"README.md"}))
    repository = hub.repositories["lab/orchard"]
    assert repository.private
    assert left == {"README.md"}
    assert repository.commits[repository.names["main"]]["README.md"] == card
    assert find_weights(HERE).read_bytes() == weights["second"]
    again, _ = publish(address, files, "again", keep=frozenset({"README.md"}))
    assert again.revision == repository.names["main"]


def test_a_branch_is_made_for_what_is_published_there(hub, weights):
    publish(HubAddress("lab/orchard"), {"model.safetensors": weights["first"]}, "first")
    publish(HubAddress("lab/orchard", "wide"), {"model.safetensors": weights["second"]}, "second")
    assert find_weights(HERE).read_bytes() == weights["first"]
    assert find_weights(f"{HERE}@wide").read_bytes() == weights["second"]


def test_publishing_is_refused_in_words(hub, weights, monkeypatch):
    files = {"model.safetensors": weights["first"]}
    for text in (f"{HERE}@{'a' * 40}", f"{HERE}#sha256={'0' * 64}"):
        with pytest.raises(InputError, match="nothing can be published at"):
            publish(HubAddress.parse(text), files, "no")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match=r"the hub refused hf://lab/orchard .*401.*your token"):
        publish(HubAddress("lab/orchard"), files, "no")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="needs a token of the hub; log in with hf auth login"):
        publish(HubAddress("lab/orchard"), files, "no")
    assert hub.repositories == {}


def test_what_arrives_damaged_is_not_called_published(hub, weights, monkeypatch):
    from tests.networks.stand_in_hub import Repository

    real = Repository.commit
    damaged = {"model.safetensors": weights["second"]}
    monkeypatch.setattr(
        Repository,
        "commit",
        lambda self, files, branch="main": real(self, damaged if ".git" not in str(files) else files, branch),
    )
    with pytest.raises(InputError, match=r"has SHA-256 .* on the hub, not"):
        publish(HubAddress("lab/orchard"), {"model.safetensors": weights["first"]}, "first")


# -- a process of its own ----------------------------------------------------------------------------------------


def test_the_users_settings_decide_where_the_hub_is(weights, tmp_path):
    """As from a shell: the hub, the cache, the token and offline by the variables of huggingface_hub."""
    (tmp_path / "mine.safetensors").write_bytes(weights["first"])

    def shell(*commands: str, **settings: str) -> list[str]:
        """The lines that commands print, one after the other in a process of its own."""
        given = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", **settings}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        program = f"from crsdun.cli import main\nfor each in {commands}: assert main(each.split()) == 0"
        done = subprocess.run(
            [sys.executable, "-c", program], env=kept | given, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with serving() as hub:
        online = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN}
        first, *info = shell(f"push mine.safetensors {HERE} --license mit", f"info {HERE}", **online)
        commit = hub.repositories["lab/orchard"].names["main"]
        assert first == f"published: {HERE}@{commit}#sha256={sha256(weights['first'])}"
        assert not any("agent" in path for path in hub.asked())
        asked = len(hub.requests)
        assert shell(f"info {HERE}", HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="1") == info
        assert len(hub.requests) == asked
