from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.synthesis import PHOTOGRAPHS, Synthesis, _photograph


def test_batches_follow_from_the_generator_of_the_epoch():
    data = Synthesis(24, 20, photographs=("coins",))
    assert len(data) == 20 and data.steps(8) == 2 and data.provides == {"fixed", "moving", "id"}
    one, again, other = (list(data.epoch(8, generator(0, "order", i))) for i in (0, 0, 1))
    assert [b["id"].tolist() for b in one] == [list(range(8)), list(range(8, 16))]
    for a, b, c in zip(one, again, other, strict=True):
        assert a["fixed"].shape == a["moving"].shape == (8, 1, 24, 24) and a["fixed"].dtype == torch.float32
        assert torch.equal(a["fixed"], b["fixed"]) and torch.equal(a["moving"], b["moving"])
        assert not torch.equal(a["fixed"], c["fixed"]) and not torch.equal(a["fixed"], a["moving"])
    parts = list(data.parts(8))
    assert [len(p["id"]) for p in parts] == [8, 8, 4]
    assert torch.equal(parts[0]["fixed"], next(data.parts(8))["fixed"])


def test_it_is_not_read_ahead():
    endless = Synthesis(16, 10**9, photographs=())
    assert len(list(islice(endless.epoch(2, generator(0, "x")), 2))) == 2


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="expected side ≥ 16"):
        Synthesis(8, 10)
    with pytest.raises(InputError, match="unknown photograph 'ihc'"):
        Synthesis(32, 10, photographs=("ihc",))


def test_the_photographs_come_with_scikit_image_and_the_demos_is_not_among_them():
    import skimage

    stems = {file.stem for file in Path(skimage.__path__[0], "data").iterdir()}
    assert all(name in stems or f"{name}_motion" in stems for name in PHOTOGRAPHS)
    assert "immunohistochemistry" not in PHOTOGRAPHS
    for name in PHOTOGRAPHS:
        image = _photograph(name)
        assert image.shape[0] == 3 and image.min() >= 0 and 0.3 < image.max() <= 1
