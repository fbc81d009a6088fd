from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoint.encoders.unet import UNet
from counterpoint.evidence.on_pairs import OUTPUT, OnPairs, described, positions
from counterpoint.methods.registration.comir import CoMIR


@pytest.fixture
def bench(tmp_path) -> OnPairs:
    rng = np.random.default_rng(0)
    files = []
    for i in range(3):
        pair = []
        for role, channels in (("fixed", 3), ("moving", 1)):
            array = rng.integers(0, 255, (40, 36, channels), dtype=np.uint8)
            pair.append(str(tmp_path / f"{role}{i}.png"))
            Image.fromarray(array.squeeze()).save(pair[-1])
        files.append(pair)
    (a, b), *rest = files
    return OnPairs(train=((a, b),), test=tuple((str(i), f, m) for i, (f, m) in enumerate(rest)), maps=6)


def networks(bench: OnPairs) -> dict[str, UNet]:
    small = UNet.Config(widths=(2, 5))
    config = bench.configured(CoMIR.Config(fixed=small, moving=small, size=16))
    torch.manual_seed(0)
    method = config.build().eval()
    return {role: method.network(role) for role in ("fixed", "moving")}


def test_networks_get_the_channels_of_the_images(bench):
    found = networks(bench)
    assert [found[role].config.channels for role in ("fixed", "moving")] == [3, 1]


def test_features_are_of_the_same_patches_for_both_and_of_every_tap(bench):
    made = networks(bench)
    found = bench.features(made, 16, ("bottleneck",))
    assert {tap: {r: tuple(x.shape) for r, x in of.items()} for tap, of in found.items()} == {
        "bottleneck": {"fixed": (4, 5, 8, 8), "moving": (4, 5, 8, 8)},
        OUTPUT: {"fixed": (4, 1, 16, 16), "moving": (4, 1, 16, 16)},
    }
    same = bench.__class__(train=bench.train, test=tuple((n, f, f) for n, f, _ in bench.test), maps=6)
    twice = same.features({"fixed": made["fixed"], "moving": made["fixed"]}, 16, ())
    assert torch.equal(twice[OUTPUT]["fixed"], twice[OUTPUT]["moving"])
    assert described(twice)["partner correlation"] == pytest.approx(1)
    assert described(twice)["alignment"] == 0


def test_a_planted_collapse_is_seen_in_rank_and_in_dimensions_alive():
    rng = torch.Generator().manual_seed(0)
    healthy = torch.randn(6, 8, 12, 12, generator=rng)
    line = torch.randn(6, 1, 12, 12, generator=rng) * torch.arange(1.0, 9)[:, None, None]
    output = {"fixed": healthy, "moving": healthy.flip(0)}
    good = described({"t": {"fixed": healthy, "moving": healthy}, OUTPUT: output})
    bad = described({"t": {"fixed": line, "moving": line}, OUTPUT: output})
    assert good["t rank"] > 7.5 and good["t alive"] == 1
    assert bad["t rank"] == pytest.approx(1) and bad["t alive"] == 1 / 8
    assert good["output rank"] == bad["output rank"]


def test_a_spectrum_is_taken_over_a_bounded_number_of_positions():
    assert len(positions(torch.zeros(50, 2, 20, 20))) <= 4000
    assert len(positions(torch.zeros(3, 2, 4, 4))) == 48
