from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.core.errors import InputError
from counterpoint.data.pairs import PairList, pair_folders, read_pairs_csv


def folders(root: Path, fixed: str, moving: str) -> tuple[Path, Path]:
    for folder, names in (("fixed", fixed), ("moving", moving)):
        (root / folder).mkdir()
        for name in names.split():
            (root / folder / name).touch()
    return root / "fixed", root / "moving"


def found(result: PairList) -> list[tuple[str, str, str]]:
    return [(pair.name, pair.fixed.name, pair.moving.name) for pair in result.pairs]


def test_equal_stems_whatever_the_suffix(tmp_path):
    result = pair_folders(
        *folders(tmp_path, "b.png a.nii.gz c.png .d.png notes.txt", "a.ome.tif b.v2.png b.tif d.png")
    )
    assert found(result) == [("a", "a.nii.gz", "a.ome.tif"), ("b", "b.png", "b.tif")]
    assert [p.name for p in result.left] == ["c.png", "b.v2.png", "d.png"]
    assert result.how == "by equal file names"


@pytest.mark.parametrize(
    ("fixed", "moving", "names"),
    [
        ("a_SHG.tif b_SHG.tif", "a_HE.tif b_HE.tif c_HE.tif", "a b"),
        ("SHG-10.png SHG-11.png", "HE-10.png HE-11.png HE-20.png", "10 11"),
        ("t_10_x.png t_11_x.png", "u_10_y.png u_11_y.png", "10 11"),
        ("A_01_HE.png A_02_HE.png", "A_01_SHG.png A_02_SHG.png B_01_SHG.png", "A_01 A_02"),
        ("he1.png he2.png", "shg1.png shg3.png shg2.png", "1 2"),
        ("cat.png", "dog.png", "cat"),
    ],
)
def test_what_the_names_of_a_folder_share_does_not_count(tmp_path, fixed, moving, names):
    result = pair_folders(*folders(tmp_path, fixed, moving))
    assert [pair.name for pair in result.pairs] == names.split()
    digits = [
        {c for c in p.fixed.stem if c.isdigit()} == {c for c in p.moving.stem if c.isdigit()}
        for p in result.pairs
    ]
    assert all(digits)
    assert result.how != "by equal file names"


def test_how_names_what_was_left_out(tmp_path):
    result = pair_folders(*folders(tmp_path, "a_SHG.tif b_SHG.tif", "a_HE.tif b_HE.tif"))
    assert result.how == "by file names without '_SHG' (fixed) and '_HE' (moving)"


@pytest.mark.parametrize("pattern", [r"(\d+)", r"(?P<id>\d+)(_x)?"])
def test_pattern(tmp_path, pattern):
    where = folders(tmp_path, "s1.png t22.png none.png", "22_he.png 1_x.png 3.png")
    result = pair_folders(*where, pattern)
    assert found(result) == [("1", "s1.png", "1_x.png"), ("22", "t22.png", "22_he.png")]
    assert [p.name for p in result.left] == ["none.png", "3.png"]
    assert repr(pattern) in result.how


@pytest.mark.parametrize(
    ("fixed", "moving", "pattern", "said"),
    [
        ("a.png a.tif", "a.png", None, "one file for 'a', found 'a.png' and 'a.tif'"),
        ("a1.png b1.png", "a1.png", r"(\d)", "one file for '1', found 'a1.png' and 'b1.png'"),
        ("a.png b.png", "c.png d.png", None, "found none, for example 'a.png' and 'c.png'"),
        ("x.png", "a.png ab.png", None, "found none, for example 'x.png' and 'a.png'"),
        ("a.png", "a.png", r"(\d+", "expected a regular expression"),
        ("a.png", "a.png", r"\d+", "expected one group"),
        ("a.png", "a.png", r"(a)(b)?", "expected one group"),
        ("notes.txt .a.png", "a.png", None, "fixed: expected a folder of images, found none in it"),
    ],
)
def test_what_cannot_be_paired_is_said(tmp_path, fixed, moving, pattern, said):
    with pytest.raises(InputError) as caught:
        pair_folders(*folders(tmp_path, fixed, moving), pattern)
    assert said in str(caught.value)


