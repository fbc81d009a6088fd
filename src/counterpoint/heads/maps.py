"""From an encoder to the map it averages, and a perceptron of rows at every place of a map."""

from __future__ import annotations

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, tapped
from counterpoint.core.errors import InputError, unknown


class Tap(nn.Module):
    """The map of one layer of an encoder: what dense methods learn, where others learn its average.

    Args:
        encoder: The network, which is shared and not copied.
        at: One of its taps; empty for the last.

    Raises:
        InputError: the encoder has no such tap.
    """

    def __init__(self, encoder: Encoder, at: str = "") -> None:
        super().__init__()
        self.at = at or list(encoder.taps)[-1]
        if self.at not in encoder.taps:
            raise unknown("tap", self.at, encoder.taps)
        self.encoder = encoder
        self.out_dim = encoder.taps[self.at]
        """Channels of the map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out_dim, h, w).

        Raises:
            InputError: the layer does not give a map.
        """
        with tapped(self.encoder, [self.at]) as seen:
            self.encoder(x)
        maps = seen[self.at]
        if maps.ndim != 4:
            raise InputError(f"tap {self.at}: expected maps (B, C, H, W), found {tuple(maps.shape)}")
        return maps


class EveryPlace(nn.Module):
    """A perceptron of rows at every place of a map: (B, C, H, W) → (B, D, H, W).

    Its batch normalization counts every place of every sample as a row.

    Args:
        rows: Takes (N, C) to (N, D), e.g. by ``heads.mlp``.
    """

    def __init__(self, rows: nn.Module) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, maps: Tensor) -> Tensor:
        """The same perceptron everywhere."""
        found: Tensor = self.rows(maps.movedim(1, -1).flatten(0, 2))
        return found.unflatten(0, (len(maps), *maps.shape[2:])).movedim(-1, 1)
