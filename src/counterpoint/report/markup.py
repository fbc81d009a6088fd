"""Markup: words, numbers and tables → escaped HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

Best = Literal["max", "min"]

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"[+−-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+−-]?\d+)?")
_NUMERIC = re.compile(r"(?:[\d\s.,+−\-±%°×eE/\[\]()–<>≤≥~≈]|of|px|µm|mm|nm|min|ms|s)+")


def text(value: object) -> str:
    """Escaped for text and attributes; controls, lone surrogates and bidi overrides are spelled out."""
    printable = _UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), str(value))
    return escape(printable, quote=True)


def element(name: str, *children: str, **attributes: object) -> str:
    """One element; children are markup, attributes are plain values and escaped here.

    ``class_`` is class, ``aria_label`` is aria-label; an attribute that is "" or None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value not in ("", None)
    )
    end = "" if name == "img" else f"</{name}>"
    return f"<{name}{written}>{''.join(children)}{end}"


def paragraphs(words: str) -> str:
    """One paragraph for every stretch of text between blank lines."""
    return "".join(element("p", text(part)) for part in re.split(r"\n\s*\n", words.strip()) if part)


def shown(value: object) -> str:
    """A cell or a setting as plain text: four significant digits, a real minus sign, "–" for None, NaN."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value).replace("-", "−")
    if isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return "–"
        return (f"{number:.0f}" if 1000 <= abs(number) < 1e7 else f"{number:.4g}").replace("-", "−")
    return "–" if value is None else str(value)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str, best: Mapping[str, Best]
) -> str:
    """A table whose first column names the row; ``best`` marks the largest or smallest number of a column."""
    body = [[element("th", text(shown(row[0])), scope="row")] for row in rows]
    head = []
    for i, name in enumerate(columns):
        cells = [row[i] for row in rows]
        numbers = [number(cell) for cell in cells]
        align = "number" if _numeric(cells) else ""
        head.append(element("th", text(name), scope="col", class_=align))
        if i == 0:
            continue
        known = [n for n in numbers if not math.isnan(n)]
        top = {"max": max, "min": min}[best[name]](known) if known and name in best else None
        for line, cell, n in zip(body, cells, numbers, strict=True):
            mark = element("span", " (best)", class_="unseen") if n == top else ""
            line.append(
                element("td", text(shown(cell)), mark, class_=f"{align} {'best' * (n == top)}".strip())
            )
    title = element("caption", text(caption)) if caption else ""
    lines = "".join(element("tr", *line) for line in body)
    return element("table", title, element("thead", element("tr", *head)), element("tbody", lines))


def number(cell: object) -> float:
    """The first number of a cell, e.g. 17 of "17 of 20"; NaN if the cell is not about numbers."""
    if isinstance(cell, Real) and not isinstance(cell, bool):
        return float(cell)
    words = shown(cell)
    found = _NUMBER.search(words) if _NUMERIC.fullmatch(words) else None
    return float(found[0].replace("−", "-")) if found else math.nan


def _numeric(cells: Sequence[object]) -> bool:
    """Whether a column is one of numbers, save for empty cells."""
    filled = [cell for cell in cells if shown(cell) != "–"]
    return bool(filled) and not any(math.isnan(number(cell)) for cell in filled)


def pairs(mapping: Mapping[str, Any]) -> str:
    """Names and values, nested as deep as they are."""
    rows = ""
    for name, value in mapping.items():
        listed = isinstance(value, list | tuple)
        if listed and any(isinstance(v, Mapping) for v in value):
            inner = {str(i): v for i, v in enumerate(value)}
        else:
            inner = value if isinstance(value, Mapping) else None
        if inner:
            told = element("dd", pairs(inner), class_="more")
        else:
            told = element("dd", text(", ".join(map(shown, value if listed else [value])) or "–"))
        rows += element("dt", text(name)) + told
    return element("dl", rows)
