from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from counterpoint.core.types import Pairs
from counterpoint.objectives import streamed, tableless
from counterpoint.objectives.contrastive import (
    align,
    contrast,
    cosine_logits,
    decoupled,
    info_nce,
    pairwise_sigmoid,
    sup_con,
)
from counterpoint.objectives.tableless import (
    by_rows,
    contrast_between,
    contrast_past,
    contrast_within,
    pairwise_sigmoid_streamed,
)
from counterpoint.pairs.candidates import in_batch, joined, own, remembered
from counterpoint.pairs.ids import same_sample
from counterpoint.pairs.labels import same_class


def rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture(params=[1, 3, 64])
def blocks(request, monkeypatch):
    """Rows of a block and sides of a tile: one, some that do not divide the whole, more than there are."""
    monkeypatch.setattr(streamed, "ROWS", request.param)
    monkeypatch.setattr(streamed, "BLOCK", 1)
    monkeypatch.setattr(streamed, "TILE", request.param)
    monkeypatch.setattr(tableless, "ROWS", request.param)
    monkeypatch.setattr(tableless, "BLOCK", 1)


def same(one: Tensor, other: Tensor, *inputs: Tensor) -> None:
    """Equal values and gradients."""
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    found = (torch.autograd.grad(3 * x, inputs, retain_graph=True) for x in (one, other))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


GROUPS = {
    "two views": [0, 1, 2, 3, 0, 1, 2, 3],
    "three and two": [5, 5, 5, 0, 1, 0, 1, 1],
    "some alone": [3, 1, 4, 1, 5, 9, 2, 6],
    "nobody has a positive": [7, 6, 5, 4, 3, 2, 1, 0],
    "one class": [2] * 8,
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("temperature", [0.5, 0.005])  # both sides of what one scale can hold
def test_within_is_the_family_with_its_table(blocks, groups, temperature):
    z, ids = rows(8, 5, 1).requires_grad_(), torch.tensor(groups)
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    assert (2 / temperature <= streamed.REACH) == (temperature == 0.5)
    pull = rows(8, 1, 3)[:, 0].abs()
    logits = cosine_logits(z, z, tau)
    for pairs in (same_sample(ids), same_class(ids)):
        if not pairs.positive.any():
            assert contrast_within(z, ids, tau).item() == 0
            continue
        same(contrast_within(z, ids, tau), info_nce(logits, pairs), z, tau)
        same(contrast_within(z, ids, tau), sup_con(logits, pairs), z, tau)
        same(contrast_within(z, ids, tau, decoupled=True), decoupled(logits, pairs), z, tau)
        one = contrast_within(z, ids, tau, decoupled=True, pull=pull)
        same(one, decoupled(logits, pairs, pull), z, tau)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 7), (6, 0)])
@pytest.mark.parametrize("tagged", [True, False])
def test_past_is_moco_with_its_table(blocks, n, m, tagged):
    q, k = rows(n, 4, 1).requires_grad_(), rows(n, 4, 2).requires_grad_()
    past, ids = rows(m, 4, 3).requires_grad_(), torch.arange(n)
    old = torch.arange(m) % 3 if tagged else None
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    keys = joined(own(in_batch(ids, k, ids)), remembered(ids, past, old))
    expected = info_nce(cosine_logits(q, keys.rows, tau), keys.pairs)
    found = contrast_past(q, k, past, tau, None if old is None else (ids, old))
    if m == 0:  # the key alone: 0, whatever the query
        assert found.item() == pytest.approx(0, abs=1e-15) == expected.item()
        return
    same(found, expected, q, k, tau)
    assert torch.autograd.grad(found, past, allow_unused=True) == (None,)


def test_between_is_info_nce_of_cosines(blocks):
    q, k = rows(5, 4, 1).requires_grad_(), rows(9, 4, 2).requires_grad_()
    pairs = same_sample(torch.arange(5), torch.arange(9))
    same(contrast_between(q, k, 0.2), info_nce(cosine_logits(q, k, 0.2), pairs), q, k)


def test_sigmoid_is_the_plain_one(blocks):
    q, k = rows(7, 4, 1).requires_grad_(), rows(7, 4, 2).requires_grad_()
    t, b = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (4.0, -3.0))
    pairs = same_sample(torch.arange(7), torch.arange(7))
    same(pairwise_sigmoid_streamed(q, k, t, b), pairwise_sigmoid(t * q @ k.T + b, pairs), q, k, t, b)


def test_soft_targets_of_low_rank_and_weights_that_are_functions(blocks):
    """CLIP-like soft targets, and negatives weighed by how like they are, a block at a time."""
    q, k = rows(7, 4, 1).requires_grad_(), rows(6, 4, 2).requires_grad_()
    left, right = rows(7, 2, 3).softmax(1), rows(6, 2, 4).softmax(0)
    everybody = torch.ones(7, 6, dtype=torch.bool)

    def soft(which, q, k):
        return contrast(q @ k.T, left[which] @ right.T, everybody[which]).sum()

    same(by_rows(soft, q, k), contrast(q @ k.T, left @ right.T, everybody).sum(), q, k)

    def weighed(which, q, k):
        logits = q @ k.T
        return align(logits, logits.detach().softmax(1)).sum()

    logits = q @ k.T
    same(by_rows(weighed, q, k), align(logits, logits.detach().softmax(1)).sum(), q, k)


