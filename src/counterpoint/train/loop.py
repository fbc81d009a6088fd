"""The loop. It knows ``Method`` and no method.

A run is a function of its settings, its data and the weights it starts from: killed at any step and
resumed, it ends with the same bits (on one kind of processor; CUDA kernels may differ in the last place).
"""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from counterpoint.core.data import Data
from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.networks import FILE, save_networks
from counterpoint.core.networks import about as read_about
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.types import Batch, Progress
from counterpoint.train import checkpoint, processes
from counterpoint.train.bar import bar
from counterpoint.train.config import TrainConfig
from counterpoint.train.monitor import Monitor
from counterpoint.train.profile import OFF, Clock, Stages
from counterpoint.train.record import LOG, Run, open_run, read_log
from counterpoint.train.rows import check_chunk
from counterpoint.train.step import Update
from counterpoint.train.team import Team, check_count

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FINISHED = -1
"""What the first process tells the others where nothing is left to do."""
Report = Callable[[Progress, Mapping[str, Any]], object]
"""Called after every update with where training stood before it and what the log says of it."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of a run."""

    folder: Path
    networks: Path
    """The trained networks, for ``core.networks.load_networks``."""
    steps: int
    """Updates made in all."""
    loss: float
    """The loss of the last update."""
    resumed_from: int
    """The update after which this call went on; 0 if it began."""
    already_done: bool
    """Whether the run was finished before this call, which then did nothing."""
    warnings: tuple[str, ...] = ()
    """What the monitor warned of in the whole run."""


def fresh(config: MethodConfig, seed: int) -> Method:
    """A method whose initial weights depend on ``seed`` alone."""
    seed_all(seed, "init")
    return config.build()


def fit(
    method: Method,
    data: Data,
    config: TrainConfig,
    folder: Path | str,
    *,
    about: Mapping[str, Any] | None = None,
    resume: bool = True,
    report: Report | None = None,
    progress: bool = True,
    profile: Stages = OFF,
) -> RunSummary:
    """Train a method in place and leave its networks in a run folder.

    Args:
        method: Built with ``fresh`` (or with weights of its own: a run resumed from no checkpoint begins with
            what it is given).
        data: Yields the batches; must provide what the method needs.
        config: How long and how.
        folder: The run folder; see ``counterpoint.train.record``.
        about: Plain data that says what the data are. It belongs to the settings of the run, and goes into
            the header of the networks, where it stands under "data".
        resume: Go on with an unfinished run of the same settings in ``folder``, leave a finished one alone;
            ``False`` removes what stands there and begins anew.
        report: Called after every update.
        progress: Show a bar, if stderr is a terminal.
        profile: A clock that is told the stages of the updates of this call, and what it found kept as
            ``profile.json``. The bits of the run do not depend on it.

    Raises:
        InputError: data or device do not fit, or ``folder`` holds another run.
        WorkError: the loss or the gradient is not finite, the disk is full, or the data end early.
        KeyboardInterrupt: ctrl-C was pressed; the update under way was finished and a checkpoint written.
    """
    per_epoch, steps = length(method, data, config)
    networks = encoders(method)
    check_chunk(method, config.chunk)
    device = _device(config)
    check_count(config.processes, device)
    monitor = Monitor(method, data, config.monitor, config.batch, config.seed)
    described = {"samples": len(data), **(about or {})}
    settings = {"method": method.config.to_dict(), "train": config.to_dict(), "data": described}
    settings = json.loads(json.dumps(settings))  # as it will be read back
    with ExitStack() as closing:
        team = closing.enter_context(processes.given(config.processes))
        work = _Work(data, config, settings, Path(folder), per_epoch, steps)
        if team.rank:
            return work.follow(team, method)
        run = closing.enter_context(open_run(folder, settings, config.seed, resume=resume))
        if run.finished:
            team.told(FINISHED)
            loss = read_about(run.networks)["loss"]
            return RunSummary(run.folder, run.networks, steps, loss, steps, True, _warnings(run))
        if team.size == 1 and config.processes > 1:
            weights = {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}
            others = partial(work.follow, weights=weights)
            team = closing.enter_context(processes.started(config.processes, device, others))
        update, state = _ready(method, config, team, profile)
        done = checkpoint.load(run.checkpoint, state, settings) if run.checkpoint.is_file() else 0
        team.told(done)
        with _deterministic():
            line = _train(
                update, data, run, state, work.start(done), per_epoch, monitor, report, progress, profile
            )
        loss = line.get("loss", math.nan)
        save_networks(run.networks, networks, {"steps": steps, "loss": loss, **settings})
        return RunSummary(run.folder, run.networks, steps, loss, done, False, _warnings(run))


