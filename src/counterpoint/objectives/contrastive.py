"""Contrast: one core of log-sum-exp, the InfoNCE family as settings of it, and the critics that make logits.

A critic turns two sets of vectors, (N, D) and (M, D), into logits (N, M): larger is more alike.
``contrast`` = ``align`` to the positives + ``repel`` from the candidates. The family differs in who stands in
the denominator, in whether several positives are averaged before or after the logarithm, and in weights:

- NT-Xent, MoCo, NNCLR, each side of CLIP: ``info_nce``; they differ in their pairs and candidates only;
- SupCon "out" and "in": ``sup_con``; CLIP: ``symmetric``; DCL and DCLW: ``decoupled``;
- every positive for itself (Poly-View): ``contrast`` with the denominator "each";
- soft targets, weighted or mined candidates: weights in place of masks; margins: ``margin``;
  a temperature of every pair: a tensor as the ``temperature`` of a critic;
- many views a sample (MV-InfoNCE, MV-DHEL): ``align`` and ``repel`` with a row per sample.

Everything is summed in float32 at least: under half precision a mean over a whole patch would lose the
differences that count.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from counterpoint.core.types import Pairs
from counterpoint.objectives.precision import full_precision, wide
from counterpoint.objectives.streamed import RowwiseInfoNCE


def contrast(
    logits: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    denominator: Literal["all", "each", "negatives"] = "all",
    inside: bool = False,
    average: bool = False,
    margin: float | Tensor = 0.0,
) -> Tensor:
    """How badly every anchor's positives stand out among its candidates: the core of the family.

    ``ℓ_i = −Σ_p w_ip (l_ip − D_ip)``, or ``−log Σ_p w_ip exp(l_ip − D_ip)`` if ``inside``, where
    ``D_ip = log( S_ip + Σ_n v_in exp l_in )`` and S_ip goes by ``denominator``.

    Args:
        logits: (..., N, M), any floating type.
        positive: (..., N, M). A mask gives each of P positives the weight w = 1/P; numbers are taken as
            weights as they are, 0 for no positive (soft targets are rows that sum to 1); ≥ 0 if ``inside``.
        negative: (..., N, M). A mask gives each negative the weight v = 1; numbers ≥ 0 are the weights.
        denominator: S_ip is the sum of exp over all positives ("all": InfoNCE, SupCon), exp of this one
            positive ("each"), or nothing ("negatives": DCL; who has no negative is then not repelled).
        inside: Sum over the positives inside the logarithm, not outside.
        average: Mean over the negatives, not sum.
        margin: Taken off the logits of the positives, > 0 asks more of them; in units of logits.

    Returns:
        (..., N): a loss for every anchor; 0, without a gradient, for an anchor without a positive.

    Raises:
        ValueError: the pairs do not have the shape of ``logits``.
    """
    _check(logits, positive, negative)
    logits, near = wide(logits), _mask(positive)
    if isinstance(margin, Tensor) or margin:
        logits = torch.where(near, logits - margin, logits)
    if denominator == "each":
        whole = torch.logaddexp(logits, _log_sum(logits, negative, average)[..., None])
        return align(logits - whole, positive, inside=inside)
    candidates = _averaged(negative, logits) if average else negative
    if denominator == "all":
        candidates = near | candidates if candidates.dtype == torch.bool else candidates.masked_fill(near, 1)
    weight = near.any(-1) if inside or positive.dtype == torch.bool else positive.sum(-1)
    return align(logits, positive, inside=inside) + weight * repel(logits, candidates)


def align(logits: Tensor, positive: Tensor, *, inside: bool = False) -> Tensor:
    """The pull: ``−Σ_p w_ip l_ip``, or ``−log Σ_p w_ip exp l_ip`` if ``inside``.

    Args:
        logits: (..., N, M).
        positive: (..., N, M) mask (weights 1/P) or weights, as in ``contrast``.
        inside: Sum inside the logarithm.

    Returns:
        (..., N); 0 for an anchor without a positive.
    """
    logits, near = wide(logits), _mask(positive)
    if inside:
        return -_log_sum(logits, positive, average=positive.dtype == torch.bool, empty=0)
    kept = logits.masked_fill(~near, 0)
    if positive.dtype == torch.bool:
        return -kept.sum(-1) / near.sum(-1).clamp(min=1)
    return -(kept * positive).sum(-1)


def repel(logits: Tensor, negative: Tensor, *, average: bool = False) -> Tensor:
    """The push: ``log Σ_n v_in exp l_in``, or the log of the weighted mean if ``average``.

    Args:
        logits: (..., N, M).
        negative: (..., N, M) mask (weights 1) or weights ≥ 0, as in ``contrast``.
        average: Mean, not sum.

    Returns:
        (..., N); 0 for an anchor without a negative.
    """
    return _log_sum(wide(logits), negative, average, empty=0)


def anchor_mean(losses: Tensor, positive: Tensor) -> Tensor:
    """Mean of ``losses`` (..., N) over the anchors that have a positive in (..., N, M); 0 if none has."""
    counted = _mask(positive).any(-1)
    return losses.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


def info_nce(logits: Tensor, pairs: Pairs) -> Tensor:
    """−log of a positive's share of the softmax over positives and negatives, mean over anchors.

    With P the positives and A the positives and negatives of anchor i, and l the logits,
    ``ℓ_i = −(1/|P|) Σ_{p∈P} log( exp l_ip / Σ_{a∈A} exp l_ia )``, and the loss is the mean of ℓ_i over the
    anchors that have a positive (0 if none has). With one positive this is InfoNCE (van den Oord et al. 2018,
    arXiv:1807.03748, eq. 4); with several it is the "out" form of SupCon.

    Args:
        logits: (N, M), any floating type.
        pairs: Who is compared with whom, masks of (N, M); what is in neither mask does not count.

    Returns:
        A scalar ≥ 0.

    Raises:
        ValueError: the masks do not have the shape of ``logits``.
    """
    return anchor_mean(contrast(logits, pairs.positive, pairs.negative), pairs.positive)


def sup_con(logits: Tensor, pairs: Pairs, form: Literal["out", "in"] = "out") -> Tensor:
    """Supervised contrast of anchors with several positives, mean over the anchors that have one.

    "out" averages the logarithms of the positives' shares (``info_nce``), "in" takes the logarithm of their
    average. Khosla et al. 2020, arXiv:2004.11362, eq. 2 and 3; multiply by τ/τ_base for their rescaled form.

    Args:
        logits: (N, M), any floating type.
        pairs: Masks of (N, M), e.g. by ``pairs.labels.same_class``.
        form: "out" or "in"; "in" ≤ "out".

    Returns:
        A scalar ≥ 0.
    """
    losses = contrast(logits, pairs.positive, pairs.negative, inside=form == "in")
    return anchor_mean(losses, pairs.positive)


def decoupled(logits: Tensor, pairs: Pairs, weight: Tensor | None = None) -> Tensor:
    """InfoNCE without the positive in the denominator: ``ℓ_i = −w_i l_ip + log Σ_n exp l_in``; may be < 0.

    Yeh et al. 2022, arXiv:2110.06848: DCL with w = 1, DCLW with the weights of ``pairs.hard.far_positives``.
    This is the mean over anchors; the paper's sum of two directions is twice
    that. Several positives are averaged.

    Args:
        logits: (N, M), any floating type.
        pairs: Masks of (N, M).
        weight: (N,), of each anchor's pull; 1 without it.

    Returns:
        A scalar.
    """
    _check(logits, pairs.positive, pairs.negative)
    pull = align(logits, pairs.positive)
    losses = (pull if weight is None else weight * pull) + repel(logits, pairs.negative)
    return anchor_mean(losses, pairs.positive)


def debiased(logits: Tensor, positive: Tensor, negative: Tensor, prior: float, lowest: float) -> Tensor:
    """InfoNCE whose negatives are corrected for those that are positives without anybody knowing.

    ``ℓ_i = −log( e⁺ / (e⁺ + N g) )`` with ``g = max( (e⁻ − prior·e⁺) / (1 − prior), exp lowest )``, where e⁺
    is the mean of exp l over the positives and e⁻ that over the N negatives. Chuang et al. 2020,
    arXiv:2007.00224; with the weights of ``pairs.hard.harder`` as negatives it is the hard form of Robinson
    et al. 2021, arXiv:2010.04592.

    Args:
        logits: (N, M), any floating type.
        positive: (N, M) mask.
        negative: (N, M) mask, or weights ≥ 0 with a mean of 1 over each anchor's negatives.
        prior: Probability in [0, 1) that a negative is a positive; 0 is InfoNCE without a correction.
        lowest: Smallest possible logit, −1/temperature for cosines.

    Returns:
        A scalar.
    """
    _check(logits, positive, negative)
    logits = wide(logits)
    count = _mask(negative).sum(-1).to(logits)
    near = -align(logits, positive, inside=True)
    far = repel(logits, negative) - count.clamp(min=1).log()
    gap = near + (math.log(prior) if prior else -torch.inf) - far  # < 0 where the difference is positive
    apart = (-torch.expm1(gap.clamp(max=-1e-12))).log()  # clamped: log 0 has no gradient
    g = torch.where(gap < 0, far + apart - math.log1p(-prior), lowest).clamp(min=lowest)
    losses = -logsigmoid(near - g - count.log())  # without a negative, −log σ(∞) = 0
    return anchor_mean(losses, positive)


def symmetric(logits: Tensor, pairs: Pairs) -> Tensor:
    """Half of ``info_nce`` from rows to columns and half from columns to rows.

    Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3. Arguments and result as ``info_nce``.
    """
    turned = Pairs(pairs.positive.T, pairs.negative.T)
    return (info_nce(logits, pairs) + info_nce(logits.T, turned)) / 2


def pairwise_sigmoid(logits: Tensor, pairs: Pairs) -> Tensor:
    """Every pair judged for itself: ``(1/N) Σ_pairs −log σ(±l)``, + for positives and − for negatives.

    Zhai et al. 2023 (SigLIP), arXiv:2303.15343: divided by the number N of rows, not of pairs.

    Args:
        logits: (N, M), any floating type; scaled and shifted (t·cosine + b).
        pairs: Masks of (N, M).

    Returns:
        A scalar ≥ 0.
    """
    _check(logits, pairs.positive, pairs.negative)
    logits = wide(logits)
    losses = -logsigmoid(torch.where(pairs.positive, logits, -logits))
    return losses.masked_fill(~(pairs.positive | pairs.negative), 0).sum() / max(len(logits), 1)


def info_nce_streamed(
    queries: Tensor, keys: Tensor, temperature: float | Tensor, *, both: bool = False
) -> Tensor:
    """InfoNCE from queries to keys, positives at equal rows, without the (N, M) table of logits.

    ``(1/N) Σ_i −log( exp(q_i·k_i/τ) / Σ_j exp(q_i·k_j/τ) )``: the same number and gradients as
    ``cross_entropy(queries @ keys.T / temperature, arange(N))``. The vectors are taken as they are: normalize
    them before for cosines. One direction, unless ``both``. Memory is linear in N and M, and gradients are
    computed along with the loss, so that there is no second derivative.

    Args:
        queries: (N, D), any floating type; computed in float32 at least.
        keys: (M, D), M ≥ N; keys from row N on (a queue) are negatives of all queries.
        temperature: > 0; a scalar tensor gets its gradient.
        both: The mean of this direction and that from keys to queries, which needs M = N.

    Returns:
        A scalar ≥ 0, 0 if there is no query.

    Raises:
        ValueError: the shapes do not fit.
    """
    queries, keys = _checked(queries, keys)
    count = len(queries)
    if len(keys) < count or (both and len(keys) > count):
        raise ValueError(
            f"keys: expected {'' if both else 'at least '}{count} rows as in queries, found {len(keys)}"
        )
    queries = queries / temperature
    if not torch.is_grad_enabled():  # the function below cannot see that nobody will ask for gradients
        queries, keys = queries.detach(), keys.detach()
    total: Tensor = RowwiseInfoNCE.apply(queries, keys)
    if both:
        total = (total + RowwiseInfoNCE.apply(keys, queries)) / 2
    return total / max(count, 1)


def mse_logits(a: Tensor, b: Tensor, temperature: float | Tensor) -> Tensor:
    """−(mean squared difference)/temperature: CoMIR's first critic, a Gaussian of constant variance.

    The mean is over the D features, so that one temperature fits any patch size.
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
    with full_precision(a):
        middle = torch.cat([a, b]).mean(0).detach()  # a shift: it has no gradient
        a, b = a - middle, b - middle
        squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return squared.clamp(min=0) / (-a.shape[1] * temperature)


