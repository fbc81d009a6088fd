from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save

import counterpoint
from counterpoint.cli.main import run
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import FILE, about, load_networks, save_networks
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.unet import UNet
from counterpoint.integrations.hub import fetched, load_model, pinned, published

ABOUT = {
    "method": {"kind": "simclr", "hidden": 8},
    "data": {"samples": 40, "data": "/home/ann/patients", "part": "train", "shape": [3, 16, 16]},
    "train": {"batch": 8},
    "steps": 2,
    "loss": 1.25,
}


@dataclass
class FakeHub:
    """The few doors of the hub that the client knocks at, with what stands behind them."""

    address: str = ""
    repositories: dict[str, dict] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, name: str, files: dict[str, bytes], branch: str = "main", private: bool = False) -> str:
        repository = self.repositories.setdefault(name, {"private": private, "refs": {}, "commits": {}})
        whole = repository["commits"].get(repository["refs"].get(branch), {}) | files
        sha = hashlib.sha1(repr((sorted(whole.items()), len(repository["commits"]))).encode()).hexdigest()
        repository["commits"][sha] = whole
        repository["refs"][branch] = sha
        return sha


class Door(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def say(self, status: int, content: bytes | dict = b"", **headers: str) -> None:
        content = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(self.path)
        if self.headers.get("Authorization") != "Bearer may-write":
            return self.say(403, {"error": "no"})
        match self.path.strip("/").split("/"):
            case ["api", "validate-yaml"]:
                yaml.safe_load(json.loads(content)["content"].split("---")[1])
                return self.say(200, {"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                asked = json.loads(content)
                name = f"{asked['organization']}/{asked['name']}"
                private = asked.get("private", asked.get("visibility") == "private")
                status = 409 if name in self.hub.repositories else 200
                self.hub.repositories.setdefault(name, {"private": private, "refs": {}, "commits": {}})
                return self.say(status, {"url": f"{self.hub.address}/{name}"})
            case ["api", "models", *_, "preupload", _]:
                files = json.loads(content)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                return self.say(200, {"files": modes})
            case ["api", "models", owner, name, "branch", branch]:
                refs = self.hub.repositories[f"{owner}/{name}"]["refs"]
                refs[branch] = refs.get("main")
                return self.say(200, {})
            case ["api", "models", owner, name, "commit", branch]:
                lines = [json.loads(line) for line in content.splitlines()]
                files = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"])
                    for line in lines
                    if line["key"] == "file"
                }
                sha = self.hub.commit(f"{owner}/{name}", files, branch)
                url = f"{self.hub.address}/{owner}/{name}/commit/{sha}"
                return self.say(200, {"commitUrl": url, "commitOid": sha, "success": True})
        self.say(404)

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        parts = self.path.strip("/").split("/")
        if len(parts) != 5 or parts[2] != "resolve":
            return self.say(404)
        owner, name, _, revision, file = parts
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            return self.say(404, X_Error_Code="RepoNotFound")
        if repository["private"] and not self.headers.get("Authorization"):
            return self.say(401, X_Error_Code="RepoNotFound")
        sha = repository["refs"].get(revision, revision)
        if sha not in repository["commits"]:
            return self.say(404, X_Error_Code="RevisionNotFound")
        content = repository["commits"][sha].get(file)
        if content is None:
            return self.say(404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        etag = hashlib.sha256(content).hexdigest()
        self.say(200, content, X_Repo_Commit=sha, ETag=f'"{etag}"')

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub on this machine, and a client that knows no other."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is not installed")
    fake = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Door,), {"hub": fake}))
    fake.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    template = fake.address + constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "ENDPOINT", fake.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name, value in (("HF_TOKEN", "may-write"), ("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(tmp_path) -> Path:
    """A run folder with one network."""
    torch.manual_seed(0)
    (tmp_path / "run").mkdir()
    save_networks(tmp_path / "run" / FILE, {"image": ConvNet.Config(width=2).build()}, ABOUT)
    return tmp_path / "run"


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(x, y)
        for role in a
        for x, y in zip(a[role].state_dict().values(), b[role].state_dict().values(), strict=True)
    )


def test_what_is_published_comes_back_as_it_was(hub, model):
    reference = published(model, "hf://ann/cells", license="cc-by-4.0")
    sha = hub.repositories["ann/cells"]["refs"]["main"]
    assert reference == f"hf://ann/cells@{sha}"
    assert pinned("hf://ann/cells") == pinned("hf://ann/cells@main") == pinned(reference) == reference
    for name in (reference, "hf://ann/cells", Path("hf://ann/cells")):
        assert same(load_model(name), load_networks(model))
    assert same(counterpoint.load_model(reference), load_networks(model))
    assert same(counterpoint.load_model(model), load_networks(model))
    resolved = [path for path in hub.asked if "/resolve/" in path]
    assert resolved and all(path.endswith(f"/{FILE}") for path in resolved)


def test_a_repository_is_private_unless_asked_and_stays_as_it_is(hub, model):
    published(model, "hf://ann/cells")
    published(model, "hf://ann/open", public=True)
    published(model, "hf://ann/cells", public=True)
    assert [r["private"] for r in hub.repositories.values()] == [True, False]
    assert len(hub.repositories["ann/cells"]["commits"]) == 2


def test_file_names_stay_at_home_and_the_card_says_the_rest(hub, model):
    scores = [{"task": "knn", "scores": {"accuracy": 0.75}, "test": 8}]
    published(model, "hf://ann/cells@second", scores=scores)
    repository = hub.repositories["ann/cells"]
    files = repository["commits"][repository["refs"]["second"]]
    assert files.keys() == {FILE, "README.md"} and not any(b"ann/patients" in f for f in files.values())
    front, text = files["README.md"].decode().split("---\n")[1:]
    front = yaml.safe_load(front)
    assert front["library_name"] == "counterpoint" and "simclr" in front["tags"] and "license" not in front
    for words in (
        "| image | convnet | 3 | 8 |",
        "samples: 40",
        "Loss 1.25 after 2",
        "| knn | accuracy | 0.7500 | 8 |",
    ):
        assert words in text
    assert "hf://ann/cells" in text
    assert about(fetched("hf://ann/cells@second"))["data"] == {
        "samples": 40,
        "part": "train",
        "shape": [3, 16, 16],
    }


def test_a_pinned_reference_needs_no_network(hub, model):
    first = published(model, "hf://ann/cells")
    pinned("hf://ann/cells")
    other = ConvNet.Config(width=3).build()
    save_networks(model / FILE, {"image": other}, ABOUT)
    second = published(model, "hf://ann/cells")
    before = len(hub.asked)
    assert load_model(first)["image"].out_dim == 8 and len(hub.asked) == before
    assert pinned("hf://ann/cells") == second and load_model(second)["image"].out_dim == 12


def header(**networks) -> dict[str, str]:
    return {
        "counterpoint": json.dumps({"format": "counterpoint-networks-1", "networks": networks, "about": {}})
    }


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("hf://ann", "expected hf://OWNER/NAME"),
        ("hf://ann/cells/x", "expected hf://OWNER/NAME"),
        ("hf://ann/cells@../../x", "expected hf://OWNER/NAME"),
        (f"hf://ann/{'x' * 120}", "a name that the hub does not allow"),
        ("hf://ann/none", "found none, or a private one"),
        ("hf://ann/cells@none", "found no such revision"),
        ("hf://ann/empty", f"found no {FILE} in it"),
        ("hf://ann/text", "expected a safetensors file, found a damaged one"),
        ("hf://ann/other", "expected the format counterpoint-networks-1, found that of another program"),
        ("hf://ann/odd", "expected the networks of a counterpoint run, found a header of another form"),
        ("hf://ann/code", "settings can fetch and run code"),
    ],
)
def test_what_is_not_ours_is_refused_in_a_sentence(hub, reference, words):
    tensors = {"x": torch.zeros(1)}
    hub.commit("ann/cells", {FILE: b""})
    hub.commit("ann/empty", {"pytorch_model.bin": b"\x80"})
    hub.commit("ann/text", {FILE: b"no"})
    hub.commit("ann/other", {FILE: save(tensors)})
    foreign = {"kind": "foreign", "library": "transformers", "name": "eve/model", "pretrained": True}
    hub.commit("ann/odd", {FILE: save(tensors, {"counterpoint": '{"format": "counterpoint-networks-1"}'})})
    hub.commit("ann/code", {FILE: save(tensors, header(image=foreign))})
    with pytest.raises(InputError, match=words) as error:
        load_model(reference)
    assert str(error.value).startswith(reference) and "\n" not in str(error.value)


