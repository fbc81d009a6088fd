from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress, Views
from counterpoint.data.synthesis import Synthesis
from counterpoint.encoders.unet import UNet
from counterpoint.methods.registration.template import Template, _corner
from counterpoint.train.loop import fresh

NOW = Progress(step=0, steps=1, epoch=0, epochs=1)
TINY = UNet.Config(widths=(4, 6), out=2)


def views_of(method: Template, count: int = 3) -> Views:
    side = method.views.tile
    fixed, moving = torch.rand(2, count, 1, side, side, generator=generator(0, "tiles"))
    batch = {"fixed": fixed, "moving": fixed.square() + 0.1 * moving, "id": torch.arange(count)}
    return method.views(batch, generator(0, "views"))


def slow_score(window: Tensor, cut: Tensor) -> float:
    a = window - window.mean((1, 2), keepdim=True)
    b = cut - cut.mean((1, 2), keepdim=True)
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_the_loss_is_the_slow_formula():
    method = fresh(Template.Config(encoder=TINY, size=16, apart=1, temperature=0.2), 0).double()
    views = views_of(method)
    views = tuple(type(v)(v.x.double(), v.ids, v.role, v.undo) for v in views)
    f, m = method.network("fixed")(torch.cat([v.x for v in views])).detach().chunk(2)
    start = (method.views.tile - 8) // 2
    cut = views[1].undo(m)[..., start : start + 8, start : start + 8]
    corners = (start - _corner(views[0])).tolist()
    total = 0.0
    for i, (row, column) in enumerate(corners):
        for anchor in ("fixed", "cut"):
            near, wrong = 0.0, 0.0
            for j in range(3):
                a, b = (i, j) if anchor == "fixed" else (j, i)
                for y in range(9):
                    for x in range(9):
                        e = math.exp(slow_score(f[a, :, y : y + 8, x : x + 8], cut[b]) / 0.2)
                        if i == j and (y, x) == (row, column):
                            near = e
                        elif i != j or max(abs(y - row), abs(x - column)) > 1:
                            wrong += e
            total += -math.log(near / (near + wrong)) / 6
    assert method.loss(views, NOW).parts["place"].item() == pytest.approx(total, rel=1e-5)


def test_identical_images_are_found_where_they_are():
    method = Template.Config(encoder=TINY, size=32, turn=False, tilt=0.0, zoom=0.0).build()
    tiles = torch.rand(4, 1, method.views.tile, method.views.tile, generator=generator(0, "tiles"))
    fixed, moving = method.views(
        {"fixed": tiles, "moving": tiles, "id": torch.arange(4)}, generator(0, "views")
    )
    start = (method.views.tile - 16) // 2
    cut = moving.undo(moving.x)[..., start : start + 16, start : start + 16]
    loss, right = method._template(fixed.x, cut, _corner(fixed) - start)
    assert right == 1 and loss < 0.1
    _, wrong = method._template(fixed.x.roll(5, 2), cut, _corner(fixed) - start)
    assert wrong == 0


@pytest.mark.parametrize("critic", ["template", "pixel", "patch"])
def test_a_few_steps_learn(critic):
    config = Template.Config(
        encoder=UNet.Config(widths=(8, 8), out=4), size=32, critic=critic, temperature=0.1, turn=False
    )
    method = fresh(config, 0)
    data = Synthesis(method.views.tile, 8, photographs=())
    batch = next(data.epoch(8, generator(0, "order")))
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    losses = []
    for step in range(12):
        optimizer.zero_grad()
        torch.manual_seed(step)
        total = method(method.views(batch, generator(0, "views", step)), NOW).total
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert sum(losses[-3:]) / 3 < losses[0] - 0.1


def test_both_roles_share_one_network_and_bad_settings_are_refused():
    method = Template.Config(encoder=TINY, size=16).build()
    assert method.network("fixed") is method.network("moving") and method.roles == ("fixed", "moving")
    with pytest.raises(InputError, match="unknown role"):
        method.network("image")
    with pytest.raises(InputError, match="temperature: expected a positive"):
        Template.Config(temperature=0.0).build()
    with pytest.raises(InputError, match="spin: expected a network with an even"):
        Template.Config(encoder=UNet.Config(widths=(2, 2), out=3), size=16, spin=True).build()
    with pytest.raises(InputError, match="size: expected a multiple of 2"):
        Template.Config(encoder=TINY, size=17).build()
