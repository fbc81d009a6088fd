from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data import parquet as module
from counterpoint.data.open import open_data
from counterpoint.data.raster import write_png


def test_without_pyarrow_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r'expects pyarrow, found none; pip install "counter.*parquet'):
        open_data(tmp_path / "a.parquet")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
class TestParquet:
    @staticmethod
    def pictures(folder: Path, values) -> list[bytes]:
        found = []
        for v in values:
            write_png(folder / "one.png", np.full((6, 6), v, np.uint8))
            found.append((folder / "one.png").read_bytes())
        (folder / "one.png").unlink()
        return found

    def write(self, path: Path, values, columns=None, group: int = 4, **about):
        import pyarrow
        import pyarrow.parquet

        images = self.pictures(path.parent, values)
        made = {"image": [{"bytes": i, "path": None} for i in images], "label": [v % 3 for v in values]}
        table = pyarrow.table(made if columns is None else columns(images, values))
        pyarrow.parquet.write_table(table.replace_schema_metadata(about or None), path, row_group_size=group)
        return path

    @staticmethod
    def values(batches) -> list[int]:
        return [round(float(v) * 255) for b in batches for v in b["image"][:, 0, 0, 0]]

    @pytest.mark.parametrize("memory", [2**30, 200, 0])
    def test_row_groups_are_pieces_of_data_like_others(self, tmp_path, monkeypatch, memory):
        monkeypatch.setattr("counterpoint.data.shards.MEMORY", memory)
        monkeypatch.setattr("counterpoint.data.shards.BUFFER", 5)
        monkeypatch.setattr(module, "ROWS", 3)
        self.write(tmp_path / "a-0.parquet", range(10))
        self.write(tmp_path / "a-1.parquet", range(10, 17))
        data = open_data(tmp_path)
        assert len(data) == 17 and len(data._pieces) == 5
        assert self.values(data.parts(4)) == list(range(17))
        assert data.label.tolist() == [v % 3 for v in range(17)]
        epochs = [list(open_data(tmp_path, workers=w).epoch(4, generator(2))) for w in (0, 4)]
        epochs += [list(data.epoch(4, generator(2))) for _ in range(2)]
        ids = [i for b in epochs[0] for i in b["id"].tolist()]
        assert self.values(epochs[0]) == ids != sorted(ids) and len(set(ids)) == 16
        for other in epochs[1:]:
            assert all(torch.equal(a[k], b[k]) for a, b in zip(epochs[0], other, strict=True) for k in a)
        assert self.values(data.subset(torch.tensor([1, 5, 16])).parts(9)) == [1, 5, 16]

    def test_plain_bytes_names_of_classes_and_groups(self, tmp_path):
        named = {"info": {"features": {"label": {"names": ["ant", "bee", "cow"]}}}}
        self.write(tmp_path / "a.parquet", range(5), huggingface=json.dumps(named))
        assert open_data(tmp_path / "a.parquet").classes == ("ant", "bee", "cow")
        self.write(tmp_path / "b.parquet", range(4), lambda images, values: {
            "PNG": images, "Class": ["x", "y", "x", "y"], "patient": [1, 1, 2, 2]})  # fmt: skip
        data = open_data(tmp_path / "b.parquet")
        assert data.classes == ("x", "y") and data.label.tolist() == [0, 1, 0, 1]
        assert data.group.tolist() == [0, 0, 1, 1]
        self.write(tmp_path / "c.parquet", range(2), lambda images, values: {"image": images})
        assert open_data(tmp_path / "c.parquet").provides == {"image", "id"}

    def test_a_row_without_a_whole_image_is_named(self, tmp_path):
        self.write(tmp_path / "a.parquet", range(6), lambda images, values: {
            "image": [*images[:4], None, images[5][:50]], "label": values})  # fmt: skip
        with pytest.raises(InputError, match=r"a\.parquet, row group 1, row 0: expected an image file in"):
            list(open_data(tmp_path / "a.parquet").parts(9))
        with pytest.warns(UserWarning, match="skipped") as said:
            data = open_data(tmp_path / "a.parquet", on_error="skip")
            assert self.values(data.parts(9)) == [0, 1, 2, 3]
        assert "2 samples skipped" in str(said[0].message)
        assert "row 1: expected a whole PNG" in data.skipped[1]

    def test_files_that_cannot_be_used_are_refused_in_a_sentence(self, tmp_path, monkeypatch):
        whole = self.write(tmp_path / "a.parquet", range(8)).read_bytes()
        (tmp_path / "b.parquet").write_bytes(whole[:-30])
        with pytest.raises(InputError, match=r"b\.parquet: expected a Parquet file, found"):
            open_data(tmp_path / "b.parquet")
        self.write(tmp_path / "c.parquet", range(2), lambda images, values: {"image": values, "x": values})
        with pytest.raises(InputError, match=r"a column of image files .*found image \(int64\), x \(int64\)"):
            open_data(tmp_path / "c.parquet")
        monkeypatch.setattr(module, "MOST_GROUP", 100)
        with pytest.raises(InputError, match="row groups of at most 100 bytes, found one of"):
            open_data(tmp_path / "a.parquet")

    def test_damage_within_a_row_group_is_a_sentence(self, tmp_path):
        data = bytearray(self.write(tmp_path / "a.parquet", range(8), group=8).read_bytes())
        data[8:60] = bytes(52)
        (tmp_path / "a.parquet").write_bytes(data)
        with pytest.raises(InputError, match=r"a\.parquet"):
            list(open_data(tmp_path / "a.parquet").parts(9))

    def test_a_header_of_more_rows_than_there_can_be_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "MOST_ROWS", 10)
        columns = {"image": [b"x"] * 10_000}
        self.write(tmp_path / "a.parquet", [0], lambda *_: columns, group=10_000)
        assert (tmp_path / "a.parquet").stat().st_size < 10_000
        with pytest.raises(
            InputError, match=r"a\.parquet: expected a Parquet file, found: a header of 10000"
        ):
            open_data(tmp_path / "a.parquet")

    def test_damage_in_the_footer_never_ends_the_process(self, tmp_path):
        """As it would where statistics that do not fit are read by what does not catch it."""
        self.write(tmp_path / "a.parquet", range(3))
        script = [sys.executable, "-c", FOOTERS, str(tmp_path / "a.parquet")]
        done = subprocess.run(script, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert 0 < int(done.stdout) < 1000


FOOTERS = """
import sys
from contextlib import suppress
from pathlib import Path
from counterpoint.core.errors import InputError
from counterpoint.data.parquet import list_parquet
path = Path(sys.argv[1])
whole = path.read_bytes()
footer = int.from_bytes(whole[-8:-4], "little")
read = 0
for at in range(len(whole) - 8 - footer, len(whole) - 8, 2):
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 3]) + whole[at + 1 :])
    with suppress(InputError):
        read += len(list_parquet(path)) > 0
print(read)
"""
