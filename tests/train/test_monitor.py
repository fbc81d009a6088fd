from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress, Terms, View
from counterpoint.data.aligned import AlignedPatches
from counterpoint.data.digits import digits
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.unet import UNet
from counterpoint.metrics import geometry
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import _fabric, fit, fresh
from counterpoint.train.monitor import Monitor, MonitorConfig
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log

AT = Progress(0, 100, 0, 1)


class Planted(Method):
    """An embedding that is pulled onto a line, or to a point, or stays as it is."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        to: str = "line"

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvNet(ConvNet.Config(channels=1, width=4))
        self.projector = nn.Linear(16, 8)

    def views(self, batch, rng):
        return (View(batch["image"] + 0.1 * torch.rand(batch["image"].shape, generator=rng), batch["id"]),)

    def loss(self, views, at) -> Terms:
        h = self.encoder(views[0].x) + 0 * torch.rand(())  # draws, as dropout does
        z = self.projector(h.detach() if self.config.to == "point" else h)
        if self.config.to == "line":  # what is left of the features beside the first of them
            return Terms({"pull": h[:, 1:].square().mean() + (h[:, 0].std() - 1).square() + 0 * z.mean()})
        return Terms({"pull": (z - 1).square().mean() if self.config.to == "point" else 0 * z.mean()})

    def network(self, role: str) -> Encoder:
        return self.encoder


@pytest.fixture(scope="module")
def data():
    return digits("train", size=16).subset(torch.arange(64))


def config(steps: int = 60, every: int = 10, **changes) -> TrainConfig:
    monitor = MonitorConfig(every=every, **changes)
    optim = OptimConfig(name="adam", lr=0.03, weight_decay=0.0)
    return TrainConfig(steps=steps, batch=32, monitor=monitor, device="cpu", optim=optim, save_every=25)


def planted(to: str) -> Planted:
    torch.manual_seed(0)
    return Planted(Planted.Config(to=to))


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def untimed(folder: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder)]


class Stop(Exception):
    pass


def stop_after(step: int) -> Callable:
    def report(at, line) -> None:
        if at.step + 1 == step:
            raise Stop

    return report


@pytest.mark.parametrize(("kind", "tap"), [("toy_pair", "fixed.norm"), ("toy_game", "critic")])
def test_a_run_has_the_same_bits_with_it_and_without(run, tmp_path, kind, tap):
    watched, _ = run(tmp_path / "on", kind, monitor={"every": 1, "samples": 7, "taps": [tap]})
    alone, _ = run(tmp_path / "off", kind, monitor={"every": 0})
    assert same(watched, alone)
    logs = [untimed(tmp_path / name) for name in ("on", "off")]
    assert all(line.pop("monitor") for line in logs[0])
    assert [{k: v for k, v in line.items() if k != "collapse"} for line in logs[0]] == logs[1]


def test_a_run_broken_off_and_resumed_has_the_same_log_and_warns_once(data, tmp_path, capsys):
    whole = fit(planted("line"), data, config(), tmp_path / "whole")
    assert capsys.readouterr().err.count("warning: ") == len(whole.warnings) == 2
    warned = [line["step"] for line in read_log(tmp_path / "whole") if "collapse" in line]
    assert warned == [30, 40]
    for stop in (26, 39):
        folder = tmp_path / f"stopped at {stop}"
        with pytest.raises(Stop):
            fit(planted("line"), data, config(), folder, report=stop_after(stop))
        assert capsys.readouterr().err.count("warning: ") == (stop > 30)
        assert fit(planted("line"), data, config(), folder).warnings == whole.warnings
        assert capsys.readouterr().err.count("warning: ") == 2  # resumed from 25
        assert untimed(folder) == untimed(tmp_path / "whole")
    with pytest.raises(Stop):
        fit(planted("line"), data, config(), tmp_path / "late", report=stop_after(51))
    assert capsys.readouterr().err.count("warning: ") == 2
    assert fit(planted("line"), data, config(), tmp_path / "late").warnings == whole.warnings
    assert "warning" not in capsys.readouterr().err  # resumed from 50
    assert untimed(tmp_path / "late") == untimed(tmp_path / "whole")


def test_a_collapse_to_a_line_is_caught_and_named(data, tmp_path, capsys):
    done = fit(planted("line"), data, config(), tmp_path)
    sentence, _ = done.warnings  # the projector has to follow
    step, found = next((line["step"], line) for line in read_log(tmp_path) if "collapse" in line)
    rank = found["monitor"]["image"]["effective_rank"]
    assert rank < 2.2 and found["collapse"] == {"image": sentence}
    assert sentence.startswith(
        f"after update {step} the features at 'image' have collapsed: their effective "
    )
    assert f"rank is {rank:.2g}, it was " in sentence
    assert f"warning: {sentence}\n" in capsys.readouterr().err
    assert fit(planted("line"), data, config(), tmp_path).warnings == done.warnings  # finished before


def test_a_collapse_to_a_point_is_caught_where_it_is(data, tmp_path):
    done = fit(planted("point"), data, config(steps=120, rank=0.0), tmp_path, progress=False)
    (sentence,) = done.warnings
    assert "the features at 'projector' have collapsed: their spread is 0.0" in sentence
    assert read_log(tmp_path)[-1]["monitor"]["image"]["spread"] > 0.1
    quiet = config(steps=120, rank=0.0, spread=0.0)
    assert not fit(planted("point"), data, quiet, tmp_path / "asked not to", progress=False).warnings


def test_nothing_is_said_of_the_untrained_and_of_what_stays(data, tmp_path):
    assert not fit(planted("none"), data, config(), tmp_path / "none", progress=False).warnings
    # Too short for a look but the first and the last: no verdict.
    assert not fit(planted("line"), data, config(every=100), tmp_path / "short", progress=False).warnings
    assert "monitor" in read_log(tmp_path / "short")[-1]


SMALL = {"encoder": {"kind": "convnet", "channels": 1, "width": 8}, "hidden": 32, "dim": 32}


@pytest.mark.parametrize("kind", ["simclr", "barlow_twins"])
def test_a_healthy_training_of_images_stays_silent(kind, tmp_path):
    method = fresh(MethodConfig.from_dict({"kind": kind, **SMALL, "views": {"size": 16, "flip": 0.0}}), 0)
    settings = TrainConfig(steps=40, batch=64, monitor=MonitorConfig(every=10), device="cpu")
    assert not fit(method, digits("train", size=16), settings, tmp_path, progress=False).warnings


def pairs() -> AlignedPatches:
    """Blobs, and what another instrument makes of them."""
    from scipy.ndimage import gaussian_filter

    noise = torch.rand(2, 96, 96, generator=torch.Generator().manual_seed(0)).numpy()
    image = gaussian_filter(noise[0], 2)[..., None]
    image = (image - image.min()) / (image.max() - image.min())
    return AlignedPatches([(image, (1 - image) ** 2)], side=40, length=64)


def test_a_healthy_training_of_pairs_stays_silent(tmp_path):
    network = UNet.Config(widths=(4, 8))
    settings = {"kind": "comir", "fixed": network.to_dict(), "moving": network.to_dict(), "size": 16}
    method = fresh(MethodConfig.from_dict(settings), 0)
    train = TrainConfig(steps=40, batch=8, monitor=MonitorConfig(every=10, samples=16), device="cpu",
                        optim=OptimConfig(name="adam", lr=4e-3, weight_decay=0.0))  # fmt: skip
    data = pairs()
    assert not fit(method, data, train, tmp_path, progress=False).warnings
    line = read_log(tmp_path)[-1]["monitor"]
    assert line.keys() == {"fixed whole", "moving whole", "fixed+moving"}  # one channel has no more to say
    assert line["fixed+moving"].keys() == {"alignment"}


def test_the_numbers_are_those_of_the_metrics(data):
    method = planted("none").train()
    look = Monitor(method, data, MonitorConfig(samples=40, taps=("image.layers.0",)), 32, seed=3)
    found = look.look(_fabric(TrainConfig(device="cpu")), AT)
    assert found.keys() == {
        "image", "image.layers.0 by position", "image.layers.0 averaged", "image.layers.0 whole", "projector",
    }  # fmt: skip
    batches = list(data.epoch(32, generator(3, "monitor")))
    assert len(batches) == 2  # 40 samples, in batches as in training
    method.eval()
    with torch.no_grad():
        x = torch.cat(
            [method.views(b, generator(3, "monitor", "views", i))[0].x for i, b in enumerate(batches)]
        )
        h, inner = method.encoder(x), method.encoder.layers[0](x)
        rows: dict[str, Tensor] = {
            "image": h,
            "projector": method.projector(h),
            "image.layers.0 by position": geometry.by_position(inner)[::4],  # 4096 positions
            "image.layers.0 averaged": inner.mean((2, 3)),
            "image.layers.0 whole": inner[:40].flatten(1),
        }
    for reading, z in rows.items():
        for measure in ("effective_rank", "rankme", "alive", "spread", "uniformity"):
            value = getattr(geometry, measure)(z)
            assert found[reading][measure] == pytest.approx(value, rel=1e-4, abs=1e-6), (reading, measure)


def test_partners_are_compared_in_the_frame_they_share():
    data = pairs()
    network = UNet.Config(widths=(4, 8), out=2).to_dict()
    settings = {"kind": "comir", "fixed": network, "moving": network, "size": 16}
    method = fresh(MethodConfig.from_dict(settings), 0)
    for role in method.roles:
        nn.init.zeros_(method.network(role).head.bias)  # which would be most of an untrained map
    look = Monitor(method, data, MonitorConfig(samples=8), 8, seed=0)
    found = look.look(_fabric(TrainConfig(device="cpu")), AT)
    batch = next(data.epoch(8, generator(0, "monitor")))
    method.eval()
    with torch.no_grad():
        views = method.views(batch, generator(0, "monitor", "views", 0))
        fixed, moving = (v.undo(method.network(v.role)(v.x)).flatten(1) for v in views)
        raw = [method.network(v.role)(v.x).flatten(1) for v in views]
    assert found["fixed+moving"]["alignment"] == pytest.approx(geometry.alignment(fixed, moving))
    assert found["fixed+moving"]["alignment"] != pytest.approx(geometry.alignment(*raw))


def test_a_look_leaves_everything_as_it_was(data):
    method = planted("none").train()
    method.encoder.layers[1].eval()  # as a frozen part is
    modes = [m.training for m in method.modules()]
    state, random = {k: v.clone() for k, v in method.state_dict().items()}, torch.get_rng_state()
    Monitor(method, data, MonitorConfig(), 32, 0).look(_fabric(TrainConfig(device="cpu")), AT)
    assert modes == [m.training for m in method.modules()]
    assert all(torch.equal(v, state[k]) for k, v in method.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks for module in method.modules())
    assert all(p.grad is None for p in method.parameters())


def test_features_that_are_not_finite_have_no_numbers_and_end_nothing(data):
    method = planted("none")
    with torch.no_grad():
        method.projector.weight.fill_(float("inf"))
    monitor = Monitor(method, data, MonitorConfig(every=1), 32, 0)
    line = monitor(_fabric(TrainConfig(device="cpu")), AT)
    assert set(line["monitor"]["projector"].values()) == {None} and "collapse" not in line
    assert line["monitor"]["image"]["effective_rank"] > 1


@pytest.mark.parametrize(
    ("taps", "words"),
    [
        (("image.layers.9",), r"unknown tap 'image.layers.9': did you mean image.layers"),
        (("projectr",), r"unknown tap 'projectr': did you mean projector\?"),
        (("fixed.layers.0",), "unknown tap 'fixed.layers.0'"),
    ],
)
def test_a_tap_that_is_not_there_is_refused_before_anything_is_written(data, tmp_path, taps, words):
    with pytest.raises(InputError, match=words):
        fit(planted("line"), data, config(taps=taps), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"every": -1}, {"samples": 1}, {"rank": 1.0}, {"spread": -0.1}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(InputError, match="monitor: expected"):
        MonitorConfig(**wrong)
