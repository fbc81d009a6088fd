from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.core.roles import Roles


def test_roles_are_modules_under_their_names():
    roles = Roles({"fixed": nn.Linear(1, 2), "moving": nn.Linear(1, 3)})
    assert list(roles) == ["fixed", "moving"] and len(roles) == 2 and "fixed" in roles
    assert roles["moving"].out_features == 3
    assert set(roles.state_dict()) == {"fixed.weight", "fixed.bias", "moving.weight", "moving.bias"}
    assert roles.to(torch.float64)["fixed"].weight.dtype == torch.float64


def test_an_unknown_role_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown role 'fixd': did you mean fixed"):
        Roles({"fixed": nn.Identity()})["fixd"]
