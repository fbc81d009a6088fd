"""Channels of a pixel side by side: the same numbers, and runs that resume to the bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from counterpoint.encoders.resnet import ResNet

SPEC = importlib.util.spec_from_file_location("together", Path(__file__).parent / "rooms" / "together.py")
assert SPEC is not None and SPEC.loader is not None
together = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(together)


# Noise between blocks is drawn in the order of the memory: the same in distribution, not in number.
@pytest.mark.parametrize("kind", [kind for kind in together.KINDS if kind != "blockwise_ssl"])
def test_every_method_learns_the_same(kind):
    together.check_same(together.outcome(kind), together.outcome(kind, channels_last=True))


def test_maps_follow_the_weights():
    network = ResNet(ResNet.Config(width=4)).to(memory_format=torch.channels_last)
    maps = network.layer2(network.layer1(network.conv1(torch.rand(2, 3, 8, 8))))
    assert maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()


def test_a_run_resumes_to_the_bit(run, tmp_path):
    def stop(at, line) -> None:
        if at.step == 6:
            raise InterruptedError

    run(tmp_path / "whole", channels_last=True)
    with pytest.raises(InterruptedError):
        run(tmp_path / "broken", channels_last=True, fit_with={"report": stop})
    _, summary = run(tmp_path / "broken", channels_last=True)
    assert summary.resumed_from == 4
    for name in ("networks.safetensors", "checkpoint.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
