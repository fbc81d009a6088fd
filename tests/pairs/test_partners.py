from __future__ import annotations

import torch

from counterpoint.core.rng import generator
from counterpoint.pairs.partners import of_partner, partners

LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 3])


def test_partners_are_shuffled_kept_or_others():
    arbitrary = partners(LABELS, "arbitrary", 4, generator(0))
    assert arbitrary.sort().values.equal(LABELS) and not arbitrary.equal(LABELS)
    assert arbitrary.equal(partners(LABELS, "arbitrary", 4, generator(0)))
    assert partners(LABELS, "identical", 4, generator(0)).equal(LABELS)
    drawn = torch.stack([partners(LABELS, "distinct", 4, generator(s)) for s in range(60)])
    assert (drawn != LABELS).all()
    for i, label in enumerate(LABELS.tolist()):
        assert set(drawn[:, i].tolist()) == {0, 1, 2, 3} - {label}


def test_neither_class_of_a_pair_is_among_the_negatives():
    """Else the positives of (a, b) would be negatives of (b, a), under the same gate."""
    partner = torch.tensor([2, 0, 3, 0, 2, 1, 5])
    pairs = of_partner(LABELS, partner)
    for i in range(7):
        for n in range(7):
            a, b, c = LABELS[i], partner[i], LABELS[n]
            assert pairs.positive[i, n] == (c == b)
            assert pairs.negative[i, n] == (c not in (a, b))
    assert not pairs.positive[6].any()  # nobody is of that class


def test_of_ones_own_class_one_is_a_positive_oneself():
    pairs = of_partner(LABELS, LABELS)
    assert pairs.positive.diagonal().all() and not (pairs.positive & pairs.negative).any()
    assert (pairs.positive | pairs.negative).all()


def test_a_single_class_has_no_other():
    assert partners(torch.zeros(3, dtype=torch.int64), "distinct", 1, generator(0)).tolist() == [0, 0, 0]
