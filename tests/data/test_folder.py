from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data import folder as module
from counterpoint.data.folder import Files, read_folder
from counterpoint.data.raster import write_png


def write(path, value: int, shape: tuple[int, ...] = (6, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full(shape, value, np.uint8))


@pytest.fixture
def place(tmp_path):
    """Three classes of 4, 5 and 6 images whose value is 10·class + number."""
    for c, name in enumerate(("ant", "bee", "cow")):
        for i in range(4 + c):
            write(tmp_path / name / ("deep/" * (i == 3)) / f"{i}.png", 10 * c + i)
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / "bee" / ".thumb.png", 99)
    return tmp_path


def values(batches) -> list[int]:
    return [round(float(v) * 255) for b in batches for v in b["image"][:, 0, 0, 0]]


def test_subfolders_are_classes(place):
    data = read_folder(place)
    assert data.classes == ("ant", "bee", "cow") and len(data) == 15
    batches = list(data.parts(4))
    assert [len(b["id"]) for b in batches] == [4, 4, 4, 3]
    assert batches[0]["image"].shape == (4, 1, 6, 6) and batches[0]["image"].dtype == torch.float32
    found = dict(zip(values(batches), torch.cat([b["label"] for b in batches]).tolist(), strict=True))
    assert found == {10 * c + i: c for c in range(3) for i in range(4 + c)}


