"""A method of one's own: the page that says how, word for word, and what may go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import counterpoint
from counterpoint.core.claim import Claim
from counterpoint.core.config import names
from counterpoint.core.networks import FORMAT
from counterpoint.core.rooms import opened, remove
from counterpoint.core.tensors import write_tensors
from counterpoint.evidence import store
from counterpoint.evidence.run import load_claim

PACKAGE = Path(counterpoint.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "adding-a-method.md"
TINY = ["--data", "a.npz", "--train.steps", "2", "--train.batch", "8", "--method.encoder.width", "4"]

if not PAGE.is_file():
    pytest.skip("the page stands in the source checkout", allow_module_level=True)
METHOD, TEACHER, CLAIM, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def mine(elsewhere) -> Path:
    """The folder of the page, and some images beside it."""
    write("mine/mine.py", METHOD)
    write("mine/claims/mine.py", CLAIM)
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16), np.uint8)
    np.savez("a.npz", image=images, label=np.arange(40) % 4)
    return elsewhere / "mine"


def write(file: str, text: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text)


def digest(folder: Path) -> str:
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc")
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


def test_the_method_of_the_page_works_and_no_file_of_ours_is_touched(run, mine):
    before = digest(PACKAGE), digest(store.folder())
    assert len(METHOD.splitlines()) <= 40
    listed = {m["name"]: m for m in run("methods", "--methods-from", mine, "--json").answer}
    assert listed["mine"]["field"] == "own" and listed["mine"]["problem"] == ""
    assert listed["mine"]["idea"].startswith("Mine: ") and "2026" in listed["mine"]["paper"]
    assert "simclr" in listed
    shown = run("show", "mine", "--methods-from=mine", "--json").answer
    types = {s["name"]: s["type"] for s in shown["settings"]}
    assert types["encoder"] == "EncoderConfig" and types["temperature"] == "float"
    assert "counterpoint.pairs.ids" in {part["module"] for part in shown["parts"]}

    train = ["train", "mine", *TINY, "--method.temperature", "0.1", "-o", "run", "--json"]
    assert run("--methods-from", "mine", *train).answer["steps"] == 2
    assert "temperature: 0.1" in Path("run/run.yaml").read_text()
    first = Path("run/networks.safetensors").read_bytes()
    Path("run/networks.safetensors").unlink()
    assert run(*train, "--methods-from", "mine").answer["resumed_from"] == 2
    assert Path("run/networks.safetensors").read_bytes() == first
    asked = run("score", "run", "knn", "--data", "a.npz", "-o", "s", "--methods-from", "mine", "--json")
    assert set(asked.answer["scores"]) == {"accuracy", "balanced_accuracy"}
    assert run("embed", "run", "a.npz", "-o", "z.npz", "--json").answer["samples"] == 40  # not needed here

    assert before == (digest(PACKAGE), digest(store.folder()))
    assert "mine" not in names("counterpoint.methods")  # nothing is left of it


def test_the_teacher_of_the_page_works(run, mine):
    parts = dict(re.findall(r"# (\w+ \w+).*\n((?:(?!# ).*\n)+)", TEACHER))
    text = METHOD.replace("from dataclasses", parts["among the"] + "from dataclasses", 1)
    end = "        self.projector = mlp(self.encoder.out_dim, 128, 64)\n"
    text = text.replace(end, end + parts["at the"], 1)
    text = re.sub(r"        a, b = .*\n", parts["in loss"], text) + "\n" + parts["below loss"]
    write("mine/mine.py", text)
    assert run("train", "mine", *TINY, "--methods-from", "mine", "-o", "run").code == 0


def test_the_claim_of_the_page_is_one(run, mine):
    assert (
        run("claim", "mine", "--dry", "--methods-from", "mine", "--json").answer["claims"][0]["claim"]
        == "mine"
    )
    with opened(["mine"]):
        assert isinstance(load_claim("mine"), Claim)


def test_a_claim_is_run_and_its_evidence_stays_with_it(run, mine):
    """In a field that the package has too, with processes of its own."""
    before = digest(store.folder())
    write("mine/image/other.py", METHOD.replace("Mine", "Other"))
    arms = 'def arms(_):\n    return {a: {"few": a == "mine"} for a in ("mine", "untrained", "pixels")}\n'
    text = CLAIM.replace("methods.mine import Mine", "methods.image.other import Other")
    text = re.sub(r"from counterpoint.claims._digits.*\n", "", text)
    write("mine/claims/image/other.py", re.sub(r"def arms.*?\n\n", arms + "\n", text, flags=re.DOTALL))
    done = run("claim", "other", "--methods-from", "mine", "--jobs", "2", "--json").answer
    assert done["claims"][0]["verdict"] == "holds" and done["claims"][0]["claim"] == "image/other"
    assert (mine / "evidence/image/other.json").is_file() and digest(store.folder()) == before
    listed = {m["name"]: m for m in run("methods", "--methods-from", "mine", "--json").answer}
    assert (listed["other"]["verdict"], listed["other"]["field"]) == ("holds", "image")
    assert listed["mine"]["verdict"] == "none"


def test_an_encoder_of_ones_own(run, mine):
    text = (PACKAGE / "encoders/convnet.py").read_text().replace("ConvNet", "Net")
    write("mine/encoders/net.py", text)
    flags = [*TINY[:-2], "--use", "method.encoder=net", "-o", "run", "--methods-from", "mine"]
    assert run("train", "mine", *flags).code == 0
    embed = ["embed", "run", "a.npz", "-o", "z.npz"]
    assert "unknown encoder" in run(*embed).sentence and run(*embed, "--methods-from", "mine").code == 0


def test_the_environment_stands_in_for_the_flag(run, mine, monkeypatch):
    write("more/another.py", METHOD)
    monkeypatch.setenv("COUNTERPOINT_METHODS", os.pathsep.join(["mine", "more"]))
    own = [m["name"] for m in run("methods", "--field", "own", "--json").answer]
    assert own == ["another", "mine"]
    given = run("methods", "--field", "own", "--json", "--methods-from", "more").answer
    assert [m["name"] for m in given] == ["another"]
    monkeypatch.setenv("COUNTERPOINT_METHODS", "nowhere")
    assert run("methods").sentence == "nowhere: expected a folder with methods, found nothing there"


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("mine/simclr.py", "mine/simclr.py: expected a name of its own, found that of .*/image/simclr.py"),
        (
            "mine/image/simclr.py",
            "mine/image/simclr.py: expected a name of its own, found that of .*/simclr.py",
        ),
        (
            "mine/field/mine.py",
            "mine/field/mine.py: expected a name of its own, found that of .*mine/mine.py",
        ),
        ("more/mine.py", "more/mine.py: expected a name of its own, found that of .*mine/mine.py"),
        ("mine/registration.py", "mine/registration.py: expected .* found that of .*methods/registration"),
    ],
)
def test_a_name_stands_for_one_file(refused, mine, file, sentence):
    write("more/other.py", METHOD)
    write(file, METHOD)
    for argv in (["methods"], ["train", "mine", "-o", "run"]):
        assert re.fullmatch(
            f".*{sentence}", refused(*argv, "--methods-from", "mine", "--methods-from", "more")
        )


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "nowhere: expected a folder with methods, found nothing there"),
        ("a.npz", "a.npz: expected a folder with methods, found a file"),
        ("empty", "empty: expected a method (a file with a Method and its Config), found none"),
        (PACKAGE / "methods", "expected a folder outside of the package, found one of its own"),
    ],
)
def test_a_folder_must_hold_methods(refused, mine, folder, sentence):
    write("empty/numbers.py", "class Numbers:\n    one = 1\n")
    assert sentence in refused("train", "mine", "--methods-from", folder)
    assert sentence in refused("methods", f"--methods-from={folder}")


def test_the_flag_needs_a_value(refused):
    assert refused("methods", "--methods-from") == "--methods-from: expected a value after it, found nothing"


HEAD = "from counterpoint.core.method import Method, MethodConfig\n\nclass A(Method):\n"
BROKEN = {
    "def f(:\n": "line 1: expected a file that can be imported, found SyntaxError: invalid syntax",
    "\n\nimport no_such_thing\nclass A:\n    class Config: ...\n": (
        "line 3: expected a file that can be imported, found ModuleNotFoundError: No module named 'no_such_"
    ),
    "class A:\n    class Config: ...\nraise SystemExit(3)": "found SystemExit: 3",
    "\0": "expected a file that can be imported",
    HEAD + "    pass\n": "expected a class with settings, a Method",
    HEAD + "    class Config(MethodConfig): ...\n": "expected A to have loss, needs, network",
    METHOD.replace("    @dataclass(frozen=True, kw_only=True)\n", ""): "expected @dataclass(frozen=True",
}


def test_broken_files_are_in_nobodys_way(run, refused, mine):
    for i, text in enumerate(BROKEN):
        write(f"mine/bad{i}.py", text)
    said = run("methods", "--methods-from", "mine", "--field", "own")
    assert said.code == 0 and said.out.count("cannot be used: ") == len(BROKEN)
    listed = {m["name"]: m for m in run("methods", "--methods-from", "mine", "--json").answer}
    assert listed["mine"]["problem"] == "" and listed["simclr"]["problem"] == ""
    assert run("show", "mine", "--methods-from", "mine").code == 0
    for i, sentence in enumerate(BROKEN.values()):
        assert f"bad{i}.py" in listed[f"bad{i}"]["problem"]
        for argv in (["train", f"bad{i}", "-o", "run"], ["show", f"bad{i}"]):
            words = refused(*argv, "--methods-from", "mine")
            assert f"bad{i}.py" in words and sentence in words


def test_a_fault_in_ones_own_file_is_said_to_be_there(run, mine):
    write("mine/mine.py", METHOD.replace("        logits =", "        1 / 0\n        logits ="))
    line = METHOD.splitlines().index("        logits = cosine_logits(a, b, self.config.temperature)") + 1
    ended = run("train", "mine", *TINY, "--methods-from", "mine", "-o", "run")
    assert ended.code == 1 and "Traceback" in ended.err
    said = ended.err.splitlines()[-1]
    assert (
        said == f"counterpoint: a fault in {mine}/mine.py, line {line}: ZeroDivisionError: division by zero"
    )


def test_a_run_folder_imports_nothing(run, mine):
    """Neither by a path or a module in its settings, nor by a file that lies in it."""
    assert run("train", "mine", *TINY, "--methods-from", "mine", "-o", "run").code == 0
    evil = "from pathlib import Path\nPath('touched').touch()\n" + METHOD
    for place in ("evil.py", "run/evil.py", "run/methods/evil.py", "run/encoders/evil.py"):
        write(place, evil)
    settings = Path("run/run.yaml").read_text()
    for kind in ("evil", "run/evil", "run.evil", "../evil", str(Path("evil.py").resolve()), "os.path"):
        write("evil.yaml", re.sub("kind: mine", f"kind: {json.dumps(kind)}", settings))
        ended = run("train", "mine", *TINY, "--methods-from", "mine", "--config", "evil.yaml", "-o", "other")
        assert ended.code == 2 and "unknown method" in ended.sentence
        header = {"networks": {"image": {"kind": kind}}, "about": {}}
        write_tensors(Path("run/networks.safetensors"), {}, FORMAT, header)
        assert "unknown encoder" in run("embed", "run", "a.npz", "-o", "z.npz").sentence
    assert not Path("touched").exists()


@pytest.fixture
def installed(elsewhere, monkeypatch):
    """``installed(value)``: a package ``my_package`` with an entry point of that value, as pip leaves it."""

    def put(value: str) -> Path:
        write("site/my_package/__init__.py", "")
        write(
            "site/my_package/parts/__init__.py",
            "raise AssertionError('imports nothing that is not asked for')",
        )
        write("site/my_package/parts/mine.py", METHOD)
        write("site/my_package/parts/vision/__init__.py", "")
        write("site/my_package/parts/vision/seen.py", METHOD)
        write("site/my_package-1.dist-info/METADATA", "Name: my_package\nVersion: 1\n")
        write("site/my_package-1.dist-info/entry_points.txt", f"[counterpoint.methods]\nmine = {value}\n")
        monkeypatch.syspath_prepend(str(elsewhere / "site"))
        return elsewhere / "site/my_package/parts"

    yield put
    remove(elsewhere / "site")
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def test_an_installed_package_needs_no_flag(run, installed, mine):
    installed("my_package.parts")
    for folder in ("mine", "mine/claims"):
        Path(folder, "mine.py").unlink()
    write("mine/vision/other.py", METHOD)  # a field that the package has too, as a package
    listed = {m["name"]: m["field"] for m in run("methods", "--methods-from", "mine", "--json").answer}
    assert (listed["mine"], listed["seen"], listed["other"]) == ("own", "vision", "vision")
    assert run("train", "mine", *TINY, "-o", "run").code == 0
    for name in ("seen", "other"):
        assert run("show", name, "--methods-from", "mine").code == 0
    assert {"mine", "seen"} <= names("counterpoint.methods").keys() and "other" not in names(
        "counterpoint.methods"
    )


@pytest.mark.parametrize("value", ["my_package.nothing", "no_such_package.parts", "my_package.parts.mine"])
def test_an_entry_point_must_name_a_package(refused, installed, value):
    installed(value)
    words = refused("methods")
    assert words.startswith(f'entry point mine = "{value}" of counterpoint.methods: expected a package')
