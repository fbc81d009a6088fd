"""Banks: for each part of a sample a row of its own, and draws of rows for contrast."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.memories.table import Table


class Banks(nn.Module):
    """One table for each of V parts, rows being unit vectors: the memory banks of CMC.

    Tian et al. 2020, arXiv:1906.05849, section 3.4; Wu et al. 2018, arXiv:1805.01978. There rows begin at
    random; here a sample that has none yet stands with its embedding of this step.

    Args:
        count: V.
        dim: Width D of a row.
        momentum: How much of a row stays when its sample comes again, in [0, 1).
    """

    def __init__(self, count: int, dim: int, momentum: float = 0.5) -> None:
        super().__init__()
        self.tables = nn.ModuleList(Table(1, dim, momentum, unit=True) for _ in range(count))

    def draw(self, ids: Tensor, count: int, rng: torch.Generator) -> Tensor:
        """(B,) ids → (B, 1 + count): the sample itself, then any that have rows; at first, any of the batch.

        A sample may be drawn for itself.
        """
        seen = self._table(0).seen.nonzero()[:, 0]
        pool = seen if len(seen) else ids
        which = torch.randint(len(pool), (len(ids), count), generator=rng)
        return torch.cat([ids[:, None], pool[which.to(pool.device)]], 1)

    def read(self, drawn: Tensor, ids: Tensor, now: Tensor) -> Tensor:
        """(V, B, 1 + K, D): rows of the samples drawn, constant.

        Args:
            drawn: (B, 1 + K) of ``draw``.
            ids: (B,) of the batch.
            now: (V, B, D) embeddings of the batch, for samples that have no row.
        """
        ordered, order = ids.sort()
        place = order[torch.searchsorted(ordered, drawn).clamp(max=len(ids) - 1)]
        rows = []
        for part, fresh in enumerate(normalize(now.detach(), dim=-1)):
            table = self._table(part)
            at = drawn.where(drawn < len(table), 0)
            seen = (at == drawn) & table.seen[at]
            rows.append(torch.where(seen[..., None], table.read(at), fresh[place]))
        return torch.stack(rows)

    @torch.no_grad()
    def write(self, ids: Tensor, now: Tensor) -> None:
        """Rows of the batch's samples move towards (V, B, D) embeddings: ``normalize(m·row + (1 − m)·z)``."""
        for part, rows in enumerate(normalize(now.to(self._table(0).rows), dim=-1)):
            self._table(part).write(ids, rows)

    def _table(self, part: int) -> Table:
        table = self.tables[part]
        assert isinstance(table, Table)
        return table
