from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError, WorkError
from counterpoint.encoders.unet import UNet
from counterpoint.tasks.features import Embedded, coded, features, standardized, writer


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())


@pytest.fixture
def data(toys):
    return toys.blobs(10, 2, 4, 0.3, seed=0)


def test_batches_do_not_matter_and_nothing_is_moved(network, data):
    network[2].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    whole, small = features(network, data, 10), features(network, data, 3)
    torch.testing.assert_close(whole.z, small.z)
    assert whole.z.dtype == torch.float32 and whole.z.shape == (10, 3) and not whole.z.requires_grad
    assert torch.equal(small.id, torch.arange(10)) and torch.equal(small.label, data.entries["label"])
    assert network.training and not network[2].training and network[1].training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_layer_can_be_read_and_maps_are_averaged(toys, data):
    network = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Flatten())
    z = features(network, data, tap="1").z
    torch.testing.assert_close(z, network[:2](data.entries["image"]).mean((2, 3)))
    with pytest.raises(InputError, match="unknown tap"):
        features(network, data, tap="none")
    with pytest.raises(InputError, match=r"\(B, D\)"):
        features(nn.Unflatten(1, (2, 2)), data)


def test_data_that_do_not_fit_are_refused(toys, data):
    with pytest.raises(InputError, match="batches with image, found fixed, id"):
        features(toys.flat, toys.Table(torch.ones(2, 3), key="fixed"))
    with pytest.raises(InputError, match="at least one sample"):
        features(toys.flat, toys.Table(torch.ones(0, 3)))
    with pytest.raises(InputError, match="with 1 channels as the network takes, found 4"):
        features(UNet.Config().build(), data)
    with pytest.raises(WorkError, match="not finite"):
        features(toys.flat, toys.Table(torch.full((2, 3), float("nan"))))


class TestCache:
    def test_what_is_there_is_not_computed_again(self, network, data, tmp_path, monkeypatch):
        first = features(network, data, cache=tmp_path / "kept")
        monkeypatch.setattr(network, "forward", None)  # calling it would fail
        again = features(network, data, cache=tmp_path / "kept")
        assert all(torch.equal(getattr(first, n), getattr(again, n)) for n in ("z", "id", "label"))

    @pytest.mark.parametrize("what", ["weight", "image", "label", "tap"])
    def test_other_content_is_another_entry(self, network, data, tmp_path, what):
        features(network, data, cache=tmp_path)
        if what == "weight":
            network[1].weight.data[0, 0] += 1e-3
        elif what != "tap":
            data.entries[what][0] += 1
        fresh = features(network, data, tap="1" if what == "tap" else "")
        kept = features(network, data, tap="1" if what == "tap" else "", cache=tmp_path)
        assert torch.equal(fresh.z, kept.z) and torch.equal(fresh.label, kept.label)
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_damaged_entry_is_made_anew(self, network, data, tmp_path):
        first = features(network, data, cache=tmp_path)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:40])
        assert torch.equal(features(network, data, cache=tmp_path).z, first.z)
        assert file.stat().st_size > 40

    def test_many_writers_leave_one_whole_entry(self, network, data, tmp_path):
        network.eval()
        found = []
        writers = [
            threading.Thread(target=lambda: found.append(features(network, data, cache=tmp_path)))
            for _ in range(6)
        ]
        for each in writers:
            each.start()
        for each in writers:
            each.join()
        assert len(found) == 6 and len(list(tmp_path.iterdir())) == 1
        assert all(torch.equal(found[0].z, each.z) for each in found)


def test_labels_are_coded_by_the_classes_of_train():
    def rows(*label: int) -> Embedded:
        return Embedded(torch.zeros(len(label), 1), torch.arange(len(label)), torch.tensor(label))

    train, test, classes = coded(rows(7, 3, 7, 90), rows(90, 4, 3, 91, -5))
    assert (train.tolist(), test.tolist(), classes) == ([1, 0, 1, 2], [2, -1, 0, -1, -1], 3)
    with pytest.raises(InputError, match=r"two classes, found only \[3\]"):
        coded(rows(3, 3), rows(3))
    with pytest.raises(InputError, match="none in the test data"):
        coded(rows(1, 2), Embedded(torch.zeros(1, 1), torch.zeros(1)))


def test_standardized_by_train_alone():
    train = torch.tensor([[1.0, 5, 0.1], [3.0, 5, 0.1]])
    one, other = standardized(train, torch.tensor([[5.0, 9, 0.2]]))
    assert one.tolist() == [[-1, 0, 0], [1, 0, 0]] and other.tolist() == [[3, 0, 0]]


class TestExport:
    ROWS = Embedded(torch.rand(4, 3), torch.tensor([5, 6, 7, 8]), torch.tensor([0, 1, 0, 1]))

    def test_npz(self, tmp_path):
        writer(tmp_path / "z.npz")(self.ROWS)
        with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
            assert set(found.files) == {"z", "id", "label"}
            assert all(np.array_equal(found[n], getattr(self.ROWS, n)) for n in found.files)
        assert [f.name for f in tmp_path.iterdir()] == ["z.npz"]

    def test_without_labels_there_is_no_column_of_them(self, tmp_path):
        writer(tmp_path / "z.npz")(Embedded(self.ROWS.z, self.ROWS.id))
        with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
            assert set(found.files) == {"z", "id"}

    def test_parquet(self, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        writer(tmp_path / "z.parquet")(self.ROWS)
        found = parquet.read_table(tmp_path / "z.parquet")
        assert np.array_equal(np.stack(found["z"].to_pylist()).astype(np.float32), self.ROWS.z)
        assert found["label"].to_pylist() == [0, 1, 0, 1] and found["id"].to_pylist() == [5, 6, 7, 8]

    def test_wrong_names_are_refused_before_any_work(self, tmp_path, monkeypatch):
        with pytest.raises(InputError, match=r"ends in .npz or .parquet, found '.csv'"):
            writer(tmp_path / "z.csv")
        with pytest.raises(InputError, match="a folder that is there"):
            writer(tmp_path / "none" / "z.npz")
        monkeypatch.setattr("counterpoint.tasks.features.find_spec", lambda _: None)
        with pytest.raises(InputError, match="pip install pyarrow"):
            writer(tmp_path / "z.parquet")
