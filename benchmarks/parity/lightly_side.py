"""lightly's training: its losses, heads, memory banks and transforms, wired as its example code does.

Source: lightly 1.6.0, ``examples/pytorch/*.py``; for SwAV's frozen prototypes and DINO's constant teacher
temperature ``benchmarks/imagenet/resnet50``. The network, the optimizer and the schedule are the benchmark's.
Momenta go up by a half cosine from update to update; MoCo's stays, as in its paper.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from lightly import loss as losses
from lightly.models import modules, utils
from lightly.transforms.dino_transform import DINOViewTransform
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.swav_transform import SwaVViewTransform
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as transforms
from lightly.utils.scheduler import cosine_schedule
from recipe import crops
from sides import Pictures, Trained, seeded
from torch import Tensor, nn

from counterpoint.data.arrays import Arrays
from counterpoint.train.optim import OptimConfig, rate


class Peer(nn.Module):
    """A method: ``loss`` of the views of a batch; ``pairs`` are followed by momentum."""

    def __init__(self, encoder: nn.Module, c: Any) -> None:
        super().__init__()
        self.encoder, self.c, self.epoch = encoder, c, 0
        self.pairs: list[tuple[nn.Module, nn.Module]] = []
        self.build(c, c.encoder.build().out_dim)

    def build(self, c: Any, width: int) -> None:
        """Heads and losses."""

    def slow(self, module: nn.Module) -> nn.Module:
        """A copy that follows."""
        other = copy.deepcopy(module)
        utils.deactivate_requires_grad(other)
        self.pairs.append((module, other))
        return other

    def after_backward(self) -> None:
        """Before the optimizer's step."""


