from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.types import Pairs, Progress
from counterpoint.objectives.supervision import Schedule, Supervised, Supervision, critic

NOW = Progress(0, 10, 0, 1)
PAIRS = Pairs(
    torch.eye(3, dtype=torch.bool).repeat(2, 2) & ~torch.eye(6, dtype=torch.bool),
    ~torch.eye(3, dtype=torch.bool).repeat(2, 2),
)
TAPS = {"fixed": {"middle": 4}, "moving": {"middle": 4}}


def maps(seed: int = 0) -> list[tuple[str, dict[str, torch.Tensor]]]:
    rng = torch.Generator().manual_seed(seed)
    return [(role, {"middle": torch.randn(3, 4, 2, 2, generator=rng, dtype=torch.double, requires_grad=True)})
            for role in TAPS]  # fmt: skip


def steps(schedule: Schedule, count: int) -> list[bool]:
    return [schedule.active(Progress(step, count, 0, 1)) for step in range(count)]


def test_schedules_are_those_of_the_words():
    assert steps(Schedule(), 4) == [True] * 4
    assert steps(Schedule(when="alternate", phase=1), 5) == [False, True, False, True, False]
    assert steps(Schedule(when="alternate", period=3), 6) == [True, False, False] * 2
    assert steps(Schedule(when="until", switch=0.5), 4) == [True, True, False, False]
    assert steps(Schedule(when="from", switch=0.25), 4) == [False, True, True, True]
    assert Schedule(when="alternate", phase=1).updates(5) == 2 and Schedule(when="from").updates(5) == 2


@pytest.mark.parametrize("switch", [0.0, 0.3, 1.0])
def test_before_and_from_then_on_are_all_updates(switch):
    both = zip(*(steps(Schedule(when=w, switch=switch), 7) for w in ("until", "from")), strict=True)
    assert all(a != b for a, b in both)


@pytest.mark.parametrize("name", ["mse", "cosine", "l1"])
def test_a_term_is_the_slow_formula(name):
    read = maps()
    rows = [row.flatten().tolist() for _, seen in read for row in seen["middle"]]

    def g(a: list[float], b: list[float]) -> float:
        if name == "cosine":
            return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
        return -sum(abs(x - y) ** (2 if name == "mse" else 1) for x, y in zip(a, b, strict=True)) / len(a)

    losses = []
    for i, a in enumerate(rows):
        others = [math.exp(g(a, b) / 0.3) for k, b in enumerate(rows) if k != i]
        losses.append(-g(a, rows[(i + 3) % 6]) / 0.3 + math.log(sum(others)))
    term = Supervision(tap="middle", critic=name, temperature=0.3, weight=0.7)
    parts, weights = Supervised([term], TAPS)(read, PAIRS, NOW)
    assert parts[f"middle {name}"].item() == pytest.approx(sum(losses) / 6, rel=1e-9)
    assert weights == {f"middle {name}": 0.7}


def test_the_gradient_is_that_of_the_differences():
    term = Supervised([Supervision(tap="middle", critic="l1", temperature=0.5)], TAPS)
    (_, first), (_, second) = maps()

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return term([("fixed", {"middle": a}), ("moving", {"middle": b})], PAIRS, NOW)[0]["middle l1"]

    assert torch.autograd.gradcheck(loss, (first["middle"], second["middle"]))


def test_a_constant_side_gets_no_gradient():
    read = maps()
    parts, _ = Supervised([Supervision(tap="middle", constant="fixed")], TAPS)(read, PAIRS, NOW)
    parts["middle mse"].backward()
    assert read[0][1]["middle"].grad is None and read[1][1]["middle"].grad.abs().sum() > 0


def test_a_projector_stands_between_each_network_and_the_critic():
    torch.manual_seed(0)
    supervised = Supervised([Supervision(tap="middle", projector=3)], TAPS).double()
    read = maps()
    part = supervised(read, PAIRS, NOW)[0]["middle mse"]
    by_hand = [(role, {"middle": supervised.projectors[0][role](seen["middle"])}) for role, seen in read]
    plain = Supervised([Supervision(tap="middle")], TAPS)(by_hand, PAIRS, NOW)[0]["middle mse"]
    assert part.item() == pytest.approx(plain.item(), rel=1e-12)
    part.backward()
    assert all(p.grad.abs().sum() > 0 for p in supervised.projectors.parameters() if p.ndim > 1)


def test_what_does_not_act_is_neither_read_nor_summed():
    term = Supervision(tap="middle", schedule=Schedule(when="from", switch=0.5))
    supervised = Supervised([term], TAPS)
    assert supervised.taps(NOW) == [] and supervised([("fixed", {}), ("moving", {})], PAIRS, NOW) == ({}, {})
    assert supervised.taps(Progress(5, 10, 0, 1)) == ["middle"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Supervised([Supervision(tap="midle")], TAPS), "unknown tap 'midle'.*middle"),
        (lambda: Supervised([Supervision(tap="middle", constant="fix")], TAPS), "unknown role 'fix'.*fixed"),
        (lambda: Supervised([Supervision(tap="middle")] * 2, TAPS), "one term for each tap and critic"),
        (lambda: Supervision(temperature=0.0), "expected a positive number, found 0"),
        (lambda: Supervision(weight=-1.0), "expected weight ≥ 0"),
        (lambda: Schedule(when="alternate", period=2, phase=2), "0 ≤ phase < period"),
        (lambda: Schedule(switch=1.5), r"a share in \[0, 1\]"),
        (lambda: critic("mse", -1.0), "temperature: expected a positive number"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(make, said):
    with pytest.raises(InputError, match=said):
        make()