@pytest.mark.parametrize("temperature", [0.4, 0.004])
def test_gradients(temperature):
    z, ids = rows(6, 3, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    tau = torch.tensor(temperature, dtype=torch.float64).requires_grad_()
    inputs = (z.requires_grad_(), tau)
    options = {"eps": 1e-7, "atol": 1e-3} if temperature < 0.1 else {}
    for apart in (False, True):
        assert torch.autograd.gradcheck(
            lambda z, t, apart=apart: contrast_within(z, ids, t, decoupled=apart), inputs, **options
        )


def test_by_hand():
    """Two samples on two axes: each anchor's positive has cosine 1, the two others 0."""
    z, ids = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    e = torch.tensor(2.0).exp()  # temperature 0.5
    assert contrast_within(z, ids, 0.5).item() == pytest.approx((-(e / (e + 2)).log()).item(), rel=1e-6)
    assert contrast_within(z, ids, 0.5, decoupled=True).item() == pytest.approx(-2 + 0.6931472, rel=1e-6)
    one = contrast_past(z[:1], z[:1], z[1:2], 0.5)
    assert one.item() == pytest.approx((-(e / (e + 1)).log()).item(), rel=1e-6)
    assert pairwise_sigmoid_streamed(z[:2], z[:2], 1.0, 0.0).item() == pytest.approx(
        0.3132617 + 0.6931472, rel=1e-6
    )


def test_extremes():
    one = torch.ones(1, 4, requires_grad=True)
    loss = contrast_within(one, torch.zeros(1, dtype=torch.int64), 0.1)
    loss.backward()
    assert loss.item() == 0 and one.grad.abs().sum() == 0
    alike = torch.ones(600, 4, requires_grad=True)  # more than a tile
    loss = contrast_within(alike, torch.arange(300).repeat(2), 0.05)
    loss.backward()
    assert loss.item() == pytest.approx(torch.tensor(599.0).log().item(), rel=1e-5)
    assert alike.grad.abs().max() < 1e-6
    broken = torch.full((4, 3), torch.nan)
    assert contrast_within(broken, torch.tensor([0, 1, 0, 1]), 0.1).isnan()
    with torch.no_grad():
        assert not contrast_within(alike, torch.arange(300).repeat(2), 0.05).requires_grad
    with pytest.raises(ValueError, match=r"z, groups: expected \(M, D\) and \(M,\), found"):
        contrast_within(alike, torch.arange(300), 0.05)
    with pytest.raises(ValueError, match=r"queries, keys: expected \(N, D\) both"):
        pairwise_sigmoid_streamed(alike, alike[:2], 1.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    z, ids = rows(700, 32, 1, dtype).requires_grad_(), torch.arange(350).repeat(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrast_within(z, ids, 0.05)
    loss.backward()
    exact = z.detach().double().requires_grad_()
    expected = info_nce(cosine_logits(exact, exact, 0.05), same_sample(ids))
    expected.backward()
    assert loss.dtype == torch.float32 and z.grad.dtype == dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(z.grad.double(), exact.grad, rtol=1e-2, atol=1e-6)


def test_there_is_no_second_derivative():
    z = rows(4, 3, 1).requires_grad_()
    loss = contrast_within(z, torch.tensor([0, 1, 0, 1]), 0.5)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(loss, z, create_graph=True)
    loss = by_rows(lambda _, q, k: (q @ k.T).square().sum(), z, z)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(loss, z, create_graph=True)


def test_masks_say_the_same_as_groups():
    """Groups are a shorter way to write masks: what neither mask holds is what groups leave out."""
    ids = torch.tensor([0, 1, 0])
    pairs = same_sample(ids)
    assert isinstance(pairs, Pairs)
    row, column = streamed.Same(ids, ids)(slice(0, 3))
    table = torch.zeros(3, 3, dtype=torch.bool)
    table[row, column] = True
    assert (table == ~pairs.negative).all()


MEMORY = """
import resource, torch
from counterpoint.objectives.tableless import contrast_within
torch.set_num_threads(1)
z = torch.randn(2 * {n}, 32, requires_grad=True)
ids = torch.arange({n}).repeat(2)
contrast_within(z[:64], torch.arange(32).repeat(2), 0.1).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
contrast_within(z, ids, 0.1).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_linear():
    """A table of 12288² logits is 576 MiB; what is used is a few copies of the 1.5 MiB of vectors."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEMORY.format(n=6144)]
    used = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert int(used) < 40 * 1024
