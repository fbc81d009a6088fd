"""Likeness within a part of the dimensions that each anchor has for itself."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.precision import full_precision, wide


def gated_logits(
    z: Tensor, gate: Tensor, temperature: float, form: Literal["product", "cosine"] = "product"
) -> Tensor:
    """``⟨g_b ẑ_b, g_b ẑ_n⟩ / τ``, or the cosine of ``g_b z_b`` and ``g_b z_n`` over τ.

    Wu et al. 2024, arXiv:2410.18200: "product" is Hydra's later form (SimLAP), where a gate also says how
    much a pair counts, and a closed one makes everything alike; "cosine" is that of the first version, which
    knows only which dimensions count beside which. Gates of 1 make either the cosine of z.

    Args:
        z: (N, D), any floating type; brought to unit length here.
        gate: (N, D) in [0, 1], of each anchor.
        temperature: τ > 0.
        form: "product" or "cosine".

    Returns:
        (N, N) logits in [−1, 1] / temperature, float32 at least; no (N, N, D) table is made.
    """
    u, weight = normalize(wide(z), dim=1), wide(gate).square()
    with full_precision(u):
        logits = (u * weight) @ u.T / temperature
        if form == "product":
            return logits
        own = (weight * u.square()).sum(1, keepdim=True)
        others = weight @ u.square().T
        # the floor keeps the root's gradient finite where a gate is closed
        return logits / (own * others).clamp(min=1e-12).sqrt()
