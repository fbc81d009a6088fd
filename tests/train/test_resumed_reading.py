"""A run that is resumed in the middle of an epoch reads what it needs, and nothing before."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from counterpoint.data import shards
from counterpoint.data.open import open_data
from counterpoint.data.raster import write_png
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.monitor import MonitorConfig
from counterpoint.views.presets import SimCLRCrops

COUNT, BATCH = 26, 4


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(0)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(COUNT):
            write_png(tmp_path / "one.png", rng.integers(0, 255, (8, 8), np.uint8))
            content = (tmp_path / "one.png").read_bytes()
            info = tarfile.TarInfo(f"{i:03}.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return tmp_path / "a.tar"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_that_were_used_are_not_decoded_again(archive, tmp_path, monkeypatch, accumulate):
    """Six batches an epoch, two epochs; stopped where the second has two of them behind it."""
    monkeypatch.setattr(shards, "MEMORY", 0)
    decoded, decode = [], shards.decode_image
    monkeypatch.setattr(shards, "decode_image", lambda *a: decoded.append(1) or decode(*a))
    config = TrainConfig(
        epochs=2, batch=BATCH, accumulate=accumulate, save_every=8 // accumulate, device="cpu",
        monitor=MonitorConfig(every=0),
    )  # fmt: skip
    settings = SimCLR.Config(
        encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=4, views=SimCLRCrops(size=8)
    )

    def train(folder: str, stop: int = 0) -> int:
        def report(at, line) -> None:
            if at.step + 1 == stop:
                raise InterruptedError

        data = open_data(archive)
        decoded.clear()
        return fit(fresh(settings, 0), data, config, tmp_path / folder, report=report).resumed_from

    train("whole")
    assert len(decoded) == 2 * 6 * BATCH
    with pytest.raises(InterruptedError):
        train("broken", stop=8 // accumulate)
    assert train("broken") == 8 // accumulate
    assert len(decoded) == 4 * BATCH
    for name in ("networks.safetensors", "checkpoint.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
