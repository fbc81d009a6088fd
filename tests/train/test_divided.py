"""Contrast and the state of optimizers divided among processes: the numbers are those of one process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from counterpoint.core.sharing import shared_by, sharing
from counterpoint.objectives import streamed
from counterpoint.objectives.contrastive import info_nce_streamed
from counterpoint.objectives.ring import contrast_ring, info_nce_ring
from counterpoint.objectives.tableless import contrast_within
from counterpoint.train.shards import Shards
from counterpoint.train.team import ALONE, Team

ROOMS = Path(__file__).parent / "rooms"


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOMS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


divided, together = _loaded("divided"), _loaded("together")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of four processes had in the end."""
    folder = tmp_path_factory.mktemp("divided")
    subprocess.run([sys.executable, str(ROOMS / "divided.py"), str(folder)], check=True, timeout=300)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(divided.COUNT)]


def _of(each, start):
    return {k.removeprefix(start): v for k, v in each.items() if k.startswith(start)}


def _check(found, start, alone):
    for each in found:
        outcome = _of(each, start)
        assert outcome.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(outcome[name], value, rtol=1e-9, atol=1e-10, msg=f"{start}{name}")


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", divided.RING)
def test_a_ring_of_unequal_shares_is_one_process(name, size, found):
    tensors = divided.inputs()
    _check(
        found,
        f"{size}/ring/{name}/",
        divided.gradients(divided.RING[name](*tensors, slice(None), None), tensors),
    )


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", divided.SHARED)
def test_tables_that_processes_share_are_those_of_one(name, size, found):
    tensors = divided.inputs()
    _check(found, f"{size}/shared/{name}/", divided.gradients(divided.SHARED[name](*tensors), tensors))


@pytest.mark.parametrize("kind", divided.METHODS)
def test_methods_share_them_without_a_line(kind, found):
    alone = together.outcome(kind)
    alone = {k: v for k, v in alone.items() if k.split()[1] == "0"}
    for each in found:
        start = f"4/method/{kind}/"
        together.check_same(alone, {k.removeprefix(start): v for k, v in each.items() if k.startswith(start)})


@pytest.mark.parametrize("size", [2, 4])
def test_who_keeps_a_part_of_the_state_makes_the_same_update(size, found):
    ours, plain = ([_of(each, f"{size}/shard {s}/") for each in found] for s in (True, False))
    whole = int(plain[0]["optim kept all"])
    for rank, (one, other) in enumerate(zip(ours, plain, strict=True)):
        assert not [k for k, v in one.items() if "kept" not in k and not torch.equal(v, other[k])]
        assert len(one) == len(other) if rank % size == 0 else len(one) < len(other)
        assert int(one["optim kept all"]) < 0.7 * whole
    assert sum(int(each["optim kept all"]) for each in ours[:size]) == whole
    if size == 2:
        alone = together.outcome("byol", optim=divided.optim(2))
        together.check_same(alone, ours[0])


def test_weights_are_dealt_out_by_size():
    weights = [torch.nn.Parameter(torch.ones(size)) for size in (3, 9, 4, 8, 1)]
    shards = Shards(torch.optim.SGD(weights), Team(0, 2))
    assert shards.owner == [0, 0, 1, 1, 0]


class Counting(Team):
    """The first of two processes, whose other one finds nothing."""

    def summed(self, tensors):
        return list(tensors)


def test_each_computes_a_part_of_what_is_large_alone(monkeypatch):
    seen = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, **k: seen.append(len(a) * b.shape[1]) or mm(a, b, **k))

    def work(run):
        seen.clear()
        run()
        return sum(seen)

    z, k = torch.randn(2, 1200, 8)
    groups = torch.arange(1200) % 600
    with shared_by(Counting(0, 2)):
        assert sharing() is not None
        small = work(lambda: contrast_within(z[:600], groups[:600], 0.5))
        parts = [work(lambda: info_nce_streamed(z, k, 1.0)), work(lambda: contrast_within(z, groups, 0.5))]
    with shared_by(ALONE):
        assert sharing() is None
    assert small == work(lambda: contrast_within(z[:600], groups[:600], 0.5))
    whole = [work(lambda: info_nce_streamed(z, k, 1.0)), work(lambda: contrast_within(z, groups, 0.5))]
    assert parts[0] == whole[0] / 2 and parts[1] < 0.6 * whole[1]


def test_by_distributed_data_parallel_it_is_the_whole_gradient(found):
    network = divided.network()
    features = network(divided.vectors(0))
    info_nce_streamed(features, features.flip(1), 1.0, both=True).backward()
    for each in found:
        torch.testing.assert_close(each["4/ddp"], network.weight.grad, rtol=1e-9, atol=1e-10)


def test_a_ring_keeps_no_table():
    z, groups, kept = torch.randn(600, 5, requires_grad=True), torch.arange(600) % 300, {}

    def note(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        loss = contrast_ring(z, groups, 0.5, ALONE) + info_nce_ring(z, z.flip(0), 0.5, ALONE, both=True)
    assert loss.requires_grad and sum(kept.values()) < 600 * 600 * 4 / 10


def test_a_ring_of_one(monkeypatch):
    """The same numbers with blocks of any size, in float32 too; no second derivative."""
    z, k, tau = divided.inputs()
    for rows in (1, 64):
        monkeypatch.setattr(streamed, "ROWS", rows)
        monkeypatch.setattr(streamed, "BLOCK", 1)
        expected = contrast_within(z, divided.GROUPS, tau)
        torch.testing.assert_close(contrast_ring(z, divided.GROUPS, tau, ALONE), expected)
        low = contrast_ring(z.float(), divided.GROUPS, 0.002, ALONE)
        torch.testing.assert_close(
            low, contrast_within(z, divided.GROUPS, 0.002).float(), rtol=1e-4, atol=1e-4
        )
    with torch.no_grad():
        assert not info_nce_ring(z, k, tau, ALONE).requires_grad
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(info_nce_ring(z, k, tau, ALONE), z, create_graph=True)
    assert info_nce_ring(z[:0], k[:0], 1.0, ALONE).item() == 0
    assert contrast_ring(z[:1], divided.GROUPS[:1], 1.0, ALONE).item() == 0


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="groups"):
        contrast_ring(torch.ones(3, 2), torch.ones(2), 1.0, ALONE)
    with pytest.raises(ValueError, match="keys"):
        info_nce_ring(torch.ones(3, 2), torch.ones(4, 2), 1.0, ALONE)
