"""Several viewers as one: crops of the image beside its label, say."""

from __future__ import annotations

import torch

from counterpoint.core.types import Batch, Viewer, Views


class Several:
    """The views of each viewer in turn, drawn from one generator in that order."""

    def __init__(self, *viewers: Viewer) -> None:
        """Say which viewers."""
        self.viewers = viewers

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """All their views."""
        return tuple(view for viewer in self.viewers for view in viewer(batch, rng))
