"""Page: words, numbers and pictures → one HTML file that needs nothing else, neither network nor server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import write_text
from counterpoint.report.markup import Best, element, pairs, paragraphs, table, text
from counterpoint.report.overlay import display, shrink, shrunk_size

LONGEST = 1024
"""Pixels of the longer side of an embedded picture.

Larger ones are shrunk, and their caption says so; small ones are enlarged by repeating pixels.
"""
_ICONS = {
    "good": "M6.5 12.5l3.5 3.5 7.5-8",
    "bad": "M7.5 7.5l9 9m0-9l-9 9",
    "open": "M9 9.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1-1.5 2.2m0 2.8v.2",
}


class Page:
    """A report that grows from top to bottom and is written once.

    All text is escaped; pictures are embedded as PNG; a content security policy forbids every request. Where
    scripts do not run, and in print, what can be swiped or switched stands side by side.
    """

    def __init__(self, title: str, summary: str = "") -> None:
        self.title = title
        self._parts = [element("header", element("h1", text(title)), paragraphs(summary))]
        self._sections: list[list[str]] = []
        self._tabs = 0

    def section(self, title: str, words: str = "") -> None:
        """Begin a section, to which all that follows belongs; blank lines separate paragraphs."""
        heading = element("h2", text(title), id=f"section-{len(self._sections) + 1}")
        self._sections.append([heading, paragraphs(words)])

    def verdict(self, words: str, good: bool | None, detail: str = "") -> None:
        """A prominent banner: what one may believe; ``good`` None stands for undecided."""
        look = "open" if good is None else "good" if good else "bad"
        drawing = element("circle", cx=12, cy=12, r=10.5) + element("path", d=_ICONS[look])
        icon = element("svg", drawing, viewBox="0 0 24 24", aria_hidden="true")
        banner = element("div", element("strong", text(words)), paragraphs(detail))
        self._add(element("div", icon, banner, class_=f"part verdict {look}", role="note"))

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        caption: str = "",
        notes: str = "",
        best: Mapping[str, Best] | None = None,
    ) -> None:
        """A table; the first column names the row.

        A cell is text, a number, a bool or None. A column of numbers (also of text such as "17 of 20" or
        "0.8 ± 0.1 px") is right-aligned. ``best`` marks the largest ("max") or smallest ("min") of a column.

        Raises:
            InputError: if a row is not as long as ``columns``, or ``best`` names a column that is not there.
        """
        for row in rows:
            if len(row) != len(columns):
                raise InputError(
                    f"table: expected {len(columns)} cells in a row, found {len(row)}: {list(row)!r}"
                )
        for name in best or {}:
            if name not in columns:
                raise unknown("column", name, columns)
        body = table(columns, rows, caption, best or {})
        # focusable, so that a table too wide for a phone can be scrolled with the keyboard
        frame = element(
            "div", body, class_="scroll", role="region", tabindex=0, aria_label=caption or "Table"
        )
        self._add(element("div", frame, _note(notes), class_="part"))

    def figures(self, items: Sequence[tuple[str, bytes | np.ndarray]]) -> None:
        """A grid of (caption, figure).

        A figure is a chart, PNG bytes at two pixels per CSS pixel, or a picture, (H, W[, C]); one that is not
        uint8 gray or RGB is shown as ``overlay.display`` shows it.

        Raises:
            InputError: if bytes are not a PNG file.
        """
        self._add(
            element("div", *(_figure(figure, caption) for caption, figure in items), class_="part grid")
        )

    def swipe(
        self,
        before: np.ndarray,
        after: np.ndarray,
        labels: tuple[str, str] = ("before", "after"),
        caption: str = "",
    ) -> None:
        """Two pictures of one size on top of each other, with a divider to drag (mouse, touch, arrow keys).

        The first is seen left of the divider, the second right of it; a button makes them blink in turn.

        Raises:
            InputError: if the two differ in height or width.
        """
        if before.shape[:2] != after.shape[:2]:
            found = f"{before.shape} and {after.shape}"
            raise InputError(f"swipe: expected two pictures of the same height and width, found {found}")
        left, right = labels
        sides = ""
        for array, label in ((before, left), (after, right)):
            tag = element("span", text(label), class_="tag")
            sides += element("div", _picture(array, label), tag, class_="side")
        divider = element(
            "div",
            class_="divider",
            role="slider",
            tabindex=0,
            aria_label=f"Divider between {left} and {right}",
            aria_orientation="horizontal",
            aria_valuemin=0,
            aria_valuemax=100,
            aria_valuenow=50,
            aria_valuetext=f"50 % {left}, 50 % {right}",
            data_before=left,
            data_after=right,
        )
        blink = element("button", "Blink", type="button", class_="blink", aria_pressed="false")
        hint = element("span", "Drag the divider, or use the arrow keys.", class_="note")
        stage = element("div", sides, divider, class_="stage")
        tools = element("div", blink, hint, class_="tools")
        self._add(element("figure", stage, tools, _caption(caption, before), class_="part swipe"))

    def tabs(self, items: Sequence[tuple[str, np.ndarray]], caption: str = "") -> None:
        """Pictures (label, array) of which one is seen at a time, chosen by its tab."""
        buttons = panels = ""
        for i, (label, array) in enumerate(items):
            self._tabs += 1
            tab, panel = f"tab-{self._tabs}", f"panel-{self._tabs}"
            buttons += element(
                "button",
                text(label),
                type="button",
                role="tab",
                id=tab,
                aria_controls=panel,
                aria_selected="false" if i else "true",
                tabindex=-1 if i else 0,
            )
            name = element("span", text(label), class_="name")  # seen where there are no tabs, in print
            under = element("figcaption", name, " ", text(_loss(array)))
            body = element("figure", _picture(array, label), under)
            look = "" if i else "on"
            panels += element("div", body, role="tabpanel", id=panel, aria_labelledby=tab, class_=look)
        row = element("div", buttons, role="tablist", aria_label=caption or "Pictures")
        self._add(
            element("div", element("div", row, panels, class_="tabs grid"), _note(caption), class_="part")
        )

    def settings(self, mapping: Mapping[str, Any], title: str = "Settings") -> None:
        """Names and values, nested, folded away until opened."""
        self._add(element("details", element("summary", text(title)), pairs(mapping), class_="part"))

    def html(self) -> str:
        """The whole page; the same calls give the same text."""
        here = files("counterpoint.report")
        style, script = ((here / name).read_text("utf-8") for name in ("page.css", "page.js"))
        policy = (
            f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
            f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
        )
        sections = (
            element("section", "\n".join(parts), aria_labelledby=f"section-{i + 1}")
            for i, parts in enumerate(self._sections)
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
            f"<title>{text(self.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join([*self._parts, *sections])
            + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
        )

    def write(self, path: Path | str) -> None:
        """Write the page as one file, whole or not at all.

        Raises:
            InputError: if ``path`` cannot be written to.
        """
        try:
            write_text(Path(path), self.html())
        except OSError as error:
            raise InputError(
                f"{path}: expected a file that can be written, found: {error.strerror}"
            ) from None

    def _add(self, part: str) -> None:
        (self._sections[-1] if self._sections else self._parts).append(part)


def _digest(script: str) -> str:
    """What the content security policy calls this very text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _picture(array: np.ndarray, alt: str) -> str:
    """An array as an embedded picture of a size to look at."""
    from imagecodecs import png_encode

    picture = shrink(array, LONGEST)
    if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,)):
        picture = display(picture)
    times = max(1, LONGEST // max(picture.shape[:2]))
    picture = np.ascontiguousarray(picture.repeat(times, axis=0).repeat(times, axis=1))
    return _img(bytes(png_encode(picture)), picture.shape[1], picture.shape[0], alt, "picture")


def _figure(figure: bytes | np.ndarray, caption: str) -> str:
    if isinstance(figure, np.ndarray):
        return element("figure", _picture(figure, caption), _caption(caption, figure))
    if figure[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"figure {caption!r}: expected an array or a PNG file's bytes, found {figure[:8]!r}")
    width, height = (int.from_bytes(figure[i : i + 4], "big") // 2 for i in (16, 20))
    return element("figure", _img(figure, width, height, caption, "chart"), _caption(caption))


def _img(png: bytes, width: int, height: int, alt: str, look: str) -> str:
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    return element("img", class_=look, width=width, height=height, alt=alt or "figure", src=data)


def _loss(array: np.ndarray) -> str:
    """The words about a picture of which pixels were lost."""
    height, width = array.shape[:2]
    h, w = shrunk_size(height, width, LONGEST)
    return f"(shown at {w} × {h} of {width} × {height} pixels)" if (h, w) != (height, width) else ""


def _caption(caption: str, array: np.ndarray | None = None) -> str:
    words = " ".join(filter(None, (caption, "" if array is None else _loss(array))))
    return element("figcaption", text(words)) if words else ""


def _note(words: str) -> str:
    return element("p", text(words), class_="note") if words else ""
