"""A SimCLR step with its augmentation, and the augmentation by itself, beside lightly's pipeline.

    python benchmarks/pipeline.py --peer-python .venv-parity/bin/python [--write]
    python benchmarks/pipeline.py --markdown       # docs/results-pipeline.md from results/pipeline.json

ResNet-18 with the stem for small images, batches of 256 images of 32², two crops, two cores. lightly's side
is wired as its examples are: ``SimCLRTransform`` on PIL images in a ``DataLoader`` whose two workers work
ahead while the network has both cores, too; torchvision's ResNet-18, ``SimCLRProjectionHead``,
``NTXentLoss``, SGD. Ours is what ``counterpoint train simclr`` does (``train.loop.fit``). Both crop, mirror,
jitter and gray by the same law, without blur and normalization. "fast" has channels last and bfloat16 on
either side: for us two settings, for lightly lines in a loop of one's own.

Every turn of an arm is a process of its own, and the arms take turns. Rates are by the clock, so they need a
machine that does nothing else; CPU-seconds, those of workers with them, say more on a busy one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contract
import numpy as np
import torch

HERE = Path(__file__).parent
SOURCES, DOCUMENT = HERE.parent / "src", HERE.parent / "docs" / "results-pipeline.md"
CORES, SIDE = 2, 32
HIDDEN, DIM, TEMPERATURE, LR, MOMENTUM = 2048, 128, 0.5, 0.03, 0.9
PARTS = {"step": ("counterpoint", "lightly", "counterpoint, fast", "lightly, fast"),
         "views": ("counterpoint", "lightly")}  # fmt: skip
"""What is measured, of whom."""
TITLES = {"step": "whole step", "views": "augmentation alone"}
GOALS = {"step": 3.0, "views": 10.0}
"""How many times lightly's images a second are hoped for."""
PEERS = ("lightly", "lightly, fast")
Go = Callable[[], dict[str, Any]]
"""Does the work; gives ``now()`` after every batch, and perhaps more."""


def now() -> tuple[float, float]:
    """By the clock, and of this process's processors."""
    return time.perf_counter(), time.process_time()


def pictures(count: int) -> np.ndarray:
    """(count, 32, 32, 3) uint8: clouds of color."""
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return (large.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def our_views(batch: int, count: int) -> Go:
    """Read and augment, as an update does."""
    from counterpoint.core.rng import generator
    from counterpoint.data.arrays import Arrays
    from counterpoint.views.presets import SimCLRCrops

    data, views = Arrays(pictures(batch * count)), SimCLRCrops(size=SIDE).build()

    def go() -> dict[str, Any]:
        clock = []
        for step, images in enumerate(data.epoch(batch, generator(0, "order"))):
            views(images, generator(0, "views", step))
            clock.append(now())
        return {"clock": clock}

    return go


def our_steps(batch: int, count: int, fast: bool) -> Go:
    """A run; its last update, after which it is saved, is not told of."""
    from counterpoint.data.arrays import Arrays
    from counterpoint.methods.image.simclr import SimCLR
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh
    from counterpoint.train.profile import Stages

    plain = {
        "steps": count, "batch": batch, "device": "cpu", "clip": 0.0, "monitor": {"every": 0},
        "optim": {"name": "sgd", "lr": LR, "momentum": MOMENTUM, "schedule": "constant", "warmup": 0.0},
        "channels_last": fast, "precision": "bf16-mixed" if fast else "32-true",
    }  # fmt: skip
    method = fresh(SimCLR.Config(hidden=HIDDEN, dim=DIM, temperature=TEMPERATURE), 0)
    data = Arrays(pictures(batch * count))

    def go() -> dict[str, Any]:
        clock, stages = [], Stages()

        def note(*_: Any) -> None:
            clock.append(now())

        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig.from_dict(plain)
            fit(method, data, config, folder, progress=False, report=note, profile=stages)
        shares = {stage: share for stage, _, share, _ in stages.rows()}
        return {
            "clock": clock[:-1],
            "network": shares["forward"] + shares["backward"],
            "views": shares["views"],
        }

    return go


class Pictures(torch.utils.data.Dataset):
    """PIL images under a transform."""

    def __init__(self, count: int, transform: Callable[[Any], Any]) -> None:
        from PIL import Image

        self.images, self.transform = [Image.fromarray(image) for image in pictures(count)], transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


def loader(batch: int, count: int) -> torch.utils.data.DataLoader:
    """lightly's crops of ``count`` batches, made by two workers."""
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=SIDE, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    images = Pictures(batch * count, transform)
    return torch.utils.data.DataLoader(images, batch, shuffle=True, drop_last=True, num_workers=CORES)


def their_views(batch: int, count: int) -> Go:
    """Ask for all that the workers make."""
    batches = loader(batch, count)
    return lambda: {"clock": [now() for _ in batches]}


def their_steps(batch: int, count: int, fast: bool) -> Go:
    """The loop of lightly's example."""
    import torchvision
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead

    backbone = torchvision.models.resnet18()
    backbone.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    backbone.maxpool, backbone.fc = torch.nn.Identity(), torch.nn.Identity()
    network = torch.nn.Sequential(backbone, SimCLRProjectionHead(512, HIDDEN, DIM))
    if fast:
        network.to(memory_format=torch.channels_last)
    criterion = NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=1e-4)
    batches = loader(batch, count)

    def go() -> dict[str, Any]:
        clock = []
        for views in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                loss = criterion(*(network(view) for view in views))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            clock.append(now())
        return {"clock": clock}

    return go


