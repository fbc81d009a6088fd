"""ViT: a transformer over the patches of an image, some of which may be left out; and a decoder for those.

Dosovitskiy et al. An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale. ICLR 2021.
arXiv:2010.11929. Layers are named as in timm and in the code of DINO and MAE, whose weights fit.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError


class ViT(Encoder):
    """Patches become tokens, positions are added, pre-norm blocks follow, then a last normalization.

    Any image whose sides are multiples of a patch goes in: positions learned for ``size`` are interpolated.
    Taps of blocks read tokens, (B, T, dim), not maps.
    """

    rowwise = ("forward", "tokens")

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a vision transformer."""

        channels: int = 3
        """Channels of the input image."""
        size: int = 32
        """Side of the images in pixels, a multiple of ``patch``."""
        patch: int = 4
        """Side of a patch in pixels."""
        dim: int = 192
        """Width of the tokens, a multiple of 4 and of ``heads``."""
        depth: int = 6
        """How many blocks."""
        heads: int = 3
        """How many heads the attention has."""
        mlp: float = 4.0
        """Width of a block's hidden layer, in multiples of ``dim``."""
        class_token: bool = True
        """Put a learned token before the patches, which gathers what the image shows."""
        pool: Literal["class", "mean"] = "class"
        """What the features are: the class token, or the mean of the patch tokens."""
        positions: Literal["learned", "sincos"] = "learned"
        """How tokens know their place: learned vectors, or fixed sines and cosines of x and y."""
        frozen_patches: bool = False
        """Leave the projection of the patches as it begins (MoCo v3's remedy for unstable training)."""

        def __post_init__(self) -> None:
            counts = (self.channels, self.size, self.patch, self.dim, self.depth, self.heads)
            if min(counts) < 1 or self.mlp * self.dim < 1 or self.size % self.patch:
                raise InputError(f"vit: expected positive numbers, size a multiple of patch, found {self}")
            if self.dim % self.heads or self.dim % 4:
                raise InputError(f"vit: expected dim to be a multiple of 4 and of heads, found {self}")
            if self.pool == "class" and not self.class_token:
                raise InputError("vit: expected pool 'mean' where there is no class token, found 'class'")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = _Patches(config.channels, config.dim, config.patch)
        self.side = config.size // config.patch
        self.extra, self.pool = int(config.class_token), config.pool
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim)) if self.extra else None
        self.pos_embed = nn.Parameter(torch.zeros(1, self.extra + self.side**2, config.dim))
        self.blocks = nn.Sequential(
            *(_Block(config.dim, config.heads, config.mlp) for _ in range(config.depth))
        )
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.out_dim, self.multiple = config.dim, config.patch
        self.taps = {f"blocks.{i}": config.dim for i in range(config.depth)} | {"norm": config.dim}
        self._begin(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, dim); H and W must be multiples of ``multiple``."""
        tokens = self.tokens(x)
        return tokens[:, 0] if self.pool == "class" else tokens[:, self.extra :].mean(1)

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """All tokens after the last normalization; those of patches left out are never made.

        Args:
            x: (B, channels, H, W).
            keep: (B, K) int64, which of the N patches go in, counted row by row; all where None.

        Returns:
            (B, [1 +] K, dim): the class token, if there is one, then the patches in the order of ``keep``.

        Raises:
            ValueError: H or W is no multiple of the side of a patch.
        """
        height, width = x.shape[-2] // self.multiple, x.shape[-1] // self.multiple
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(
                f"x: expected height and width in multiples of {self.multiple}, found {tuple(x.shape)}"
            )
        first, positions = self._positions(height, width)
        tokens = self.patch_embed(x) + positions
        if keep is not None:
            tokens = picked(tokens, keep)
        if self.cls_token is not None:
            tokens = torch.cat([(self.cls_token + first).expand(x.shape[0], -1, -1), tokens], 1)
        return self.norm(self.blocks(tokens))

    def _positions(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The positions of the class token, (1, 0 or 1, dim), and of a grid of patches, (1, N, dim)."""
        first, grid = self.pos_embed.split([self.extra, self.side**2], 1)
        if (height, width) != (self.side, self.side):
            square = grid.mT.unflatten(2, (self.side, self.side))
            grid = F.interpolate(square, (height, width), mode="bicubic").flatten(2).mT
        return first, grid

    def _begin(self, config: Config) -> None:
        """Begin as the paper's code does: Xavier's uniform weights, small normal tokens and positions."""
        projection = self.patch_embed.proj
        _begin_linear(projection)
        projection.requires_grad_(not config.frozen_patches)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)
        if config.positions == "learned":
            nn.init.normal_(self.pos_embed, std=0.02)
        else:
            self.pos_embed.requires_grad_(False)[:, -(self.side**2) :] = sincos(self.side, config.dim)


