"""A copy of the network trained further with a linear layer on top, from all labels or a few."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoint.core.data import Data
from counterpoint.core.encoder import tapped
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.classes import accuracy, balanced_accuracy
from counterpoint.tasks.budget import chosen
from counterpoint.tasks.features import Embedded, coded, device, evaluating, pooled


class FineTune(Task):
    """Accuracy after training all weights for classification; the given network stays as it is.

    Semi-supervised protocol of Chen et al. 2020 (SimCLR), appendix B.5: no warm-up, no weight decay, no
    augmentation here. The samples whose labels are used are held in memory.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the training."""

        labels: str = "all"
        """Labels that may be used: all, a share such as 1%, or so many of each class such as 5/class."""
        epochs: int = 20
        """Times through the labelled samples."""
        steps: int = 200
        """Updates at least: with few labels there are more epochs."""
        size: int = 64
        """Samples a training batch."""
        lr: float = 1e-3
        """Learning rate of AdamW for the network; it falls along a half cosine."""
        head_lr: float = 1e-2
        """Learning rate for the new layer."""

    needs = frozenset({"label"})
    headline = "accuracy"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if min(config.epochs, config.steps, config.size) < 1:
            raise InputError("finetune: expected epochs, steps and size of at least 1, found less")

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:
        """Accuracy and balanced accuracy on ``test``."""
        c = self.config
        labels = [self._labels(data) for data in (train, test)]
        label, truth, classes = coded(labels[0], labels[1])
        known = chosen(label, c.labels, seed)
        x, y = self._gathered(train, known), label[known]
        with torch.random.fork_rng(devices=[]):
            seed_all(seed, "finetune")
            model = _Classifier(copy.deepcopy(network(c.role)), c.tap, x[:1], classes)
            self._fit(model, x, y, seed)
        with evaluating(model):
            parts = [model(part[c.role].to(device(model))).argmax(1).cpu() for part in test.parts(c.batch)]
        predicted = torch.cat(parts)
        return {
            "accuracy": accuracy(predicted, truth),
            "balanced_accuracy": balanced_accuracy(predicted, truth),
        }

    def _labels(self, data: Data) -> Embedded:
        """Labels and ids alone, with no features."""
        if missing := {self.config.role, "label"} - data.provides:
            raise InputError(f"data: expected batches with {', '.join(sorted(missing))}, found none")
        parts = [(part["id"], part["label"]) for part in data.parts(self.config.batch)]
        if not any(len(ids) for ids, _ in parts):
            raise InputError("data: expected at least one sample, found none")
        ids, label = (torch.cat(column) for column in zip(*parts, strict=True))
        return Embedded(torch.empty(len(ids), 0), ids, label)

    def _gathered(self, data: Data, rows: Tensor) -> Tensor:
        """(n, C, H, W): the samples at these places of the data's order."""
        found, start = [], 0
        for part in data.parts(self.config.batch):
            x = part[self.config.role]
            here = rows[(rows >= start) & (rows < start + len(x))] - start
            found.append(x[here].clone())  # a view would keep the whole batch
            start += len(x)
        return torch.cat(found)

    def _fit(self, model: _Classifier, x: Tensor, y: Tensor, seed: int) -> None:
        where = device(model)
        per_epoch = math.ceil(len(x) / self.config.size)
        steps = max(self.config.epochs * per_epoch, self.config.steps)
        old = [p for p in model.network.parameters() if p.requires_grad]
        groups = [
            {"params": old, "lr": self.config.lr},
            {"params": list(model.head.parameters()), "lr": self.config.head_lr},
        ]
        optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        model.train()
        for _, rows in zip(range(steps), _order(len(x), per_epoch, seed), strict=False):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows].to(where)), y[rows].to(where))
            if not loss.isfinite():
                raise WorkError("finetune: the loss is not finite; try a smaller lr")
            loss.backward()
            optimizer.step()
            schedule.step()


class _Classifier(nn.Module):
    def __init__(self, network: nn.Module, tap: str, example: Tensor, classes: int) -> None:
        super().__init__()
        self.network, self.tap = network, tap
        where = device(network)
        with evaluating(network):
            width = self._features(example.to(where)).shape[1]
        self.head = nn.Linear(width, classes).to(where)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._features(x))

    def _features(self, x: Tensor) -> Tensor:
        if not self.tap:
            return pooled(self.network(x))
        with tapped(self.network, [self.tap]) as seen:
            self.network(x)
        return pooled(seen[self.tap], self.tap)


def _order(count: int, parts: int, seed: int) -> Iterator[Tensor]:
    """Rows of one batch after the other, without end; batches of an epoch differ by at most one in size."""
    epoch = 0
    while True:
        yield from torch.randperm(count, generator=generator(seed, "finetune", epoch)).tensor_split(parts)
        epoch += 1
