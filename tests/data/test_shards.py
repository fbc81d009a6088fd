from __future__ import annotations

import io
import json
import tarfile
import threading

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data import shards as module
from counterpoint.data.folder import read_folder
from counterpoint.data.open import open_data
from counterpoint.data.raster import write_png
from counterpoint.data.read import read_image
from counterpoint.data.shards import Shards, mixed
from counterpoint.data.split import of_part, stratified, train_test


def png(tmp_path, value: int, shape=(6, 6)) -> bytes:
    write_png(tmp_path / "one.png", np.full(shape, value, np.uint8))
    data = (tmp_path / "one.png").read_bytes()
    (tmp_path / "one.png").unlink()
    return data


def write(path, members) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def samples(tmp_path, values) -> list[tuple[str, bytes]]:
    """Images of one value, of class value % 3, of patient value // 4."""
    found = []
    for v in values:
        about = json.dumps({"label": v % 3, "patient": f"p{v // 4}"}).encode()
        found += [(f"{v:03}.png", png(tmp_path, v)), (f"{v:03}.json", about)]
    return found


@pytest.fixture
def place(tmp_path):
    """Four tar files of 5, 6, 7 and 8 images whose value is their id."""
    at = 0
    for i in range(4):
        write(tmp_path / "set" / f"s-{i:04}.tar", samples(tmp_path, range(at, at + 5 + i)))
        at += 5 + i
    return tmp_path / "set"


def values(batches) -> list[int]:
    return [round(float(v) * 255) for b in batches for v in b["image"][:, 0, 0, 0]]


def ids(batches) -> list[int]:
    return [i for b in batches for i in b["id"].tolist()]


def equal(some, others) -> bool:
    return len(some) == len(others) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        for a, b in zip(some, others, strict=True)
    )


def test_archives_are_data_like_a_folder_of_the_same_images(place, tmp_path):
    data = open_data(place)
    assert isinstance(data, Shards) and len(data) == 26 and data.steps(4) == 6
    assert data.provides == {"image", "id", "label"} and data.classes == ("0", "1", "2")
    batches = list(data.parts(8))
    assert [len(b["id"]) for b in batches] == [8, 8, 8, 2]
    assert ids(batches) == values(batches) == list(range(26))
    assert data.label.tolist() == [v % 3 for v in range(26)]
    assert data.group.tolist() == [v // 4 for v in range(26)]
    for v in range(26):
        (tmp_path / "plain" / str(v % 3)).mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / "plain" / str(v % 3) / f"{v:03}.png", np.full((6, 6), v, np.uint8))
    folder = read_folder(tmp_path / "plain", size=4, channels=3)
    other = open_data(place, size=4, channels=3)
    here, there = (dict(zip(values([b]), zip(b["image"], b["label"], strict=True), strict=True))
                   for b in (next(other.parts(26)), next(folder.parts(26))))  # fmt: skip
    assert here.keys() == there.keys() and all(torch.equal(here[v][0], there[v][0]) for v in here)
    assert all(here[v][1] == there[v][1] for v in here)


def test_a_pattern_of_numbers_names_the_archives(place):
    data = open_data(f"{place}/s-{{0001..0003}}.tar")
    assert ids(data.parts(9)) == list(range(21)) and values(data.parts(9)) == list(range(5, 26))
    assert len(open_data(place / "s-0002.tar")) == 7
    with pytest.raises(InputError, match=r"s-0004\.tar: expected a \.tar or \.parquet file, found nothing"):
        open_data(f"{place}/s-{{0003..0004}}.tar")
    with pytest.raises(InputError, match="expected rising numbers"):
        open_data(f"{place}/s-{{3..1}}.tar")
    with pytest.raises(InputError, match=r"found \.txt"):
        open_data(f"{place}/s-{{1..3}}.txt")


