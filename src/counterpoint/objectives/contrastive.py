"""InfoNCE, and the critics that say how alike two flattened maps are.

A critic turns two sets of vectors, (N, D) and (M, D), into logits (N, M): larger is more alike. All of them
MEAN over the D features, so that one temperature fits any patch size, and all compute in float32 at least:
under half precision a mean over a whole patch would lose the differences that count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs


def info_nce(logits: Tensor, pairs: Pairs) -> Tensor:
    """−log of a positive's share of the softmax over positives and negatives, mean over anchors.

    With P the positives and A the positives and negatives of anchor i, and l the logits,
    ``ℓ_i = −(1/|P|) Σ_{p∈P} log( exp l_ip / Σ_{a∈A} exp l_ia )``, and the loss is the mean of ℓ_i over the
    anchors that have a positive (0 if none has). With one positive this is InfoNCE (van den Oord et al. 2018,
    arXiv:1807.03748, eq. 4); with several it is the "out" form of SupCon (Khosla et al. 2020,
    arXiv:2004.11362, eq. 2): the terms are averaged, and every positive stands in every denominator.

    Args:
        logits: (N, M), any floating type; summed in float32 at least.
        pairs: Who is compared with whom, masks of (N, M); what is in neither mask does not count.

    Returns:
        A scalar ≥ 0.

    Raises:
        ValueError: the masks do not have the shape of ``logits``.
    """
    if pairs.positive.shape != logits.shape or pairs.negative.shape != logits.shape:
        raise ValueError(
            f"pairs: expected masks of {tuple(logits.shape)}, found {tuple(pairs.positive.shape)}"
        )
    rows = pairs.positive.any(1)
    logits, positive, negative = _wide(logits)[rows], pairs.positive[rows], pairs.negative[rows]
    whole = logits.masked_fill(~(positive | negative), -torch.inf).logsumexp(1)
    near = logits.masked_fill(~positive, 0).sum(1) / positive.sum(1)
    return (whole - near).sum() / max(len(logits), 1)


def mse_logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """−(mean squared difference)/temperature: CoMIR's first critic, a Gaussian of constant variance.

    ``|a − b|² = |a|² + |b|² − 2a·b`` makes it one matrix product. Distances do not change when both sets are
    shifted, so the common mean is taken off first: without that, the three terms would be large and their
    difference would drown in rounding.

    Args:
        a: (N, D).
        b: (M, D).
        temperature: > 0.

    Returns:
        (N, M) logits ≤ 0.
    """
    a, b = _checked(a, b)
    with torch.autocast(
        a.device.type, enabled=False
    ):  # autocast would take the product back to half precision
        middle = torch.cat([a, b]).mean(0).detach()  # a shift: it has no gradient
        a, b = a - middle, b - middle
        squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return squared.clamp(min=0) / (-a.shape[1] * temperature)


def cosine_logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Cosine similarity / temperature: CoMIR's second critic; a vector of zeros is like nothing (0).

    Args:
        a: (N, D).
        b: (M, D).
        temperature: > 0.

    Returns:
        (N, M) logits in [−1, 1] / temperature.
    """
    a, b = _checked(a, b)
    with torch.autocast(a.device.type, enabled=False):
        return normalize(a, dim=1) @ normalize(b, dim=1).T / temperature


def l1_logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """−(mean absolute difference)/temperature: a Laplace critic.

    There is no matrix product for it: N·M·D steps, much slower than the other two, but N·M memory (no
    (N, M, D) table is made).

    Args:
        a: (N, D).
        b: (M, D).
        temperature: > 0.

    Returns:
        (N, M) logits ≤ 0.
    """
    a, b = _checked(a, b)
    with torch.autocast(a.device.type, enabled=False):
        return torch.cdist(a, b, p=1) / (-a.shape[1] * temperature)


def _wide(x: Tensor) -> Tensor:
    """``x`` in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets in float32 at least; raises ``ValueError`` unless they are (N, D) and (M, D)."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"a, b: expected (N, D) and (M, D), found {tuple(a.shape)} and {tuple(b.shape)}")
    return _wide(a), _wide(b)
