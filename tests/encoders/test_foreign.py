from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from torch import nn

from counterpoint.core.encoder import EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.core.networks import load_networks, save_networks
from counterpoint.encoders.foreign import Foreign


class Pooled(nn.Module):
    """What a classifier of timm is without its last layer."""

    def __init__(self, channels: int, width: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 4, stride=4), nn.ReLU())

    def forward(self, x):
        return self.stem(x).mean((2, 3))


class Last(nn.Module):
    """Channels last between, as in Swin; those widths cannot be read off."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.flip = Permuted()
        self.proj = nn.Linear(channels, 7)

    def forward(self, x):
        return self.proj(self.flip(x)).mean((1, 2))


class Permuted(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Described(nn.Module):
    """What a model of transformers is: tokens under a name, and a pooler."""

    def __init__(self, config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv2d(config.num_channels, config.hidden_size, 4, stride=4)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, pixel_values):
        tokens = self.embed(pixel_values).flatten(2).mT
        return SimpleNamespace(last_hidden_state=tokens, pooler_output=self.pooler(tokens[:, 0]))


@pytest.fixture
def timm(monkeypatch) -> list[dict]:
    """A library with three networks; the calls it gets."""
    calls: list[dict] = []

    def create_model(name, pretrained, in_chans, num_classes, **options):
        calls.append({"name": name, "pretrained": pretrained, "num_classes": num_classes})
        if "flat" in name:
            return Last(in_chans)
        return Pooled(in_chans, **options)

    module = ModuleType("timm")
    vars(module).update(
        create_model=create_model,
        is_model=lambda name: name in ("pooled", "flat"),
        list_models=lambda: ["pooled", "flat"],
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return calls


@pytest.fixture
def monai(monkeypatch) -> None:
    nets = ModuleType("monai.networks.nets")

    class Maps(nn.Conv2d):
        def __init__(self, spatial_dims: int, in_channels: int, out_channels: int = 4) -> None:
            assert spatial_dims == 2
            super().__init__(in_channels, out_channels, 3, padding=1)

    class Pair(Maps):
        def forward(self, x):
            return super().forward(x)[:, :, ::2, ::2], [x]

    class Pyramid(Maps):
        def forward(self, x):
            return [super().forward(x), super().forward(x)[:, :3, ::4, ::4]]

    vars(nets).update(Maps=Maps, Pair=Pair, Pyramid=Pyramid, version="1")
    for name in ("monai", "monai.networks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "monai.networks.nets", nets)


@pytest.fixture
def transformers(monkeypatch) -> None:
    def described(name, **options):
        if name == "a/folder":
            name, options = "tokens", {"hidden_size": 6, "eps": 1e-12} | options
        values = {"hidden_size": 8, "model_type": name} | options
        return SimpleNamespace(**values, to_diff_dict=lambda: values)

    def from_pretrained(name, config, use_safetensors):
        assert use_safetensors
        model = Described(config)
        nn.init.constant_(model.embed.weight, 0.25)
        return model

    module = ModuleType("transformers")
    vars(module).update(
        CONFIG_MAPPING={"tokens": None},
        AutoConfig=SimpleNamespace(for_model=described, from_pretrained=described),
        AutoModel=SimpleNamespace(from_config=Described, from_pretrained=from_pretrained),
    )
    monkeypatch.setitem(sys.modules, "transformers", module)


def build(library: str, name: str, **settings) -> Foreign:
    return Foreign(Foreign.Config(library=library, name=name, size=16, **settings))


def test_features_of_timm_pass_through_and_taps_are_found(timm):
    net = build("timm", "pooled", channels=2, options="{width: 6}")
    assert net.training and net.out_dim == 6
    assert net.taps == {"network.stem": 6, "network.stem.0": 6, "network.stem.1": 6}
    x = torch.rand(3, 2, 8, 12)
    with tapped(net, tuple(net.taps)) as seen:
        assert torch.equal(net(x), net.network(x))
    assert seen["network.stem"].shape == (3, 6, 2, 3)
    assert timm == [{"name": "pooled", "pretrained": False, "num_classes": 0}]


def test_layers_with_channels_last_are_no_taps(timm):
    net = build("timm", "flat")
    assert net.out_dim == 7 and net.taps == {}


def test_what_is_saved_needs_no_download(timm, tmp_path):
    net = build("timm", "pooled.of_someone", pretrained=True)
    assert timm[-1]["pretrained"] and not net.config.pretrained
    save_networks(tmp_path / "n.safetensors", {"image": net})
    again = load_networks(tmp_path / "n.safetensors")["image"]
    assert not timm[-1]["pretrained"]
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(x), net.eval()(x))


def test_maps_of_monai_stay_maps_and_smaller_ones_are_averaged(monai):
    net = build("monai", "Maps", channels=1, options="{out_channels: 2}", multiple=4)
    x = torch.rand(2, 1, 8, 12)
    assert net(x).shape == (2, 2, 8, 12) and net.out_dim == 2 and net.multiple == 4
    with pytest.raises(ValueError, match="multiples of 4"):
        net(torch.rand(2, 1, 8, 10))
    pair = build("monai", "Pair", channels=1)
    torch.testing.assert_close(pair(x), pair.network(x)[0].mean((2, 3)))
    pyramid = build("monai", "Pyramid", channels=1)
    torch.testing.assert_close(pyramid(x), pyramid.network(x)[-1].mean((2, 3)))
    assert pyramid.out_dim == 3


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_tokens_of_transformers_are_pooled_here_and_not_there(transformers, pool):
    net = build("transformers", "tokens", channels=2, options="{hidden_size: 6}", pool=pool)
    x = torch.rand(2, 2, 8, 8)
    tokens = net.network(x).last_hidden_state
    torch.testing.assert_close(net(x), tokens.mean(1) if pool == "mean" else tokens[:, 0])
    assert net.out_dim == 6 and not list(net.network.pooler.parameters())
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_pretrained_transformers_take_their_description_along(transformers):
    net = build("transformers", "a/folder", pretrained=True)
    assert (net.config.name, net.config.pretrained) == ("tokens", False)
    assert yaml.safe_load(net.config.options) == {"hidden_size": 6, "num_channels": 3, "eps": 1e-12}
    again = EncoderConfig.from_dict(net.config.to_dict()).build()
    again.load_state_dict(net.state_dict())
    assert again.network.embed.weight.eq(0.25).all()


def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"expected timm to be installed \(pip install timm\)"):
        build("timm", "pooled")


def test_wrong_settings_are_told_in_a_sentence(timm, monai, transformers):
    for library, name, match in (
        ("timm", "poled", r"network of timm, found 'poled', whose nearest are pooled"),
        ("monai", "Map", r"network of monai, found 'Map', whose nearest are Maps"),
        ("monai", "version", "network of monai"),
        ("transformers", "token", "whose nearest are tokens"),
    ):
        with pytest.raises(InputError, match=match):
            build(library, name)
    with pytest.raises(InputError, match="MONAI has no weights by name"):
        build("monai", "Maps", pretrained=True)
    with pytest.raises(InputError, match=r"could not build 'pooled' for 3 channels and 16 pixels: .*'depth'"):
        build("timm", "pooled", options="{depth: 2}")
    with pytest.raises(InputError, match=r"could not use 'pooled' for 3 channels and 2 pixels: .*[Kk]ernel"):
        Foreign(Foreign.Config(name="pooled", size=2))
    for options in ("[1]", "{", "3"):
        with pytest.raises(InputError, match="expected YAML such as"):
            Foreign.Config(options=options)
    with pytest.raises(InputError, match="multiples of 3"):
        Foreign.Config(size=16, multiple=3)


REAL = {
    "timm": ("resnet18", ""),
    "monai": ("UNet", "{out_channels: 3, channels: [4, 8], strides: [2]}"),
    "transformers": (
        "vit",
        "{hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8,"
        " image_size: 16, patch_size: 4}",
    ),
}


@pytest.mark.parametrize("library", REAL)
@pytest.mark.filterwarnings("default")
def test_the_real_library_is_spoken_to_in_its_own_words(library):
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    name, options = REAL[library]
    net = build(library, name, channels=2, options=options).eval()
    assert net.taps and net(torch.rand(2, 2, 16, 16)).shape[:2] == (2, net.out_dim)


@pytest.mark.parametrize(
    "name", ["trust_remote_code", "pretrained_url", "pretrained", "weights", "checkpoint_path", "cache_dir"]
)
def test_no_argument_fetches_weights_or_code(name):
    with pytest.raises(InputError, match=f"no argument that fetches weights or code, found '{name}'"):
        Foreign.Config(options=f"{{{name}: x}}")


def test_arguments_that_merely_sound_so_are_let_through():
    Foreign.Config(options="{drop_path: 0.1, patch_size: 4, use_checkpoint: true, class_token: false}")
