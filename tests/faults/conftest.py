"""What the tests of faults share: the small training of ``victim.py``, in this process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

VICTIM = Path(__file__).with_name("victim.py")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def victim() -> ModuleType:
    spec = importlib.util.spec_from_file_location("victim", VICTIM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["victim"] = module
    spec.loader.exec_module(module)
    return module
