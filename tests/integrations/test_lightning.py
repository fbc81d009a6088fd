from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.networks import load_networks
from counterpoint.core.types import Terms, View
from counterpoint.data.digits import digits
from counterpoint.encoders.convnet import ConvNet
from counterpoint.integrations.lightning import lightning_module
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log

lightning = pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
SMALL = {
    "encoder": {"kind": "convnet", "channels": 1, "width": 4},
    "hidden": 8,
    "dim": 8,
    "views": {"size": 16},
}


@pytest.fixture(scope="module")
def data():
    return digits("train", size=16).subset(torch.arange(50))


def config(**changes) -> TrainConfig:
    return TrainConfig(
        **{"epochs": 3, "batch": 16, "device": "cpu", "optim": OptimConfig(lr=0.01), **changes}
    )


def trainer(**changes):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    changes = {"max_epochs": 3, "accelerator": "cpu", "enable_checkpointing": False, **quiet, **changes}
    return lightning.Trainer(devices=1, **changes)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Game(Method):
    """Two players and a memory, a hook before the epoch and one after the step."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        steep: int = -1

    needs = frozenset({"image"})
    turns = ("critic", "maker")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.maker, self.critic = ConvNet(ConvNet.Config(channels=1, width=2)), torch.nn.Linear(8, 1)
        self.drop = torch.nn.Dropout(0.3)
        self.register_buffer("memory", torch.zeros(8))
        self.register_buffer("center", torch.zeros(8))

    def views(self, batch, rng):
        return (View(batch["image"] + 0.1 * torch.randn(batch["image"].shape, generator=rng), batch["id"]),)

    def trained(self, turn: str) -> torch.nn.Module:
        return self.critic if turn == "critic" else self.maker

    def loss(self, views, at) -> Terms:
        made = self.drop(self.maker(views[0].x)) - self.center + 0.1 * self.memory
        if at.turn == "critic":
            return Terms({"told": self.critic(made.detach()).square().mean()}, keep={"made": made.detach()})
        fooled = (self.critic(made) - 1).square().mean()
        return Terms({"fooled": fooled * (float("nan") if at.step == self.config.steep else 1)})

    def before_epoch(self, at, embed_all) -> None:
        self.center.copy_(embed_all("image").mean(0) + torch.rand(8))

    def after_step(self, at, kept) -> None:
        self.memory.lerp_(kept["made"].mean(0), 0.5)

    def network(self, role: str) -> Encoder:
        return self.maker


def both(kind, data, tmp_path, config, **changes):
    """One method trained by our own loop, its twin by a Trainer."""

    def make() -> Method:
        if kind == "game":
            torch.manual_seed(0)
            return Game(Game.Config())
        memory = {"queue": 24} if kind == "moco" else {}
        return fresh(MethodConfig.from_dict({"kind": kind, **SMALL, **memory}), 0)

    ours, theirs = make(), make()
    assert same(ours, theirs)
    begin = {k: v.clone() for k, v in ours.state_dict().items()}
    fit(ours, data, config, tmp_path / "ours", progress=False)
    assert any(not torch.equal(v, begin[k]) for k, v in ours.state_dict().items())
    one = trainer(**changes)
    one.fit(lightning_module(theirs, config, data))
    return ours, theirs, one


@pytest.mark.parametrize("kind", ["simclr", "byol", "moco", "game"])
def test_a_trainer_gives_the_bits_of_our_loop(kind, data, tmp_path):
    ours, theirs, one = both(kind, data, tmp_path, config())
    assert one.global_step == 9 * len(ours.turns)
    assert same(ours, theirs)
    assert all(p.training for p in theirs.modules())


def test_several_batches_an_update_and_a_limit_of_gradients(data, tmp_path):
    settings = config(accumulate=2, clip=0.01)
    ours, theirs, _ = both("moco", data, tmp_path, settings)
    assert same(ours, theirs)


@pytest.mark.parametrize("kind", ["simclr", "game"])
def test_half_precision_is_used_where_the_loop_uses_it(kind, data, tmp_path):
    settings = config(precision="bf16-mixed")
    ours, theirs, _ = both(kind, data, tmp_path, settings, precision="bf16-mixed")
    assert same(ours, theirs)


@pytest.mark.parametrize("kind", ["simclr", "game"])
def test_the_trainer_says_when_it_ends(kind, data, tmp_path):
    players = 2 if kind == "game" else 1
    ours, theirs, _ = both(kind, data, tmp_path, config(steps=5), max_steps=5 * players, max_epochs=None)
    assert same(ours, theirs)


def test_a_checkpoint_of_the_trainer_goes_on_to_the_same_bits(data, tmp_path):
    make = lambda seed: fresh(MethodConfig.from_dict({"kind": "moco", **SMALL, "queue": 24}), seed)  # noqa: E731
    whole, broken, resumed = make(0), make(0), make(1)
    trainer().fit(lightning_module(whole, config(), data))

    class Stop(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    first = trainer(callbacks=[Stop()])
    first.fit(lightning_module(broken, config(), data))
    first.save_checkpoint(tmp_path / "at.ckpt")
    second = trainer()
    second.fit(lightning_module(resumed, config(), data), ckpt_path=tmp_path / "at.ckpt")
    assert second.global_step == 9 and not same(whole, broken) and same(whole, resumed)


def test_the_log_is_that_of_our_loop(data, tmp_path):
    lines = []

    class Note(lightning.Callback):
        def on_train_batch_end(self, trainer, *_) -> None:
            lines.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    both("game", data, tmp_path, config(), callbacks=[Note()])
    ours = read_log(tmp_path / "ours")
    assert len(lines) == len(ours) == 9
    for line, own in zip(lines, ours, strict=True):
        assert line["rate"] == pytest.approx(own["rate"]) and line["loss"] == pytest.approx(own["loss"])
        assert line["critic/terms/told"] == pytest.approx(own["critic"]["terms"]["told"])
        assert line["maker/gradient"] == pytest.approx(own["maker"]["gradient"])


def test_loaders_of_ones_own(data):
    samples = [{"image": data.image[i], "id": torch.tensor(i)} for i in range(50)]
    batches = torch.utils.data.DataLoader(samples, 16, drop_last=True)
    method = fresh(MethodConfig.from_dict({"kind": "simclr", **SMALL}), 0)
    one = trainer(max_epochs=2)
    one.fit(lightning_module(method, config()), train_dataloaders=batches)
    assert one.global_step == 6
    torch.manual_seed(0)
    with pytest.raises(InputError, match="of which this method needs all features"):
        trainer().fit(lightning_module(Game(Game.Config()), config()), train_dataloaders=batches)
    with pytest.raises(InputError, match="data: expected data, or loaders"):
        trainer().fit(lightning_module(method, config()))


def test_what_cannot_be_done_is_refused(data):
    method = fresh(MethodConfig.from_dict({"kind": "simclr", **SMALL}), 0)
    with pytest.raises(InputError, match=r"train\.batch: expected at most the 50 samples"):
        lightning_module(method, config(batch=51), data)
    endless = trainer(max_epochs=-1)
    with pytest.raises(InputError, match="Trainer: expected an end"):
        endless.fit(lightning_module(method, config(), data))
    torch.manual_seed(0)
    with pytest.raises(WorkError, match="step 3 of 9: the term 'fooled' of the loss is nan"):
        trainer().fit(lightning_module(Game(Game.Config(steep=2)), config(), data))


def test_the_networks_are_those_of_a_run(data, tmp_path):
    method = fresh(MethodConfig.from_dict({"kind": "simclr", **SMALL}), 0)
    module = lightning_module(method, config(), data)
    trainer(max_epochs=1).fit(module)
    module.save_networks(tmp_path / "networks.safetensors")
    assert same(load_networks(tmp_path)["image"], method.network("image"))


def test_without_lightning_a_sentence_says_how_to_get_it():
    code = (
        "import sys; sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None\n"
        "from counterpoint.integrations.lightning import _base\n"
        "from counterpoint.core.errors import InputError\n"
        "try: _base()\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "counterpoint[lightning]"' in done.stdout
