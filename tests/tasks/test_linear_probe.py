from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn.functional import one_hot

from counterpoint.core.errors import InputError
from counterpoint.tasks.linear_probe import LinearProbe, logistic, penalized, ridge, sgd


def rows(count: int, dim: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    x = torch.eye(classes, dim)[y].double() + 0.7 * torch.randn(
        count, dim, generator=rng, dtype=torch.float64
    )
    return x + 2, y


@pytest.mark.parametrize(("count", "dim"), [(40, 6), (9, 30)])
def test_ridge_is_that_of_scikit_learn(count, dim):
    x, y = rows(count, dim)
    queries, _ = rows(7, dim, seed=1)
    for penalty, classify in zip((10.0, 0.01), ridge(x, y, 3, (10.0, 0.01)), strict=True):
        other = Ridge(alpha=penalty * count).fit(x.numpy(), one_hot(y, 3).numpy())
        torch.testing.assert_close(classify(queries), torch.from_numpy(other.predict(queries.numpy())))


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_that_of_scikit_learn_fitted_alone(classes):
    x, y = rows(40, 5, classes)
    for penalty, classify in zip((1.0, 0.1), logistic(x, y, classes, (1.0, 0.1)), strict=True):
        other = LogisticRegression(C=1 / (penalty * 40), tol=1e-8).fit(x.numpy(), y.numpy())
        expected = torch.from_numpy(other.predict_proba(x.numpy()))
        torch.testing.assert_close(classify(x).softmax(1), expected, atol=0.01, rtol=0)


def test_sgd_comes_near_the_optimum_and_follows_its_seed():
    x, y = rows(60, 5)
    scores = sgd(x, y, 3, 200, 0.3, seed=0)(x)
    other = LogisticRegression(C=1e4, max_iter=1000).fit(x.numpy(), y.numpy())
    loss = torch.nn.functional.cross_entropy(scores, y)
    best = torch.nn.functional.cross_entropy(torch.from_numpy(other.predict_log_proba(x.numpy())), y)
    assert best - 1e-3 < loss < best + 0.1
    again, another = sgd(x, y, 3, 2, 0.3, 0, batch=16)(x), sgd(x, y, 3, 2, 0.3, 1, batch=16)(x)
    assert torch.equal(sgd(x, y, 3, 2, 0.3, 0, batch=16)(x), again) and not torch.equal(again, another)
    with pytest.raises(InputError, match="positive lr"):
        sgd(x, y, 3, 1, 0.0, 0)


def test_noise_chooses_a_large_penalty_and_a_clear_case_a_small_one():
    seen = []

    def spied(x, y, classes, penalties):
        seen.append(penalties)
        return ridge(x, y, classes, penalties)

    x, y = rows(60, 40)
    penalized(spied, torch.randn(60, 40, generator=torch.Generator().manual_seed(0)).double(), y, 3, seed=0)
    steep = torch.cat((0.05 * torch.eye(3)[y].double(), 3 * x[:, 3:9]), 1)  # what counts has little variance
    penalized(spied, steep, y, 3, seed=0)
    penalized(spied, x[:3], y[:3], 3, seed=0)  # nothing can be held out
    (noise,), (clear,), (few,) = (penalties for penalties in seen if len(penalties) == 1)
    assert noise > clear and few == 1.0


@pytest.mark.parametrize("solver", ["ridge", "logistic", "sgd"])
def test_scale_and_offset_of_features_do_not_matter_and_few_labels_do(toys, solver):
    train, test = toys.blobs(300, 3, 20, 0.5, 0), toys.blobs(90, 3, 20, 0.5, 1)

    def score(labels, scale=1.0, offset=0.0):
        parts = [
            toys.Table(t.entries["image"].flatten(1) * scale + offset, t.entries["label"])
            for t in (train, test)
        ]
        task = LinearProbe.Config(solver=solver, labels=labels, epochs=30).build()
        return task(lambda _: toys.flat, *parts, 0)["accuracy"]

    assert score("all") == pytest.approx(score("all", 1e3, 5.0), abs=0.03)
    assert score("all") > score("1%") > 0.4
