from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.core.method import MethodConfig
from counterpoint.core.types import Progress, View, Views
from counterpoint.encoders.tiramisu import Tiramisu
from counterpoint.encoders.unet import UNet
from counterpoint.methods.registration.comir import CoMIR
from counterpoint.objectives.supervision import Schedule, Supervision

NOW = Progress(step=0, steps=1, epoch=0, epochs=1)
TINY = UNet.Config(widths=(2, 3))
SMALL = {"fixed": TINY, "moving": TINY, "size": 8}


class Pointwise(nn.Module):
    """A network that is equivariant to quarter turns without having learned it."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return x**self.power


def data(method: CoMIR, count: int = 4, seed: int = 0) -> dict[str, Tensor]:
    x = torch.rand(
        2, count, 1, method.views.tile, method.views.tile, generator=torch.Generator().manual_seed(seed)
    )
    return {"fixed": x[0], "moving": x[1], "id": torch.arange(10, 10 + count)}


def views_of(method: CoMIR, count: int = 4) -> Views:
    return method.views(data(method, count), torch.Generator().manual_seed(1))


def slow_loss(a: list[list[float]], b: list[list[float]], critic: str, temperature: float) -> float:
    """The paper's formula, pair by pair: 2N maps, ℓ_i = −h(i, p(i))/τ + log Σ_{k≠i} exp(h(i, k)/τ)."""

    def h(x: list[float], y: list[float]) -> float:
        if critic == "cosine":
            return sum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
        power = 2 if critic == "mse" else 1
        return -sum(abs(p - q) ** power for p, q in zip(x, y, strict=True)) / len(x)

    z, n = a + b, len(a)
    losses = []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        bottom = sum(math.exp(h(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        losses.append(-h(z[i], z[partner]) / temperature + math.log(bottom))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("critic", ["mse", "cosine", "l1"])
def test_the_loss_is_the_slow_formula(critic):
    torch.manual_seed(0)
    method = CoMIR.Config(**SMALL, critic=critic, temperature=0.3).build().double()
    views = tuple(View(v.x.double(), v.ids, v.role, v.undo) for v in views_of(method))
    maps = [v.undo(method.network(v.role)(v.x)).flatten(1) for v in views]
    terms = method.loss(views, NOW)
    expected = slow_loss(maps[0].tolist(), maps[1].tolist(), critic, 0.3)
    assert terms.parts["map"].item() == pytest.approx(expected, rel=1e-9)


def test_decay_is_the_mean_activation():
    method = CoMIR.Config(**SMALL, decay_l1=2.0, decay_l2=3.0).build()
    views = tuple(
        View(torch.full((2, 1, 8, 8), v), torch.arange(2), r) for v, r in ((1.0, "fixed"), (3.0, "moving"))
    )
    method.encoders = nn.ModuleDict({"fixed": Pointwise(1), "moving": Pointwise(1)})
    terms = method.loss(views, NOW)
    assert terms.parts["decay"].item() == pytest.approx(2 * (1 + 3) / 2 + 3 * (1 + 9) / 2)
    assert terms.total.item() == pytest.approx(sum(part.item() for part in terms.parts.values()))


def test_the_gradient_reaches_every_weight_of_both_networks():
    method = CoMIR.Config(**SMALL).build()
    method(views_of(method), NOW).total.backward()
    for role in method.roles:
        for name, weight in method.network(role).named_parameters():
            assert weight.grad is not None and weight.grad.abs().sum() > 0, f"{role} {name}"


def test_turns_do_not_change_the_loss_of_equivariant_networks():
    turned = CoMIR.Config(**SMALL, rotate=False, flip=False).build()
    still = CoMIR.Config(**SMALL, rotate=False, flip=False, equivariant=False).build()
    for method in (turned, still):
        method.encoders = nn.ModuleDict({"fixed": Pointwise(2), "moving": Pointwise(0.5)})
    plain = still.loss(views_of(still), NOW).parts["map"]
    views = views_of(turned)
    assert turned.loss(views, NOW).parts["map"].item() == pytest.approx(plain.item(), rel=1e-5)
    forgotten = tuple(View(v.x, v.ids, v.role) for v in views)
    assert turned.loss(forgotten, NOW).parts["map"].item() != pytest.approx(plain.item(), rel=1e-3)


def test_a_few_steps_find_the_partners():
    torch.manual_seed(0)
    method = CoMIR.Config(**SMALL, rotate=False, flip=False, equivariant=False).build()
    batch = data(method, 6)
    batch["moving"] = 1 - batch["fixed"]
    optimizer = torch.optim.Adam(method.parameters(), 2e-2)
    seen = []
    for step in range(40):
        terms = method(method.views(batch, torch.Generator().manual_seed(step)), NOW)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        seen.append(terms)
    assert seen[-1].parts["map"] < 0.3 * seen[0].parts["map"]
    assert seen[-1].notes["matched"] == 1


def test_the_note_says_how_many_find_their_partner():
    method = CoMIR.Config(**SMALL).build()
    method.encoders = nn.ModuleDict({"fixed": Pointwise(1), "moving": Pointwise(1)})
    level = {"fixed": [0.0, 10.0, 20.0], "moving": [1.0, 30.0, 21.0]}  # 10 ↔ 30 do not find each other
    views = tuple(
        View(torch.tensor(v).view(3, 1, 1, 1).expand(3, 1, 8, 8), torch.arange(3), r)
        for r, v in level.items()
    )
    assert method.loss(views, NOW).notes["matched"] == pytest.approx(4 / 6)


def test_settings_travel_and_nonsense_is_refused():
    config = CoMIR.Config(fixed=Tiramisu.Config.small(3, 1), size=32, scale=(0.8, 1.2))
    assert MethodConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="multiple of 4"):
        CoMIR.Config(size=66).build()
    with pytest.raises(InputError, match="temperature"):
        CoMIR.Config(temperature=0.0).build()
    with pytest.raises(InputError, match="output channels"):
        CoMIR.Config(fixed=UNet.Config(out=3)).build()


def supervised(**changes: object) -> CoMIR:
    term = Supervision(tap="bottleneck", **changes)
    return CoMIR.Config(**SMALL, intermediate=(term,)).build()


def test_a_tap_is_turned_back_exactly_and_forgetting_it_is_seen():
    """Of networks that turn with their input, the term must not depend on the turns."""

    class Pooled(nn.Module):
        """Equivariant to quarter turns, with a bottleneck of half the size."""

        def __init__(self) -> None:
            super().__init__()
            self.bottleneck = nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            self.bottleneck(x)
            return x

    method = CoMIR.Config(
        **SMALL, rotate=False, flip=False, intermediate=(Supervision(temperature=0.01),)
    ).build()
    method.encoders = nn.ModuleDict({role: Pooled() for role in method.roles})
    batch = data(method)
    views = method.views(batch | {"moving": batch["fixed"]}, torch.Generator().manual_seed(1))
    straight = tuple(View(v.undo(v.x), v.ids, v.role) for v in views)
    forgotten = tuple(View(v.x, v.ids, v.role) for v in views)
    losses = [method.loss(vs, NOW).parts["bottleneck mse"].item() for vs in (views, straight, forgotten)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[2] != pytest.approx(losses[1], rel=1e-3)


def test_supervision_at_a_layer_leaves_the_layers_behind_it_alone():
    method = supervised(schedule=Schedule())
    method.schedule = Schedule(when="from")
    terms = method(views_of(method), NOW)
    assert set(terms.parts) == {"bottleneck mse"}
    terms.total.backward()
    trained = {name for name, p in method.network("fixed").named_parameters() if p.grad is not None}
    assert trained and all(name.startswith(("down", "bottleneck")) for name in trained)


def test_terms_are_weighted_and_the_map_is_as_without_them():
    torch.manual_seed(0)
    method = supervised(weight=0.25)
    torch.manual_seed(0)
    plain = CoMIR.Config(**SMALL).build()
    with_term, without = method.loss(views_of(method), NOW), plain.loss(views_of(plain), NOW)
    assert torch.equal(with_term.parts["map"], without.parts["map"])
    assert with_term.total.item() == pytest.approx(
        without.total.item() + 0.25 * with_term.parts["bottleneck mse"].item(), rel=1e-6
    )


def test_an_unknown_tap_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown tap 'neck'.*bottleneck"):
        CoMIR.Config(**SMALL, intermediate=(Supervision(tap="neck"),)).build()
