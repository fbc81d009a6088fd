"""Commands in children of one process that are killed in the middle, and begun again.

``commands.py FOLDER`` stands in FOLDER, makes images of two kinds there, and says of each child what it was,
how it ended and what it said: one line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import victim
from scipy.ndimage import gaussian_filter

from counterpoint.cli.main import run
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.write import write_image

STUDY = (
    "study", "intermediate-supervision", "--pairs", "pairs", "--method.size", "16", "--arms", "none",
    "--method.fixed.widths", "4", "8", "--method.moving.widths", "4", "8", "--train.batch", "4",
    "--train.steps", "2", "--patches", "8", "--seeds", "2", "--jobs", "1", "--levels", "1", "-o",
)  # fmt: skip
REGISTER = ("register", "--pairs", "pairs", "-o")


def draw() -> None:
    """Two pairs."""
    for i, name in enumerate("ab"):
        noise = np.random.default_rng(i).normal(size=(40, 40))
        array = gaussian_filter(noise, 2)
        array = (array - array.min()) / np.ptp(array)
        for kind, values in (("fixed", array), ("moving", 1 - array**2)):
            Path("pairs", kind).mkdir(parents=True, exist_ok=True)
            image = Image(np.rint(255 * values).astype(np.uint8), Grid((40, 40)))
            write_image(Path("pairs", kind, f"{name}.png"), image)


def child(name: str, *argv: str, at: float | None = None, count: int = 0) -> int:
    """Run a command in a child, killed at a share of ``count`` events; returns how many events there were."""
    events, seen = [0], Path("seen.json")

    def work() -> None:
        victim.bent(round(at * count) if at is not None else 10**9, victim.killed, events)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = run(list(argv))
        seen.write_text(json.dumps([events[0], *sys.modules]), encoding="utf-8")
        assert not code, code

    code, said = victim.in_child(work)
    number, *modules = json.loads(seen.read_text(encoding="utf-8") if seen.exists() else "[0]")
    seen.unlink(missing_ok=True)
    for module in modules:  # once for all children to come
        with suppress(Exception):
            importlib.import_module(module)
    victim.say(name, code, said)
    return number


def main() -> None:
    """See above."""
    draw()
    count = child("whole", *REGISTER, "whole")
    for at in (0.35,):
        where = f"killed-{at}"
        child(where, *REGISTER, where, at=at, count=count)
        child(f"{where}, again", *REGISTER, where)
    shutil.copytree("whole", "mixed")
    child("mixed", *REGISTER, "mixed", "--transform", "affine", at=0.2, count=count)
    child("mixed, again", *REGISTER, "mixed")
    if float(os.environ.get("COUNTERPOINT_FUZZ", "1")) > 1:
        count = child("study", *STUDY, "study")
        child("study-killed", *STUDY, "study-killed", at=0.6, count=count)
        child("study-killed, again", *STUDY, "study-killed")
    victim.in_child(partial(victim.train, Path("run")))
    np.savez("images.npz", image=(victim.images().image * 255).byte().numpy())
    embed = ("embed", "run", "images.npz", "-o", "z.npz")
    count = child("embed", *embed)
    shutil.copy("z.npz", "before.npz")
    child("embed-killed", *embed, at=0.0, count=count)


if __name__ == "__main__":
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    os.chdir(sys.argv[1])
    main()
