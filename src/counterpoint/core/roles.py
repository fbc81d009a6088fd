"""Roles: modules by role, with their type kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from torch import nn

from counterpoint.core.errors import unknown

M = TypeVar("M", bound=nn.Module)


class Roles(nn.Module, Generic[M]):
    """What ``nn.ModuleDict`` is, with ``self[role]`` typed; a role it lacks is an ``InputError``."""

    def __init__(self, modules: Mapping[str, M]) -> None:
        super().__init__()
        for role, module in modules.items():
            self.add_module(role, module)

    def __getitem__(self, role: str) -> M:
        if role not in self._modules:
            raise unknown("role", role, self._modules)
        return cast(M, self._modules[role])

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
