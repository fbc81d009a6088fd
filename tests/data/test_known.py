from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.data.known import known, read_cifar, read_idx, read_mnist


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, *, dot: bool = False, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", 6), ("t10k", 3)):
        x = np.arange(count * 12, dtype=np.uint8).reshape(count, 4, 3)
        y = np.arange(count, dtype=np.uint8)
        for what, array in (("images", x), ("labels", y)):
            name = f"{prefix}-{what}{'.' if dot else '-'}idx{array.ndim}-ubyte"
            content = idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dot", [True, False])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_mnist_is_read_as_it_lies_on_disk(tmp_path, below, dot, packed):
    write_mnist(tmp_path / below, dot=dot, packed=packed)
    assert known(tmp_path) is read_mnist
    train, test, both = (read_mnist(tmp_path, p) for p in ("train", "test", None))
    assert train.image.shape == (6, 1, 4, 3) and train.label.tolist() == [0, 1, 2, 3, 4, 5]
    assert test.image.flatten().tolist() == list(range(36)) and len(both) == 9
    assert both.part.tolist() == [0] * 6 + [2] * 3
    with pytest.raises(InputError, match="expected a part 'val', found train, test"):
        read_mnist(tmp_path, "val")


def test_packed_and_unpacked_side_by_side_are_one_set(tmp_path):
    write_mnist(tmp_path, packed=True)
    write_mnist(tmp_path, packed=False)
    assert len(read_mnist(tmp_path, "train")) == 6
    for name in ("images-idx3", "labels-idx1"):
        (tmp_path / f"emnist-letters-train-{name}-ubyte").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected one set, found emnist.*keep one"):
        read_mnist(tmp_path, "train")


def test_damaged_idx_files_are_named(tmp_path):
    path, whole = tmp_path / "x", idx(np.zeros((2, 3), np.uint8))
    for content, said in (
        (whole[:-1], "expected 6 bytes for 2 × 3, found 5"),
        (whole + b"0", "expected 6 bytes for 2 × 3, found 7"),
        (whole[:7], "expected an idx file of unsigned bytes"),
        (b"", "expected an idx file of unsigned bytes"),
        (b"\0\0\x0d\x01" + whole[4:], "expected an idx file of unsigned bytes"),
        (gzip.compress(whole)[:-9], "expected a file that can be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_idx(path)
    write_mnist(tmp_path / "m")
    (tmp_path / "m" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: expected the labels of train-images"):
        read_mnist(tmp_path / "m", "train")
    with pytest.raises(InputError, match=r"expected files such as .*found none"):
        read_mnist(tmp_path)


def records(count: int, before: int, start: int = 0) -> bytes:
    """CIFAR records: a (coarse and fine) label, then red, green and blue planes of 10, 20, 30 + the label."""
    out = b""
    for i in range(start, start + count):
        planes = np.repeat(np.array([10, 20, 30], np.uint8) + i, 1024)
        out += bytes([99, i][-before:]) + planes.tobytes()
    return out


def test_cifar_10_is_read_in_its_binary_version(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for batch in range(1, 6):
        (folder / f"data_batch_{batch}.bin").write_bytes(records(2, 1, 2 * batch - 2))
    (folder / "test_batch.bin").write_bytes(records(3, 1))
    (folder / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n")
    for place in (tmp_path, folder):
        assert known(place) is read_cifar
        train = read_cifar(place, "train")
        assert train.image.shape == (10, 3, 32, 32) and train.label.tolist() == list(range(10))
        assert train.image[4, :, 5, 6].tolist() == [14, 24, 34] and train.classes[9] == "class9"
    assert len(read_cifar(tmp_path)) == 13 and len(read_cifar(tmp_path, "test")) == 3
    (folder / "test_batch.bin").write_bytes(records(3, 1)[:-5])
    with pytest.raises(InputError, match=r"test_batch.bin: expected whole records of 3073 bytes, found 9214"):
        read_cifar(tmp_path, "test")


def test_cifar_100_has_fine_labels(tmp_path):
    (tmp_path / "train.bin").write_bytes(records(4, 2))
    (tmp_path / "test.bin").write_bytes(records(2, 2))
    train = read_cifar(tmp_path, "train")
    assert train.label.tolist() == [0, 1, 2, 3] and train.image[3, :, 0, 0].tolist() == [13, 23, 33]


def test_the_pickled_version_is_refused_and_other_folders_are_none_of_ours(tmp_path):
    assert known(tmp_path) is None
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}")
    with pytest.raises(InputError, match=r"expected the binary version of CIFAR.*pickled and never opened"):
        known(tmp_path)
