"""Retrieval: one asks, the other answers with what it has in order of similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.ranking import average_precision, first_place, ranked, recall_at
from counterpoint.tasks.features import Embedded, coded, features, frozen

BLOCK = 2**22
"""Similarities held at a time."""


class Retrieval(Task):
    """Recall@k, mean average precision and the median place of the first right answer, by cosine.

    Within one role, test samples ask, training samples answer, and those of the same class are right. Between
    two roles, test samples ask and answer, and the same sample is right.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the questions."""

        answers: str = ""
        """The role that answers; empty for the one that asks."""
        at: tuple[int, ...] = (1, 5, 10)
        """The k of recall@k."""

    needs = frozenset({"label"})
    headline = "map"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:  # noqa: ARG002 -- nothing random
        """The numbers of ``test``, but for samples of a class that no training sample has."""
        c = self.config
        if not c.answers:
            return self.judge(*frozen(network, train, test, c))
        asking, answering = (
            features(network(role), test, c.batch, key=role, tap=c.tap) for role in (c.role, c.answers)
        )
        return self._scored(asking.z, answering.z, asking.id, answering.id)

    def judge(self, train: Embedded, test: Embedded) -> Outcome:
        """The same of features at hand, within one role."""
        label, truth, _ = coded(train, test)
        known = truth >= 0
        if not known.any():
            raise InputError("data: expected test samples of the training classes, found none")
        return self._scored(test.z[known], train.z, truth[known], label)

    def _scored(self, queries: Tensor, bank: Tensor, wanted: Tensor, had: Tensor) -> Outcome:
        queries, bank = normalize(queries, dim=1), normalize(bank, dim=1)
        places, precision = [], []
        for rows in torch.arange(len(queries)).split(max(1, BLOCK // len(bank))):
            hits = ranked(queries[rows] @ bank.T, wanted[rows, None] == had)
            places.append(first_place(hits))
            precision.append(average_precision(hits))
        place = torch.cat(places)
        recall = {f"recall@{k}": recall_at(place, k) for k in self.config.at}
        median = float(np.median(place.numpy()))
        return {**recall, "map": float(torch.cat(precision).mean()), "median_place": median}
