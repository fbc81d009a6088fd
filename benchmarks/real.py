"""How often, how well and how fast real pairs with a known truth are registered, and what trust is worth.

    python benchmarks/real.py --data DIR -o OUT                 # all sets, all methods that are installed
    python benchmarks/real.py --data DIR -o OUT --sets he_shg_loci --methods counterpoint SIFT
    python benchmarks/real.py --data DIR -o OUT --write         # and keep the result in results/real.json
    python benchmarks/real.py --markdown                        # docs/results-registration.md from the result

OUT holds a row for every question, so a stopped run goes on; rows are asked anew if the sources of the method
changed. Learned methods are trained on the even cases of a set (at most a few minutes, kept in OUT) and asked
about the odd ones; see cases.py. The data are not part of this repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # ANTs and elastix read it when imported

import contract
import numpy as np
import torch
from cases import SETS, Case, aligned, cases, divided, gray_where_mixed, thinned, trials
from table import markdown

from counterpoint.core.errors import InputError
from counterpoint.core.networks import load_networks
from counterpoint.data.aligned import AlignedPatches
from counterpoint.encoders.unet import UNet
from counterpoint.methods.registration.comir import CoMIR
from counterpoint.metrics.registration import wilson
from counterpoint.procedures.registration import ants, elastix, mattes, sift
from counterpoint.registration.align import align
from counterpoint.registration.measure import gradient, mutual_information
from counterpoint.registration.options import Options
from counterpoint.registration.prepare import prepare
from counterpoint.registration.protocol import Images, Trial
from counterpoint.registration.refine import Kind
from counterpoint.registration.register import GENERAL, as_image, register
from counterpoint.registration.result import Registration
from counterpoint.registration.scoring import Outcome, score
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.views.patches import tile_side

Method = Callable[[np.ndarray, np.ndarray], Any]
TRAINED = "counterpoint, trained"
ALONE = "general model alone"
RIVALS = {
    "Mattes, 1 start": mattes.Mattes.Config(iterations=200),
    "Mattes, 1 start, rate 1": mattes.Mattes.Config(iterations=200, rate=1.0),
    "Mattes, 12 starts": mattes.Mattes.Config(iterations=200, starts=12),
    "Mattes, 12 starts, rate 1": mattes.Mattes.Config(iterations=200, starts=12, rate=1.0),
    "SIFT": sift.Sift.Config(),
    "elastix": elastix.Elastix.Config(),
    "ANTs": ants.Ants.Config(),
    "ANTs, full circle": ants.Ants.Config(search=15.0),
}
SLOW = ("Mattes, 12 starts", "Mattes, 12 starts, rate 1")
"""They take minutes a pair, and are asked the first turn of each only."""
METHODS = ("counterpoint", TRAINED, ALONE, "gradients alone", "mutual information alone", *RIVALS)
ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "results-registration.md"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a set's model is trained; chosen with ``--split validate``."""

    steps: int = 400
    batch: int = 48
    size: int = 32
    widths: tuple[int, ...] = (8, 16, 32)
    noise: float = 0.1
    blur: float = 0.0
    jitter: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    lr: float = 4e-3
    seed: int = 0


RECIPES = {"landmarks_remote_sensing": Recipe(jitter=0.3, blur=1.0)}
"""Where a set does better with other settings than the default."""


