from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from counterpoint.core.errors import InputError
from counterpoint.data.digits import digits


def test_digits_are_those_of_scikit_learn_with_a_fixed_split():
    whole, train, test = (digits(part, size=8) for part in (None, "train", "test"))
    found = load_digits()
    assert len(whole) == 1797 and (len(train), len(test)) == (1442, 355)
    torch.testing.assert_close(whole.image[:, 0], torch.from_numpy(found.images).float() / 16)
    assert whole.label.tolist() == found.target.tolist() and whole.classes == tuple("0123456789")
    assert torch.equal(whole.image[whole.part == 2], test.image)
    assert torch.equal(torch.cat([train.label, test.label]).bincount(), whole.label.bincount())
    assert test.label.bincount().min() >= 34


def test_digits_are_resized_and_colored_as_wanted():
    assert digits("test").image.shape == (355, 1, 32, 32)
    assert digits("test", size=16, channels=3).image.shape == (355, 3, 16, 16)
    with pytest.raises(InputError, match="expected data with a part 'val', found train, test"):
        digits("val")
