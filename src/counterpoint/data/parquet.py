"""Parquet files with a column of image files and perhaps one of labels, read by row group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from counterpoint.core.errors import InputError
from counterpoint.core.untrusted import parse_json
from counterpoint.data.archive import GROUP, LABEL, MOST_BYTES, Listing, worded

IMAGE = ("image", "img", "jpg", "jpeg", "png", "picture", "bytes")
MOST_GROUP = 2**32
"""Bytes of one row group, unpacked, above which it is refused: a group must fit into memory."""
MOST_ROWS = 2**22
"""Rows of a row group that are believed of any file; more must have a byte of it each."""
ROWS = 64
"""Rows decoded at a time."""


class RowGroup:
    """One row group; ``column`` is that of the image files."""

    def __init__(self, path: Path, number: int, column: str, metadata: Any) -> None:
        self.path, self.number, self.column, self.metadata = path, number, column, metadata

    def reader(self, rows: Sequence[int]) -> Callable[[int], bytes]:
        """See ``Piece``; the rows are read at once and held until they are asked for."""
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]

        wanted, held, at = set(rows), {}, 0
        try:
            with pyarrow.parquet.ParquetFile(self.path, metadata=self.metadata) as file:
                for batch in file.iter_batches(ROWS, [self.number], [self.column], use_threads=False):
                    column = batch.column(0)
                    for i in range(len(column)):
                        if at + i in wanted:
                            held[at + i] = _bytes(column[i].as_py())
                    at += len(column)
        except (OSError, ValueError, RuntimeError, pyarrow.ArrowException) as error:
            return partial(_refuse, f"{self._place}: expected a whole row group, found: {_reason(error)}")
        return partial(self._take, held)

    def name(self, row: int) -> str:
        """The file, the row group and the row."""
        return f"{self._place}, row {row}"

    @property
    def _place(self) -> str:
        return f"{self.path}, row group {self.number}"

    def _take(self, held: dict[int, bytes | None], row: int) -> bytes:
        data = held.pop(row, None)
        if data is None or not len(data) <= MOST_BYTES:
            found = "none" if data is None else f"{len(data)} bytes"
            raise InputError(f"{self.name(row)}: expected an image file in {self.column}, found {found}")
        return data


def list_parquet(path: Path) -> tuple[list[Listing], list[str]]:
    """The samples of a Parquet file by row group, and the names of its classes where Hugging Face wrote them.

    Raises:
        InputError: no pyarrow, no Parquet file, no column of image files, or a row group too large.
    """
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f'{path}: Parquet expects pyarrow, found none; pip install "counterpoint[parquet]"'
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = {name.lower(): name for name in schema.names}
            image = next((columns[n] for n in IMAGE if n in columns and _holds(schema, columns[n])), None)
            if image is None:
                raise InputError(
                    f"{path}: expected a column of image files called {', '.join(IMAGE)}, found "
                    f"{', '.join(f'{n} ({schema.field(n).type})' for n in schema.names) or 'none'}"
                )
            label, group = (
                next((columns[n] for n in names if n in columns), None) for names in (LABEL, GROUP)
            )
            listings = []
            for number in range(file.num_row_groups):
                # Of all columns: to ask for one of them ends the process if its statistics are damaged.
                stored = file.metadata.row_group(number).total_byte_size
                if stored > MOST_GROUP:
                    raise InputError(
                        f"{path}: expected row groups of at most {MOST_GROUP} bytes, found one of {stored}; "
                        "write it with smaller ones"
                    )
                wanted = [name for name in (label, group) if name is not None]
                table = file.read_row_group(number, wanted, use_threads=False)
                count = file.metadata.row_group(number).num_rows
                if wanted and len(table) != count:
                    raise ValueError(f"{len(table)} labels of {count} images")
                if not 0 <= count <= max(MOST_ROWS, path.stat().st_size):
                    raise ValueError(f"a header of {count} rows")
                cells = [
                    [worded(v) for v in table.column(name).to_pylist()] if name else [None] * count
                    for name in (label, group)
                ]
                piece = RowGroup(path, number, image, file.metadata)
                listings.append(Listing(piece, list(range(count)), *cells))  # type: ignore[arg-type]
            return listings, _classes(schema, label)
    except (OSError, ValueError, RuntimeError, pyarrow.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected a Parquet file, found: {_reason(error)}") from None


def _holds(schema: Any, name: str) -> bool:
    """Whether a column holds image files: bytes, or a struct with bytes as Hugging Face writes it."""
    from pyarrow import types  # pyright: ignore[reportMissingImports]

    kind = schema.field(name).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return types.is_binary(kind) or types.is_large_binary(kind)


def _bytes(cell: Any) -> bytes | None:
    return cell.get("bytes") if isinstance(cell, dict) else cell


def _classes(schema: Any, label: str | None) -> list[str]:
    """The names that Hugging Face's datasets keeps in the schema; none for others."""
    try:
        about = parse_json((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
        return [str(name) for name in names]
    except (KeyError, TypeError, ValueError):
        return []


def _refuse(sentence: str, row: int) -> bytes:  # noqa: ARG001 -- stands for a reader
    raise InputError(sentence)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
