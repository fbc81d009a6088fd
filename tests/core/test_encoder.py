from __future__ import annotations

import pytest
import torch

from counterpoint.core.encoder import tapped
from counterpoint.core.errors import InputError


def test_a_tap_reads_a_layer_and_changes_nothing(tiny):
    network, x = tiny.Config().build(), torch.rand(2, 1, 4, 4)
    network.eval()
    plain = network(x)
    with tapped(network, ["first", "last"]) as seen:
        assert seen == {}
        out = network(x)
        assert torch.equal(seen["first"], network.first(x)) and seen["last"] is out
        network(2 * x)
        assert torch.equal(seen["first"], network.first(2 * x))  # the last pass counts
    assert torch.equal(out, plain)
    kept = seen["first"].clone()
    network(3 * x)
    assert torch.equal(seen["first"], kept) and not any(m._forward_hooks for m in network.modules())


def test_gradients_flow_through_a_tap(tiny):
    network = tiny.Config().build()
    with tapped(network, ["first"]) as seen:
        network(torch.rand(2, 1, 4, 4))
    seen["first"].sum().backward()
    assert network.first.weight.grad is not None and network.last.weight.grad is None


def test_an_unknown_tap_is_refused_and_no_hook_stays(tiny):
    network = tiny.Config().build()
    with (
        pytest.raises(InputError, match="unknown tap 'frist': did you mean first"),
        tapped(network, ["last", "frist"]),
    ):
        pass
    assert not any(m._forward_hooks for m in network.modules())


def test_an_error_inside_takes_the_hooks_away(tiny):
    network = tiny.Config().build()
    with pytest.raises(ZeroDivisionError), tapped(network, ["last"]):
        raise ZeroDivisionError
    assert not any(m._forward_hooks for m in network.modules())
