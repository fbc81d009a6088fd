from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.train.compress import Compressed, PowerSGD, Sign, TopK, Whole
from counterpoint.train.team import Team

FILE = Path(__file__).parent / "rooms" / "compressing.py"


def _compressing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compressing", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compressing = _compressing()
each = pytest.mark.parametrize("name", compressing.KINDS)


class One(nn.Module):
    """A module with one parameter, w."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(*shape))


def sent(made: Compressed, *workers: list[list[float]]) -> list[list[float]]:
    return made([{"w": torch.tensor(rows)} for rows in workers])["w"].tolist()


def kept(made: Compressed, entry: str = "error", worker: int = 0) -> list[list[float]]:
    return made.state_dict()[f"{worker}/w/{entry}"].tolist()


def test_signs_by_hand():
    made = Compressed(Sign(least=0), One(2, 2), workers=2)
    rest = [[0.0, 0.0], [0.0, 0.0]]
    assert sent(made, [[1.0, -3.0], [0.0, 4.0]], rest) == [[1, -1], [1, 1]]  # half of ±2, and of ±0
    assert kept(made) == [[-1, -1], [-2, 2]] and kept(made, worker=1) == rest
    assert sent(made, [[0.0, 0.0], [0.0, -8.0]], rest) == [[-1.25, -1.25], [-1.25, -1.25]]
    assert kept(made) == [[1.5, 1.5], [0.5, -3.5]]
    assert made.sent == 2 * (1 + 4)
    forgets = Compressed(Sign(least=0, feedback=False), One(2, 2))
    for _ in range(2):
        assert sent(forgets, [[1.0, -3.0], [0.0, 4.0]]) == [[2, -2], [2, 2]]
    assert not forgets.state_dict()


def test_the_largest_by_hand():
    made = Compressed(TopK(share=0.25, momentum=0.5, least=0), One(2, 2), workers=2)
    rest = [[0.0, 2.0], [0.0, 0.0]]
    assert sent(made, [[4.0, 1.0], [0.0, -2.0]], rest) == [[2, 1], [0, 0]]
    assert kept(made) == kept(made, "speed") == [[0, 1], [0, -2]]
    assert sent(made, [[1.0, 1.0], [0.0, 0.0]], rest) == [[0, 1], [0, -1.5]]
    # u = g + u/2 is (1, 1.5, 0, −1), v its sum with what was left (1, 2.5, 0, −3); both lose the last
    assert kept(made) == [[1, 2.5], [0, 0]] and kept(made, "speed") == [[1, 1.5], [0, 0]]
    assert kept(made, worker=1) == kept(made, "speed", 1) == [[0, 0], [0, 0]]
    assert made.sent == 2 * (4 + 4)
    forgets = Compressed(TopK(share=0.25, momentum=0.5, feedback=False, least=0), One(2, 2))
    assert sent(forgets, [[4.0, 1.0], [0.0, -2.0]]) == [[4, 0], [0, 0]]
    assert sent(forgets, [[0.0, 1.0], [0.0, -2.0]]) == [[0, 0], [0, -2]] and not forgets.state_dict()


def test_a_power_iteration_by_hand():
    made = Compressed(PowerSGD(rank=1, rate=0), One(2, 2), workers=2)
    made.load_state_dict({f"{worker}/w/q": torch.tensor([[1.0], [0.0]]) for worker in range(2)})
    assert sent(made, [[3.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]) == [[2, 0], [0, 0]]
    assert kept(made) == [[0, 0], [0, 1]], "what it did not send itself, whatever came of all"
    assert kept(made, worker=1) == [[0, 0], [0, 0]]
    assert made.sent == 4 * (2 + 2)


def test_a_matrix_of_low_rank_is_sent_as_it_is():
    rng = torch.Generator().manual_seed(0)
    parts = [torch.randn(9, 1, generator=rng) @ torch.randn(1, 6, generator=rng) for _ in range(2)]
    made = Compressed(PowerSGD(rank=2, rate=0), One(9, 2, 3), workers=2)
    mean = made([{"w": part.view(9, 2, 3)} for part in parts])["w"]
    torch.testing.assert_close(mean.flatten(1), (parts[0] + parts[1]) / 2)
    silent = made([{"w": torch.zeros(9, 2, 3)} for _ in parts])["w"]
    assert silent.isfinite().all() and silent.abs().max() < 1e-5
    again = made([{"w": part.view(9, 2, 3)} for part in parts])["w"]  # it wakes again
    torch.testing.assert_close(again.flatten(1), (parts[0] + parts[1]) / 2, rtol=1e-4, atol=1e-5)


def test_the_power_iteration_goes_on_where_it_was():
    matrix = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
    made = Compressed(PowerSGD(rank=1, rate=0, feedback=False), One(8, 6))
    u, s, v = torch.linalg.svd(matrix)
    best = s[0] * u[:, :1] @ v[:1]
    off = [float((made([{"w": matrix}])["w"] - best).norm() / s[0]) for _ in range(60)]
    assert off[0] > 0.05 and off[-1] < 1e-4 and set(made.state_dict()) == {"0/w/q"}


@pytest.mark.parametrize("kind", [Sign(least=0), TopK(share=0.05, least=0), PowerSGD(rank=1)], ids=repr)
def test_what_was_sent_and_what_is_left_is_all_there_was(kind):
    rng = torch.Generator().manual_seed(1)
    made, workers = Compressed(kind, One(12, 5, 2), workers=4), range(4)
    total, averages = torch.zeros(4, 12, 5, 2).double(), torch.zeros(12, 5, 2).double()
    for _ in range(30):
        given = torch.randn(4, 12, 5, 2, generator=rng).double()
        total += given
        averages += made([{"w": given[worker]} for worker in workers])["w"]
    left = torch.stack([made.state_dict()[f"{worker}/w/error"] for worker in workers])
    torch.testing.assert_close(averages + left.mean(0), total.mean(0), rtol=0, atol=1e-5)
    assert left.abs().max() > 0.1, "there was something to be remembered"


def test_bytes():
    net = compressing.network()  # 6·9 and 5·24 weights, 11 biases
    for kind, expected in (
        (Whole(), 4 * (54 + 120 + 11)),
        (Sign(least=100), 4 * (54 + 11) + 120 // 8 + 4),
        (Sign(least=0), 4 * 11 + 7 + 4 + 15 + 4),
        (TopK(share=0.1, least=100), 4 * (54 + 11) + 12 * 8),
        (PowerSGD(rank=1), 4 * (11 + 6 + 9 + 5 + 24)),
        (PowerSGD(rank=2), 4 * (54 + 11 + 2 * (5 + 24))),  # 54 is less than twice 2·(6 + 9)
    ):
        made = Compressed(kind, net)
        made([compressing.gradients(0, 0)])
        assert made.sent == expected


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, Tensor]]:
    """What two processes had in the end."""
    folder = tmp_path_factory.mktemp("compressing")
    subprocess.run([sys.executable, str(FILE), str(folder)], check=True, timeout=100)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@each
def test_simulated_workers_do_what_processes_do(name, found):
    made = Compressed(compressing.KINDS[name], compressing.network(), workers=4)
    for step in range(compressing.STEPS):
        means = made([compressing.gradients(step, worker) for worker in range(4)])
        for parameter, mean in means.items():
            key = f"{name}/mean {step} {parameter}"
            assert torch.equal(found[0][key], found[1][key])
            torch.testing.assert_close(mean, found[0][key], rtol=1e-5, atol=1e-5)
    start = f"{name}/state "
    states = {k.removeprefix(start): v for f in found for k, v in f.items() if k.startswith(start)}
    assert states.keys() == made.state_dict().keys()
    for key, value in made.state_dict().items():
        torch.testing.assert_close(value, states[key], rtol=1e-4, atol=1e-4)
    assert made.sent == found[0][f"{name}/sent"]


@each
def test_as_a_hook_of_ddp(name, found):
    net = compressing.network()
    made = Compressed(compressing.KINDS[name], net, workers=2)
    for step in range(compressing.STEPS):
        workers = []
        for rank in range(2):
            net.zero_grad()
            compressing.loss(net, step, rank).backward()
            workers.append({n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None})
        for parameter, mean in made(workers).items():
            key = f"{name}/ddp {step} {parameter}"
            assert torch.equal(found[0][key], found[1][key])
            torch.testing.assert_close(mean, found[0][key], rtol=1e-6, atol=1e-9)


@each
def test_gone_on_with_its_state_as_if_never_stopped(name):
    kind, net = compressing.KINDS[name], compressing.network()

    def step(made: Compressed, number: int) -> dict[str, Tensor]:
        return made([compressing.gradients(number, worker) for worker in range(2)])

    whole, first, then, forgot = (Compressed(kind, net, workers=2) for _ in range(4))
    expected = [step(whole, number) for number in range(4)][-1]
    for number in range(3):
        step(first, number)
    then.load_state_dict(first.state_dict())
    assert all(torch.equal(expected[n], x) for n, x in step(then, 3).items())
    assert not all(torch.equal(expected[n], x) for n, x in step(forgot, 3).items())


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_takes_what_is_its_own_of_the_states_of_all(rank):
    whole = {f"{n}/w/error": torch.full((2, 2), float(n)) for n in range(4)}
    made = Compressed(TopK(least=0), One(2, 2), team=Team(rank, 2), workers=2)
    made.load_state_dict(whole)
    found = made.state_dict()
    assert found.keys() == {f"{2 * rank}/w/error", f"{2 * rank + 1}/w/error"}
    assert all(torch.equal(value, whole[key]) for key, value in found.items())


def test_a_state_of_others_is_refused():
    made = Compressed(TopK(least=0), One(2, 2), workers=2)
    for key, shape, words in (
        ("2/w/error", (2, 2), "2 workers, found one of worker 2"),
        ("0/v/error", (2, 2), "of these parameters, found 0/v/error"),
        ("0/w/error", (2, 3), r"found 0/w/error \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            made.load_state_dict({key: torch.zeros(shape)})
    for wrong in ({"share": 0.0}, {"momentum": 1.0}):
        with pytest.raises(InputError, match=r"topk: expected a share in \(0, 1\]"):
            TopK(**wrong)
    with pytest.raises(InputError, match=r"powersgd.rank: expected at least 1, found 0"):
        PowerSGD(rank=0)