def test_without_the_right_to_write_nothing_is_published(hub, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "may-read")
    with pytest.raises(InputError, match=r"expected the right to write there, found none \(HTTP 403\)"):
        published(model, "hf://ann/cells")
    assert not hub.repositories


def test_without_a_network_the_last_known_commit_is_taken_or_it_is_said(hub, model, monkeypatch):
    reference = published(model, "hf://ann/cells")
    load_model("hf://ann/cells")
    monkeypatch.setattr(sys.modules["huggingface_hub.constants"], "HF_HUB_OFFLINE", True)
    assert pinned("hf://ann/cells") == reference
    with pytest.raises(WorkError, match="hf://ann/none: the hub could not be used: ") as error:
        fetched("hf://ann/none")
    assert "\n" not in str(error.value)


def test_without_the_client_one_is_told_what_to_install(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: fetched("hf://ann/cells"), lambda: published(model, "hf://ann/cells")):
        with pytest.raises(InputError, match=r"expects huggingface_hub .* pip install 'counterpoint\[hub\]'"):
            call()
    assert same(load_model(model), load_networks(model))


def command(capsys, *argv: object) -> tuple[dict, str]:
    capsys.readouterr()
    code = run([*map(str, argv), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out), said.err


def test_commands_take_a_model_from_the_hub_and_say_its_commit(hub, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3), np.uint8)
    np.savez("a.npz", image=images, label=np.arange(20) % 2)
    answer, _ = command(capsys, "export", model, "-o", "hf://ann/cells")
    reference = answer["out"]
    for argv in (("embed", "hf://ann/cells", "a.npz"), ("score", "hf://ann/cells", "knn", "--data", "a.npz")):
        answer, said = command(capsys, *argv)
        assert answer["run"] == reference and f"model {reference}" in said
    assert json.loads(Path("counterpoint-score/knn.json").read_text())["run"] == reference
    _, said = command(
        capsys, "export", model, "-o", "hf://ann/cells", "--scores", "counterpoint-score/knn.json", "--public"
    )
    card = list(hub.repositories["ann/cells"]["commits"].values())[-1]["README.md"].decode()
    assert "## Scores" in card and "published as hf://ann/cells@" in said
    answer, _ = command(capsys, "export", "hf://ann/cells", "-o", "again.safetensors")
    assert same(load_networks("again.safetensors"), load_networks(model))


