"""Reconstruction: what was hidden is told from what was left."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from counterpoint.core.errors import InputError
from counterpoint.objectives.precision import wide


def patches(images: Tensor, side: int) -> Tensor:
    """Images cut into squares, row by row.

    Args:
        images: (B, C, H, W).
        side: Side of a patch in pixels; H and W are multiples of it.

    Returns:
        (B, (H/side)·(W/side), C·side²): the pixels of a patch, channel by channel, row by row.

    Raises:
        InputError: H or W is no multiple of ``side``.
    """
    if side < 1 or images.shape[-2] % side or images.shape[-1] % side:
        raise InputError(
            f"side: expected a divisor of the image's {images.shape[-2]} × {images.shape[-1]}, found {side}"
        )
    return pixel_unshuffle(images, side).flatten(2).transpose(1, 2)


def masked_mse(
    prediction: Tensor, target: Tensor, mask: Tensor, *, standardize: bool = True, eps: float = 1e-6
) -> Tensor:
    """Mean squared error over the pixels of masked patches only.

    He et al. 2022 (MAE), arXiv:2111.06377, section 3: ``Σ_masked mean_pixels (pred − target)² / #masked``.

    Args:
        prediction: (B, N, P), any floating type: N patches of P values.
        target: (B, N, P).
        mask: (B, N) bool, True where the encoder saw nothing.
        standardize: Take from each target patch its own mean and divide it by its own standard deviation
            (variance over P − 1).
        eps: Added to that variance.

    Returns:
        A scalar ≥ 0, 0 if nothing is masked.

    Raises:
        ValueError: the shapes do not fit.
    """
    if prediction.shape != target.shape or mask.shape != target.shape[:2]:
        raise ValueError(
            "prediction, target, mask: expected (B, N, P) twice and (B, N), found "
            f"{tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(mask.shape)}"
        )
    goal = wide(target)
    if standardize:
        goal = goal - goal.mean(-1, keepdim=True)
        spread = goal.square().sum(-1, keepdim=True) / max(goal.shape[-1] - 1, 1)
        goal = goal * (spread + eps).rsqrt()
    error = (wide(prediction) - goal).square().mean(-1)
    return error.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)
