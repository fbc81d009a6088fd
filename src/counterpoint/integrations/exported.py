"""Exported: encoders in formats that run without this package, each checked against the network it is of.

ONNX (https://onnx.ai) for any runtime, ``.pt2`` for ``torch.export.load`` and AOTInductor, and our own
safetensors. A file that does not compute what its network computes is never left behind.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import aside
from counterpoint.core.networks import load_networks, save_networks
from counterpoint.core.rng import generator
from counterpoint.integrations.card import told

FORMAT = "counterpoint-export-1"
KEY = "counterpoint"
"""Entry of the ONNX metadata, and, with ".json", extra file in a .pt2, that says what the network is."""
TRACED = (".onnx", ".pt2")
TOLERANCE = 1e-4
"""Largest difference to the network that is let pass, as a share of the largest feature; rounding stays a
hundred times below."""
LEAST = (16, 64)
"""Smallest sides in pixels that are tried: a layer that halves an image for the nth time needs 2^n + 1."""

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which images go in: sides from ``least`` on in multiples of ``step``, or ``least`` alone if it is 0."""

    least: tuple[int, int]
    """(height, width) in pixels."""
    step: int = 0

    def __str__(self) -> str:
        height, width = self.least
        if not self.step:
            return f"{height} × {width} pixels only"
        return f"any size from {height} × {width} pixels on" + (
            f", in multiples of {self.step}" if self.step > 1 else ""
        )

    @property
    def examples(self) -> list[tuple[int, int]]:
        """Sizes the file is tried on: all there are, or the smallest and an oblong one."""
        height, width = self.least
        return [self.least, (height + self.step, 2 * width + self.step)] if self.step else [self.least]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how it compares with the network."""

    file: Path
    sizes: Sizes | None
    """None of safetensors, which hold the network itself."""
    difference: float
    """Largest absolute difference of a feature."""
    relative: float
    """That as a share of the largest feature."""
    checked: list[list[int]]
    """Shapes (B, C, H, W) of the random images it was tried on."""


def exported(
    networks: Mapping[str, Encoder],
    file: Path | str,
    about: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
) -> Exported:
    """Write networks in the format that the suffix of ``file`` says; ONNX and .pt2 take one network.

    Any number of images goes in, (B, C, H, W) float32 in [0, 1], called "image" in ONNX; "features" come
    out. Height and width are free if the network can be traced so, else they are those it was trained on.

    Args:
        networks: By role.
        file: Ends in .onnx, .pt2 or .safetensors.
        about: Plain data on the run, as ``core.networks.about`` gives it; goes along but for names of files.
        size: (height, width), if images of one size alone are to go in.

    Raises:
        InputError: the suffix, the folder, the role or the size; ONNX is not installed.
        WorkError: the network cannot be traced, or the file computes something else.
    """
    file, about = Path(file), told(about or {})
    suffix = _checked(file, networks, size)
    with aside(file) as temporary:
        if suffix not in TRACED:
            save_networks(temporary, networks, about)
            return _copied(networks, load_networks(temporary), about, file)
        role, network = next(iter(networks.items()))
        network = deepcopy(network).cpu().eval().requires_grad_(False)
        program, sizes = _traced(network, size, _usual(network, about), str(file))
        header = json.dumps(_header(role, network, sizes, about), ensure_ascii=False)
        try:
            run = (_onnx if suffix == ".onnx" else _pt2)(program, temporary, header)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a layer that ONNX has no word for, or more than the 2 GiB its files hold
            raise WorkError(f"{file}: the network cannot be written so: {_line(error)}") from error
        return Exported(file, sizes, *_compared(network, run, sizes, str(file)))


def _copied(
    networks: Mapping[str, Encoder], found: Mapping[str, Encoder], about: Mapping[str, Any], file: Path
) -> Exported:
    """Networks compared with what was read back of them."""
    results = []
    for role, one in networks.items():
        network = deepcopy(one).cpu().eval()
        sizes = Sizes(_usual(network, about) or _square(network))
        results.append(_compared(network, found[role], sizes, f"{file}: {role}"))
    differences, shares, shapes = zip(*results, strict=True)
    return Exported(file, None, max(differences), max(shares), [s for each in shapes for s in each])


def _checked(file: Path, networks: Mapping[str, Encoder], size: tuple[int, int] | None) -> str:
    """The suffix in lower case; raises ``InputError`` before any work is done."""
    suffix = file.suffix.lower()
    if suffix not in (*TRACED, ".safetensors"):
        raise InputError(
            f"{file}: expected a name that ends in .onnx, .pt2 or .safetensors, found {suffix!r}"
        )
    if not file.parent.is_dir():
        raise InputError(f"{file}: expected a folder that is there, found none")
    if suffix in TRACED and len(networks) != 1:
        raise InputError(f"{file}: expected one role, found {', '.join(networks) or 'none'}")
    if suffix == ".onnx":
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise InputError(
                f"{file}: ONNX expects {' and '.join(missing)} to be installed, found none; "
                "pip install 'counterpoint[onnx]'"
            )
    for role, network in networks.items():
        if not isinstance(getattr(network.config, "channels", None), int):
            raise InputError(f"{file}: expected an encoder of images, found {network.config.kind} as {role}")
        if size and (min(size) < 1 or any(side % network.multiple for side in size)):
            raise InputError(
                f"size: expected height and width in multiples of {network.multiple}, found {size}"
            )
    return suffix


def _channels(network: Encoder) -> int:
    return network.config.channels  # pyright: ignore[reportAttributeAccessIssue]


def _square(network: Encoder, least: int = 64) -> tuple[int, int]:
    """The smallest square from ``least`` pixels on that the network takes."""
    side = -(-least // network.multiple) * network.multiple
    return side, side


def _usual(network: Encoder, about: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size the network is made for, by its own settings or by those of its run."""
    side, data = getattr(network.config, "size", None), about.get("data")
    shape = data.get("shape") if isinstance(data, Mapping) else None
    height, width = (
        [side, side] if side else shape[-2:] if isinstance(shape, list) and len(shape) > 1 else [0, 0]
    )
    good = all(isinstance(n, int) and n > 0 and n % network.multiple == 0 for n in (height, width))
    return (height, width) if good else None


