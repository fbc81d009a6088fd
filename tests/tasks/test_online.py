from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from counterpoint.core.errors import WorkError
from counterpoint.core.types import Progress
from counterpoint.tasks.knn import KNN
from counterpoint.tasks.online import Online


@pytest.fixture
def probe(toys, tmp_path):
    data = toys.blobs(30, 3, 4, 0.1, 0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4)).train()

    def make():
        task = KNN.Config(k=3).build()
        return Online(task, lambda _: network, data, data, every=3, seed=0, file=tmp_path / "probe.jsonl")

    make.network = network
    return make


def lines(tmp_path) -> list[dict]:
    return [json.loads(text) for text in (tmp_path / "probe.jsonl").read_text().splitlines()]


def test_it_asks_every_so_often_and_at_the_end_and_moves_nothing(probe, tmp_path):
    before, state = {k: v.clone() for k, v in probe.network.state_dict().items()}, torch.get_rng_state()
    watch = probe()
    for step in range(8):
        watch(Progress(step, 8, step // 4, 2), {})
    assert [(line["step"], line["epoch"]) for line in lines(tmp_path)] == [(3, 0), (6, 1), (8, 1)]
    assert all(0 <= line["accuracy"] <= 1 for line in lines(tmp_path)) and watch.answers == lines(tmp_path)
    assert all(torch.equal(before[k], v) for k, v in probe.network.state_dict().items())
    assert probe.network.training and torch.equal(torch.get_rng_state(), state)


def test_a_resumed_run_has_the_lines_of_one_that_was_not(probe, tmp_path):
    watch = probe()
    for step in range(7):
        watch(Progress(step, 9, 0, 1), {})
    again = probe()  # from the checkpoint after 4 updates
    for step in range(4, 9):
        again(Progress(step, 9, 0, 1), {})
    assert [line["step"] for line in lines(tmp_path)] == [3, 6, 9]


def test_a_file_that_is_not_ours_is_no_answer_and_a_full_disk_is_said(probe, tmp_path, monkeypatch):
    (tmp_path / "probe.jsonl").write_text("[1]\n")
    watch = probe()
    watch(Progress(2, 9, 0, 1), {})
    assert [line["step"] for line in lines(tmp_path)] == [3]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("counterpoint.tasks.online.write_text", full)
    with pytest.raises(WorkError, match="No space left"):
        watch(Progress(5, 9, 0, 1), {})


def test_a_training_ends_with_the_same_bits(tmp_path):
    """In the loop itself, with the one method there is."""
    from counterpoint.core.networks import load_networks
    from counterpoint.data.aligned import AlignedPatches
    from counterpoint.encoders.unet import UNet
    from counterpoint.methods.registration.comir import CoMIR
    from counterpoint.tasks.geometry import Geometry
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh

    rng = torch.Generator().manual_seed(0)
    image = torch.rand(48, 48, 1, generator=rng).numpy()
    small = UNet.Config(widths=(2, 3), out=2)
    config = CoMIR.Config(size=16, fixed=small, moving=small)

    class Parts(AlignedPatches):
        def parts(self, size):
            yield from self.epoch(4, torch.Generator().manual_seed(0))

    def run(name: str, watched: bool) -> dict[str, torch.Tensor]:
        method = fresh(config, 0)
        data = Parts([(image, 1 - image)], side=method.views.tile, length=8)
        task = Geometry.Config(role="fixed", beside="moving").build()
        file = tmp_path / name / "probe.jsonl"
        watch = Online(task, method.network, data, data, every=1, seed=0, file=file) if watched else None
        fit(method, data, TrainConfig(steps=3, batch=4), tmp_path / name, report=watch, progress=False)
        assert not watched or len(file.read_text().splitlines()) == 3
        return load_networks(tmp_path / name)["fixed"].state_dict()

    plain, watched = run("plain", False), run("watched", True)
    assert all(torch.equal(plain[k], watched[k]) for k in plain)
