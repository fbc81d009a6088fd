from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.data.arrays import Arrays
from counterpoint.data.folder import Files
from counterpoint.data.open import open_data
from counterpoint.data.raster import write_png


def test_a_path_or_a_name_opens(tmp_path):
    x = np.zeros((4, 6, 6), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 0, 1])
    np.save(tmp_path / "a.npy", x)
    (tmp_path / "pictures").mkdir()
    write_png(tmp_path / "pictures" / "1.png", x[0])
    (tmp_path / "a.csv").write_text("file\npictures/1.png\n")
    (tmp_path / "cifar").mkdir()
    (tmp_path / "cifar" / "test_batch.bin").write_bytes(bytes(2 * 3073))
    expected = {"a.npz": 4, "a.npy": 4, "pictures": 1, "a.csv": 1, "cifar": 2}
    for name, count in expected.items():
        for source in (tmp_path / name, str(tmp_path / name)):
            data = open_data(source, size=5, channels=3)
            assert isinstance(data, Files if name in ("pictures", "a.csv") else Arrays) and len(data) == count
            assert next(data.parts(9))["image"].shape == (count, 3, 5, 5)
    assert open_data("digits", "test", size=10).image.shape == (355, 1, 10, 10)
    assert open_data("shapes", "test").image.shape == (300, 3, 32, 32)


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    write_png(tmp_path / "digits" / "1.png", np.zeros((4, 4), np.uint8))
    assert len(open_data("digits")) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("digit", "unknown data .* 'digit': did you mean digits"),
        ("zzz", "unknown data .* 'zzz': known are digits, shapes"),
        ("no/such/folder", "no/such/folder: expected data .*found nothing there"),
        ("none.npz", r"none\.npz: expected data .*found nothing there"),
        ("here.txt", r"here\.txt: expected a folder, \.npz, .* or \.parquet, found \.txt"),
        ("empty", "empty: expected images, found none in it"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_sentence(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        open_data(source)