def _traced(
    network: Encoder, size: tuple[int, int] | None, usual: tuple[int, int] | None, name: str
) -> tuple[torch.export.ExportedProgram, Sizes]:
    """The network as a graph: for any size if that can be, else for ``size``, else for the usual one."""
    step = network.multiple
    sides = sorted({_square(network, max(side, 2 * step))[0] for side in LEAST})
    for side in [] if size else [side for side in sides if usual is None or side <= min(usual)]:
        sizes = Sizes((side, side), step)
        try:
            program = _program(network, sizes)
            if usual:  # a branch for one size alone may bar it from the graph for all the others
                with torch.no_grad():
                    program.module()(torch.zeros(1, _channels(network), *usual))
            return program, sizes
        except Exception:  # whatever the tracer makes of the network: what it cannot do free, it may do fixed
            continue
    fixed = size or usual
    if fixed is None:
        raise InputError(f"{name}: expected --size HEIGHT WIDTH, because the network takes one size alone")
    try:
        return _program(network, Sizes(fixed)), Sizes(fixed)
    except Exception as error:
        raise WorkError(f"{name}: the network cannot be traced: {_line(error)}") from error


def _program(network: Encoder, sizes: Sizes) -> torch.export.ExportedProgram:
    """``torch.export`` of the network for any number of images of these sizes."""
    height, width = sizes.least
    dims: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if step := sizes.step:
        for axis, (called, least) in enumerate((("height", height), ("width", width)), start=2):
            dim = torch.export.Dim(called, min=least // step)
            dims[axis] = dim * step if step > 1 else dim
        height, width = 2 * height, 3 * width  # not 0, 1 or the smallest: those are taken for constants
    example = torch.zeros(2, _channels(network), height, width)
    with torch.no_grad():
        return torch.export.export(_Held(network), (example,), dynamic_shapes=(dims,), strict=False)


def _header(role: str, network: Encoder, sizes: Sizes, about: Mapping[str, Any]) -> dict[str, Any]:
    """All that someone who has the file alone needs to know of it, as plain data."""
    image = {"channels": _channels(network), "least": list(sizes.least), "step": sizes.step, "values": [0, 1]}
    return {
        "format": FORMAT,
        "versions": {"counterpoint": version("counterpoint"), "torch": str(torch.__version__)},
        "role": role,
        "network": network.config.to_dict(),
        "out_dim": network.out_dim,
        "image": image,
        "about": dict(about),
    }


class _Held(nn.Module):
    """A network one level down: at the top a layer called "code" would hide what torch has there."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def _pt2(program: torch.export.ExportedProgram, file: Path, header: str) -> Run:
    """Write the program and read it back."""
    torch.export.save(program, file, extra_files={f"{KEY}.json": header})
    # Loading a program can run what it holds; this one was written just now, by us, from our own network.
    return torch.export.load(file).module()


def _onnx(program: torch.export.ExportedProgram, file: Path, header: str) -> Run:
    """Write the program as one ONNX file and open it in ONNX Runtime."""
    import onnxruntime

    with _quiet():
        made: Any = torch.onnx.export(
            program, (), input_names=["image"], output_names=["features"],
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    if hasattr(
        made, "rename_axes"
    ):  # not in all versions of torch; without it they are called s77 and the like
        free = [None if isinstance(d, int) else str(d) for d in made.model.graph.inputs[0].shape]
        named = zip(free, ("batch", "channels", "height", "width"), strict=True)
        made.rename_axes({symbol: axis for symbol, axis in named if symbol})
    made.model.metadata_props[KEY] = header
    made.model.producer_name, made.model.producer_version = KEY, version("counterpoint")
    made.save(file, external_data=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


NOISY = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")
"""Loggers that warn of torchvision, which is not needed, and of what is merely not made simpler."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the ONNX exporter says of itself, to people who can do nothing about it."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _compared(network: Encoder, run: Run, sizes: Sizes, name: str) -> tuple[float, float, list[list[int]]]:
    """Largest difference on random images, absolute and as a share, and their shapes; of batches of 1 and 3.

    Raises:
        WorkError: the difference is more than rounding, or the file does not run.
    """
    rng, differences, largest, shapes = generator(0, "export"), [0.0], 0.0, []
    for batch in (1, 3):
        for size in sizes.examples:
            x = torch.rand(batch, _channels(network), *size, generator=rng)
            shapes.append(list(x.shape))
            with torch.no_grad():
                expected = network(x)
                try:
                    found = run(x)
                except Exception as error:
                    raise WorkError(
                        f"{name}: it does not run on images {shapes[-1]}: {_line(error)}"
                    ) from error
            if found.shape != expected.shape:
                raise WorkError(
                    f"{name}: expected features {list(expected.shape)}, found {list(found.shape)}"
                )
            differences.append(float((found - expected).abs().nan_to_num(torch.inf).max()))
            largest = max(largest, float(expected.abs().max()))
    difference = max(differences)
    if not difference <= TOLERANCE * largest:
        raise WorkError(
            f"{name}: expected what the network computes, found a difference of {difference:.3g} "
            f"where features go up to {largest:.3g}"
        )
    return difference, difference / largest if largest else 0.0, shapes


def _line(error: Exception) -> str:
    """The first line of a message, or the kind of error where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