def test_folders_must_be_two_and_there(tmp_path):
    fixed, _ = folders(tmp_path, "a.png", "a.png")
    with pytest.raises(InputError, match="expected two folders, found the same one"):
        pair_folders(fixed, tmp_path / "moving" / ".." / "fixed")
    with pytest.raises(InputError, match="found nothing"):
        pair_folders(fixed, tmp_path / "other")
    with pytest.raises(InputError, match="found a file"):
        pair_folders(fixed, fixed / "a.png")


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    folders(root, "a.png b.png", "a.png b.png")
    (root / "pairs.csv").write_bytes(text.encode(encoding))
    return root / "pairs.csv"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_table(tmp_path, separator, encoding):
    text = "Moving,fixed, id ,größe\r\nmoving/a.png,fixed/a.png,x,1\r\n\r\nmoving/b.png,fixed/b.png,,2,\r\n"
    file = table(tmp_path, text.replace(",", separator), encoding)
    result = read_pairs_csv(file)
    assert [pair.name for pair in result.pairs] == ["x", "b"]
    assert result.pairs[0].fixed == tmp_path / "fixed" / "a.png"
    assert result.pairs[1].moving == tmp_path / "moving" / "b.png"
    assert [pair.extra for pair in result.pairs] == [{"größe": "1"}, {"größe": "2"}]
    assert result.left == () and result.how == "as listed in pairs.csv"


def test_table_with_name_id_quotes_and_absolute_paths(tmp_path):
    line = f'"{tmp_path}/fixed/a.png",moving/a.png,7,"first, best"\n'
    result = read_pairs_csv(table(tmp_path, "fixed,moving,id,name\n" + line))
    assert result.pairs[0].name == "first, best" and result.pairs[0].extra == {"id": "7"}
    assert result.pairs[0].fixed == tmp_path / "fixed" / "a.png"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found an empty file"),
        ("\ufeff\n \n", "found an empty file"),
        (",,\n", "columns fixed and moving, found ,,"),
        ("fixed;target\na;b\n", "columns fixed and moving, found fixed, target"),
        ("fixed,moving\n", "at least one pair below the header, found none"),
        (
            "fixed,moving\nfixed/a.png\n",
            "2 cells with a fixed and a moving image in line 2, found ['fixed/a.png']",
        ),
        ("fixed,moving\nfixed/a.png,\n", "in line 2"),
        (
            "fixed,moving\nfixed/a.png,moving/x.png\nfixed/y.png,moving/b.png\n",
            "images that exist, found 2 missing, first ",
        ),
        ("fixed,moving\nfixed/a.png,moving/a.png\nfixed/a.png,moving/b.png\n", "found 'a' more than once"),
        ("fixed,moving,name\nfixed/a.png,moving/a.png,../../x\n", "can be file names, found '../../x'"),
    ],
)
def test_wrong_tables_are_said(tmp_path, text, said):
    file = table(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_pairs_csv(file)
    assert str(caught.value).startswith(f"{file}: expected") and said in str(caught.value)


def test_the_first_missing_image_is_named_with_its_line(tmp_path):
    file = table(tmp_path, "fixed,moving\nfixed/a.png,moving/x.png\n")
    with pytest.raises(InputError, match=r"moving/x\.png \(line 2\)"):
        read_pairs_csv(file)


def test_no_text_and_no_file(tmp_path):
    file = table(tmp_path, "fixed,moving\nä", "latin-1")
    with pytest.raises(InputError, match="in UTF-8"):
        read_pairs_csv(file)
    for other in (tmp_path, tmp_path / "other.csv"):
        with pytest.raises(InputError, match="expected a table of pairs"):
            read_pairs_csv(other)
