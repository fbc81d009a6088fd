"""What every viewer must do, asked of whatever stands in the room of views.

A viewer is a class whose instances are called as ``(batch, rng)``. ``GIVEN`` says with what it is made, by
the name of the parameter; a viewer that must be told something else adds it there, as it adds to ``ENTRIES``
the kind of entry it reads. All entries show the same scenes.
"""

from __future__ import annotations

import importlib
import inspect
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from counterpoint.core.config import names
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch, Viewer
from counterpoint.views.image import Crops, MultiCrop

GIVEN = {
    "roles": ("fixed", "moving"),
    "keys": ("image", "fixed"),
    "size": 24,
    "crops": (
        Crops(size=24, count=2, area=(0.5, 1.0), gray=0.5, blur=0.2),
        Crops(size=16, area=(0.3, 0.6), strength=1.0, role="local"),
    ),
    "viewers": (
        MultiCrop((Crops(size=24, count=2),)),
        MultiCrop((Crops(size=16, area=(0.5, 1.0)),), "fixed"),
    ),
}
ENTRIES = {
    "image": lambda scene: torch.cat([scene, scene.sqrt(), scene.square()], 1),
    "fixed": lambda scene: scene,
    "moving": lambda scene: (1 - scene).square(),
}


def viewers() -> dict[str, type]:
    """All classes of the room that are called as ``(batch, rng)``."""
    found = {}
    for path in names("counterpoint.views").values():
        for name, value in vars(importlib.import_module(path)).items():
            own = inspect.isclass(value) and value.__module__ == path
            if own and list(inspect.signature(value.__call__).parameters)[1:] == ["batch", "rng"]:
                found[name] = value
    return found


@pytest.fixture(params=sorted(viewers()))
def viewer(request) -> Viewer:
    kind = viewers()[request.param]
    known = [p for p in inspect.signature(kind).parameters.values() if p.name in GIVEN]
    several = [GIVEN[p.name] for p in known if p.kind is p.VAR_POSITIONAL]
    named = {p.name: GIVEN[p.name] for p in known if p.kind is not p.VAR_POSITIONAL}
    return kind(*(value for values in several for value in values), **named)


@pytest.fixture
def batch(viewer) -> Batch:
    side = getattr(viewer, "tile", 36)
    y, x = torch.meshgrid(torch.arange(side) / 36, torch.arange(side) / 36, indexing="ij")
    k, phase = 8 * torch.rand(12, 2, 1, 1, generator=generator(4)) + 2, torch.arange(12.0).view(-1, 1, 1)
    scene = (0.5 + 0.5 * (k[:, 0] * x + phase).sin() * (k[:, 1] * y + 2 * phase).cos())[:, None]
    ids = torch.randperm(100, generator=generator(5))[:12]
    return {name: entry(scene) for name, entry in ENTRIES.items()} | {"id": ids}


def test_there_are_viewers_and_each_can_be_made():
    assert {"MultiCrop", "AsIs", "TurnedPatches"} <= viewers().keys()


def test_ids_are_kept_and_all_is_finite(viewer, batch):
    for view in viewer(batch, generator(0)):
        assert torch.equal(view.ids, batch["id"]) and len(view.x) == 12
        assert view.x.isfinite().all() and view.role


def test_the_generator_decides_everything_and_nothing_else_is_moved(viewer, batch):
    before, state = {k: v.clone() for k, v in batch.items()}, torch.get_rng_state()
    one, again = viewer(batch, generator(0)), viewer(batch, generator(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(batch[k], v) for k, v in before.items())
    for view, twin in zip(one, again, strict=True):
        assert torch.equal(view.x, twin.x) and view.role == twin.role
        marks = torch.rand(12, 2, 6, 6, generator=generator(1))
        assert torch.equal(view.undo(marks).nan_to_num(7), twin.undo(marks).nan_to_num(7))


def test_what_is_drawn_is_new_at_every_call_and_for_every_sample(viewer, batch):
    alike = {k: v[:1].expand_as(v) if k != "id" else v for k, v in batch.items()}
    rng = generator(0)
    one, other = viewer(alike, rng), viewer(alike, rng)
    if all(view.x is alike.get(view.role) for view in one):
        return  # it draws nothing
    for view, later in zip(one, other, strict=True):
        assert not torch.equal(view.x, later.x)
        assert len(torch.unique(view.x.flatten(1), dim=0)) > 6


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """(B,): how well gray versions of two maps, on one frame, agree where both see: |correlation|."""
    a, b = (x.mean(1, keepdim=True) for x in (a, b))
    a = interpolate(a, b.shape[-2:], mode="nearest-exact")
    seen = a.isfinite() & b.isfinite()
    count = seen.sum((1, 2, 3), keepdim=True).clamp(min=1)
    a, b = (torch.where(seen, x, 0) for x in (a, b))
    a, b = (torch.where(seen, x - x.sum((1, 2, 3), keepdim=True) / count, 0) for x in (a, b))
    return ((a * b).sum((1, 2, 3)) / (a.square().sum((1, 2, 3)) * b.square().sum((1, 2, 3))).sqrt()).abs()


def test_undone_all_views_of_a_sample_lie_on_one_another(viewer, batch):
    views = viewer(batch, generator(0))
    undone = torch.cat([likeness(a.undo(a.x), b.undo(b.x)) for a, b in combinations(views, 2)])
    left = torch.cat([likeness(a.x, b.x) for a, b in combinations(views, 2)])
    assert undone.nanmedian() > 0.9 and undone.nanquantile(0.1) > 0.6
    assert left.nanmedian() < 0.8 or all(view.x is batch.get(view.role) for view in views)
