"""The progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(steps: int, done: int, *, shown: bool) -> Iterator[Callable[..., None]]:
    """A bar on stderr with loss and time left; yields what moves it.

    That is called with the updates done, the loss, and warnings, which get a line each above the bar. Silent
    unless ``shown``; where stderr is no terminal, there are the warnings alone.
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

        def show(now: int, loss: float, warnings: Iterable[str] = ()) -> None:
            for warning in warnings if shown else ():
                console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
            progress.update(task, completed=now, loss=f"{loss:.4g}")

        yield show