class SimCLR(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.SimCLRProjectionHead(width, c.hidden, c.dim)
        self.criterion = losses.NTXentLoss(temperature=c.temperature)

    def loss(self, x: list[Tensor]) -> Tensor:
        return self.criterion(*(self.head(self.encoder(v)) for v in x))


class DCL(SimCLR):
    def build(self, c: Any, width: int) -> None:
        super().build(c, width)
        self.criterion = losses.DCLLoss(temperature=c.temperature)


class MoCo(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.MoCoProjectionHead(width, c.hidden, c.dim)
        self.slow_encoder, self.slow_head = self.slow(self.encoder), self.slow(self.head)
        self.criterion = losses.NTXentLoss(temperature=c.temperature, memory_bank_size=(c.queue, c.dim))

    def loss(self, x: list[Tensor]) -> Tensor:
        return self.criterion(self.head(self.encoder(x[0])), self.slow_head(self.slow_encoder(x[1])).detach())


class BYOL(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.BYOLProjectionHead(width, c.hidden, c.dim)
        self.predictor = modules.BYOLPredictionHead(c.dim, c.hidden, c.dim)
        self.slow_encoder, self.slow_head = self.slow(self.encoder), self.slow(self.head)
        self.criterion = losses.NegativeCosineSimilarity()

    def loss(self, x: list[Tensor]) -> Tensor:
        p = [self.predictor(self.head(self.encoder(v))) for v in x]
        z = [self.slow_head(self.slow_encoder(v)).detach() for v in x]
        return 0.5 * (self.criterion(p[0], z[1]) + self.criterion(p[1], z[0]))


class SimSiam(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.SimSiamProjectionHead(width, c.dim, c.dim)
        self.predictor = modules.SimSiamPredictionHead(c.dim, c.hidden, c.dim)
        self.criterion = losses.NegativeCosineSimilarity()

    def loss(self, x: list[Tensor]) -> Tensor:
        z = [self.head(self.encoder(v)) for v in x]
        p = [self.predictor(v) for v in z]
        return 0.5 * (self.criterion(z[0].detach(), p[1]) + self.criterion(z[1].detach(), p[0]))


class BarlowTwins(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.BarlowTwinsProjectionHead(width, c.hidden, c.dim)
        self.criterion = losses.BarlowTwinsLoss(lambda_param=c.off_diagonal)

    def loss(self, x: list[Tensor]) -> Tensor:
        return self.criterion(*(self.head(self.encoder(v)) for v in x))


class VICReg(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.heads.VICRegProjectionHead(width, c.hidden, c.dim, num_layers=3)
        self.criterion = losses.VICRegLoss(c.invariance, c.variance, c.covariance)

    def loss(self, x: list[Tensor]) -> Tensor:
        return self.criterion(*(self.head(self.encoder(v)) for v in x))


class NNCLR(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.NNCLRProjectionHead(width, c.hidden, c.dim)
        self.predictor = modules.NNCLRPredictionHead(c.dim, c.predictor, c.dim)
        self.bank = modules.NNMemoryBankModule(size=(c.queue, c.dim))
        self.criterion = losses.NTXentLoss(temperature=c.temperature)

    def loss(self, x: list[Tensor]) -> Tensor:
        z = [self.head(self.encoder(v)) for v in x]
        p = [self.predictor(v) for v in z]
        first = self.bank(z[0].detach(), update=False)
        second = self.bank(z[1].detach(), update=True)
        return 0.5 * (self.criterion(first, p[1]) + self.criterion(second, p[0]))


class SwAV(Peer):
    def build(self, c: Any, width: int) -> None:
        self.head = modules.SwaVProjectionHead(width, c.hidden, c.dim)
        self.prototypes = modules.SwaVPrototypes(c.dim, c.prototypes, n_steps_frozen_prototypes=1)
        self.criterion = losses.SwaVLoss(c.temperature, c.rounds, c.sharpness)

    def loss(self, x: list[Tensor]) -> Tensor:
        self.prototypes.normalize()
        z = [nn.functional.normalize(self.head(self.encoder(v)), dim=1) for v in x]
        scores = [self.prototypes(v, step=self.epoch) for v in z]
        return self.criterion(scores[:2], scores[2:]).squeeze()


class DINO(Peer):
    def build(self, c: Any, width: int) -> None:
        sizes = width, c.hidden, c.dim, c.prototypes
        self.head = modules.DINOProjectionHead(*sizes, freeze_last_layer=1)
        self.slow_encoder = self.slow(self.encoder)
        self.slow_head = modules.DINOProjectionHead(*sizes)  # begins on its own, as in the example
        utils.deactivate_requires_grad(self.slow_head)
        self.pairs.append((self.head, self.slow_head))
        self.criterion = losses.DINOLoss(
            c.prototypes, student_temp=c.temperature, center_momentum=c.center_momentum
        )

    def loss(self, x: list[Tensor]) -> Tensor:
        slow = [self.slow_head(self.slow_encoder(v)) for v in x[:2]]
        fast = [self.head(self.encoder(v)) for v in x]
        return self.criterion(slow, fast, teacher_temp=self.c.teacher_temperature)

    def after_backward(self) -> None:
        self.head.cancel_last_layer_gradients(self.epoch)


class MAE(Peer):
    """Its encoder is timm's ViT of the same sizes, whose patch tokens are averaged to features."""

    def __init__(self, _: nn.Module, c: Any) -> None:
        from timm.models.vision_transformer import VisionTransformer

        e = c.encoder
        vit = VisionTransformer(
            e.size, e.patch, e.channels, 0, "", e.dim, e.depth, e.heads, class_token=e.class_token
        )
        super().__init__(modules.MaskedVisionTransformerTIMM(vit), c)

    def build(self, c: Any, width: int) -> None:
        from lightly.models.modules.masked_vision_transformer_timm import init_weights

        vit = self.encoder.vit
        self.embed = nn.Linear(width, c.decoder)
        self.decoder = modules.MaskedVisionTransformerDecoderTIMM(
            vit.patch_embed.num_patches,
            c.decoder,
            c.decoder_depth,
            c.decoder_heads,
            num_prefix_tokens=vit.num_prefix_tokens,
        )
        self.pixels = nn.Linear(c.decoder, c.encoder.patch**2 * c.encoder.channels)
        self.embed.apply(init_weights)
        self.pixels.apply(init_weights)

    def loss(self, x: list[Tensor]) -> Tensor:
        length = self.encoder.sequence_length
        keep, hidden = utils.random_token_mask((len(x[0]), length), self.c.ratio)
        seen = self.embed(self.encoder.encode(images=x[0], idx_keep=keep))
        whole = utils.set_at_index(seen.new_zeros(len(seen), length, seen.shape[2]), keep, seen)
        made = self.pixels(utils.get_at_index(self.decoder(whole, idx_mask=hidden), hidden))
        aim = utils.get_at_index(utils.patchify(x[0], self.c.encoder.patch), hidden - 1)
        return nn.functional.mse_loss(made, aim)


class Tokens(nn.Module):
    """The mean of the patch tokens, as our ViT has it."""

    def __init__(self, masked: nn.Module) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x: Tensor) -> Tensor:
        return self.masked.encode(images=x)[:, 1:].mean(1)


METHODS = {
    "simclr": SimCLR, "dcl": DCL, "moco": MoCo, "byol": BYOL, "simsiam": SimSiam, "barlow_twins": BarlowTwins,
    "vicreg": VICReg, "nnclr": NNCLR, "swav": SwAV, "dino": DINO, "mae": MAE,
}  # fmt: skip


def transform(config: Any) -> MultiViewTransform:
    """Our crops as lightly's transforms: SwAV's view is bilinear, DINO's is bicubic and may solarize."""
    made = []
    for c in crops(config):
        brightness, contrast, saturation, hue = c.amounts
        shared = {
            "hf_prob": c.flip, "cj_prob": c.jittered, "cj_strength": 1.0, "cj_bright": brightness,
            "cj_contrast": contrast, "cj_sat": saturation, "cj_hue": hue, "random_gray_scale": c.gray,
            "gaussian_blur": c.blur, "sigmas": c.sigma, "normalize": None,
        }  # fmt: skip
        if c.interpolation == "bilinear":
            shape = transforms.RandomResizedCrop(c.size, scale=c.area)
            made.append(transforms.Compose([shape, SwaVViewTransform(**shared)]))
        else:
            more = {"crop_size": c.size, "crop_scale": c.area, "solarization_prob": c.solarize}
            made.append(DINOViewTransform(**more, **shared))
    return MultiViewTransform(made)


def train(method: str, config: Any, data: Arrays, budget: Any, seed: int) -> Trained:
    """The loop of the examples."""
    seeded(seed)
    pictures = Pictures(data, transform(config))
    loader = torch.utils.data.DataLoader(pictures, budget.batch, shuffle=True, drop_last=True)
    model = METHODS[method](config.encoder.build(), config)
    optim = OptimConfig(lr=budget.lr, warmup=budget.warmup)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=budget.lr)
    step, steps = 0, budget.epochs * len(loader)
    start = time.process_time()
    for model.epoch in range(budget.epochs):
        for _, views, _ in loader:
            last = config.momentum if method == "moco" else 1.0
            for fast, slow in model.pairs:
                utils.update_momentum(fast, slow, cosine_schedule(step, steps, config.momentum, last))
            loss = model.loss(views)
            loss.backward()
            model.after_backward()
            for group in optimizer.param_groups:
                group["lr"] = rate(optim, (step + 0.5) / steps)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    encoder = Tokens(model.encoder) if method == "mae" else model.encoder
    return Trained(encoder, pictures.seconds, time.process_time() - start)
