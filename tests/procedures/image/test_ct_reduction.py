from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.core.networks import save_networks
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.encoders.convnet import ConvNet
from counterpoint.metrics.hashing import difference_hash, hamming
from counterpoint.metrics.information import mutual_information
from counterpoint.metrics.similarity import ssim
from counterpoint.procedures.image.ct_reduction import CTReduction, exemplars

Config = CTReduction.Config


def volumes(count: int = 3, slices: int = 12, side: int = 16) -> Arrays:
    """Volumes that morph slowly from one random picture to another, groups taking turns."""
    ends = torch.rand(count, 2, side // 4, side // 4, generator=generator(0))
    ends = nn.functional.interpolate(ends, scale_factor=4.0, mode="bilinear")
    share = torch.linspace(0, 1, slices)[:, None, None, None]
    image = ((1 - share) * ends[:, 0] + share * ends[:, 1]).view(-1, 1, side, side)
    return Arrays(image, group=torch.arange(count).repeat(slices))


DATA = volumes()
GROUP = DATA.group
assert GROUP is not None


def slow(data: Arrays, threshold: int) -> list[int]:
    """The released loop, word by word: the first slice left stays, all near it of its volume go."""
    bits, kept = difference_hash(data.image), []
    for volume in range(3):
        left = [i for i in range(len(data)) if GROUP[i] == volume]
        while left:
            first = left[0]
            kept.append(first)
            left = [i for i in left[1:] if int((bits[i] ^ bits[first]).sum()) > threshold]
    return sorted(kept)


@pytest.mark.parametrize("threshold", [0, 3, 6, 12])
def test_what_stays_is_what_the_slow_loop_keeps(threshold):
    kept = CTReduction(Config(threshold=threshold)).kept(DATA)
    assert kept.tolist() == slow(DATA, threshold)
    bits = difference_hash(DATA.image)[kept]
    for a in range(len(kept)):
        for b in range(a):
            if GROUP[kept[a]] == GROUP[kept[b]]:
                assert hamming(bits[a], bits[b]) > threshold


def test_the_papers_threshold_stands_for_none():
    assert torch.equal(CTReduction(Config()).kept(DATA), CTReduction(Config(threshold=6.0)).kept(DATA))


def test_at_the_extremes_one_slice_of_a_volume_stays_or_one_of_each_hash():
    assert CTReduction(Config(threshold=64)).kept(DATA).tolist() == [0, 1, 2]  # the first of each
    bits = difference_hash(DATA.image)
    distinct = sum(len(bits[volume == GROUP].unique(dim=0)) for volume in range(3))
    twice = Arrays(DATA.image.repeat(2, 1, 1, 1), group=GROUP.repeat(2))
    assert len(CTReduction(Config(threshold=0)).kept(twice)) == distinct


def test_a_pattern_that_comes_back_far_away_goes_too():
    back = Arrays(torch.cat([DATA.image[GROUP == 0], DATA.image[GROUP == 0].flip(0)]), group=[0] * 24)
    assert CTReduction(Config()).kept(back).max() < 12


def test_other_volumes_do_not_count_unless_all_are_compared():
    same = Arrays(DATA.image[:1].expand(4, -1, -1, -1), [0, 0, 1, 1], group=["a", "b", "a", "b"])
    for within, kept in (("group", [0, 1]), ("class", [0, 2]), ("all", [0])):
        assert CTReduction(Config(within=within)).kept(same).tolist() == kept
    with pytest.raises(InputError, match="expected a group of every image"):
        CTReduction(Config()).kept(Arrays(DATA.image))


def test_the_order_of_slices_may_decide():
    """A chain in which each is like the next only: from the end to the end other ones stay."""
    line = torch.tensor([0.0, 1.0, 2.0, 3.0])
    near = lambda one, others: -(others - one).abs()  # noqa: E731
    assert line[exemplars(line, near, -1.0)].tolist() == [0.0, 2.0]
    assert line.flip(0)[exemplars(line.flip(0), near, -1.0)].tolist() == [3.0, 1.0]


def likeness(by: str, a: Tensor, b: Tensor) -> float:
    if by == "ssim":
        return ssim(a[None], b[None], data_range=1.0).item()
    if by == "information":
        return mutual_information(a.flatten(), b.flatten()[None]).item()
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


@pytest.mark.parametrize(("by", "threshold"), [("ssim", 0.9), ("information", 2.0), ("embedding", 0.99)])
def test_other_rules_keep_what_is_unlike(by, threshold):
    made = CTReduction(Config(by=by, threshold=threshold))(DATA, nn.Flatten())
    assert 3 < len(made) < len(DATA)
    for volume in range(3):
        images = made.image[made.group == volume]
        for a in range(len(images)):
            for b in range(a + 1, len(images)):
                assert likeness(by, images[a], images[b]) < threshold + 1e-6


def test_controls_keep_so_many_of_each_volume():
    every = CTReduction(Config(by="every", every=2.5)).kept(DATA)
    assert every.tolist() == [3 * i + v for i in (0, 2, 5, 7, 10) for v in range(3)]
    some = [CTReduction(Config(by="random", every=2.5, seed=s)).kept(DATA) for s in (0, 0, 1)]
    assert torch.equal(some[0], some[1]) and not torch.equal(some[0], some[2])
    assert GROUP[some[0]].bincount().tolist() == [5, 5, 5]


def test_a_run_gives_the_embedding(tmp_path):
    torch.manual_seed(0)
    network = ConvNet.Config(channels=3, width=2).build()
    save_networks(tmp_path / "networks.safetensors", {"image": network})
    config = Config(by="embedding", threshold=0.999, network=str(tmp_path))
    by_run, by_hand = (
        CTReduction(config).kept(DATA),
        CTReduction(replace(config, network="")).kept(DATA, network.eval()),
    )
    assert torch.equal(by_run, by_hand) and 3 <= len(by_run) < len(DATA)
    with pytest.raises(InputError, match="network: expected a run folder"):
        CTReduction(replace(config, network="")).kept(DATA)


@pytest.mark.parametrize("settings", [{"by": "ssim"}, {"every": 0.5}])
def test_settings_that_say_too_little_are_refused(settings):
    with pytest.raises(InputError, match="ct_reduction"):
        Config(**settings)
