"""What the tests of the commands share: small images of two modalities, and a command run in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoint.cli.main import run as run_command
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.write import write_image

SIDE = 64
HEARING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background hands down deaf ears
from counterpoint.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _scene(seed: int = 0, angle: float = 12.0, shift: tuple[float, float] = (3.0, -2.0), side: int = SIDE):
    """(fixed, moving, true matrix): two float images in [0, 1] of blobs, the second turned and inverted."""
    from scipy.ndimage import affine_transform, gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(2, 2 * side, 2 * side))
    fine, rough = (gaussian_filter(n, s) for n, s in zip(noise, (3, 6), strict=True))
    whole = np.tanh(1.5 * fine / fine.std()) + rough / rough.std()
    whole = (whole - whole.min()) / np.ptp(whole)
    a, c = np.deg2rad(angle), np.full(2, side / 2 - 0.5)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])  # moving → fixed, (x, y), in the crop
    cut = slice(side // 2, side // 2 + side)
    offset = c - turn @ c - np.array(shift) + side // 2
    swapped = turn[::-1, ::-1]
    moving = affine_transform(
        whole, swapped, offset=offset[::-1], order=1, output_shape=(side, side), mode="reflect"
    )
    back = np.eye(3)
    back[:2, :2], back[:2, 2] = turn, c - turn @ c - np.array(shift)
    return whole[cut, cut], 1 - moving**2, np.linalg.inv(back)


def _gray(array: np.ndarray, dtype: Any = np.uint8) -> np.ndarray:
    """[0, 1] → the whole range of an integer type."""
    return np.rint(array * np.iinfo(dtype).max).astype(dtype)


def _save(path: Path | str, array: np.ndarray, **about: Any) -> Path:
    """An image file of an array, of the kind its suffix says; JPEG and text kinds are made elsewhere."""
    spacing = about.pop("spacing", (1.0, 1.0))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image(array, Grid((array.shape[1], array.shape[0]), spacing), **about))
    return path


@pytest.fixture
def scene():
    """``scene(seed, angle, shift, side)``: two images and the truth."""
    return _scene


@pytest.fixture
def gray():
    """``gray(array, dtype)``: real → integer."""
    return _gray


@pytest.fixture
def save():
    """``save(path, array, spacing=…, calibrated=…, unit=…, channels=…)``: an image file."""
    return _save


@pytest.fixture
def two() -> tuple[Path, Path]:
    """fixed.png and moving.png in the current folder."""
    fixed, moving, _ = _scene()
    return _save("fixed.png", _gray(fixed)), _save("moving.png", _gray(moving))


@pytest.fixture
def folders() -> tuple[Path, Path]:
    """A folder of three fixed images, and one of moving ones aligned with them."""
    for i, name in enumerate("abc"):
        fixed, _, _ = _scene(i)
        _save(f"HE/{name}_HE.png", _gray(fixed))
        _save(f"SHG/{name}_SHG.png", _gray(1 - fixed**2))
    return Path("HE"), Path("SHG")


@dataclass(frozen=True)
class Ended:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else; NaN is no JSON."""
        return json.loads(self.out, parse_constant=pytest.fail)

    @property
    def sentence(self) -> str:
        """The one line that says what went wrong, after what was said of the work."""
        *before, line = self.err.splitlines()
        assert line.startswith("counterpoint: ") and "Traceback" not in self.err
        assert not any(said.startswith("counterpoint: ") for said in before)
        return line.removeprefix("counterpoint: ")


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys) -> Run:
    """``run("register", path, "--json", …)`` in this process."""

    def go(*argv: object) -> Ended:
        capsys.readouterr()
        code = run_command([str(a) for a in argv])
        return Ended(code, *capsys.readouterr())

    return go


@pytest.fixture
def refused(run, elsewhere) -> Callable[..., str]:
    """Run a command that must end with 2, one sentence, no traceback and an untouched disk; the sentence."""

    def go(*argv: object) -> str:
        before = _listing(elsewhere)
        ended = run(*argv)
        assert (ended.code, ended.out) == (2, ""), ended
        assert _listing(elsewhere) == before
        return ended.sentence

    return go


def _listing(folder: Path) -> dict[str, int]:
    return {str(p): p.lstat().st_mtime_ns for p in folder.rglob("*") if not p.is_dir()} | {
        str(p): 0 for p in folder.rglob("*") if p.is_dir()
    }


class Running:
    """A command as a process of its own."""

    def __init__(self, code: str, argv: Sequence[object]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,  # a group, as a terminal has it
        )
        self.read = ""

    def until(self, words: str) -> None:
        """Read standard error until ``words`` come."""
        assert self.popen.stderr is not None
        while words not in self.read:
            line = self.popen.stderr.readline()
            assert line, f"the process ended before it said {words!r}: {self.read}"
            self.read += line

    def signal(self, number: int) -> Ended:
        """Send a signal to all of the group, as ctrl-C does, and wait for the end."""
        os.killpg(self.popen.pid, number)
        out, err = self.popen.communicate(timeout=60)
        return Ended(self.popen.returncode, out, self.read + err)

    def end(self) -> Ended:
        """Wait for the end."""
        out, err = self.popen.communicate(timeout=120)
        return Ended(self.popen.returncode, out, self.read + err)


@pytest.fixture
def process() -> Iterator[Callable[..., Running]]:
    """``process("register", …)``; what still runs when the test ends is killed."""
    started: list[Running] = []

    def go(*argv: object, code: str = HEARING) -> Running:
        started.append(Running(code, argv))
        return started[-1]

    yield go
    for one in started:
        if one.popen.poll() is None:
            one.signal(signal.SIGKILL)