@pytest.mark.parametrize("memory", [2**30, 300, 0])
def test_an_epoch_follows_from_the_seed_alone(place, monkeypatch, memory):
    monkeypatch.setattr(module, "MEMORY", memory)
    epochs = []
    for workers in (0, 1, 5):
        data = open_data(place, workers=workers)
        epochs += [list(data.epoch(4, generator(3))) for _ in range(2)]  # the second with what is held
        assert len(data._held) == min(len(data._held), memory // 36) and bool(data._held) == (memory > 0)
    assert all(equal(epochs[0], other) for other in epochs[1:])
    found = ids(epochs[0])
    assert len(found) == len(set(found)) == 24 and found == values(epochs[0]) != sorted(found)
    assert not equal(epochs[0], list(data.epoch(4, generator(4))))


def test_an_epoch_goes_on_in_the_middle_as_if_it_had_not_stopped(place):
    whole = list(open_data(place).epoch(4, generator(3)))
    again = open_data(place).epoch(4, generator(3))
    for _ in range(3):
        next(again)
    assert equal(list(again), whole[3:])


@pytest.mark.parametrize(("pieces", "buffer"), [([5, 6, 7, 8], 1), ([40] * 5, 7), ([300, 3], 100), ([3], 9)])
def test_samples_move_by_less_than_the_buffer_and_pieces_come_at_random(pieces, buffer):
    piece = torch.repeat_interleave(torch.arange(len(pieces)), torch.tensor(pieces))
    orders = set()
    for seed in range(30):
        order = mixed(piece, buffer, generator(seed))
        assert sorted(order.tolist()) == list(range(len(piece)))
        # the slow way: where each sample stands in the order of the pieces that this seed drew
        rng = generator(seed)
        rank = torch.randperm(len(pieces), generator=rng).tolist()
        turns = torch.rand(len(pieces), generator=rng, dtype=torch.float64).tolist()
        drawn = sorted(range(len(pieces)), key=rank.__getitem__)
        stored = []
        for p in drawn:
            members, turn = [i for i in range(len(piece)) if piece[i] == p], int(turns[p] * pieces[p])
            stored += members[len(members) - turn :] + members[: len(members) - turn]
        moved = max(abs(stored.index(i) - at) for at, i in enumerate(order.tolist()))
        assert moved < buffer and (buffer == 1 or moved > 0 or len(piece) < 5)
        orders.add(tuple(order.tolist()))
    assert len(orders) > 5


def test_every_sample_is_as_often_early_as_late():
    piece = torch.repeat_interleave(torch.arange(4), 5)
    place = torch.stack([mixed(piece, 6, generator(s)).argsort() for s in range(800)]).double()
    assert ((place.mean(0) - 9.5).abs() < 4 * 20 / 12**0.5 / 800**0.5).all()


class TestDamage:
    @pytest.fixture
    def damaged(self, place, tmp_path):
        """The images 5 and 17 are cut short within."""
        for i, bad in ((1, 5), (2, 17)):
            start = {1: 5, 2: 11}[i]
            members = samples(tmp_path, range(start, start + 5 + i))
            write(place / f"s-{i:04}.tar", [(n, c[:50] if n == f"{bad:03}.png" else c) for n, c in members])
        return place

    def test_it_stops_whoever_comes_to_it(self, damaged):
        data = open_data(damaged)
        with pytest.raises(InputError, match=r"s-0001\.tar, 005\.png: expected a whole PNG image"):
            list(data.parts(4))
        with pytest.raises(InputError, match="expected a whole PNG image"):
            list(data.epoch(4, generator(0)))

    @pytest.mark.parametrize("workers", [0, 3])
    def test_or_is_named_and_skipped_and_another_takes_its_place(self, damaged, workers):
        data = open_data(damaged, on_error="skip", workers=workers)
        with pytest.warns(UserWarning, match=r"2 samples skipped, first .*s-0001\.tar, 005\.png: expected"):
            found = list(data.parts(4))
        good = [v for v in range(26) if v not in (5, 17)]
        assert ids(found) == values(found) == good and len(data) == 26 and len(data.skipped) == 2
        assert "s-0002.tar, 017.png" in data.skipped[1]
        first = list(data.epoch(5, generator(1)))
        assert len(first) == data.steps(5) == 5 and ids(first) == values(first)
        assert sorted(set(ids(first))) == good  # 25 of 24: one came again
        with pytest.warns(UserWarning, match="skipped"):
            again = list(open_data(damaged, on_error="skip").epoch(5, generator(1)))
        assert equal(first, again)

    def test_what_is_seen_in_the_list_already_is_left_out_of_it(self, place):
        cut = place / "s-0003.tar"
        cut.write_bytes(cut.read_bytes()[:2100])
        with pytest.raises(InputError, match=r"s-0003\.tar.*: expected"):
            open_data(place)
        with pytest.warns(UserWarning, match=r"1 sample skipped, first .*s-0003\.tar"):
            data = open_data(place, on_error="skip")
        assert len(data) == 19 and data.skipped

    def test_nothing_that_can_be_read_is_an_error_even_when_skipping(self, tmp_path):
        write(tmp_path / "a.tar", [("a.png", b"no image"), ("b.png", b"nor this")])
        with (
            pytest.warns(UserWarning, match="skipped"),
            pytest.raises(InputError, match=r"found none that can be read, first .*a\.png: expected a PNG"),
        ):
            open_data(tmp_path / "a.tar", on_error="skip")

    def test_a_label_that_others_have_must_be_there(self, place, tmp_path):
        write(place / "s-0009.tar", [("x.png", png(tmp_path, 1))])
        with pytest.raises(InputError, match=r"x\.png: expected a label as others have, found none"):
            open_data(place)


def test_images_of_unlike_shapes_are_refused_with_what_would_help(place, tmp_path):
    write(place / "s-0009.tar", [("x.png", png(tmp_path, 9, (8, 12))), ("x.cls", b"1")])
    with pytest.raises(InputError, match=r"x\.png: expected 6 × 6 pixels .*, found 12 × 8 .*give a size"):
        list(open_data(place, on_error="skip").parts(8))
    assert len(next(open_data(place, size=5).parts(27))["id"]) == 27


def test_parts_go_by_names_of_files_or_folders(tmp_path):
    for name, values_ in (("a-train-0.tar", (0, 1)), ("a-train-1.tar", (2,)), ("a-validation-0.tar", (3, 4))):
        write(tmp_path / "names" / name, samples(tmp_path, values_))
    for part, value in (("train", 5), ("test", 6)):
        write(tmp_path / "folders" / part / "0.tar", samples(tmp_path, [value, value + 10]))
    assert values(open_data(tmp_path / "names", "val").parts(9)) == [3, 4]
    both = open_data(tmp_path / "names")
    assert both.part.tolist() == [0, 0, 0, 1, 1] and values(of_part(both, "train").parts(9)) == [0, 1, 2]
    assert values(open_data(tmp_path / "folders", "test").parts(9)) == [6, 16]
    with pytest.raises(InputError, match="expected a part 'test', found train, val"):
        open_data(tmp_path / "names", "test")
    write(tmp_path / "names" / "more.tar", samples(tmp_path, [1]))
    with pytest.raises(InputError, match=r"of all archives or of none, found more\.tar among them"):
        open_data(tmp_path / "names")


def test_subsets_and_splits_are_numbered_anew(place):
    data = open_data(place)
    some = data.subset(torch.tensor([25, 3, 9]))
    assert values(some.parts(2)) == [25, 3, 9] and ids(some.parts(2)) == [0, 1, 2] and len(data) == 26
    assert some.label.tolist() == [25 % 3, 0, 0] and sorted(values(some.epoch(3, generator(0)))) == [3, 9, 25]
    train, test = train_test(data)  # by patient
    assert not set(values(train.parts(99))) & set(values(test.parts(99)))
    assert not {v // 4 for v in values(train.parts(99))} & {v // 4 for v in values(test.parts(99))}
    rest, part = stratified(data.label, 0.3)
    assert values(data.subset(part).parts(99)) == part.tolist() and len(rest) + len(part) == 26


def test_names_of_classes_are_numbered_and_images_beside_archives_win(tmp_path):
    write(tmp_path / "a.tar", [(f"{i}.{k}", c) for i, n in enumerate(("dog", "ant", "dog"))
                               for k, c in (("png", png(tmp_path, i)), ("cls", n.encode()))])  # fmt: skip
    data = open_data(tmp_path)
    assert data.classes == ("ant", "dog") and data.label.tolist() == [1, 0, 1] and data.group is None
    write(tmp_path / "b.tar", [("0.png", png(tmp_path, 7))])
    assert open_data(tmp_path / "b.tar").provides == {"image", "id"}
    write_png(tmp_path / "beside.png", np.zeros((4, 4), np.uint8))
    assert len(open_data(tmp_path)) == 1


def test_who_stops_in_the_middle_leaves_no_threads(place):
    before = threading.active_count()
    batches = open_data(place, workers=3).parts(2)
    next(batches)
    batches.close()
    del batches
    assert threading.active_count() == before


def test_a_hostile_tiff_opens_no_other_file(tmp_path, monkeypatch):
    import tifffile

    monkeypatch.chdir(tmp_path)
    first, other = (np.full((6, 6), v, np.uint8) for v in (1, 2))
    planes = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}.ome.tif">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(("a", "secret"))
    )
    for i, (name, array) in enumerate((("a", first), ("secret", other))):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{i}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
            f'SizeX="6" SizeY="6" SizeZ="1" SizeC="2" SizeT="1">{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(f"{name}.ome.tif", array, description=xml, metadata=None)
    write(tmp_path / "x.tar", [("a.ome.tif", (tmp_path / "a.ome.tif").read_bytes())])
    assert read_image("a.ome.tif").array.max() == 2  # a file of one's own may have its planes in several
    assert values(open_data(tmp_path / "x.tar").parts(1)) == [1]
