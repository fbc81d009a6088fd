"""What every task must do, asked of whatever stands in its room: the best score for perfect features, chance
for noise and for features that have collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import yaml
from torch import Tensor, nn

from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError
from counterpoint.core.task import TaskConfig
from counterpoint.core.types import Batch

ROOM = TaskConfig.room
CLASSES = 4

pytestmark = pytest.mark.parametrize("kind", sorted(names(ROOM)))


class Samples:
    """Samples of four classes; an image holds its class with a little noise, and noise."""

    provides = frozenset({"image", "id", "label"})

    def __init__(self, count: int, seed: int, labels: bool = True) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.label = torch.arange(count)[torch.randperm(count, generator=rng)] % CLASSES
        clean = torch.eye(CLASSES, 8)[self.label]
        noise = torch.randn(count, 8, generator=rng)
        self.image = torch.cat((clean + 0.02 * noise, noise), 1)[..., None, None]
        self.provides = Samples.provides if labels else frozenset({"image", "id"})

    def __len__(self) -> int:
        return len(self.label)

    def steps(self, size: int) -> int:
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        yield from self._batches(torch.randperm(len(self), generator=rng)[start * size :], size)

    def parts(self, size: int) -> Iterator[Batch]:
        yield from self._batches(torch.arange(len(self)), size)

    def _batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        for ids in order.split(size):
            batch = {"image": self.image[ids], "id": ids, "label": self.label[ids]}
            yield {name: value for name, value in batch.items() if name in self.provides}


class See(nn.Module):
    """A network that sees the class ("perfect"), noise of the class's size, or nothing ("collapsed")."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return {"perfect": x[:, :8], "noise": x[:, 8:], "collapsed": torch.full_like(x[:, :8], 0.7)}[
            self.what
        ]


def score(kind: str, what: str, seed: int = 0) -> dict[str, float]:
    task = load(ROOM, kind).Config().build()
    return dict(task(lambda _: See(what), Samples(120, 1), Samples(80, 2), seed))


def test_settings_survive_yaml_and_unknown_ones_are_refused(kind):
    settings = load(ROOM, kind).Config()
    plain = yaml.safe_load(yaml.safe_dump(settings.to_dict()))
    assert plain["kind"] == kind and TaskConfig.from_dict(plain) == settings
    with pytest.raises(InputError, match="unknown setting"):
        TaskConfig.from_dict(plain | {"no_such_setting": 1})


def test_perfect_features_score_best_and_collapsed_ones_no_better_than_chance(kind):
    headline = load(ROOM, kind).headline
    perfect, noise, collapsed = (score(kind, what) for what in ("perfect", "noise", "collapsed"))
    assert all(math.isfinite(value) for out in (perfect, noise, collapsed) for value in out.values())
    if "label" in load(ROOM, kind).needs:  # one that needs no labels cannot know what is noise
        assert perfect[headline] > 0.98
        assert noise[headline] < 1 / CLASSES + 0.15
        assert collapsed[headline] < 1 / CLASSES + 0.05
    assert collapsed[headline] < 0.5 * perfect[headline]


def test_the_answer_is_repeatable_and_asking_draws_nothing(kind):
    state = torch.get_rng_state()
    assert score(kind, "noise") == score(kind, "noise")
    assert torch.equal(torch.get_rng_state(), state)


def test_missing_labels_and_one_class_are_refused(kind):
    if "label" not in load(ROOM, kind).needs:
        pytest.skip("needs no labels")
    task = load(ROOM, kind).Config().build()
    with pytest.raises(InputError, match="label"):
        task(lambda _: See("perfect"), Samples(40, 1, labels=False), Samples(40, 2, labels=False), 0)
    same = Samples(40, 1)
    same.label = torch.zeros_like(same.label)
    with pytest.raises(InputError, match="at least two classes"):
        task(lambda _: See("perfect"), same, same, 0)


def test_an_unknown_layer_is_refused(kind):
    task = load(ROOM, kind).Config(tap="no_such_layer").build()
    with pytest.raises(InputError, match="unknown tap"):
        task(lambda _: See("perfect"), Samples(40, 1), Samples(40, 2), 0)
