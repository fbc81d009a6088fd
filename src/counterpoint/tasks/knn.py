"""Nearest neighbors on frozen features: what class do the most similar training samples have?

Weighted votes: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination",
section 3.4; the same protocol in Caron et al. 2021 (DINO): k = 20, temperature 0.07.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.classes import accuracy, balanced_accuracy
from counterpoint.pairs.search import By, search
from counterpoint.tasks.features import Embedded, coded, frozen


class KNN(Task):
    """Accuracy of a vote among the nearest training samples by cosine."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the vote."""

        k: int = 20
        """How many neighbors vote; all, where there are fewer."""
        vote: Literal["weighted", "plain"] = "weighted"
        """Weighted: a neighbor counts exp(cosine / temperature); plain: each counts 1."""
        temperature: float = 0.07
        """Of the weights, > 0."""
        by: By = "blocks"
        """What searches, either of them exactly: our own, or faiss if it is installed."""

    needs = frozenset({"label"})
    headline = "accuracy"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:  # noqa: ARG002 -- nothing random
        """Accuracy and balanced accuracy on ``test``."""
        return self.judge(*frozen(network, train, test, self.config))

    def judge(self, train: Embedded, test: Embedded) -> Outcome:
        """The same of features at hand."""
        label, truth, classes = coded(train, test)
        c = self.config
        temperature = c.temperature if c.vote == "weighted" else None
        predicted = knn(train.z, label, test.z, classes, c.k, temperature, c.by)
        return {
            "accuracy": accuracy(predicted, truth),
            "balanced_accuracy": balanced_accuracy(predicted, truth),
        }


def knn(
    bank: Tensor,
    label: Tensor,
    queries: Tensor,
    classes: int,
    k: int = 20,
    temperature: float | None = 0.07,
    by: By = "blocks",
) -> Tensor:
    """Class of each query by the vote of its ``k`` nearest in the bank: (Q,) int64.

    Args:
        bank: (N, D) features.
        label: (N,) int64 in [0, classes).
        queries: (Q, D) features, taken in blocks, so that memory grows with N + Q · k.
        classes: How many there are.
        k: At least 1; at most N are taken. Among equal counts the lowest class wins.
        temperature: > 0, of the weights exp(cosine / temperature); None for votes of 1.
        by: What searches; see ``pairs.search``.

    Raises:
        InputError: a ``k`` or a temperature out of range, or a library that is not installed.
    """
    if k < 1 or (temperature is not None and not temperature > 0):
        raise InputError(
            f"knn: expected k of at least 1 and a positive temperature, found {k} and {temperature}"
        )
    near, index = search(normalize(queries, dim=1), normalize(bank, dim=1), min(k, len(bank)), by)
    # relative to the nearest one, which changes no winner and cannot overflow
    weight = torch.ones_like(near) if temperature is None else ((near - near[:, :1]) / temperature).exp()
    votes = near.new_zeros(len(queries), classes).scatter_add(1, label[index], weight)
    return votes.argmax(1)