def cosine_logits(a: Tensor, b: Tensor, temperature: float | Tensor) -> Tensor:
    """Cosine similarity / temperature: CoMIR's second critic; a vector of zeros is like nothing (0).

    Args:
        a: (N, D).
        b: (M, D).
        temperature: > 0; a tensor that broadcasts to (N, M) gives every pair its own.

    Returns:
        (N, M) logits in [−1, 1] / temperature.
    """
    a, b = _checked(a, b)
    with full_precision(a):
        return normalize(a, dim=1) @ normalize(b, dim=1).T / temperature


def l1_logits(a: Tensor, b: Tensor, temperature: float | Tensor) -> Tensor:
    """−(mean absolute difference over the D features)/temperature: a Laplace critic.

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
    with full_precision(a):
        return torch.cdist(a, b, p=1) / (-a.shape[1] * temperature)


def _log_sum(logits: Tensor, weights: Tensor, average: bool = False, empty: float = -torch.inf) -> Tensor:
    """``log Σ_j w_ij exp l_ij`` (or mean) over the last axis; ``empty``, without gradient, for no weight."""
    counted = _mask(weights)
    if weights.dtype != torch.bool:
        logits = logits + torch.where(counted, weights, 1).log()
    nobody = ~counted.any(-1)
    # a row of nobody is summed as it is, because the gradient of log 0 is not a number
    total = logits.masked_fill(~(counted | nobody[..., None]), -torch.inf).logsumexp(-1)
    if average:
        total = total - torch.where(nobody, 1, weights.sum(-1)).to(total).log()
    return total.masked_fill(nobody, empty)


def _mask(pairs: Tensor) -> Tensor:
    """Where a mask is true, or weights are not 0."""
    return pairs if pairs.dtype == torch.bool else pairs != 0


def _averaged(weights: Tensor, like: Tensor) -> Tensor:
    """Each row scaled to a sum of 1, in the precision of ``like``; a row of zeros stays so."""
    total = weights.sum(-1, keepdim=True).to(like)
    return weights / torch.where(total == 0, 1, total)


def _check(logits: Tensor, positive: Tensor, negative: Tensor) -> None:
    """Raises ``ValueError`` unless the pairs have the shape of ``logits``."""
    for pairs in (positive, negative):
        if pairs.shape != logits.shape:
            raise ValueError(
                f"pairs: expected masks or weights of {tuple(logits.shape)}, found {tuple(pairs.shape)}"
            )


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets in float32 at least; raises ``ValueError`` unless they are (N, D) and (M, D)."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"a, b: expected (N, D) and (M, D), found {tuple(a.shape)} and {tuple(b.shape)}")
    return wide(a), wide(b)