def once(part: str, arm: str, batch: int, count: int) -> dict[str, Any]:
    """Seconds of a batch, the first aside, by the clock and of processors, those of workers with them.

    A mean: what workers made ahead comes at once, and then nothing for a while.
    """
    torch.set_num_threads(CORES)
    torch.manual_seed(0)
    fast = arm.endswith("fast")
    if arm.startswith("lightly"):
        sys.path.insert(0, str(HERE / "parity"))
        from sides import torchvision_without_operators

        torchvision_without_operators()
        go = their_steps(batch, count, fast) if part == "step" else their_views(batch, count)
    else:
        go = our_steps(batch, count, fast) if part == "step" else our_views(batch, count)
    before = sum(os.times()[2:4])
    found = go()
    workers = (sum(os.times()[2:4]) - before) / count
    clock = found.pop("clock")
    wall, cpu = ((last - first) / (len(clock) - 1) for first, last in zip(clock[0], clock[-1], strict=True))
    return {"wall": wall, "cpu": cpu + workers, **found}


def asked(part: str, arm: str, batch: int, count: int, python: str) -> dict[str, Any]:
    """``once`` in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(CORES), "PYTHONPATH": str(SOURCES)}
    command = [python, "-W", "ignore", __file__, "--one", arm, "--parts", part]
    command += ["--batch", str(batch), "--steps" if part == "step" else "--batches", str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arm}, {TITLES[part]}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def rows(
    peer: str | None, parts: list[str], batch: int, counts: dict[str, int], turns: int
) -> list[dict[str, Any]]:
    """All arms, by turns."""
    made: list[dict[str, Any]] = []
    for part in parts:
        arms = [arm for arm in PARTS[part] if peer or arm not in PEERS]
        found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        for _ in range(turns):
            for arm in arms:
                python = peer if peer and arm in PEERS else sys.executable
                found[arm].append(asked(part, arm, batch, counts[part], python))
        made += [row(part, arm, batch, each) for arm, each in found.items()]
    for one in made:
        for other in made:
            if other["part"] == one["part"] and other["arm"] == "lightly":
                rate, cpu = one["images_per_second"] / other["images_per_second"], other["cpu"]["median"]
                one["ratio"] = contract.significant(rate)
                one["cpu_ratio"] = contract.significant(cpu / one["cpu"]["median"])
    return made


def row(part: str, arm: str, batch: int, each: list[dict[str, Any]]) -> dict[str, Any]:
    """What several processes found of one arm."""
    wall = contract.spread([one["wall"] for one in each])
    shares = {
        f"{share}_share": contract.significant(float(np.median([one[share] for one in each])), 3)
        for share in ("network", "views")
        if share in each[0]
    }
    return {
        "part": part, "arm": arm, "images_per_second": contract.significant(batch / wall["median"]),
        "wall": wall, "cpu": contract.spread([one["cpu"] for one in each]), **shares,
    }  # fmt: skip


def table(made: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| part | arm | images a second | × lightly | s a batch (quartiles) | CPU-s a batch | lightly's ÷ |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in made:
        wall, ratios = (
            one["wall"],
            [f"{one[key]:.2f}" if key in one else "–" for key in ("ratio", "cpu_ratio")],
        )
        cells = [
            TITLES[one["part"]], one["arm"], f"{one['images_per_second']:,.0f}", ratios[0],
            f"{wall['median']:.3g} ({wall['q1']:.3g} – {wall['q3']:.3g})",
            f"{one['cpu']['median']:.3g}", ratios[1],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def verdicts(made: list[dict[str, Any]]) -> list[str]:
    """A line for each goal and each of our arms."""
    ours = [one for one in made if one["arm"] not in PEERS and "ratio" in one]
    return [
        f"- {TITLES[one['part']]}, {one['arm']}: {one['ratio']:.2f} × lightly's images a second, hoped for "
        f"{GOALS[one['part']]:g} ×: {'reached' if one['ratio'] >= GOALS[one['part']] else 'not reached'}."
        for one in ours
    ]


def markdown(result: dict[str, Any]) -> str:
    """The page of the results."""
    machine, made = result["machine"], result["rows"]
    shares = {one["arm"]: one for one in made if "network_share" in one}
    said = [
        f"{one['network_share']:.1%} of a step of ours ({arm}) is the network forward and backward, "
        f"{one['views_share']:.1%} augmentation."
        for arm, one in shares.items()
    ]
    lines = [
        "# A step and its augmentation", "",
        "SimCLR with ResNet-18 (stem for small images), batches of 256 images of 32², two crops, two cores, "
        "beside lightly's pipeline (PIL, torchvision's transforms, two workers); medians of turns. "
        "\"Fast\" has channels last and bfloat16, on either side. Made by `benchmarks/pipeline.py` on "
        f"{machine['cpu']}, commit {result['commit'][:8]}, {result['date']}.", "",
        *table(made), "", *verdicts(made), "", *said, "",
        "Both sides compute the same network. Where that takes nearly all of the time, no pipeline is "
        "several times faster than another in the same arithmetic.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer-python", help="Python of an environment with lightly; see parity/README.md")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--steps", type=int, default=6, help="updates of a turn; the first and our last do not count"
    )
    parser.add_argument("--batches", type=int, default=40, help="batches of a turn that are augmented")
    parser.add_argument("--turns", type=int, default=5, help="of each arm")
    parser.add_argument("--write", action="store_true", help="keep the result in results/pipeline.json")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument(
        "--one", choices={arm for arms in PARTS.values() for arm in arms}, help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    counts = {"step": args.steps, "views": args.batches}
    if args.one:
        (part,) = args.parts
        print(json.dumps(once(part, args.one, args.batch, counts[part])))
    elif args.markdown:
        DOCUMENT.write_text(markdown(contract.read("pipeline")), encoding="utf-8")
    else:
        made = rows(args.peer_python, args.parts, args.batch, counts, args.turns)
        print("\n".join([*table(made), "", *verdicts(made)]))
        if args.write:
            about = "Images a second of a SimCLR step with ResNet-18 on 32², and of its augmentation alone."
            settings = {"batch": args.batch, "turns": args.turns, "cores": CORES, **counts}
            contract.write("pipeline", about, made, settings, [0], 1)


if __name__ == "__main__":
    main()