@dataclass(frozen=True, slots=True)
class _Work:
    """What the processes of a run must know; the first writes, the others follow it."""

    data: Data
    config: TrainConfig
    settings: Mapping[str, Any]
    folder: Path
    per_epoch: int
    steps: int

    def start(self, done: int) -> Progress:
        """Where a run stands that has made ``done`` updates."""
        return Progress(done, self.steps, done // self.per_epoch, math.ceil(self.steps / self.per_epoch))

    def follow(
        self, team: Team, method: Method | None = None, *, weights: Mapping[str, Tensor] | None = None
    ) -> RunSummary:
        """Make the updates that the first process makes, of a method or of one with these weights."""
        if method is None:
            method = MethodConfig.from_dict(self.settings["method"]).build()
            method.load_state_dict(weights or {})
        if (done := team.told()) == FINISHED:
            loss = read_about(self.folder)["loss"]
            return RunSummary(self.folder, self.folder / FILE, self.steps, loss, self.steps, True)
        update, state = _ready(method, self.config, team)
        if done:
            checkpoint.load(self.folder / checkpoint.FILE, state, self.settings)
        line: dict[str, Any] = {}
        with _deterministic():
            for at, batches in _schedule(self.data, self.config, self.start(done), self.per_epoch):
                _begin_epoch(update, self.data, at, self.per_epoch)
                line = update(batches, at)
                stop = team.any(False)
                if _saves(self.config, at, stop):
                    with update.whole():
                        pass  # the first writes it
                if stop:
                    break
        loss = line.get("loss", math.nan)
        return RunSummary(self.folder, self.folder / FILE, self.steps, loss, done, False)


def _ready(
    method: Method, config: TrainConfig, team: Team, profile: Stages = OFF
) -> tuple[Update, checkpoint.State]:
    """What makes the updates of a method, and what of it a checkpoint holds."""
    fabric = _fabric(config, processes.local_rank(team))
    fabric.to_device(method)
    method.train()
    update = Update(fabric, method, config, team, profile)
    return update, checkpoint.State(method, update.optimizers, update.scale)


def _train(
    update: Update,
    data: Data,
    run: Run,
    state: checkpoint.State,
    start: Progress,
    per_epoch: int,
    monitor: Monitor,
    report: Report | None,
    progress: bool,
    profile: Stages,
) -> dict[str, Any]:
    """Make the updates from ``start`` on; returns the last line of the log."""
    config = update.config
    kept = run.rewind(start.step)
    monitor.recall(kept)
    line = (kept or [{"seconds": 0.0}])[-1]
    began = time.monotonic() - line["seconds"]
    with interruptible() as interrupted, bar(start.steps, start.step, shown=progress) as show:
        for at, batches in _schedule(data, config, start, per_epoch, profile):
            _begin_epoch(update, data, at, per_epoch)
            line = update(batches, at)
            profile("monitor")
            line |= monitor(update.fabric, at)
            profile("writing")
            line["seconds"] = round(time.monotonic() - began, 3)
            done, stop = at.step + 1, update.team.any(interrupted())
            if done % config.log_every == 0 or done == at.steps or "monitor" in line:
                run.write(line)
            if _saves(config, at, stop):
                run.sync()
                with update.whole():
                    checkpoint.save(run.checkpoint, state, done, run.settings)
            profile("other")
            show(done, line["loss"], line.get("collapse", {}).values())
            if report is not None:
                report(at, line)
            profile.updated(batches)
            if stop:
                break
        if profile.updates:
            run.profiled(profile.to_dict())
    return line


def _saves(config: TrainConfig, at: Progress, stop: bool) -> bool:
    """Whether a checkpoint is written after an update."""
    done = at.step + 1
    return stop or done % config.save_every == 0 or done == at.steps


def _begin_epoch(update: Update, data: Data, at: Progress, per_epoch: int) -> None:
    """Give the method its moment, if an epoch begins."""
    if at.step == at.epoch * per_epoch:
        seed_all(update.config.seed, "epoch", at.epoch)
        update.method.before_epoch(at, partial(embed_all, update, data, at.epoch))


def _warnings(run: Run) -> tuple[str, ...]:
    """All that the monitor warned of."""
    log = read_log(run.folder) if (run.folder / LOG).is_file() else []
    return tuple(said for line in log for said in line.get("collapse", {}).values())


def _schedule(
    data: Data, config: TrainConfig, start: Progress, per_epoch: int, stage: Clock = OFF
) -> Iterator[tuple[Progress, list[Batch]]]:
    """Every update from ``start`` on, with its batches; of an epoch begun, those not yet used."""
    step = start.step
    for epoch in range(start.epoch, start.epochs):
        stage("reading")
        used = (step - epoch * per_epoch) * config.accumulate
        batches = data.epoch(config.batch, generator(config.seed, "order", epoch), used)
        end = min((epoch + 1) * per_epoch, start.steps)
        while step < end:
            stage("reading")
            group = list(islice(batches, config.accumulate))
            if not group:
                raise WorkError(
                    f"data: expected batches for {per_epoch} updates in epoch {epoch}, found fewer"
                )
            stage("other")
            yield Progress(step, start.steps, epoch, start.epochs), group
            step += 1


@torch.no_grad()
def embed_all(update: Update, data: Data, epoch: int, role: str) -> Tensor:
    """Features of one pass over the data by the network of ``role``, in the order of the samples' ids."""
    network, rows, ids = update.method.network(role), [], []
    training = network.training
    network.eval()
    for batch in data.epoch(update.config.batch, generator(update.config.seed, "embed", epoch)):
        with update.fabric.autocast():
            rows.append(network(update.fabric.to_device(batch[role])))
        ids.append(batch["id"])
    network.train(training)
    return torch.cat(rows)[torch.cat(ids).argsort(stable=True)]


def length(method: Method, data: Data, config: TrainConfig) -> tuple[int, int]:
    """Updates of an epoch, and updates in all; raises ``InputError`` if the data do not fit the method."""
    if missing := method.needs - data.provides:
        raise InputError(
            f"data: expected batches with {', '.join(sorted(method.needs))}, "
            f"found {', '.join(sorted(data.provides))} without {', '.join(sorted(missing))}"
        )
    per_epoch = math.ceil(data.steps(config.batch) / config.accumulate)
    if per_epoch < 1:
        raise InputError(
            f"train.batch: expected at most the {len(data)} samples there are, found {config.batch}"
        )
    return per_epoch, config.steps or config.epochs * per_epoch


def encoders(method: Method) -> dict[str, Encoder]:
    """The networks of a method by role; raises ``TypeError`` if one is no encoder."""
    networks = {role: method.network(role) for role in method.roles}
    for role, network in networks.items():
        if not isinstance(network, Encoder):
            raise TypeError(f"network({role!r}): expected an Encoder, found {type(network).__name__}")
    return networks  # pyright: ignore[reportReturnType] -- checked just now


def _device(config: TrainConfig) -> Literal["cuda", "cpu"]:
    """The kind of device, which the precision fits; raises ``InputError`` if the machine has it not."""
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise InputError("train.device: expected a machine with a CUDA device, found none")
    device = "cuda" if cuda and config.device != "cpu" else "cpu"
    if config.precision == "16-mixed" and device == "cpu":
        raise InputError("train.precision: 16-mixed expects a CUDA device, found cpu; bf16-mixed works there")
    return device


def _fabric(config: TrainConfig, number: int = 0) -> Fabric:
    """Device, the one of this number of several, and precision; raises as ``_device`` does."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    device = _device(config)
    devices = [number] if device == "cuda" else 1
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Named, so that a cluster's job variables do not make it look for other processes.
            one = LightningEnvironment()
            return Fabric(accelerator=device, devices=devices, precision=config.precision, plugins=one)
    finally:
        logger.setLevel(level)


def _deterministic() -> AbstractContextManager[None]:
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Put ctrl-C off to the end of the block; yields whether it was pressed. A second one interrupts at once.

    The update under way must end first, because half an update is no state that could be gone on from.
    """
    asked = threading.Event()

    def note(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    # Only the main thread may take signals, and what the caller made of ctrl-C (or of none) is kept.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours := ours and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked.is_set():
        raise KeyboardInterrupt
