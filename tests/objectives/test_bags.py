from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.objectives.bags import bag_divergence, bag_of_words, perplexity, word_distances

FEATURES, WORDS = (torch.randn(*shape, 4, generator=generator(s), dtype=torch.float64) for s, shape in
                   enumerate([(2, 5), (6,)]))  # fmt: skip


def test_a_bag_is_the_normalized_maximum_over_places():
    distance = word_distances(FEATURES, WORDS)
    found = bag_of_words(distance, 0.7, 3.0)
    for i in range(2):
        codes = []
        for p in range(5):
            d = [sum((a - b) ** 2 for a, b in zip(FEATURES[i, p], w, strict=True)).item() for w in WORDS]
            assert distance[i, p].tolist() == pytest.approx(d, rel=1e-9)
            e = [math.exp(-3 * x / 0.7) for x in d]
            codes.append([x / sum(e) for x in e])
        most = [max(column) for column in zip(*codes, strict=True)]
        assert found[i].tolist() == pytest.approx([m / sum(most) for m in most], rel=1e-9)


def test_words_that_are_the_features_are_all_found_alike():
    words = 3 * torch.eye(4)
    bag = bag_of_words(word_distances(words[None], words), 1.0)
    assert torch.allclose(bag, torch.full((1, 4), 0.25), atol=1e-6)
    bag = bag_of_words(word_distances(words[None, [0, 0, 2]], words), 1.0)
    assert torch.allclose(bag, torch.tensor([[0.5, 0, 0.5, 0]]), atol=1e-6)  # how often does not count


def test_divergence_is_its_formula_and_least_where_foretold():
    logits = torch.randn(3, 6, generator=generator(2), dtype=torch.float64, requires_grad=True)
    bags = torch.rand(3, 6, generator=generator(3), dtype=torch.float64)
    bags[0, 0] = 0  # a word that is not there costs nothing
    bags = bags / bags.sum(1, keepdim=True)
    total = 0.0
    for o, y in zip(logits.tolist(), bags.tolist(), strict=True):
        whole = sum(map(math.exp, o))
        total += sum(b * math.log(b / (math.exp(a) / whole)) for a, b in zip(o, y, strict=True) if b)
    assert bag_divergence(logits, bags).item() == pytest.approx(total / 3, rel=1e-9)
    assert bag_divergence((bags + 1e-30).log(), bags).item() == pytest.approx(0, abs=1e-9)
    assert torch.autograd.gradcheck(lambda x: bag_divergence(x, bags), logits)
    with pytest.raises(ValueError, match="expected"):
        bag_divergence(logits[:2], bags)


def test_targets_have_no_gradient():
    features = FEATURES.clone().requires_grad_()
    bags = bag_of_words(word_distances(features, WORDS), 1.0)
    assert not bags.requires_grad


def test_perplexity_counts_words_in_use():
    one = torch.eye(4)[[0, 0, 1, 1]]
    assert [p.item() for p in perplexity(one)] == pytest.approx([1, 2])
    assert [p.item() for p in perplexity(torch.full((3, 8), 1 / 8))] == pytest.approx([8, 8])
