from __future__ import annotations

import math

import numpy as np
import pytest

from counterpoint.report.markup import element, number, pairs, paragraphs, shown, table, text


def test_text_is_escaped_and_the_unprintable_is_spelled_out():
    assert text("<a href='x'>&\"") == "&lt;a href=&#x27;x&#x27;&gt;&amp;&quot;"
    assert text("a\u202eb\x00\udcff\n") == "a\\u202eb\\x00\\udcff\n"
    assert text("µm – 漢字") == "µm – 漢字"


def test_element_by_hand():
    assert element("p", "a", "<b>") == "<p>a<b></p>"
    assert element("div", class_="x", aria_label='"', id="", role=None, tabindex=0) == (
        '<div class="x" aria-label="&quot;" tabindex="0"></div>'
    )
    assert element("img", src="data:,") == '<img src="data:,">'


def test_paragraphs_are_separated_by_blank_lines():
    assert paragraphs(" a\nb\n \n\nc<") == "<p>a\nb</p><p>c&lt;</p>"
    assert paragraphs("") == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.23456, "1.235"),
        (-0.5, "−0.5"),
        (12345.6, "12346"),
        (1e-7, "1e−07"),
        (np.float32(2.5), "2.5"),
        (-3, "−3"),
        (12345678, "12345678"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "inf"),
        ("a-b", "a-b"),
    ],
)
def test_values_as_people_write_them(value, expected):
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("cell", "expected"), [("17 of 20", 17), ("−0.8 ± 0.1 px", -0.8), ("< 2", 2), (3, 3), ("1e-3", 0.001)]
)
def test_numbers_in_cells(cell, expected):
    assert number(cell) == expected


@pytest.mark.parametrize("cell", ["2024-scan.tif", "px", "", None, True, "level 2"])
def test_cells_that_are_no_numbers(cell):
    assert math.isnan(number(cell))


def test_table_aligns_numbers_and_marks_the_best():
    html = table(
        ["m", "err", "file"], [["a", 2.0, "1.tif"], ["b", 1.0, "-"], ["c", None, "<"]], "", {"err": "min"}
    )
    assert '<th scope="col" class="number">err</th><th scope="col">file</th>' in html
    assert '<td class="number best">1<span class="unseen"> (best)</span></td>' in html
    assert html.count("best") == 2
    assert '<td class="number">–</td><td>&lt;</td>' in html


def test_all_that_are_as_good_are_marked_and_nothing_in_a_column_without_numbers():
    html = table(["m", "n", "w"], [["a", 3, "x"], ["b", 3, "y"], ["c", 1, "z"]], "", {"n": "max", "w": "max"})
    assert html.count("(best)") == 2
    assert "<tbody></tbody>" in table(["m", "n"], [], "", {"n": "max"})


def test_pairs_nest_as_deep_as_the_settings():
    html = pairs({"a": {"b<": [1, 2.5]}, "list": [{"x": None}, {"y": True}], "empty": {}, "none": []})
    assert '<dt>a</dt><dd class="more"><dl><dt>b&lt;</dt><dd>1, 2.5</dd></dl></dd>' in html
    assert '<dt>0</dt><dd class="more"><dl><dt>x</dt><dd>–</dd></dl></dd>' in html
    assert "<dt>none</dt><dd>–</dd>" in html
