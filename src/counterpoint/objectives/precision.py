"""Losses are summed in float32 at least, whatever precision the networks run in."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """``x`` in float32 at least; double stays double."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(x: Tensor) -> torch.autocast:
    """A context on the device of ``x`` in which autocast does not take products back to half precision."""
    return torch.autocast(x.device.type, enabled=False)
