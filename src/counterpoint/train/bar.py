"""The progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(steps: int, done: int, *, shown: bool) -> Iterator[Callable[[int, float], None]]:
    """A bar on stderr with loss and time left; yields what moves it, called with updates done and the loss.

    Silent unless ``shown`` and stderr is a terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task("training", total=steps, completed=done, loss="–")
        yield lambda now, loss: progress.update(task, completed=now, loss=f"{loss:.4g}")
