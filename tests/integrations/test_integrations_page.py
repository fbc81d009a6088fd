"""The examples of ``docs/integrations.md`` run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def blocks(section: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.skipif(not PAGE.is_file(), reason="the page stands in the source checkout")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("section", ["scikit-learn", "Lightning"])
def test_the_examples_run(section, tmp_path, monkeypatch):
    if section == "Lightning":
        pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for block in blocks(section):
        exec(block, scope)
    assert list(tmp_path.glob("*.safetensors"))