def test_register_and_score_registration_record_the_commit(hub, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    networks = {role: UNet.Config(widths=(2, 3), out=2).build() for role in ("fixed", "moving")}
    save_networks(tmp_path / "n.safetensors", networks, {"data": {"pairs": ["eve_1", "eve_2"]}})
    reference = published("n.safetensors", "hf://ann/pair")
    assert about(fetched(reference)) == {"data": {"pairs": 2}}
    noise = np.random.default_rng(0).random((8, 8))
    image = np.kron(noise, np.ones((4, 4)))
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.fromarray((255 * image).astype(np.uint8)).save(f"{folder}/x.png")
    answer, said = command(
        capsys, "register", "a/x.png", "b/x.png", "--model", "hf://ann/pair", "--report", "no", "-o", "r"
    )
    assert answer["made_with"]["settings"]["model"] == reference and f"model {reference}" in said
    flags = ("--fixed", "a", "--moving", "b", "--methods", "learned", "--levels", "1", "-o", "s")
    _, said = command(capsys, "score", "registration", *flags, "--model", "hf://ann/pair")
    assert f"model {reference}" in said
    save_networks(tmp_path / "n.safetensors", networks, {"steps": 1})
    published("n.safetensors", "hf://ann/pair")
    assert run(["score", "registration", *flags, "--model", "hf://ann/pair"]) == 2
    assert "expected rows made with the settings now given" in capsys.readouterr().err
