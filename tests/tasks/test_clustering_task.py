from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.tasks.clustering import Clustering


def test_length_is_ignored_on_the_sphere_only(toys):
    data = toys.blobs(90, 3, 3, 0.05, 0)
    data.entries["image"] *= torch.logspace(-1, 1.5, 90)[:, None, None, None]
    sphere, flat = (
        Clustering.Config(sphere=s).build()(lambda _: toys.flat, data, data, 0) for s in (True, False)
    )
    assert sphere["ari"] == sphere["nmi"] == sphere["accuracy"] == 1 > flat["ari"]


def test_the_number_of_clusters(toys):
    data = toys.blobs(60, 3, 3, 0.05, 0)
    assert Clustering.Config(clusters=1).build()(lambda _: toys.flat, data, data, 0)["ari"] == 0
    with pytest.raises(InputError, match="at most the 60 samples"):
        Clustering.Config(clusters=61).build()(lambda _: toys.flat, data, data, 0)
