"""An epoch begun in its middle: its batches are those of the whole one, what is passed over is not read."""

from __future__ import annotations

import importlib.util
import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.data import folder, shards
from counterpoint.data.aligned import AlignedPatches
from counterpoint.data.arrays import Arrays
from counterpoint.data.folder import Files
from counterpoint.data.grouped import ByGroup
from counterpoint.data.inflation import Inflated
from counterpoint.data.open import open_data
from counterpoint.data.raster import write_png
from counterpoint.data.shards import Shards
from counterpoint.data.synthesis import Synthesis

COUNT, SIZE = 23, 4
VALUES = torch.arange(COUNT, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 5, 5)


def files(path: Path) -> list[Path]:
    path.mkdir()
    for i in range(COUNT):
        write_png(path / f"{i:02}.png", np.full((5, 5), i, np.uint8))
    return sorted(path.iterdir())


def archives(path: Path, bad: int | None = None, **how) -> Shards:
    """Two tar files; of one sample the image may be cut short."""
    for name, some in (("a", slice(0, 10)), ("b", slice(10, None))):
        with tarfile.open(path / f"{name}.tar", "w") as tar:
            for file in files(path / name)[some]:
                content = file.read_bytes()[: 50 if file.stem == f"{bad}" else None]
                info = tarfile.TarInfo(file.name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                file.unlink()
    found = open_data(f"{path}/a.tar", **how), open_data(f"{path}/b.tar", **how)
    assert [len(f) for f in found] == [10, 13]
    (path / "set").mkdir()
    for name in "ab":
        (path / f"{name}.tar").rename(path / "set" / f"{name}.tar")
    return open_data(path / "set", **how)


def table(path: Path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    images = [file.read_bytes() for file in files(path / "p")]
    parquet.write_table(pyarrow.table({"image": images}), path / "a.parquet", row_group_size=6)
    return open_data(path / "a.parquet")


def kinds(name: str, path: Path):
    image, flat = np.random.default_rng(0).random((40, 50, 1), np.float32), Arrays(VALUES)
    grouped = Arrays(VALUES, group=torch.arange(COUNT) % 5)
    return {
        "arrays": lambda: flat,
        "files": lambda: Files(files(path / "f")),
        "tar": lambda: archives(path),
        "tar, one damaged": lambda: archives(path, bad=17, on_error="skip"),
        "parquet": lambda: table(path),
        "grouped": lambda: ByGroup(grouped),
        "aligned": lambda: AlignedPatches([(image, image)], side=9, length=COUNT),
        "drawn": lambda: Synthesis(16, COUNT, photographs=()),
        "inflated": lambda: Inflated(Arrays(VALUES[:6]), flat, times=3),
        "inflated groups": lambda: Inflated(ByGroup(grouped), flat, times=2),
        "inflated files": lambda: Inflated(Files(files(path / "f")), archives(path), times=2),
    }[name]()


NAMES = ("arrays", "files", "tar", "tar, one damaged", "parquet", "grouped", "aligned", "drawn", "inflated",
         "inflated groups", "inflated files")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_begun_in_its_middle_goes_on_as_the_whole_one_does(name, tmp_path, monkeypatch):
    for module in (folder, shards):
        monkeypatch.setattr(module, "MEMORY", 300)  # some images are held, and some are not
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*1 sample skipped")
        data = kinds(name, tmp_path)
        whole = list(data.epoch(SIZE, generator(1)))
        assert len(whole) == data.steps(SIZE) >= 5
        for start in (0, 1, 3, len(whole) - 1, len(whole), len(whole) + 1):
            rest = list(data.epoch(SIZE, generator(1), start))
            assert len(rest) == max(0, len(whole) - start)
            for a, b in zip(whole[start:], rest, strict=True):
                assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", ["files", "tar", "parquet"])
def test_what_is_passed_over_is_not_decoded(name, tmp_path, monkeypatch):
    for module in (folder, shards):
        monkeypatch.setattr(module, "MEMORY", 0)
    data = kinds(name, tmp_path)
    decoded = []
    for module, reader in ((folder, "read_image"), (shards, "decode_image")):
        read = getattr(module, reader)
        monkeypatch.setattr(module, reader, lambda *a, read=read: decoded.append(a[-1]) or read(*a))
    steps = data.steps(SIZE)
    for start in (0, 3, steps):
        decoded.clear()
        assert len(list(data.epoch(SIZE, generator(1), start))) == steps - start
        assert len(decoded) == (steps - start) * SIZE
