from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from counterpoint.objectives.contrastive import cosine_logits
from counterpoint.objectives.gated import gated_logits


@pytest.fixture
def z() -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def gate() -> Tensor:
    return torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_logits_are_those_of_the_whole_table(z, gate):
    u = normalize(z, dim=1)
    product = torch.tensor(
        [[((gate[b] * u[b]) @ (gate[b] * u[n])).item() for n in range(5)] for b in range(5)]
    )
    torch.testing.assert_close(gated_logits(z, gate, 0.1), product.double() / 0.1, rtol=1e-6, atol=1e-6)
    cosine = torch.stack([cosine_similarity(gate[b] * z[b], gate[b] * z, dim=-1) for b in range(5)])
    torch.testing.assert_close(gated_logits(z, gate, 0.1, "cosine"), cosine / 0.1)


@pytest.mark.parametrize("form", ["product", "cosine"])
def test_open_gates_are_no_gates(z, form):
    torch.testing.assert_close(gated_logits(z, torch.ones_like(z), 0.2, form), cosine_logits(z, z, 0.2))


def test_half_open_gates_scale_the_product_and_not_the_cosine(z):
    half, whole = torch.full_like(z, 0.5), torch.ones_like(z)
    torch.testing.assert_close(gated_logits(z, half, 0.2), gated_logits(z, whole, 0.2) / 4)
    torch.testing.assert_close(gated_logits(z, half, 0.2, "cosine"), gated_logits(z, whole, 0.2, "cosine"))


@pytest.mark.parametrize("form", ["product", "cosine"])
def test_gradients(z, gate, form):
    inputs = (z.requires_grad_(), gate.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: gated_logits(a, b, 0.5, form), inputs)


@pytest.mark.parametrize("form", ["product", "cosine"])
def test_closed_gates_and_zeros_are_finite(form):
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    gate = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    found = gated_logits(z, gate, 0.1, form)
    found.sum().backward()
    assert found.eq(0).all() and z.grad is not None and z.grad.isfinite().all()
    assert gate.grad is not None and gate.grad.isfinite().all()


def test_half_precision_is_compared_in_single(z, gate):
    low = z.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gated_logits(low, gate.float(), 0.1)
    assert torch.equal(found, gated_logits(low.float(), gate.float(), 0.1))
