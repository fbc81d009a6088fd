from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays, read_arrays


def numbered(count: int, side: int = 4, channels: int = 0) -> np.ndarray:
    """(count, side, side[, channels]) uint8: every image is its own number."""
    x = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, side, side))
    return x if not channels else np.repeat(x[..., None], channels, -1)


def test_an_epoch_has_full_batches_and_every_sample_at_most_once():
    data = Arrays(numbered(23), np.arange(23) % 5)
    batches = list(data.epoch(4, generator(0)))
    assert len(batches) == data.steps(4) == 5 and len(data) == 23
    ids = torch.cat([b["id"] for b in batches])
    assert len(set(ids.tolist())) == 20 and ids.tolist() != sorted(ids.tolist())
    for b in batches:
        assert b.keys() == data.provides and b["image"].shape == (4, 1, 4, 4)
        assert b["image"].dtype == torch.float32 and b["id"].dtype == b["label"].dtype == torch.int64
        torch.testing.assert_close(b["image"][:, 0, 0, 0], b["id"] / 255)
        assert torch.equal(b["label"], b["id"] % 5)
    again, other = (torch.cat([b["id"] for b in data.epoch(4, generator(s))]) for s in (0, 1))
    assert torch.equal(ids, again) and not torch.equal(ids, other)


def test_parts_are_all_samples_in_order():
    batches = list(Arrays(numbered(10)).parts(4))
    assert [b["id"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all("label" not in b for b in batches)
    torch.testing.assert_close(batches[2]["image"][:, 0, 0, 0], torch.tensor([8, 9]) / 255)


def test_a_subset_is_numbered_anew_and_keeps_labels_groups_and_classes():
    data = Arrays(numbered(6), [0, 1, 2, 0, 1, 2], ("a", "b", "c"), group=["p", "p", "q", "q", "r", "r"])
    some = data.subset(torch.tensor([5, 2]))
    (batch,) = some.parts(9)
    assert batch["id"].tolist() == [0, 1] and batch["label"].tolist() == [2, 2]
    assert (batch["image"][:, 0, 0, 0] * 255).tolist() == [5, 2] and some.classes == ("a", "b", "c")
    assert data.group.tolist() == [0, 0, 1, 1, 2, 2] and len(set(some.group.tolist())) == 2


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.arange(5), "expected 6 labels, one for each image, found 5"),
        (np.zeros(6), "expected labels that are whole numbers, found float64"),
        (list("abcdef"), "expected labels that are whole numbers, found <U1"),
        (np.zeros((6, 14), int), r"expected one label for each image, found labels of shape \(6, 14\)"),
        (np.arange(6) - 1, "expected labels from 0 to below 65536, found -1"),
        (np.arange(6) + 10**6, "found 1000005"),
    ],
)
def test_wrong_labels_are_refused_in_a_sentence(label, said):
    with pytest.raises(InputError, match="^my data: .*" + said):
        Arrays(numbered(6), label, name="my data")


def test_one_class_and_named_classes_are_fine_and_too_few_names_are_not():
    assert Arrays(numbered(3), [0, 0, 0]).classes == ("0",)
    assert Arrays(numbered(3), np.array([[2], [0], [1]], np.uint8)).classes == ("0", "1", "2")
    assert Arrays(numbered(3)).classes == () and Arrays(numbered(3)).label is None
    with pytest.raises(InputError, match="expected names for 3 classes, found 2"):
        Arrays(numbered(3), [0, 1, 2], ("a", "b"))
    with pytest.raises(InputError, match="expected 3 groups"):
        Arrays(numbered(3), group=[1, 2])


FORMS = {
    "plain": ("{}", {"": 12}, "image", "label"),
    "keras": ("{}_{}", {"train": 8, "test": 4}, "x", "y"),
    "medmnist": ("{1}_{0}", {"train": 6, "val": 4, "test": 5}, "images", "labels"),
}


@pytest.mark.parametrize("form", FORMS)
def test_npz_files_are_read_by_the_names_of_their_entries(form, tmp_path):
    pattern, counts, image, label = FORMS[form]
    entries, start = {}, 0
    for part, count in counts.items():
        entries[pattern.format(image, part)] = numbered(30, channels=3)[start : start + count]
        entries[pattern.format(label, part)] = np.arange(start, start + count, dtype=np.uint8)[:, None]
        start += count
    np.savez(tmp_path / "a.npz", other=np.zeros(3), **entries)
    whole = read_arrays(tmp_path / "a.npz")
    assert whole.image[:, 0, 0, 0].tolist() == whole.label.tolist() == list(range(start))
    assert (whole.part is None) == (form == "plain")
    for part, count in counts.items():
        if part:
            assert len(read_arrays(tmp_path / "a.npz", part)) == count
    if form == "plain":
        assert len(read_arrays(tmp_path / "a.npz", "train")) == 12  # without parts, all is to train on
        with pytest.raises(InputError, match="expected a part 'test', found no parts"):
            read_arrays(tmp_path / "a.npz", "test")
    if form == "keras":
        assert read_arrays(tmp_path / "a.npz", "test").label.tolist() == [8, 9, 10, 11]
        with pytest.raises(InputError, match="expected a part 'val', found train, test"):
            read_arrays(tmp_path / "a.npz", "val")
    with pytest.raises(InputError, match="unknown part 'trian': did you mean train"):
        read_arrays(tmp_path / "a.npz", "trian")


def test_npy_files_sizes_channels_groups_and_names(tmp_path):
    np.save(tmp_path / "a.npy", numbered(5, 6))
    assert read_arrays(tmp_path / "a.npy", size=3, channels=3).image.shape == (5, 3, 3, 3)
    names, patient = np.array(["cat", "dog"]), np.array(["b", "b", "a"])
    np.savez(tmp_path / "b.npz", X=numbered(3), Y=np.array([0, 1, 1]), classes=names, patient=patient)
    data = read_arrays(tmp_path / "b.npz")
    assert data.classes == ("cat", "dog") and data.group.tolist() == [1, 1, 0]


def test_files_that_cannot_be_used_are_named(tmp_path):
    def fails(content: bytes | None, said: str) -> None:
        path = tmp_path / "bad.npz"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"bad\.npz: .*{said}"):
            read_arrays(path)

    buffer = io.BytesIO()
    np.savez(buffer, z=np.zeros((3, 2)))
    fails(None, "found nothing there")
    fails(buffer.getvalue(), "expected images under a name such as image.*found z")
    fails(buffer.getvalue()[:60], "expected plain arrays")
    fails(b"", "expected plain arrays")
    fails(b"hello", "expected plain arrays, found pickled objects")
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}, 3], dtype=object))
    fails(buffer.getvalue(), "expected plain arrays, found pickled objects, which are never opened")
    buffer = io.BytesIO()
    np.savez(buffer, x=numbered(3), y=np.arange(2))
    fails(buffer.getvalue(), "expected 3 labels, one for each image, found 2")
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00 cut off")
    fails(buffer.getvalue(), "expected plain arrays")


def test_parts_must_fit_one_another(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=numbered(4), y_train=np.arange(4), x_test=numbered(2))
    with pytest.raises(InputError, match="expected labels in all parts or in none, found them in 1"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x_train=numbered(4), x_test=numbered(2, 5))
    with pytest.raises(InputError, match=r"expected images of one shape in all parts.*give a size"):
        read_arrays(tmp_path / "b.npz")
    assert read_arrays(tmp_path / "b.npz", size=4).part.tolist() == [0, 0, 0, 0, 2, 2]
