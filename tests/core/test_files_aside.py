from __future__ import annotations

import pytest

from counterpoint.core.files import aside


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.tif", ".tif"),
        ("a.ome.tif", ".tif"),
        ("a.v2.nii.gz", ".nii.gz"),
        ("A.NII.GZ", ".nii.gz"),
        ("a", ""),
    ],
)
def test_the_file_aside_keeps_the_suffix_writers_go_by(tmp_path, name, suffix):
    with aside(tmp_path / name) as temporary:
        assert "".join(temporary.suffixes[-2:]).endswith(suffix) and temporary.parent == tmp_path
        temporary.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_long_names_in_other_scripts_fit(tmp_path):
    with aside(tmp_path / ("名" * 80 + ".tif")) as temporary:
        temporary.touch()
    assert len(list(tmp_path.iterdir())) == 1
