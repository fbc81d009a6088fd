from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.memories.vocabulary import Vocabulary, inner, one_place
from counterpoint.objectives.bags import bag_of_words, word_distances


def test_the_oldest_words_go_first():
    memory = Vocabulary(6, 3)
    assert (memory.read() >= 0).all() and (memory.read() == 0).any() and memory.scale == 0.5
    first = memory.read().clone()
    for step in range(3):
        memory.write(torch.full((2, 3), float(step)), memory.scale[None])
        assert torch.equal(memory.read()[2 * step + 2 :], first[2 * step + 2 :])
    memory.write(torch.full((2, 3), 9.0), torch.tensor([0.4, 0.6]))
    assert memory.read()[:, 0].tolist() == [9, 9, 1, 1, 2, 2] and memory.scale == 0.5


def test_the_scale_is_a_running_mean_of_least_distances():
    memory = Vocabulary(6, 3, momentum=0.9)
    distance = torch.tensor([[[4.0, 1.0], [3.0, 5.0]]])
    assert memory.scaled(distance).item() == pytest.approx(0.9 * 0.5 + 0.1 * 2)
    assert memory.scale == 0.5


def test_targets_do_not_depend_on_the_scale_of_features_once_it_has_adapted():
    """Without that they would saturate or flatten as the teacher drifts."""
    features = torch.rand(2, 5, 3, generator=generator(0))
    bags = []
    for factor in (1.0, 7.0):
        memory = Vocabulary(6, 3, momentum=0.5)
        words = factor * torch.rand(6, 3, generator=generator(1))
        distance = word_distances(factor * features, words)
        for _ in range(40):
            memory.write(words, memory.scaled(distance)[None])
        bags.append(bag_of_words(distance, memory.scale))
    assert torch.allclose(*bags, atol=1e-4)


def test_the_border_is_cut_off_unless_nothing_would_be_left():
    maps = torch.arange(2 * 25.0).view(1, 2, 5, 5)
    assert torch.equal(inner(maps), maps[:, :, 1:4, 1:4])
    assert inner(maps[:, :, :3, :3]).shape == (1, 2, 1, 1) and inner(maps[:, :, :2]).shape == (1, 2, 2, 5)


def test_a_word_is_a_mean_of_nine_at_a_random_place():
    maps = torch.rand(3, 2, 5, 4, generator=generator(0))
    places = {(y, x): maps[:, :, y : y + 3, x : x + 3].mean((2, 3)) for y in range(3) for x in range(2)}
    met = set()
    for seed in range(40):
        word = one_place(maps, generator(seed))
        for i in range(3):
            met |= {(i, at) for at, mean in places.items() if torch.allclose(mean[i], word[i])}
    assert len(met) == 3 * 6
    assert torch.allclose(one_place(maps[:, :, :2, :2], generator(0)), maps[:, :, :2, :2].mean((2, 3)))


def test_wrong_numbers_are_refused():
    with pytest.raises(InputError, match=r"vocabulary: expected a momentum in \[0, 1\), found 1"):
        Vocabulary(6, 3, momentum=1)
