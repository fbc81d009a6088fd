from __future__ import annotations

import importlib.util

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.pairs import search as module
from counterpoint.pairs.search import search


def rows(count: int, dim: int, seed: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=kind)


@pytest.fixture(params=[(5, 16, 4, 3), (2048, 2048, 16, 256), (3, 8, 8, 1), (4, 12, 2, 40)])
def blocks(request, monkeypatch):
    """Sizes with which the bank ends within a group or a tile, and candidates are too many."""
    for name, value in zip(("ROWS", "TILE", "GROUP", "SPARE"), request.param, strict=True):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "SMALL", 0)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (7, 7), (16, 5), (49, 3), (100, 40), (131, 131)])
def test_blocks_find_what_sorting_everything_finds(blocks, count, k, kind):
    queries, bank = rows(12, 6, 0, kind), rows(count, 6, 1, kind)
    values, index = search(queries, bank, k)
    every = queries @ bank.T
    expected = every.sort(1, descending=True)
    assert torch.equal(index, expected.indices[:, :k]) and index.dtype == torch.int64
    torch.testing.assert_close(values, expected.values[:, :k])
    assert torch.equal(search(queries, bank, k)[1], index)


def test_a_bank_sorted_the_wrong_way_and_equal_rows(blocks):
    bank = torch.linspace(-1, 1, 77)[:, None]
    assert search(torch.ones(9, 1), bank, 4)[1].tolist() == [[76, 75, 74, 73]] * 9
    assert search(-torch.ones(9, 1), bank, 4)[1].tolist() == [[0, 1, 2, 3]] * 9
    values, index = search(torch.ones(2, 1), torch.ones(77, 1), 5)
    assert values.eq(1).all() and all(len(set(row)) == 5 and max(row) < 77 for row in index.tolist())


def test_a_large_bank_takes_no_more_memory_than_blocks(monkeypatch):
    sizes = []
    see = module._Best.see
    monkeypatch.setattr(
        module._Best, "see", lambda b, tile, at: (sizes.append(tile.numel()), see(b, tile, at))
    )
    queries, bank = rows(2100, 4, 0), rows(9000, 4, 1)
    found = search(queries, bank, 3)[1]
    assert sizes == [2048 * 2048] * 5 + [52 * 2048] * 5
    assert torch.equal(found, (queries @ bank.T).topk(3, dim=1).indices)


def test_no_gradient_and_k_within_the_bank(blocks):
    queries = rows(3, 4, 0).requires_grad_()
    assert not search(queries, rows(5, 4, 1), 2)[0].requires_grad
    stretched = rows(4, 5, 1).T.requires_grad_()  # not contiguous
    assert torch.equal(search(queries, stretched, 2)[1], (queries @ stretched.T).topk(2, dim=1).indices)
    for k in (0, 6):
        with pytest.raises(ValueError, match=f"expected 1 to 5, the rows of the bank, found {k}"):
            search(queries, rows(5, 4, 1), k)


def test_faiss_finds_the_same_or_is_asked_for_in_a_sentence(monkeypatch):
    if importlib.util.find_spec("faiss") is not None:
        for a, b in zip(search(rows(9, 6, 0), rows(50, 6, 1), 7, "faiss"),
                        search(rows(9, 6, 0), rows(50, 6, 1), 7), strict=True):  # fmt: skip
            torch.testing.assert_close(a, b)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(
        InputError, match=r'faiss was asked for, found none; pip install "counterpoint\[faiss'
    ):
        search(rows(2, 2, 0), rows(3, 2, 1), 1, "faiss")
