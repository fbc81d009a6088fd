from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.data.arrays import Arrays
from counterpoint.data.split import by_group, of_part, stratified, train_test

LABEL = torch.tensor([0] * 50 + [1] * 20 + [2] * 3 + [3])


def test_every_class_gives_its_share_and_a_class_of_one_stays():
    rest, part = stratified(LABEL, 0.2)
    assert sorted([*rest.tolist(), *part.tolist()]) == list(range(74))
    assert LABEL[part].bincount(minlength=4).tolist() == [10, 4, 1, 0]
    assert part.tolist() == sorted(part.tolist())
    assert torch.equal(part, stratified(LABEL, 0.2)[1])
    assert not torch.equal(part, stratified(LABEL, 0.2, seed=1)[1])
    assert LABEL[stratified(LABEL, 0.01)[1]].bincount().tolist() == [1, 1, 1]  # none goes without


def test_no_group_is_on_both_sides():
    group = torch.arange(60) % 10 + 7
    rest, part = by_group(group, 0.25)
    assert not set(group[rest].tolist()) & set(group[part].tolist())
    assert len(set(group[part].tolist())) == 2 and len(rest) + len(part) == 60
    assert len(by_group(group, 0.001)[1]) == 6  # at least one group


def data(**given) -> Arrays:
    return Arrays(np.arange(74, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8), **given)


def test_data_are_divided_as_they_come_or_by_group_or_by_class_or_at_random():
    part = torch.tensor([0] * 40 + [1] * 10 + [2] * 24)
    train, test = train_test(data(label=LABEL, group=part, part=part))
    assert train.image[:, 0, 0, 0].tolist() == list(range(40)) and len(test) == 24
    assert len(train_test(data(part=part.clamp(max=1)))[1]) == 34  # "val" where there is no "test"
    train, test = train_test(data(label=LABEL, group=torch.arange(74) // 10), 0.3)
    tens = [set((d.image[:, 0, 0, 0] // 10).tolist()) for d in (train, test)]
    assert len(tens[1]) == 2 and not tens[0] & tens[1]
    assert train_test(data(label=LABEL))[1].label.bincount().tolist() == [10, 4, 1]
    assert len(train_test(data(), 0.5)[1]) == 37


@pytest.mark.parametrize("share", [0.0, 1.0, 20])
def test_what_cannot_be_divided_is_refused(share):
    with pytest.raises(InputError, match="expected a share between 0 and 1"):
        stratified(LABEL, share)
    with pytest.raises(InputError, match="at least two samples, found 1"):
        stratified(LABEL[:1], 0.5)
    with pytest.raises(InputError, match="expected a class of at least two samples"):
        stratified(torch.arange(5), 0.5)
    with pytest.raises(InputError, match="at least two groups, found 1"):
        by_group(torch.zeros(9), 0.5)
    with pytest.raises(InputError, match="expected data with a part 'test', found no parts"):
        of_part(data(), "test")
