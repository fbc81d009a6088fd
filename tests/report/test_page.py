from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from imagecodecs import png_decode, png_encode

from counterpoint.core.errors import InputError
from counterpoint.report.page import LONGEST, Page

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\udcff.tif"
VOID = {"meta", "link", "img"}


class Reader(HTMLParser):
    """Every element of a page with its attributes; fails where elements are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def pictures(html: str) -> list[np.ndarray]:
    return [png_decode(base64.b64decode(m)) for m in re.findall(r"data:image/png;base64,([^\"]+)", html)]


def full(name: str) -> Page:
    """A page that uses every part, with ``name`` wherever text goes."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    page = Page(name, name)
    page.verdict(name, None, name)
    page.section(name, name)
    page.table([name, "n"], [[name, 1]], name, name, {"n": "max"})
    page.figures([(name, array), (name, bytes(png_encode(array)))])
    page.swipe(array, array, (name, name), name)
    page.tabs([(name, array), (name, array)], name)
    page.settings({name: {name: name}}, name)
    return page


def test_a_hostile_name_stays_text_everywhere():
    html = full(HOSTILE).html()
    reader, harmless = Reader(html), Reader(full("x").html())
    assert [tag for tag, _ in reader.found] == [tag for tag, _ in harmless.found]
    for (_, attributes), (_, expected) in zip(reader.found, harmless.found, strict=True):
        assert attributes.keys() == expected.keys()
    assert len(reader.all("script")) == 1


def test_the_policy_forbids_everything_but_what_is_in_the_page():
    reader = Reader(full("x").html())
    policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    for _, attributes in reader.found:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")


def test_every_picture_has_a_description_and_every_id_is_one_of_a_kind():
    reader = Reader(full("x").html())
    assert all(image["alt"] for image in reader.all("img"))
    ids = [attributes["id"] for _, attributes in reader.found if "id" in attributes]
    assert len(ids) == len(set(ids)) == 1 + 4
    named = [v for _, a in reader.found for k in ("aria-labelledby", "aria-controls") if (v := a.get(k))]
    assert set(named) == set(ids)
    assert reader.all("html") == [{"lang": "en"}]


def test_pixels_arrive_as_they_are():
    rgb = np.random.default_rng(0).integers(0, 256, (LONGEST, 600, 3), dtype=np.uint8)
    page = Page("x")
    page.figures([("", rgb)])
    assert np.array_equal(pictures(page.html())[0], rgb)
    assert "shown at" not in page.html()


def test_small_pictures_are_enlarged_and_large_ones_shrunk_with_a_word():
    page = Page("x")
    page.figures(
        [("small", np.array([[0, 255]], np.uint8)), ("large", np.zeros((30, LONGEST * 2), np.uint8))]
    )
    small, large = pictures(page.html())
    assert small.shape == (LONGEST // 2, LONGEST) and set(np.unique(small[:, : LONGEST // 2])) == {0}
    assert large.shape == (15, LONGEST)
    assert (
        f"<figcaption>large (shown at {LONGEST} × 15 of {LONGEST * 2} × 30 pixels)</figcaption>"
        in page.html()
    )
    assert "<figcaption>small</figcaption>" in page.html()


def test_arrays_of_other_types_are_made_visible():
    page = Page("x")
    page.tabs([("float", np.linspace(-1, 1, 64).reshape(8, 8)), ("five", np.random.rand(8, 8, 5))])
    assert [p.shape[2] for p in pictures(page.html())] == [3, 3]


@pytest.mark.parametrize(("good", "look"), [(True, "good"), (False, "bad"), (None, "open")])
def test_a_verdict_looks_like_what_it_says(good, look):
    page = Page("x")
    page.verdict("Trusted?", good)
    assert f'<div class="part verdict {look}" role="note">' in page.html()


def test_parts_stand_in_the_section_begun_last():
    page = Page("x")
    page.verdict("first", True)
    page.section("A")
    page.verdict("second", True)
    page.section("B")
    html = page.html()
    order = [html.index(word) for word in ("first", "<section", ">A<", "second", "</section>", ">B<")]
    assert order == sorted(order)


def test_the_same_calls_give_the_same_page(tmp_path):
    full("a").write(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8") == full("a").html()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_bad_input_is_named(tmp_path):
    page = Page("x")
    with pytest.raises(InputError, match="same height and width"):
        page.swipe(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(InputError, match="expected 2 cells"):
        page.table(["a", "b"], [[1]])
    with pytest.raises(InputError, match="unknown column 'd'"):
        page.table(["a", "b"], [], best={"d": "max"})
    with pytest.raises(InputError, match="PNG"):
        page.figures([("jpeg", b"\xff\xd8\xff")])
    with pytest.raises(InputError, match="No such file"):
        page.write(tmp_path / "missing" / "page.html")
    assert not list(tmp_path.iterdir())
