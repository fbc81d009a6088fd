"""What every encoder must do, asked of whatever stands in its room.

Conventions: ``channels`` is the number of channels of the image that goes in; ``width`` and ``dim``, where
there are such settings, make a network narrow; a dense encoder returns maps as large as the image, any other
features. A kind whose library is not installed is skipped.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
import yaml

from counterpoint.core.config import load, names
from counterpoint.core.encoder import Encoder, EncoderConfig, tapped
from counterpoint.core.errors import InputError

ROOM = "counterpoint.encoders"
SMALL = {"width": 4, "dim": 24}

pytestmark = pytest.mark.parametrize("kind", sorted(names(ROOM)))


def build(kind: str, channels: int = 2) -> Encoder:
    settings = load(ROOM, kind).Config(channels=channels)
    known = {field.name for field in dataclasses.fields(settings)}
    torch.manual_seed(0)
    try:
        return dataclasses.replace(settings, **{k: v for k, v in SMALL.items() if k in known}).build()
    except InputError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise


def image(network: Encoder, count: int = 2) -> torch.Tensor:
    """(count, 2, 1·m, 2·m) for the network's multiple m, of at least 8 pixels."""
    side = network.multiple * -(-8 // network.multiple)
    return torch.rand(count, 2, side, 2 * side, generator=torch.Generator().manual_seed(1))


def test_settings_survive_yaml_and_unknown_ones_are_refused(kind):
    settings = load(ROOM, kind).Config(channels=3)
    plain = yaml.safe_load(yaml.safe_dump(settings.to_dict()))
    assert plain["kind"] == kind and EncoderConfig.from_dict(plain) == settings
    with pytest.raises(InputError, match="unknown setting"):
        EncoderConfig.from_dict(plain | {"no_such_setting": 1})


def test_widths_and_taps_are_true(kind):
    network = build(kind).eval()
    x = image(network)
    assert network.taps
    with torch.no_grad(), tapped(network, list(network.taps)) as seen:
        out = network(x)
    assert out.shape in ((2, network.out_dim), (2, network.out_dim, *x.shape[2:]))
    # Tokens are (B, T, C), maps (B, C, H, W).
    widths = {name: value.shape[2 if value.ndim == 3 else 1] for name, value in seen.items()}
    assert widths == network.taps


def test_sizes_are_multiples_or_refused(kind):
    network = build(kind).eval()
    x = torch.nn.functional.pad(image(network, 1), (0, 1, 0, 1))
    try:
        with torch.no_grad():
            assert network(x).shape[2:] in ((), x.shape[2:])
    except ValueError as error:
        assert network.multiple > 1 and str(network.multiple) in str(error)


def test_in_evaluation_samples_do_not_see_each_other(kind):
    network = build(kind)
    x = image(network, 3)
    with torch.no_grad():
        network(x)  # in training: moves what normalization has gathered
        together = network.eval()(x)
        torch.testing.assert_close(together[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)
        assert torch.equal(together, network(x))


def test_double_precision_works_and_agrees(kind):
    network = build(kind).eval()
    x = image(network, 1)
    with torch.no_grad():
        single, double = network(x), network.double()(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


def test_every_weight_gets_a_gradient(kind):
    network = build(kind)
    network(image(network)).square().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name


def test_the_seed_decides_the_weights_and_nothing_else_is_state(kind):
    one, two = build(kind), build(kind)
    x = image(one)
    with torch.no_grad():
        one(x)
        two.load_state_dict(one.state_dict())
        assert torch.equal(one.eval()(x), two.eval()(x))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), build(kind).parameters(), strict=True))
