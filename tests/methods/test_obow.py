from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from counterpoint.core.encoder import tapped
from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.obow import OBoW
from counterpoint.objectives.bags import bag_divergence, bag_of_words, word_distances
from counterpoint.train.loop import fresh
from counterpoint.views.presets import OBoWCrops

AT = Progress(3, 9, 1, 3)
BATCH = {"image": torch.rand(4, 1, 24, 24, generator=generator(3)), "id": torch.arange(4)}
CONFIG = OBoW.Config(
    encoder=ConvNet.Config(channels=1, width=2), prototypes=6, momentum=0.5,
    views=OBoWCrops(size=24, crop=16, local=8, cropped=2, locals=3),
)  # fmt: skip


def ready(**changes) -> tuple[OBoW, tuple]:
    model = fresh(replace(CONFIG, **changes), 0)
    return model, model.views(BATCH, generator(0, "views"))


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2])
def test_the_loss_is_the_slow_mean_over_levels_and_views(levels):
    model, views = ready(levels=levels)
    assert [v.role for v in views] == ["whole", "crops", "crops", "patches", "patches", "patches"]
    terms = model.loss(views, AT)
    with tapped(model.teacher.network, ["layers.1", "layers.2"]) as seen:
        model.teacher(views[0].x)
    crops, patches = (
        model.encoder(torch.cat([v.x for v in views if v.role == r])) for r in ("crops", "patches")
    )
    expected = {"crops": 0.0, "patches": 0.0}
    taps = ["layers.1", "layers.2"][-levels:]
    for tap, vocabulary, classifier in zip(taps, model.vocabularies, model.classifiers, strict=True):
        maps = seen[tap][:, :, 1:-1, 1:-1]  # 4×4 of 6×6, and 1×1 of 3×3
        distance = word_distances(maps.flatten(2).mT, vocabulary.read())
        scale = 0.99 * 0.5 + 0.01 * distance.amin(-1).mean()
        bags = bag_of_words(distance, scale, 10.0)
        for name, h in (("crops", crops), ("patches", patches)):
            logits = classifier(h, vocabulary.read())
            expected[name] += bag_divergence(logits, bags.repeat(len(h) // 4, 1)).item() / levels
    assert {n: p.item() for n, p in terms.parts.items()} == pytest.approx(expected, rel=1e-4)
    assert terms.total.item() == pytest.approx(sum(expected.values()), rel=1e-4)


def test_targets_and_predictions_are_of_the_words_before_the_step():
    model, views = ready()
    before = [v.read().clone() for v in model.vocabularies]
    terms = model.loss(views, AT)
    assert all(torch.equal(a, v.read()) for a, v in zip(before, model.vocabularies, strict=True))
    model.after_step(AT, terms.keep)
    for i, (old, vocabulary) in enumerate(zip(before, model.vocabularies, strict=True)):
        assert torch.equal(vocabulary.read()[:4], terms.keep[f"words {i}"])
        assert torch.equal(vocabulary.read()[4:], old[4:])
        assert vocabulary.scale.item() == pytest.approx(terms.keep[f"scale {i}"].item())


def test_words_stay_if_asked_and_the_teacher_does_at_a_momentum_of_1():
    model, views = ready(online=False, momentum=1.0)
    before = [v.read().clone() for v in model.vocabularies]
    teacher = [p.clone() for p in model.teacher.parameters()]
    terms = model.loss(views, AT)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.add_(1)
    model.after_step(AT, terms.keep)
    assert all(torch.equal(a, v.read()) for a, v in zip(before, model.vocabularies, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(teacher, model.teacher.parameters(), strict=True))
    moving, views = ready()
    with torch.no_grad():
        for weight in moving.encoder.parameters():
            weight.add_(1)
    moving.after_step(AT, moving.loss(views, AT).keep)
    assert not torch.equal(next(moving.teacher.parameters()), teacher[0])


@pytest.mark.parametrize("generated", [True, False])
def test_the_student_and_its_classifiers_learn(generated):
    model, views = ready(generated=generated)
    model.loss(views, AT).total.backward()
    for part in (model.encoder, model.classifiers):
        assert all(p.grad is not None and p.grad.count_nonzero() > 0 for p in part.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


def test_levels_that_are_not_there_are_refused():
    with pytest.raises(InputError, match=r"obow\.levels: expected 1 to 3 taps, found 4"):
        replace(CONFIG, levels=4).build()
