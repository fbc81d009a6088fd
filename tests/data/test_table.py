from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.data.raster import write_png
from counterpoint.data.table import read_table


@pytest.fixture
def place(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(6):
        write_png(tmp_path / "images" / f"{i}.png", np.full((4, 4), i, np.uint8))
    return tmp_path


def table(place, text: str, encoding: str = "utf-8"):
    path = place / "list.csv"
    path.write_text(text, encoding=encoding)
    return path


def values(data) -> list[int]:
    return [round(float(v) * 255) for b in data.parts(9) for v in b["image"][:, 0, 0, 0]]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_files_with_named_labels_and_groups(place, mark):
    rows = [("File", "class", "Patient"), ("images/3.png", "dog", "x"), ("images/1.png", "cat", "y")]
    data = read_table(table(place, "\n".join(mark.join(r) for r in rows) + "\n\n", "utf-8-sig"))
    assert values(data) == [3, 1] and data.classes == ("cat", "dog")
    assert data.label.tolist() == [1, 0] and data.group.tolist() == [0, 1]


def test_numbered_labels_are_kept_and_files_alone_are_enough(place):
    data = read_table(table(place, "image,target\nimages/0.png,2\nimages/1.png,0\n"))
    assert data.label.tolist() == [2, 0] and data.classes == ("0", "1", "2")
    assert read_table(table(place, "path\nimages/5.png\n")).label is None


def test_a_column_of_parts(place):
    path = table(
        place, "file,split\n" + "".join(f"images/{i}.png,{'Test' if i % 3 else 'train'}\n" for i in range(6))
    )
    assert values(read_table(path, "train")) == [0, 3] and values(read_table(path, "test")) == [1, 2, 4, 5]
    whole = read_table(path)
    assert values(whole) == [0, 3, 1, 2, 4, 5] and whole.part.tolist() == [0, 0, 2, 2, 2, 2]
    with pytest.raises(InputError, match="expected a part 'val', found train, test"):
        read_table(path, "val")
    with pytest.raises(InputError, match="expected train, val, test in column split, found 'holdout'"):
        read_table(table(place, "file,split\nimages/0.png,holdout\n"))


def test_a_missing_file_is_named_or_skipped(place):
    path = table(place, "file,label\nimages/0.png,a\nimages/9.png,b\nimages/2.png,b\n")
    with pytest.raises(InputError, match=r"9\.png: expected an image file, found nothing there"):
        read_table(path)
    with pytest.warns(UserWarning, match="1 of 3 files skipped"):
        data = read_table(path, on_error="skip")
    assert values(data) == [0, 2] and data.label.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a column called file or image"),
        (
            "name,label\na,b\n",
            "expected a column called file or image or path or filename, found 'name,label",
        ),
        ("file,label\n", "expected at least one row below the header"),
        ("file,label\nimages/0.png,\n", "expected a file and a label in row 2"),
        ("file,label\nimages/0.png\n", "expected a file and a label in row 2"),
        ("file,label\nimages/0.png,999999\n", "expected labels from 0 to below 65536, found 999999"),
    ],
)
def test_wrong_tables_are_refused_in_a_sentence(place, text, said):
    with pytest.raises(InputError, match=said):
        read_table(table(place, text))


def test_no_table_is_refused(place):
    with pytest.raises(InputError, match="expected a table, found: No such file"):
        read_table(place / "none.csv")
    (place / "bad.csv").write_bytes(b"file\n\xff\xfe")
    with pytest.raises(InputError, match="expected a table in UTF-8"):
        read_table(place / "bad.csv")
