from __future__ import annotations

import logging
import os
import threading
import warnings

import pytest

from counterpoint.data.quiet import quiet


def shout(word: str) -> None:
    os.write(2, word.encode())
    logging.getLogger("tifffile").error(word)
    warnings.warn(word, stacklevel=1)


def test_noise_is_dropped_inside_and_heard_again_after(capfd):
    with quiet():
        shout("inside")
    with pytest.raises(UserWarning, match="after"):
        shout("after")
    assert "inside" not in capfd.readouterr().err
    with pytest.raises(ValueError, match="passed on"), quiet():
        raise ValueError("passed on")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_threads_may_overlap(capfd):
    first, second = threading.Event(), threading.Event()

    def longer() -> None:
        with quiet():
            first.set()
            second.wait(5)
            os.write(2, b"still inside")

    thread = threading.Thread(target=longer)
    thread.start()
    first.wait(5)
    with quiet():
        pass
    second.set()
    thread.join()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
