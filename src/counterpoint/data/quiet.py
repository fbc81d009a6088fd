"""Silence for libraries that print: the user reads our sentence and nothing else."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_inside = 0
_silence = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop Python warnings, tifffile's log, and what C libraries (libpng, MetaIO, nifti) write to stderr.

    Threads may be inside together: the first one in turns the noise off, the last one out turns it on.
    """
    global _inside  # noqa: PLW0603 -- what is silenced belongs to the whole process
    with _lock:
        _inside += 1
        if _inside == 1:
            _hush(_silence)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _silence.close()


def _hush(stack: ExitStack) -> None:
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    logger = logging.getLogger("tifffile")
    stack.callback(setattr, logger, "disabled", logger.disabled)
    logger.disabled = True
    try:
        saved = os.dup(2)
    except OSError:  # a process without stderr has nothing to silence
        return
    stack.callback(os.close, saved)
    stack.callback(os.dup2, saved, 2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
