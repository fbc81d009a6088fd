from __future__ import annotations

import sys

from counterpoint.evidence.source import changed, docstring, file_of, fingerprints, imports


def test_imports_are_followed_without_being_imported(toys, good):
    toys.claim("sure", good)
    found = fingerprints("counterpoint.claims.toy.sure")
    ours = ("claims.toy.sure", "methods.toy.sure", "pairs.ids", "core.claim", "core.errors", "core.types")
    assert {f"counterpoint.{name}" for name in ours} <= found.keys()
    assert "counterpoint.registration.register" not in found and "counterpoint.core" not in found
    assert all(len(digits) == 16 for digits in found.values())
    assert "counterpoint.claims.toy.sure" not in sys.modules


def test_all_ways_of_importing_are_seen(toys):
    file = toys.method("ways")
    file.write_text(
        "import counterpoint.core.rng\nimport counterpoint, torch\nfrom counterpoint.core import grid\n"
        "def f():\n    from counterpoint.core.files import aside, write_text\n    from torch import nn\n"
    )
    assert imports(file) == {
        "counterpoint.core.rng": [], "counterpoint": [], "counterpoint.core.grid": [],
        "counterpoint.core.files": ["aside", "write_text"],
    }  # fmt: skip
    found = fingerprints("counterpoint.methods.toy.ways")
    assert {"counterpoint.core.rng", "counterpoint.core.grid", "counterpoint.core.files"} < found.keys()


def test_words_and_layout_do_not_count_but_code_does(toys):
    def digest(text: str) -> str:
        toys.method("one").write_text(text)
        return fingerprints("counterpoint.methods.toy.one")["counterpoint.methods.toy.one"]

    first = digest('"""A."""\ndef f(x: int) -> str:\n    """B."""\n    return f"{x} a"\n')
    assert (
        digest('"""Other."""\n# a remark\ndef f(\n    x: int,\n) -> str:\n    return f"{x} a"  # x\n')
        == first
    )
    for other in ("return f'{x}  a'", "return f'{x!r} a'", "return 'x a'", "return None", "return"):
        assert digest(f"def f(x: int) -> str:\n    {other}\n") != first
    assert digest("x = 1\n") != digest("x = 1.0\n") != digest("x = None\n")


def test_what_changed_is_named(toys, good):
    toys.claim("sure", good)
    then = fingerprints("counterpoint.claims.toy.sure")
    toys.method("sure").write_text("from counterpoint.pairs.ids import same_sample\nx = 1\n")
    now = fingerprints("counterpoint.claims.toy.sure")
    assert changed(then, then) == []
    assert changed(then, now) == ["counterpoint.methods.toy.sure"]
    assert changed(then, {}) == sorted(then)


def test_files_and_docstrings(toys):
    file = toys.method("sure")
    assert file_of("counterpoint.methods.toy.sure") == file
    assert file_of("counterpoint.methods") is None and file_of("counterpoint.no.such") is None
    assert docstring(file).startswith("Toy sure")