class Watched:
    """A method of ours, remembering how sure it was of its last answer."""

    def __init__(self, method: Callable[[np.ndarray, np.ndarray], Registration]) -> None:
        self.method = method
        self.said: dict[str, Any] = {}

    def __call__(self, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
        self.said = {}
        found = self.method(fixed, moving)
        self.said = asdict(found.quality)
        return found.matrix


def method(name: str, kind: Kind, model: Path | None, planes: Callable[[Images], Images]) -> Method:
    """A method by name; raises ``InputError`` if its package is not installed."""
    if name in RIVALS:
        return partial(RIVALS[name].build(), transform=kind)
    if name == "counterpoint":
        return Watched(partial(register, transform=kind))
    if name == ALONE:
        return Watched(partial(register, model=GENERAL, transform=kind, options=Options(only=True)))
    if name == TRAINED and model is not None:
        networks = load_networks(model)
        return Watched(lambda f, m: register(*planes((f, m)), networks, kind, options=Options(only=True)))
    measure = gradient if name.startswith("gradients") else mutual_information

    def alone(fixed: np.ndarray, moving: np.ndarray) -> Registration:
        pair = prepare(as_image(fixed), None, "fixed"), prepare(as_image(moving), None, "moving")
        return align(pair, lambda f, m: [measure(f, m)], Options(transform=kind))

    return Watched(alone)


def train(name: str, pairs: Sequence[Case], recipe: Recipe, out: Path) -> Path:
    """The run folder of a model trained on these pairs; one that is there is used."""
    images, masks = aligned(pairs, gray_where_mixed(pairs))
    nets = [UNet.Config(channels=images[0][i].shape[2], widths=recipe.widths) for i in (0, 1)]
    comir = CoMIR.Config(
        fixed=nets[0], moving=nets[1], size=recipe.size, noise=recipe.noise, blur=recipe.blur,
        jitter=recipe.jitter, scale=recipe.scale,
    )  # fmt: skip
    optim = OptimConfig(name="adam", lr=recipe.lr, weight_decay=0.0, schedule="onecycle", warmup=0.1)
    config = TrainConfig(
        steps=recipe.steps,
        batch=recipe.batch,
        clip_each="role",
        optim=optim,
        seed=recipe.seed,
        save_every=100,
    )
    data = AlignedPatches(images, tile_side(recipe.size, recipe.scale), 4096, masks)
    about = {"set": name, "pairs": [pair.name for pair in pairs]}
    folder = out / "models" / f"{name}-{_hash(asdict(recipe), about)}"
    fit(fresh(comir, recipe.seed), data, config, folder, about=about)
    return folder


def ask(
    name: str, run: Method, questions: Sequence[Trial], folder: Path, settings: dict[str, Any]
) -> list[Any]:
    """(outcome, what the method said of its trust, if it says) for every question."""
    note = folder / "trust" / f"{name}.jsonl"

    def keep(row: Outcome) -> None:
        result = row.failure or f"{row.error:.2f} px{'' if row.success else ' *'}"
        said = run.said if isinstance(run, Watched) else {}
        print(f"  {name}: {row.pair}: {result}, {row.cpu:.1f} CPU-s {said.get('trust', '')}", flush=True)
        if said:
            note.parent.mkdir(exist_ok=True)
            with note.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"trial": row.trial} | said) + "\n")

    rows = score(run, questions, folder, name, settings, each=keep)
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    said = {line["trial"]: line for line in map(json.loads, lines)}
    return [(row, said.get(row.trial)) for row in rows]


def summarized(name: str, pose: str, called: str, asked: Sequence[Any]) -> dict[str, Any]:
    """One row of the result."""
    rows = [row for row, _ in asked]
    errors = [None if row.error is None else contract.significant(row.error) for row in rows]
    success = sum(row.success for row in rows)
    return {
        "set": name, "pose": pose, "method": called, "success": success, "of": len(rows),
        "interval": [round(v, 3) for v in wilson(success, len(rows))],
        "before": sum(row.initial <= 0.02 * row.width for row in rows),
        "median_percent": contract.significant(
            np.median([np.inf if r.error is None else 100 * r.error / r.width for r in rows])
        ),
        "cpu": contract.spread([row.cpu for row in rows]),
        "wall": contract.spread([row.wall for row in rows]),
        "trials": [row.trial for row in rows], "errors": errors, "right": [row.success for row in rows],
        "trust": [None if said is None else contract.significant(said["trust"]) for _, said in asked],
    }  # fmt: skip


