"""What every method must do, asked of whatever stands in its room."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from counterpoint.core.config import load, names
from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.networks import load_networks
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.types import Progress
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.record import read_log

ROOM = "counterpoint.methods"
AT = Progress(0, 10, 0, 2)

pytestmark = pytest.mark.parametrize("kind", sorted(names(ROOM)))


@pytest.fixture
def method(kind, small) -> Method:
    return fresh(small(load(ROOM, kind).Config), 0)


@pytest.fixture
def batch(method, samples):
    return next(samples(method).epoch(4, generator(0, "order")))


def state(method: nn.Module) -> dict[str, torch.Tensor]:
    """All state but the running statistics of normalization, which every forward pass in training moves."""
    norms = [name for name, m in method.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    buffers = {
        f"{norm}.{name}" for norm in norms for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    return {name: value.clone() for name, value in method.state_dict().items() if name not in buffers}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_settings_survive_yaml_and_unknown_ones_are_refused(kind, small):
    for settings in (load(ROOM, kind).Config(), small(load(ROOM, kind).Config)):
        plain = yaml.safe_load(yaml.safe_dump(settings.to_dict()))
        assert plain["kind"] == kind and MethodConfig.from_dict(plain) == settings
        with pytest.raises(InputError, match="unknown setting in settings 'no_such_setting'"):
            MethodConfig.from_dict(plain | {"no_such_setting": 1})


def test_the_seed_decides_the_weights(kind, method, small):
    config = small(load(ROOM, kind).Config)
    assert same(method.state_dict(), fresh(config, 0).state_dict())
    assert not same(method.state_dict(), fresh(config, 1).state_dict())


def test_views_are_repeatable_and_keep_ids_and_frame(kind, method, batch):
    one, again, other = (method.views(batch, generator(0, "views", step)) for step in (0, 0, 1))
    for view, twin in zip(one, again, strict=True):
        assert torch.equal(view.x, twin.x) and view.role == twin.role
        assert set(view.ids.tolist()) <= set(batch["id"].tolist()) and len(view.ids) == len(view.x)
        assert view.undo(view.x).shape[:2] == view.x.shape[:2]  # a crop goes back into a larger frame
    assert any(not torch.equal(a.x, b.x) for a, b in zip(one, other, strict=True))


def test_the_loss_is_repeatable_and_only_reads(kind, method, batch):
    views, before = method.views(batch, generator(0, "views")), state(method)
    for turn in method.turns:
        totals = []
        for _ in range(2):
            seed_all(0, "step")
            terms = method.loss(views, Progress(0, 10, 0, 2, turn))
            totals.append(terms.total)
            assert all(part.ndim == 0 and part.isfinite() for part in terms.parts.values())
            assert set(terms.weights) <= set(terms.parts) or not terms.weights
            assert not any(kept.requires_grad for kept in terms.keep.values())
        assert torch.equal(*totals)
    assert same(before, state(method))


def test_every_trained_weight_gets_a_gradient(kind, method, batch):
    views = method.views(batch, generator(0, "views"))
    for turn in method.turns:
        method.zero_grad()
        method.loss(views, Progress(0, 10, 0, 2, turn)).total.backward()
        for name, weight in method.trained(turn).named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None, name
                assert weight.grad.isfinite().all() and weight.grad.count_nonzero() > 0, name


class Stop(Exception):
    """Ends a run from its report."""


def test_broken_off_and_resumed_equals_at_once(kind, method, small, samples, tmp_path):
    config = TrainConfig(epochs=3, batch=4, save_every=3)
    whole = fit(method, samples(method), config, tmp_path / "whole", progress=False)

    def stop(at, line) -> None:
        if at.step == 3:
            raise Stop

    settings = small(load(ROOM, kind).Config)
    with pytest.raises(Stop):
        fit(fresh(settings, 0), samples(method), config, tmp_path / "broken", report=stop, progress=False)
    # Other weights to begin with: all that counts must come from the checkpoint.
    resumed = fresh(settings, 1)
    assert fit(resumed, samples(method), config, tmp_path / "broken", progress=False).resumed_from == 3
    assert whole.steps == 6 and same(method.state_dict(), resumed.state_dict())
    logs = [read_log(tmp_path / name) for name in ("whole", "broken")]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]


def test_several_batches_an_update_in_half_the_precision(kind, method, samples, tmp_path):
    config = TrainConfig(epochs=2, batch=2, accumulate=3, precision="bf16-mixed")
    fit(method, samples(method), config, tmp_path, progress=False)  # raises where something is not finite
    assert len(read_log(tmp_path)) == 4
    assert all(p.dtype == torch.float32 for p in method.parameters())


def test_the_networks_are_usable_and_part_of_the_method(kind, method, batch, samples, tmp_path):
    held = {value.data_ptr() for value in method.state_dict(keep_vars=True).values()}
    for role in method.roles:
        network = method.network(role)
        assert isinstance(network, Encoder)
        assert all(value.data_ptr() in held for value in network.state_dict(keep_vars=True).values())
    fit(method, samples(method), TrainConfig(steps=1, batch=4), tmp_path, progress=False)
    loaded = load_networks(tmp_path)
    assert loaded.keys() == set(method.roles)
    for view in method.views(batch, generator(0, "views")):
        if view.role in loaded:
            with torch.no_grad():
                out = loaded[view.role](view.x)
                assert torch.equal(out, method.network(view.role).eval()(view.x))
            assert out.shape[1] == loaded[view.role].out_dim
    with pytest.raises(InputError, match="unknown role"):
        method.network("no such role")
