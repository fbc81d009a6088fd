from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from counterpoint.core.rng import generator
from counterpoint.objectives.density import evidence_bound, log_normal, mutual_information_machine


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(1, *shape), dtype=torch.float64)


def test_log_normal_is_torchs_summed_over_all_but_samples():
    x, mean, spread = drawn(3, 2, 4), drawn(3, 2, 4) / 2, drawn(3, 2, 4) / 3
    expected = Normal(mean, (spread / 2).exp()).log_prob(x).sum((1, 2))
    torch.testing.assert_close(log_normal(x, mean, spread), expected)
    expected = Normal(mean, 0.1).log_prob(x).sum((1, 2))
    torch.testing.assert_close(log_normal(x, mean, 2 * torch.tensor(0.1).double().log().item()), expected)


def test_bounds_by_hand():
    likelihood, prior, posterior = torch.tensor([[-3.0, -1.0], [-2.0, -4.0], [1.0, 5.0]])
    assert mutual_information_machine(likelihood, prior, posterior).item() == pytest.approx(1.5 + 0.5)
    assert evidence_bound(likelihood, prior, posterior).item() == pytest.approx(2 + 3 + 3)


def test_a_machine_rewards_sure_codes_and_a_variational_one_unsure_ones():
    """The sign of log q is all the difference."""
    spread = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    mean, nothing = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    z = mean + (spread / 2).exp() * drawn(4, 3)
    posterior = log_normal(z, mean, spread)
    (machine,) = torch.autograd.grad(
        mutual_information_machine(nothing, nothing, posterior), spread, retain_graph=True
    )
    (bound,) = torch.autograd.grad(evidence_bound(nothing, nothing, posterior), spread)
    torch.testing.assert_close(machine, torch.full_like(machine, 1 / 16))  # ½ · ½ / 4 samples
    torch.testing.assert_close(bound, torch.full_like(bound, -1 / 8))


def test_gradients():
    x, mean, spread = (drawn(2, n).requires_grad_() for n in (3, 3, 3))
    assert torch.autograd.gradcheck(log_normal, (x, mean, spread))
