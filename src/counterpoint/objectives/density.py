"""Density: autoencoders whose codes are drawn, by the logarithms of the four densities between x and z.

With ``ℓ_x = log p(x|z)``, ``ℓ_p = log P(z)`` and ``ℓ_q = log q(z|x)`` of a code z drawn from q: the sign of
ℓ_q is all that lies between a variational autoencoder, whose codes spread, and a mutual information machine,
whose codes are sure.
"""

from __future__ import annotations

import math

from torch import Tensor

from counterpoint.objectives.precision import wide


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor | float) -> Tensor:
    """``Σ log N(x; μ, σ²)`` over all axes but the first, in nats.

    Args:
        x: (N, ...).
        mean: (N, ...), or what broadcasts to it.
        log_variance: log σ², broadcasts to ``x``.

    Returns:
        (N,), in float32 at least.
    """
    spread = wide(log_variance) if isinstance(log_variance, Tensor) else wide(x).new_tensor(log_variance)
    each = (wide(x) - wide(mean)).square() * (-spread).exp() + spread + math.log(2 * math.pi)
    return -0.5 * each.flatten(1).sum(1)


def mutual_information_machine(likelihood: Tensor, prior: Tensor, posterior: Tensor) -> Tensor:
    """``−ℓ_x − ½ (ℓ_p + ℓ_q)``, mean over samples: A-MIM, codes drawn by the encoder alone.

    Livne, Swersky, Fleet 2019, arXiv:1910.03175, without the density of the data, which has no gradient. A
    sure code is rewarded: keep the log-variance above a bound, or there is no end to it.

    Args:
        likelihood: (N,) log p(x|z).
        prior: (N,) log P(z).
        posterior: (N,) log q(z|x).

    Returns:
        A scalar.
    """
    return -(likelihood + 0.5 * (prior + posterior)).mean()


def evidence_bound(likelihood: Tensor, prior: Tensor, posterior: Tensor) -> Tensor:
    """``−ℓ_x − ℓ_p + ℓ_q``, mean over samples: the bound of a variational autoencoder, from one draw.

    Kingma and Welling 2014, arXiv:1312.6114, equation 6. Arguments and result as above.
    """
    return -(likelihood + prior - posterior).mean()
