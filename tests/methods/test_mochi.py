from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.mochi import MoCHi
from counterpoint.train.loop import fresh
from counterpoint.views.presets import MoCoCrops

AT = Progress(0, 1, 3, 9)
BATCH = {
    "image": torch.rand(4, 1, 12, 12, generator=generator(3)),
    "label": torch.tensor([0, 1, 1, 0]),
    "id": torch.arange(4),
}
CONFIG = MoCHi.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, queue=12, hardest=3, mixed=4, with_query=2,
    start=1, views=MoCoCrops(size=8),
)  # fmt: skip


def filled(config: MoCHi.Config = CONFIG) -> MoCHi:
    """A queue with keys of this batch's images and of others."""
    model = fresh(config, 0)
    tags = {"id": torch.arange(12) % 6, "label": torch.arange(12) % 2}
    rows = normalize(torch.randn(12, 5, generator=generator(5)), dim=1)
    model.queue.push(rows, **{tag: tags[tag] for tag in model.kept})
    return model


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def slow(q: Tensor, k: Tensor, past: Tensor, ids: list[int], made: Tensor) -> float:
    losses = []
    for i in range(len(q)):
        near = math.exp(dot(q[i], k[i]) / 0.2)
        far = sum(math.exp(dot(q[i], n) / 0.2) for n, tag in zip(past, ids, strict=True) if tag != i)
        losses.append(-math.log(near / (near + far + sum(math.exp(dot(q[i], h) / 0.2) for h in made[i]))))
    return sum(losses) / len(losses)


def embedded(model: MoCHi, views) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        q = normalize(model.projector(model.encoder(views[0].x)), dim=1)
    return q, normalize(model.teacher(views[1].x), dim=1)


def test_the_loss_is_the_slow_sum_over_key_queue_and_mixtures():
    model = filled()
    views = model.views(BATCH, generator(0, "views"))
    torch.manual_seed(7)
    found = model.loss(views, AT).total.item()
    q, k = embedded(model, views)
    past, ids = model.queue.read(), model.queue.tag("id").tolist()
    torch.manual_seed(7)
    made = model._mixed(q, past, torch.tensor([[tag != i for tag in ids] for i in range(4)]))
    assert made.shape == (4, 6, 5)
    assert found == pytest.approx(slow(q, k, past, ids, made), rel=1e-5)
    none = torch.zeros(4, 0, 5)
    before = model.loss(views, replace_epoch(0)).total.item()
    assert before == pytest.approx(slow(q, k, past, ids, none), rel=1e-5) and found > before


def replace_epoch(epoch: int) -> Progress:
    return replace(AT, epoch=epoch)


def test_mixtures_lie_on_the_sphere_between_what_they_are_made_of():
    model = filled()
    q = normalize(torch.randn(4, 5, generator=generator(8)), dim=1)
    past, anyone = model.queue.read(), torch.ones(4, 12, dtype=torch.bool)
    made = model._mixed(q, past, anyone)
    assert torch.allclose(made.norm(dim=-1), torch.ones(4, 6))  # shorter ones would be easier
    hard = (q @ past.T).topk(3, dim=1)
    for i in range(4):
        for h in made[i, :4]:  # of two of the three hardest
            parts = torch.linalg.lstsq(past[hard.indices[i]].T, h).solution
            assert (parts > -1e-4).all() and parts.abs().min() < 1e-4
        assert (made[i, 4:] @ q[i] >= hard.values[i, -1] - 1e-6).all()
        nearest = (made[i, 4:] @ past[hard.indices[i]].T).amax(1)
        assert (made[i, 4:] @ q[i] <= nearest + 1e-6).all()  # the query's share stays below a half


def test_of_one_hard_negative_only_itself_can_be_mixed():
    model = filled(replace(CONFIG, hardest=1, with_query=0))
    q = normalize(torch.randn(4, 5, generator=generator(8)), dim=1)
    past = model.queue.read()
    made = model._mixed(q, past, torch.ones(4, 12, dtype=torch.bool))
    assert torch.allclose(made, past[(q @ past.T).argmax(1)][:, None].expand(-1, 4, -1))


def test_own_earlier_keys_are_never_mixed():
    """On small data the hardest negative would be an earlier key of the very image: the positive."""
    model = filled(replace(CONFIG, hardest=1, with_query=0))
    views = model.views(BATCH, generator(0, "views"))
    q, _ = embedded(model, views)
    model.queue.push(q, **{tag: BATCH[tag] for tag in model.kept})
    made = watched(model)
    model.loss(views, AT)
    assert (made[0] @ q[:, :, None]).max() < 0.999


def watched(model: MoCHi) -> list[Tensor]:
    """What the model mixes from now on."""
    made: list[Tensor] = []
    whole = model._mixed

    def spy(*args: Tensor) -> Tensor:
        made.append(whole(*args))
        return made[-1]

    model._mixed = spy
    return made


def test_no_gradient_through_mixtures_and_none_are_kept():
    model = filled()
    views = model.views(BATCH, generator(0, "views"))
    past = model.queue.read().clone()
    terms = model.loss(views, AT)
    terms.total.backward()
    assert model.queue.rows.grad is None and torch.equal(past, model.queue.read())
    assert {name: len(value) for name, value in terms.keep.items()} == {"key": 4, "id": 4}
    assert not model._mixed(
        torch.randn(4, 5, requires_grad=True), past, past.new_ones(4, 12) > 0
    ).requires_grad


def test_the_oracle_mixes_no_negatives_of_the_querys_class():
    model = filled(replace(CONFIG, oracle=True, hardest=1, with_query=0))
    assert model.needs == {"image", "label"}
    views = model.views(BATCH, generator(0, "views"))
    made = watched(model)
    assert model.loss(views, AT).keep["label"].tolist() == [0, 1, 1, 0]
    found = (made[0][:, 0] @ model.queue.read().T).argmax(1)
    assert (model.queue.tag("label")[found] != BATCH["label"]).all()


def test_the_proxy_is_the_share_of_keys_ranked_first():
    model = filled()
    views = model.views(BATCH, generator(0, "views"))
    q, k = embedded(model, views)
    past, ids = model.queue.read(), model.queue.tag("id").tolist()
    first = [
        all(dot(q[i], k[i]) > dot(q[i], n) for n, tag in zip(past, ids, strict=True) if tag != i)
        for i in range(4)
    ]
    assert model.loss(views, replace_epoch(0)).notes["proxy"].item() == sum(first) / 4
