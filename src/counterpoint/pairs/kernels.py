"""Soft neighbors: how alike samples are by what is known of them beforehand, as weights for means.

Nothing here has a gradient. Knowledge is (N, Q): attributes, another model's embedding, an age.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError


@torch.no_grad()
def rbf(prior: Tensor, sigma: float | Tensor) -> Tensor:
    """``exp(−‖p_i − p_j‖² / 2σ²)``, σ > 0: (N, Q) → (N, N) in (0, 1], float32 at least."""
    far = _far(prior)
    return torch.exp(-far.square() / (2 * torch.as_tensor(sigma).to(far).square()))


@torch.no_grad()
def cosine(prior: Tensor) -> Tensor:
    """``cos(p_i, p_j)``: (N, Q) → (N, N) in [−1, 1], float32 at least."""
    p = normalize(_wide(prior), dim=1)
    return p @ p.T


@torch.no_grad()
def bandwidth(prior: Tensor, times: float = 2.0) -> Tensor:
    """A σ by rule: ``times`` the median distance of two samples (N, Q), N ≥ 2; never below 1e-6.

    Far below the distances a kernel knows no neighbors, far above them everyone is everyone's: no σ of
    another scale of knowledge will do.
    """
    i, j = torch.triu_indices(len(prior), len(prior), 1, device=prior.device)
    return times * _far(prior)[i, j].median().clamp(min=1e-6 / times)


@torch.no_grad()
def smoother(kernel: Tensor, ridge: float = 0.01) -> Tensor:
    """``(K + λI)⁻¹ K``: by what weights the samples of a batch make up each other's mean.

    Dufumier et al. 2023, arXiv:2206.01646, the kernel estimate of a conditional mean (Song et al. 2013). A
    kernel that knows no neighbors gives I/(1 + λ); one to which all are alike gives everyone one mean. The
    trace says how many means there are in effect.

    Args:
        kernel: (N, N), symmetric and positive semidefinite.
        ridge: λ; 0 takes 1/√N.

    Returns:
        (N, N), symmetric, float32 at least; by a solve, not an inverse.

    Raises:
        InputError: λ < 0.
    """
    if ridge < 0:
        raise InputError(f"ridge: expected a number ≥ 0, found {ridge}")
    k = _wide(kernel)
    shift = (ridge or len(k) ** -0.5) * torch.eye(len(k)).to(k)
    with torch.autocast(k.device.type, enabled=False):
        return torch.linalg.solve(k + shift, k)


def _far(prior: Tensor) -> Tensor:
    """Distances (N, N), exact for equal rows."""
    p = _wide(prior)
    return torch.cdist(p, p, compute_mode="donot_use_mm_for_euclid_dist")


def _wide(x: Tensor) -> Tensor:
    """(N, Q) in float32 at least; numbers (N,) are one column."""
    x = x[:, None] if x.ndim == 1 else x
    return x.to(torch.promote_types(x.dtype, torch.float32))