class Decoder(nn.Module):
    """A small ViT from the tokens of visible patches to the pixels of all.

    He, Chen, Xie, Li, Dollár, Girshick. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022.
    arXiv:2111.06377: one shared token stands for every hidden patch, fixed positions are added to all.

    Args:
        encoder: The ViT whose tokens come in, for images of its ``size``.
        dim: Width of the tokens, a multiple of 4 and of ``heads``.
        depth: How many blocks.
        heads: How many heads the attention has.

    Raises:
        InputError: ``dim`` is no multiple of 4 and of ``heads``.
    """

    def __init__(self, encoder: ViT, dim: int = 512, depth: int = 8, heads: int = 16) -> None:
        super().__init__()
        if min(dim, depth, heads) < 1 or dim % 4 or dim % heads:
            raise InputError(f"decoder: expected a dim in multiples of 4 and of heads, found {dim}, {heads}")
        self.extra = encoder.extra
        self.embed = nn.Linear(encoder.out_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos(encoder.side, dim), persistent=False)
        self.blocks = nn.Sequential(*(_Block(dim, heads, 4.0) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pixels = nn.Linear(dim, encoder.patch_embed.proj.weight[0].numel())
        nn.init.normal_(self.mask_token, std=0.02)
        for linear in (self.embed, self.pixels):
            _begin_linear(linear)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """``ViT.tokens(x, keep)`` and ``keep`` → (B, N, channels·patch²), pixels of all patches."""
        positions = self.get_buffer("positions")
        tokens = self.embed(tokens)
        first, visible = tokens[:, : self.extra], tokens[:, self.extra :]
        hidden = self.mask_token.to(visible.dtype).expand(len(tokens), len(positions), -1)
        index = keep[..., None].expand(-1, -1, visible.shape[-1])
        whole = hidden.scatter(1, index, visible) + positions
        return self.pixels(self.norm(self.blocks(torch.cat([first, whole], 1)))[:, self.extra :])


def picked(tokens: Tensor, keep: Tensor) -> Tensor:
    """Rows of each sample by index: (B, N, D) and (B, K) int64 → (B, K, D)."""
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))


def sincos(side: int, dim: int) -> Tensor:
    """(side², dim): fixed positions of a square grid, row by row; a half for x and a half for y.

    Of each half with D = dim/2, the first D/2 are sin(p·ω_i), the others cos(p·ω_i), ω_i = 10000^(−2i/D)
    (Vaswani et al. 2017, arXiv:1706.03762, 3.5).
    """
    omega = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [p.flatten()[:, None] * omega for p in (x, y)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1).float()


class _Patches(nn.Module):
    """A linear layer from the pixels of a patch to a token: (B, C, H, W) → (B, N, dim), row by row."""

    def __init__(self, channels: int, dim: int, side: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, side, stride=side)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).mT


class _Block(nn.Module):
    """Attention, then a perceptron, each after a normalization and added to what came in."""

    def __init__(self, dim: int, heads: int, mlp: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, heads)
        into, out = nn.Linear(dim, int(dim * mlp)), nn.Linear(int(dim * mlp), dim)
        self.mlp = nn.Sequential(OrderedDict(fc1=into, act=nn.GELU(), fc2=out))
        for linear in (into, out):
            _begin_linear(linear)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Attention(nn.Module):
    """Every token looks at all tokens of its image: softmax(q·kᵀ/√d)·v in each head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        _begin_linear(self.qkv, parts=3)
        _begin_linear(self.proj)

    def forward(self, x: Tensor) -> Tensor:
        # (B, T, 3·D) → three of (B, heads, T, D/heads)
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _begin_linear(layer: nn.Linear | nn.Conv2d, parts: int = 1) -> None:
    """Xavier's uniform weights, by the size of each of the matrices that stand in one; biases of 0."""
    rows, columns = layer.weight.flatten(1).shape
    limit = math.sqrt(6 / (rows / parts + columns))
    nn.init.uniform_(layer.weight, -limit, limit)
    for name, bias in layer.named_parameters():
        if name == "bias":
            nn.init.zeros_(bias)
