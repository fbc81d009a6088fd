from __future__ import annotations

import importlib
import sys

import pytest

import counterpoint.methods.image
from counterpoint.core.config import names
from counterpoint.core.errors import InputError
from counterpoint.core.rooms import add, culprit, files, imported, opened, owner, places, remove, settle

KIND = "class A:\n    class Config: ...\n"
ROOM = "counterpoint.methods"


@pytest.fixture
def folder(tmp_path):
    """``folder({"a.py": text, …})``: a folder of these files."""

    def put(texts, name="mine"):
        for file, text in texts.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name

    yield put
    remove(tmp_path)


def test_only_files_with_settings_are_kinds():
    assert set(names("counterpoint.tasks")).isdisjoint({"budget", "features", "online"})
    assert {"knn", "linear_probe"} <= names("counterpoint.tasks").keys()
    assert {"image", "color"} <= names("counterpoint.views").keys()  # no room of kinds


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (KIND, True),
        ("class S: ...\nclass A:\n    Config = S\n", True),
        ("class A(Method): ...\n", True),
        ("class A(method.Encoder): ...\n", True),
        ("def f(:", True),  # whoever asks for it is told what is wrong
        ("class A:\n    size = 1\n", False),
        ('"""class Config"""\nclass Config: ...\n', False),
        ("def f():\n    class A:\n        class Config: ...\n", False),
        ("", False),
    ],
)
def test_what_counts_is_seen_without_importing(folder, text, counts):
    place = folder({"it.py": text + "\n", "other.py": KIND + "raise AssertionError('imported')\n"})
    with opened([place]):
        assert ("it" in names(ROOM)) is counts and names(ROOM)["other"] == f"{ROOM}.other"


def test_the_layout_of_a_folder(folder):
    inside = {
        "a.py": KIND,
        "field/b.py": KIND,
        "encoders/c.py": KIND,
        "claims/d.py": "",
        "methods/e.py": KIND,
    }
    outside = {
        "_f.py": KIND,
        "field/_g.py": KIND,
        "_h/i.py": KIND,
        "x/y/z.py": KIND,
        ".venv/j.py": KIND,
        "k.old.py": KIND,
    }
    place = folder(inside | outside)
    before = names(ROOM)
    with opened([place, place]):
        own = names(ROOM).keys() - before.keys()
        assert own == {"a", "b", "e"} and names(ROOM)["b"] == f"{ROOM}.field.b"
        assert names("counterpoint.encoders")["c"] == "counterpoint.encoders.c"
        assert "d" in names("counterpoint.claims")
        assert owner(place / "encoders/c.py") == place
        assert owner(files(ROOM)["simclr"][1]) is None
    assert names(ROOM) == before


def test_what_was_imported_is_forgotten(folder):
    place = folder(
        {"a.py": KIND + "x = 1\n", "image/b.py": KIND, "new/c.py": KIND, "_d.py": "", "image/_e.py": ""}
    )
    paths = list(counterpoint.methods.__path__)
    for x in (1, 2):
        (place / "a.py").write_text(KIND + f"x = {x}\n#{'.' * x}\n")
        with opened([place]):
            assert importlib.import_module(f"{ROOM}.a").x == x
            for name in ("image.b", "new.c", "_d", "image._e", "image.simclr"):
                importlib.import_module(f"{ROOM}.{name}")
        left = {name for name in sys.modules if name.startswith(f"{ROOM}.")}
        assert f"{ROOM}.image.simclr" in left
        assert left.isdisjoint(
            f"{ROOM}.{name}" for name in ("a", "image.b", "new", "new.c", "_d", "image._e")
        )
        assert not hasattr(counterpoint.methods, "a") and counterpoint.methods.__path__ == paths
        assert not any("mine" in place for place in counterpoint.methods.image.__path__)


def test_a_folder_that_was_there_before_stays(folder):
    place = folder({"a.py": KIND})
    assert add(place) and not add(str(place))
    with opened([place]):
        pass
    assert "a" in names(ROOM)
    remove(place)
    assert "a" not in names(ROOM)


def test_another_process_is_told_of_the_folders(folder):
    before = places()
    assert before[ROOM] and before[f"{ROOM}.image"] and "counterpoint.core.rooms" not in before
    with opened([folder({"a.py": KIND})]):
        told = places()
    assert "a" not in names(ROOM)
    settle(told)
    assert "a" in names(ROOM)
    settle(before)
    assert "a" not in names(ROOM)


def test_if_one_folder_is_wrong_none_stays(folder):
    with pytest.raises(InputError, match="nothing there"), opened([folder({"a.py": KIND}), "nowhere"]):
        pass
    assert "a" not in names(ROOM)


def test_fields_of_one_name_in_several_folders(folder):
    """Whichever of them are packages."""
    package = folder({"new/__init__.py": "", "new/a.py": KIND, "image/b.py": KIND}, "one")
    bare = folder({"new/c.py": KIND, "image/__init__.py": "raise AssertionError", "image/d.py": KIND}, "two")
    for both in ([package, bare], [bare, package]):
        with opened(both):
            for name in ("new.a", "image.b", "new.c", "image.d"):
                assert importlib.import_module(f"{ROOM}.{name}").A


def test_an_error_is_traced_to_the_innermost_line_of_ones_own(folder):
    place = folder({"a.py": KIND + "def f():\n    g()\ndef g():\n    int('x')\n"})
    with opened([place]):
        module = importlib.import_module(f"{ROOM}.a")
        with pytest.raises(ValueError, match="invalid literal") as caught:
            module.f()
        assert culprit(caught.value) == f"{place}/a.py, line 6"
    assert culprit(ValueError()) == ""


def test_a_fault_in_a_file_of_ours_is_no_mistake_of_the_users(tmp_path):
    with pytest.raises(ModuleNotFoundError):
        imported("counterpoint.methods.nothing", tmp_path / "nothing.py")