@pytest.mark.parametrize("memory", [2**30, 200, 0])
def test_order_and_content_do_not_depend_on_the_number_of_threads(place, monkeypatch, memory):
    monkeypatch.setattr(module, "MEMORY", memory)
    epochs = []
    for workers in (0, 1, 5):
        data = read_folder(place, workers=workers)
        assert len(data._held) == min(15, memory // 36)
        epochs.append(list(data.epoch(4, generator(3))))
        assert len(epochs[-1]) == data.steps(4) == 3
    for other in epochs[1:]:
        for a, b in zip(epochs[0], other, strict=True):
            assert all(torch.equal(a[k], b[k]) for k in ("image", "id", "label"))
    ids = torch.cat([b["id"] for b in epochs[0]])
    assert len(set(ids.tolist())) == 12 and ids.tolist() != sorted(ids.tolist())
    ordered = values(read_folder(place).parts(15))
    assert values(epochs[0]) == [ordered[i] for i in ids.tolist()]


def test_a_damaged_file_stops_the_opening_or_is_named_counted_and_skipped(place, monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 0)
    whole = (place / "bee" / "1.png").read_bytes()
    (place / "bee" / "1.png").write_bytes(whole[:40])
    (place / "cow" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"bee.1\.png: expected a whole PNG image"):
        read_folder(place)
    with pytest.warns(UserWarning, match=r"2 of 15 files skipped, first .*bee.1\.png"):
        data = read_folder(place, on_error="skip")
    assert len(data) == len(data.label) == 13 and len(data.skipped) == 2 and "2.png" in data.skipped[1]
    assert not {11, 22} & set(values(data.parts(5)))
    labels = torch.cat([b["label"] for b in data.parts(5)]).tolist()
    assert labels == [v // 10 for v in values(data.parts(5))]
    with pytest.raises(InputError, match="unknown value of on_error 'ignore'"):
        read_folder(place, on_error="ignore")


def test_nothing_that_can_be_read_is_an_error_even_when_skipping(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(InputError, match="expected images, found none of 2 that can be read"):
        read_folder(tmp_path, on_error="skip")


def test_mixed_sizes_say_so_and_a_size_makes_them_alike(place):
    write(place / "bee" / "9.png", 50, (8, 12))
    with pytest.raises(
        InputError,
        match=r"9\.png: expected 6 × 6 pixels of 1 channel, as .*0\.png has, found 12 × 8 .*give a size",
    ):
        read_folder(place)
    data = read_folder(place, size=5)
    assert next(data.parts(99))["image"].shape == (16, 1, 5, 5)


def test_gray_among_color_says_so_and_channels_convert(place):
    write(place / "bee" / "9.png", 50, (6, 6, 3))
    with pytest.raises(
        InputError, match=r"9\.png: .*found 6 × 6 pixels of 3 channels; give channels \(1 or 3\)"
    ):
        read_folder(place)
    assert next(read_folder(place, channels=3).parts(99))["image"].shape == (16, 3, 6, 6)
    assert 50 in values(read_folder(place, channels=1).parts(99))


def test_a_folder_without_subfolders_has_no_labels(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    data = read_folder(tmp_path)
    assert data.label is None and data.classes == () and values(data.parts(2)) == [0, 1, 2]
    assert data.provides == {"image", "id"} == next(data.parts(2)).keys()


def test_one_class_only_is_fine(tmp_path):
    write(tmp_path / "only" / "1.png", 3)
    assert read_folder(tmp_path).classes == ("only",)


def test_parts_are_folders_of_class_folders(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for c in ("a", "b"):
            for i in range(count):
                write(tmp_path / part / c / f"{i}.png", i + 100 * (part == "test"))
    assert len(read_folder(tmp_path, "train")) == 6 and values(read_folder(tmp_path, "test").parts(9)) == [
        100, 101, 100, 101,
    ]  # fmt: skip
    both = read_folder(tmp_path)
    assert both.part.tolist() == [0] * 6 + [2] * 4 and both.classes == ("a", "b")
    with pytest.raises(InputError, match="expected a part 'val', found train, test"):
        read_folder(tmp_path, "val")


def test_folders_that_cannot_be_used_are_refused_in_a_sentence(place):
    with pytest.raises(InputError, match="expected a folder of images, found nothing there"):
        read_folder(place / "none")
    (place / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected images of a class, found none in it"):
        read_folder(place)
    with pytest.raises(InputError, match=r"empty: expected images, found none in it"):
        read_folder(place / "empty")
    write(place / "beside.png", 0)
    with pytest.raises(InputError, match=r"found both, for example beside\.png"):
        read_folder(place)


def test_files_refuse_labels_that_do_not_fit_and_a_file_that_changed(place, monkeypatch):
    files = sorted(place.rglob("ant/*.png"))
    with pytest.raises(InputError, match="expected 3 labels, one for each image, found 2"):
        Files(files, [0, 1])
    monkeypatch.setattr(module, "MEMORY", 0)
    data = Files(files)
    write(files[1], 0, (9, 9))
    with pytest.raises(InputError, match=r"1\.png: expected the 6 × 6 pixels of 1 channel it had before"):
        list(data.parts(2))
    files[1].unlink()
    with pytest.raises(InputError, match=r"1\.png: expected an image file, found nothing there"):
        list(data.parts(2))


def test_other_types_are_stretched_and_a_subset_reads_its_own(tmp_path):
    for i in range(4):
        array = np.linspace(1000 * i, 1000 * i + 400, 36).reshape(6, 6).astype(np.uint16)
        write_png(tmp_path / f"{i}.png", array)
    data = Files([tmp_path / f"{i}.png" for i in range(4)], [0, 1, 2, 3], group=list("abca"))
    image = next(data.parts(9))["image"]
    assert image.min() == 0 and image.max() == 1
    some = data.subset(torch.tensor([3, 1]))
    assert [f.name for f in some.files] == ["3.png", "1.png"] and some.group.tolist() == [0, 1]
    assert next(some.parts(9))["label"].tolist() == [3, 1] and len(data) == 4


def test_who_stops_in_the_middle_of_an_epoch_leaves_no_threads(place, monkeypatch):
    import threading

    monkeypatch.setattr(module, "MEMORY", 0)
    before = threading.active_count()
    batches = read_folder(place, workers=3).parts(2)
    next(batches)
    batches.close()
    del batches
    assert threading.active_count() == before
