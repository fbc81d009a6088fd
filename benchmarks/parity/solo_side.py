"""solo-learn's training: its methods whole, with their heads, losses, queues, hooks and transforms.

Source: solo-learn 1.0.6. Only the network (given to it as a backbone), the optimizer and the schedule are the
benchmark's. Its linear classifier trains alongside, on features without a gradient, as always.
"""

from __future__ import annotations

import logging
import time
import warnings
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import OmegaConf
from recipe import crops
from sides import Pictures, Trained, seeded
from solo.backbones.vit.vit_mae import MaskedAutoencoderViT
from solo.data.pretrain_dataloader import FullTransformPipeline, NCropAugmentation, build_transform_pipeline
from solo.methods import METHODS as KINDS
from solo.methods.base import BaseMethod
from torch import Tensor, nn

from counterpoint.core.config import Config
from counterpoint.data.arrays import Arrays
from counterpoint.train.optim import OptimConfig, rate

CONV, VIT = "small_resnet", "small_vit"
"""Names of the backbones; solo-learn chooses heads by what a name holds: those for a ResNet are wanted."""
NAMES = {"moco": "mocov2plus", "moco_v3": "mocov3"}


def settings(method: str, c: Any) -> dict[str, Any]:
    """A method's own settings, by solo-learn's names for them."""
    if method == "mae":
        return {
            "mask_ratio": c.ratio, "norm_pix_loss": c.standardize, "decoder_embed_dim": c.decoder,
            "decoder_depth": c.decoder_depth, "decoder_num_heads": c.decoder_heads,
        }  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "moco": {"queue_size": getattr(c, "queue", 0)},
        "moco_v3": {"pred_hidden_dim": c.hidden},
        "byol": {"pred_hidden_dim": c.hidden},
        "simsiam": {"proj_hidden_dim": c.dim, "pred_hidden_dim": c.hidden},
        "barlow_twins": {"lamb": getattr(c, "off_diagonal", 0), "scale_loss": 1.0},
        "nnclr": {"pred_hidden_dim": getattr(c, "predictor", 0), "queue_size": getattr(c, "queue", 0)},
        "vicreg": {
            f"{name}_loss_weight": getattr(c, ours, 0)
            for name, ours in (("sim", "invariance"), ("var", "variance"), ("cov", "covariance"))
        },
        "swav": {
            "queue_size": 0, "num_prototypes": getattr(c, "prototypes", 0), "freeze_prototypes_epochs": 1,
            "sk_iters": getattr(c, "rounds", 0), "sk_epsilon": getattr(c, "sharpness", 0),
        },
    }  # fmt: skip
    shared = {"proj_hidden_dim": c.hidden, "proj_output_dim": c.dim}
    if hasattr(c, "temperature"):
        shared["temperature"] = c.temperature
    return shared | own.get(method, {})


class Backbone(nn.Module):
    """Our small network, as solo-learn expects one."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.network = config.build()
        self.num_features = self.network.out_dim

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def _vit(c: Any) -> nn.Module:
    return MaskedAutoencoderViT(
        c.size,
        c.patch,
        c.channels,
        c.dim,
        c.depth,
        c.heads,
        c.mlp,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )


class Tokens(nn.Module):
    """The mean of the patch tokens, as our ViT has it."""

    def __init__(self, vit: MaskedAutoencoderViT) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, x: Tensor) -> Tensor:
        return self.vit.forward_encoder(x, 0)[0][:, 1:].mean(1)


def configuration(method: str, config: Any, budget: Any, classes: int) -> Any:
    """What its command would have read from YAML."""
    many = len(crops(config))
    moves = getattr(config, "momentum", 0.9)
    return OmegaConf.create({
        "method": NAMES.get(method, method),
        "backbone": {
            "name": VIT if method == "mae" else CONV,
            "kwargs": {"patch_size": config.encoder.patch} if method == "mae" else {},
        },
        "data": {
            "dataset": "custom", "num_classes": classes,
            "num_large_crops": min(many, 2), "num_small_crops": max(many - 2, 0),
        },
        "max_epochs": budget.epochs,
        "optimizer": {
            "name": "adam", "batch_size": budget.batch, "lr": budget.lr, "weight_decay": 0,
            "classifier_lr": budget.lr,
        },
        "scheduler": {"name": "none"},
        "momentum": {"base_tau": moves, "final_tau": moves if method == "moco" else 1.0, "classifier": False},
        "method_kwargs": settings(method, config),
    })  # fmt: skip


def transform(config: Any) -> FullTransformPipeline:
    """Our crops as solo-learn's pipelines."""
    made = []
    for c in crops(config):
        brightness, contrast, saturation, hue = c.amounts
        asked = OmegaConf.create({
            "rrc": {"enabled": True, "crop_min_scale": c.area[0], "crop_max_scale": c.area[1]},
            "color_jitter": {
                "prob": c.jittered, "brightness": brightness, "contrast": contrast, "saturation": saturation,
                "hue": hue,
            },
            "grayscale": {"prob": c.gray}, "gaussian_blur": {"prob": c.blur},
            "solarization": {"prob": c.solarize}, "equalization": {"prob": 0.0},
            "horizontal_flip": {"prob": c.flip}, "crop_size": c.size, "mean": [0.0], "std": [1.0],
        })  # fmt: skip
        made.append(NCropAugmentation(build_transform_pipeline("custom", asked), 1))
    return FullTransformPipeline(made)


def train(method: str, config: Any, data: Arrays, budget: Any, seed: int) -> Trained:
    """Its method in a Trainer."""
    seeded(seed)
    pictures = Pictures(data, transform(config))
    loader = torch.utils.data.DataLoader(pictures, budget.batch, shuffle=True, drop_last=True)
    steps, optim = budget.epochs * len(loader), OptimConfig(lr=budget.lr, warmup=budget.warmup)

    def optimizers(module: pl.LightningModule) -> Any:
        adam = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=budget.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            adam, lambda step: rate(optim, min((step + 0.5) / steps, 1.0)) / budget.lr
        )
        return [adam], [{"scheduler": schedule, "interval": "step"}]

    BaseMethod._BACKBONES[CONV] = lambda *_, **__: Backbone(config.encoder)
    BaseMethod._BACKBONES[VIT] = lambda *_, **__: _vit(config.encoder)
    kind = type("Asked", (KINDS[NAMES.get(method, method)],), {"configure_optimizers": optimizers})
    model = kind(configuration(method, config, budget, len(data.classes)))
    logging.disable(logging.WARNING)  # hints about loggers and devices, for every cell anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=budget.epochs, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        start = time.process_time()
        trainer.fit(model, loader)
    encoder = Tokens(model.backbone) if method == "mae" else model.backbone
    return Trained(encoder, pictures.seconds, time.process_time() - start)
