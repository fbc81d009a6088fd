"""A linear classifier on frozen features, from all labels or a few."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.classes import accuracy, balanced_accuracy
from counterpoint.tasks.budget import chosen, held_out
from counterpoint.tasks.features import Embedded, coded, frozen, standardized

Classifier = Callable[[Tensor], Tensor]
"""(M, D) features → (M, K) scores."""
PENALTIES = tuple(10.0**e for e in range(3, -6, -1))
"""Of the squared weights, per training sample, to choose from; the largest first, as warm starts want it."""


class LinearProbe(Task):
    """Accuracy of a linear classifier; features are standardized by the training samples, labelled or not."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the classifier."""

        solver: Literal["ridge", "logistic", "sgd"] = "ridge"
        """Ridge: least squares on one-hot labels in closed form; logistic: by L-BFGS (scikit-learn); sgd: the
        same by gradient steps, as papers train it. The first two choose their penalty on a held-out fifth of
        the labels and are fitted again on all of them."""
        labels: str = "all"
        """Labels that may be used: all, a share such as 1%, or so many of each class such as 5/class."""
        epochs: int = 100
        """Of sgd: times through the features."""
        lr: float = 0.03
        """Of sgd: learning rate for a batch of 256; it falls along a half cosine."""

    needs = frozenset({"label"})
    headline = "accuracy"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:
        """Accuracy and balanced accuracy on ``test``."""
        return self.judge(*frozen(network, train, test, self.config), seed)

    def judge(self, train: Embedded, test: Embedded, seed: int) -> Outcome:
        """The same of features at hand."""
        label, truth, classes = coded(train, test)
        known = chosen(label, self.config.labels, seed)
        z, x_test = standardized(train.z, test.z)  # by all of train: a few rows would blow up rare features
        x, y = z[known], label[known]
        if self.config.solver == "sgd":
            classify = sgd(x, y, classes, self.config.epochs, self.config.lr, seed)
        else:
            classify = penalized(ridge if self.config.solver == "ridge" else logistic, x, y, classes, seed)
        predicted = classify(x_test).argmax(1)
        return {
            "accuracy": accuracy(predicted, truth),
            "balanced_accuracy": balanced_accuracy(predicted, truth),
        }


Fit = Callable[[Tensor, Tensor, int, tuple[float, ...]], list[Classifier]]
"""Features (N, D), labels (N,), classes, penalties → a classifier for each penalty."""


def penalized(fit: Fit, x: Tensor, y: Tensor, classes: int, seed: int) -> Classifier:
    """The classifier with the penalty that is best on a held-out part; of equally good ones the largest.

    Where each class has but one sample nothing can be held out, and the penalty is 1 per sample.
    """
    keep, held = held_out(y, seed)
    best = 1.0
    if len(held):
        right = [accuracy(c(x[held]).argmax(1), y[held]) for c in fit(x[keep], y[keep], classes, PENALTIES)]
        best = PENALTIES[right.index(max(right))]
    return fit(x, y, classes, (best,))[0]


def ridge(x: Tensor, y: Tensor, classes: int, penalties: tuple[float, ...]) -> list[Classifier]:
    """Least squares on one-hot labels, ‖xW + b − Y‖² + penalty·N·‖W‖²; one decomposition for all penalties.

    ``x`` (N, D) float64, ``y`` (N,) int64 in [0, classes). What is decomposed is the smaller of xᵀx (D, D)
    and xxᵀ (N, N).
    """
    count, dim = x.shape
    target = one_hot(y, classes).to(x)
    x_mean, y_mean = x.mean(0), target.mean(0)
    x, target = x - x_mean, target - y_mean
    wide = dim > count
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    aimed = vectors.T @ (target if wide else x.T @ target)
    found: list[Classifier] = []
    for penalty in penalties:
        solved = vectors @ (aimed / (values.clamp(min=0) + penalty * count)[:, None])
        weight = x.T @ solved if wide else solved
        found.append(lambda z, weight=weight: (z - x_mean) @ weight + y_mean)
    return found


def logistic(
    x: Tensor,
    y: Tensor,
    classes: int,  # noqa: ARG001 -- a ``Fit``; the labels say it here
    penalties: tuple[float, ...],
) -> list[Classifier]:
    """Multinomial logistic regression, mean cross-entropy + penalty/2·‖W‖², by scikit-learn's L-BFGS.

    Each fit starts from the one before.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    found: list[Classifier] = []
    model = LogisticRegression(max_iter=200, warm_start=True)
    for penalty in penalties:
        model.set_params(C=1 / (penalty * len(x)))
        with warnings.catch_warnings():  # a tiny penalty on separable classes has no end
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x.numpy(), y.numpy())
        weight, bias = (torch.tensor(a, dtype=torch.float64) for a in (model.coef_, model.intercept_))
        if len(weight) == 1:  # of two classes only the score of the second is kept
            weight, bias = torch.cat((-weight, weight)) / 2, torch.cat((-bias, bias)) / 2
        found.append(lambda z, weight=weight, bias=bias: z @ weight.T + bias)
    return found


def sgd(
    x: Tensor, y: Tensor, classes: int, epochs: int, lr: float, seed: int, batch: int = 256
) -> Classifier:
    """Logistic regression by SGD: momentum 0.9, no weight decay, from zero weights, ``lr`` · batch / 256.

    Source: the linear protocol of He et al. 2020 (MoCo) and Chen et al. 2020 (SimCLR), on features at hand.

    Raises:
        InputError: no epochs, or a learning rate that is not positive.
    """
    if epochs < 1 or not lr > 0:
        raise InputError(f"sgd: expected at least one epoch and a positive lr, found {epochs} and {lr}")
    x = x.float()
    weight = nn.Parameter(torch.zeros(x.shape[1], classes))
    bias = nn.Parameter(torch.zeros(classes))
    parts = math.ceil(len(x) / batch)
    optimizer = torch.optim.SGD([weight, bias], lr=lr * min(1.0, len(x) / batch), momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * parts)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator(seed, "sgd", epoch))
        for rows in order.tensor_split(parts):
            optimizer.zero_grad()
            cross_entropy(x[rows] @ weight + bias, y[rows]).backward()
            optimizer.step()
            schedule.step()
    w, b = weight.detach().double(), bias.detach().double()
    return lambda z: z @ w + b
