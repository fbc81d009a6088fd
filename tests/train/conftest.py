"""Toys for the training tests: found in their rooms as if the library had them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_data", HERE / "rooms" / "data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_data"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toys(_module: ModuleType) -> Iterator[ModuleType]:
    """The module ``rooms/data.py``, with the toys in reach while the test runs."""
    _module.open_rooms()
    yield _module
    _module.close_rooms()


@pytest.fixture
def run(toys: ModuleType):
    """A run of a toy: ``run(folder, kind="toy_pair", data=…, method={…}, train settings…)``."""
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh

    def go(
        folder: Path,
        kind: str = "toy_pair",
        method: dict | None = None,
        data: Any = None,
        fit_with=None,
        **changes,
    ):
        config = TrainConfig.from_dict(toys.SETTINGS | changes)
        made = fresh(MethodConfig.from_dict({"kind": kind, **(method or {})}), config.seed)
        summary = fit(made, data or toys.Patches(), config, folder, **(fit_with or {}))
        return made, summary

    return go
