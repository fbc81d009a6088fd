from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import cross_entropy

from counterpoint.objectives import streamed
from counterpoint.objectives.contrastive import info_nce_streamed


def rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain(queries, keys, temperature, both=False):
    logits = queries @ keys.T / temperature
    target = torch.arange(len(queries))
    loss = cross_entropy(logits, target)
    return (loss + cross_entropy(logits.T, target)) / 2 if both else loss


@pytest.fixture(params=[1, 3, 64])
def blocks(request, monkeypatch):
    """Rows of a block: one, some that do not divide the whole, more than there are."""
    monkeypatch.setattr(streamed, "ROWS", request.param)
    monkeypatch.setattr(streamed, "BLOCK", 1)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (7, 7), (7, 12)])
def test_it_is_the_plain_form_in_double(blocks, n, m):
    q, k = rows(n, 5, 1).requires_grad_(), rows(m, 5, 2).requires_grad_()
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for both in (False, True) if n == m else (False,):
        one, other = info_nce_streamed(q, k, tau, both=both), plain(q, k, tau, both)
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-14)
        for a, b in zip(*(torch.autograd.grad(3 * x, (q, k, tau)) for x in (one, other)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("both", [False, True])
def test_gradients(blocks, both):
    q, k, tau = rows(5, 3, 1), rows(5, 3, 2), torch.tensor(0.7, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (q, k, tau)]
    assert torch.autograd.gradcheck(lambda q, k, t: info_nce_streamed(q, k, t, both=both), inputs)


def test_only_what_is_asked_for_gets_a_gradient():
    q, k = rows(5, 3, 1).requires_grad_(), rows(5, 3, 2)
    info_nce_streamed(q, k, 0.5).backward()
    grad, q.grad = q.grad, None
    plain(q, k, 0.5).backward()
    torch.testing.assert_close(grad, q.grad)
    keys = k.clone().requires_grad_()
    info_nce_streamed(q.detach(), keys, 0.5).backward()
    assert keys.grad.abs().sum() > 0
    with torch.no_grad():
        assert not info_nce_streamed(q, keys, 0.5).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    q, k = rows(300, 64, 1, dtype).requires_grad_(), rows(300, 64, 2, dtype).requires_grad_()
    loss = info_nce_streamed(q, k, 0.05)
    loss.backward()
    assert loss.dtype == torch.float32 and q.grad.dtype == dtype
    exact = [x.detach().double().requires_grad_() for x in (q, k)]
    expected = plain(*exact, 0.05)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for half, double in zip((q, k), exact, strict=True):  # rounded once, at the end
        torch.testing.assert_close(half.grad, double.grad.to(dtype), rtol=1e-2, atol=1e-6)


def test_autocast_does_not_reach_it():
    q, k = rows(40, 32, 1, torch.float32), rows(40, 32, 2, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = info_nce_streamed(q, k, 0.1)
    assert torch.equal(found, info_nce_streamed(q, k, 0.1))


def test_extremes_stay_finite():
    for x in (torch.full((3, 2), 1e18), torch.zeros(3, 2), torch.ones(1, 2)):
        q = x.clone().requires_grad_()
        loss = info_nce_streamed(q, q, 1.0)
        loss.backward()
        assert loss.isfinite() and q.grad.isfinite().all()
    assert info_nce_streamed(torch.ones(6, 2), torch.ones(6, 2), 0.1).item() == pytest.approx(
        torch.tensor(6.0).log().item(), rel=1e-6
    )
    assert info_nce_streamed(torch.ones(0, 2), torch.ones(0, 2), 0.1).item() == 0


def test_there_is_no_second_derivative():
    q = rows(3, 2, 1).requires_grad_()
    loss = info_nce_streamed(q, rows(3, 2, 2), 0.5)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(loss, q, create_graph=True)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        info_nce_streamed(torch.ones(2, 3), torch.ones(2, 4), 1)
    with pytest.raises(ValueError, match="at least 3 rows as in queries, found 2"):
        info_nce_streamed(torch.ones(3, 2), torch.ones(2, 2), 1)
    with pytest.raises(ValueError, match="expected 2 rows as in queries, found 3"):
        info_nce_streamed(torch.ones(2, 2), torch.ones(3, 2), 1, both=True)


PEAK = """
import resource, sys, torch
from counterpoint.objectives.contrastive import info_nce_streamed
torch.set_num_threads(1)
def step(n):
    q, k = (torch.randn(n, 8).requires_grad_() for _ in range(2))
    info_nce_streamed(q, k, 0.5).backward()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(64)
before = peak()
step(8192)
sys.stdout.write(str((peak() - before) / 1024 ** (2 if sys.platform == "darwin" else 1)))
"""


def test_memory_does_not_grow_with_the_square():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, env=environment
    )
    assert float(result.stdout) < 64  # MiB; the table of logits alone would take 256