def run_set(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All methods on all poses of one set."""
    every = cases(args.data, name)
    learned, asked = divided(name, every, args.split)
    if SETS[name].group:
        asked = thinned(asked, args.slices)
    questions = trials(name, asked, args.seed, 1 if SETS[name].group else args.turns)
    rows = []
    for called in args.methods:
        if "rate 1" in called and SETS[name].transform == "rigid":
            continue  # the longer step is the better one there
        try:
            model, recipe = None, {}
            if called == TRAINED:
                teacher = SETS[name].model or name
                if SETS[name].model:
                    learned = divided(teacher, cases(args.data, teacher), args.split)[0]
                if not learned:
                    continue
                chosen = replace(RECIPES.get(teacher, Recipe()), **args.recipe)
                print(f"{name}: training on {len(learned)} pairs of {teacher}", flush=True)
                model, recipe = train(teacher, learned, chosen, args.out), asdict(chosen)
            run = method(called, SETS[name].transform, model, gray_where_mixed(every))
        except InputError as error:
            print(f"{name}: {called} left out: {error}")
            continue
        source = _sources(called)
        settings = {"sources": source, "recipe": recipe, "model": model.name if model else ""}
        for pose, these in questions.items():
            if called in SLOW and pose == "turned":
                these = these[:: args.turns]  # noqa: PLW2901
            folder = args.out / "rows" / name / _hash(settings)
            found = ask(called, run, these, folder, settings)
            rows.append(summarized(name, pose, called, found))
            print(f"{name}, {pose}, {called}: {rows[-1]['success']} of {rows[-1]['of']}", flush=True)
    return rows


def _sources(called: str) -> str:
    """A hash of what the method's answers depend on."""
    rooms = ("procedures/registration",) if called in RIVALS else ("registration", "encoders")
    files = sorted(f for room in rooms for f in (ROOT / "src" / "counterpoint" / room).rglob("*.py"))
    return _hash(*(f.read_text(encoding="utf-8") for f in files))


def _hash(*values: Any) -> str:
    return hashlib.blake2b(
        json.dumps(values, sort_keys=True, default=list).encode(), digest_size=5
    ).hexdigest()


def _recipe(words: Sequence[str]) -> dict[str, Any]:
    """Fields of ``Recipe`` from words such as steps=800 widths=16,32,64."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in Recipe.__dataclass_fields__:
            raise InputError(f"--recipe: unknown {name}; known: {', '.join(Recipe.__dataclass_fields__)}")
        values = tuple(float(v) if "." in v or "e" in v else int(v) for v in text.split(","))
        found[name] = values if name in ("widths", "scale") else values[0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD")
    parser.add_argument("--split", choices=("report", "tune", "validate", "all"), default="report")
    parser.add_argument("--turns", type=int, default=3, help="random angles a pair is turned by")
    parser.add_argument("--slices", type=int, default=12, help="brain slices a set is asked about")
    parser.add_argument("--seed", type=int, default=0, help="of angles and draws")
    parser.add_argument("--recipe", nargs="+", default=[], help="training, e.g. steps=800 widths=16,32,64")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/real"), help="rows and models")
    parser.add_argument("--write", action="store_true", help="keep the result in results/real.json")
    parser.add_argument("--markdown", action="store_true", help="write the page from results/real.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        args.recipe = _recipe(args.recipe)
        if args.data is None and not args.markdown:
            raise InputError("--data: expected the folder of the real data sets, found none given")
        rows = [row for name in args.sets for row in run_set(name, args)] if args.data else []
    except InputError as error:
        sys.exit(str(error))
    if args.write and rows:
        settings = {k: getattr(args, k) for k in ("sets", "methods", "split", "turns", "slices", "recipe")}
        settings["recipes"] = {n: asdict(RECIPES.get(n, Recipe())) for n in args.sets if not SETS[n].model}
        about = (
            "Registration of real pairs: success, error, CPU-seconds and trust of each method on each set."
        )
        contract.write("real", about, rows, settings, [args.seed], 0)
    text = markdown(
        contract.read("real")["rows"] if args.markdown else rows, {n: SETS[n].title for n in SETS}
    )
    if args.markdown:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
