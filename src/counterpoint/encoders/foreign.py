"""Foreign: a network of timm, MONAI or transformers by its own name, imported when asked for."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import yaml
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.core.untrusted import parse_yaml

FETCHING = re.compile(r"pretrain|remote_code|auto_map|checkpoint_path|weights$|(^|_)(url|file|dir)$", re.I)
"""Names of arguments that download or open something, or run what was downloaded. Settings come with files
of networks, and opening such a file must do neither."""


class Foreign(Encoder):
    """Another library's network, whatever it returns made into features or a map.

    Maps as large as the image stay maps; smaller ones are averaged, and so are tokens, unless the first of
    them is wanted. Of several outputs the first counts (of a list, which is a pyramid, the last). Widths and
    taps are found by trying the network on an empty image; layers with maps (B, H, W, C) are left out.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a network of another library."""

        channels: int = 3
        """Channels of the input image."""
        library: Literal["timm", "monai", "transformers"] = "timm"
        """Where the network comes from; it is not installed with this package."""
        name: str = "resnet18"
        """Its name there: a model of timm, a class of ``monai.networks.nets``, a model type of transformers
        ("vit") or, pretrained, a repository of the Hugging Face hub or a folder with a copy of one."""
        pretrained: bool = False
        """Begin with the library's weights, which are downloaded; MONAI has none by name."""
        options: str = ""
        """Further arguments of the network, or of its configuration, as a line of YAML, e.g.
        "{hidden_size: 64, num_hidden_layers: 2}"."""
        pool: Literal["mean", "first"] = "mean"
        """What tokens become: their mean, or the first, where that is a class token."""
        size: int = 64
        """Side in pixels of the image the network is tried on; some networks take one size alone."""
        multiple: int = 1
        """Height and width of an image must be multiples of this, in pixels."""

        def __post_init__(self) -> None:
            if min(self.channels, self.size, self.multiple) < 1 or self.size % self.multiple:
                raise InputError(
                    f"foreign: expected positive numbers, size in multiples of {self.multiple}, found {self}"
                )
            _options(self.options)

    def __init__(self, config: Config) -> None:
        super().__init__()
        build = {"timm": _timm, "monai": _monai, "transformers": _transformers}[config.library]
        module = _library(config.library)
        with _named("could not build", config):
            # What is saved describes a network without weights: those are saved with it.
            self.network, self.config = build(module, config)
        self.pool, self.multiple = config.pool, config.multiple
        with _named("could not use", config):
            self.out_dim, self.taps = self._tried(torch.zeros(2, config.channels, config.size, config.size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out_dim), or (B, out_dim, H, W) of a network that returns maps."""
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise ValueError(
                f"x: expected height and width in multiples of {self.multiple}, found {tuple(x.shape)}"
            )
        out = self.network(x)
        out = getattr(out, "last_hidden_state", out)
        if isinstance(out, list | tuple):
            out = out[0] if isinstance(out, tuple) else out[-1]
        if out.ndim == 3:
            return out[:, 0] if self.pool == "first" else out.mean(1)
        return out.mean((2, 3)) if out.ndim == 4 and out.shape[2:] != x.shape[2:] else out

    @torch.no_grad()
    def _tried(self, x: Tensor) -> tuple[int, dict[str, int]]:
        """Width of the features of a square image, and of the layers up to two deep that return a tensor."""
        training = self.training
        layers = [name for name, _ in self.named_modules() if 1 <= name.count(".") <= 2]
        with tapped(self.eval(), layers) as seen:
            out = self(x)
        self.train(training)
        widths = {
            name: value.shape[2 if value.ndim == 3 else 1]
            for name, value in seen.items()
            if isinstance(value, Tensor)
            and (value.ndim in (2, 3) or (value.ndim == 4 and value.shape[2] == value.shape[3]))
        }
        return out.shape[1], widths


Built = tuple[nn.Module, Foreign.Config]


def _timm(timm: Any, config: Foreign.Config) -> Built:
    if not timm.is_model(config.name.partition(".")[0]) and ":" not in config.name:
        raise _no_such(config, timm.list_models())
    options = _options(config.options)
    network = timm.create_model(
        config.name, pretrained=config.pretrained, in_chans=config.channels, num_classes=0, **options
    )
    return network, dataclasses.replace(config, pretrained=False)


def _monai(nets: Any, config: Foreign.Config) -> Built:
    if config.pretrained:
        raise InputError("foreign: expected pretrained to be false, because MONAI has no weights by name")
    known = [name for name in dir(nets) if callable(getattr(nets, name)) and not name.startswith("_")]
    if config.name not in known:
        raise _no_such(config, known)
    network = getattr(nets, config.name)
    # MONAI has several words for it; where a signature hides them, ``options`` must say them.
    ours = {"spatial_dims": 2} | dict.fromkeys(("in_channels", "n_input_channels"), config.channels)
    given = {k: v for k, v in ours.items() if k in inspect.signature(network).parameters}
    return network(**given | _options(config.options)), config


def _transformers(transformers: Any, config: Foreign.Config) -> Built:
    options = {"num_channels": config.channels} | _options(config.options)
    if config.pretrained:
        described = transformers.AutoConfig.from_pretrained(config.name, **options)
        network = transformers.AutoModel.from_pretrained(config.name, config=described, use_safetensors=True)
        plain = {k: v for k, v in described.to_diff_dict().items() if k != "model_type"}
        plain = json.loads(json.dumps(plain))  # no two values are one object: no aliases
        line = yaml.safe_dump(plain, default_flow_style=True, width=2**20).strip()
        config = dataclasses.replace(config, name=described.model_type, options=line, pretrained=False)
    else:
        if config.name not in transformers.CONFIG_MAPPING:
            raise _no_such(config, transformers.CONFIG_MAPPING.keys())
        described = transformers.AutoConfig.for_model(config.name, **options)
        network = transformers.AutoModel.from_config(described)
    pooler = getattr(network, "pooler", None)
    if isinstance(pooler, nn.Module) and list(pooler.parameters()):
        network.pooler = nn.Identity()  # not used here; its weights would never get a gradient
    return network, config


def _library(name: str) -> Any:
    """The library, imported."""
    try:
        return importlib.import_module("monai.networks.nets" if name == "monai" else name)
    except ImportError as error:
        raise InputError(
            f"foreign: expected {name} to be installed (pip install {name}), found: {_line(error)}"
        ) from None


def _options(text: str) -> dict[str, Any]:
    """Arguments from a line of YAML; an ``InputError`` if it is none."""
    try:
        options = parse_yaml(text) or {}
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise InputError(f"foreign.options: expected YAML such as '{{depth: 2}}', found {text!r}")
    for name in options:
        if FETCHING.search(str(name)):
            raise InputError(
                f"foreign.options: expected no argument that fetches weights or code, found {name!r}"
            )
    return options


def _no_such(config: Foreign.Config, known: Iterable[str]) -> InputError:
    """The error for a name the library does not have; it has too many to list all."""
    near = difflib.get_close_matches(config.name, known, n=5, cutoff=0.3)
    hint = f", whose nearest are {', '.join(near)}" if near else ""
    return InputError(f"foreign.name: expected a network of {config.library}, found {config.name!r}{hint}")


@contextmanager
def _named(what: str, config: Foreign.Config) -> Iterator[None]:
    """Whatever another library raises, as an ``InputError`` that says what was tried."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        found = f"{config.name!r} for {config.channels} channels and {config.size} pixels: {_line(error)}"
        raise InputError(f"foreign: {config.library} {what} {found}") from None


def _line(error: Exception) -> str:
    """The first line of a message, or the kind of error where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
