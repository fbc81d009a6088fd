"""Rows: encoders take a batch in shares, a process each, or in pieces whose activations are made again.

What costs time and memory is in the encoders. In an update every process has the views of the whole batch;
an encoder takes the process's own share of their rows, and its features are gathered (``train.shared``). All
that follows (heads, batch statistics, memories, losses) sees features of the whole batch in every process,
and is what one process alone computes; sums over a large table the objectives divide among the processes
(``core.sharing``). So a method need not know of any of this.

Pieces are gradient caching (Gao, Zhang, Han, Callan 2021, arXiv:2101.06983): features are made piece by piece
without their activations, the loss compares all of them, and each piece is encoded once more for its part of
the gradient. Checkpoints (Chen et al. 2016, arXiv:1604.06174) do so block by block of an encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as repeatable

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.core.rng import fold
from counterpoint.core.sharing import shared_by
from counterpoint.train.norm import Together
from counterpoint.train.shared import copied, own, whole
from counterpoint.train.team import ALONE, Team

Weights = list[tuple[nn.Module, str, Tensor]]
"""Who computes with a weight, and by which name."""
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class Rows:
    """How the encoders of a method take the rows of a batch while an update is made."""

    def __init__(
        self, method: nn.Module, team: Team = ALONE, chunk: int = 0, checkpoint: bool = False
    ) -> None:
        """Say how; nothing is changed yet.

        Args:
            method: Whose encoders; one inside of another is part of that one.
            team: The processes that share the rows.
            chunk: Most rows of a piece; 0 for a whole share at once.
            checkpoint: Whether the blocks of an encoder are computed again in the backward pass.

        Raises:
            InputError: an encoder cannot be given pieces.
        """
        check_chunk(method, chunk)
        self.team, self.chunk, self.checkpoint = team, chunk, checkpoint
        self.encoders = list(_outermost(method))
        self._inside = {id(p) for encoder in self.encoders for p in encoder.parameters()}
        self._calls = 0
        self._shares: list[int] | None = None
        self._copies: dict[tuple[int, ...], tuple[list[Tensor], dict[int, Tensor]]] = {}

    @contextmanager
    def divided(self) -> Iterator[None]:
        """In this block the encoders do so; it must hold the loss and its backward pass."""
        self._calls = 0
        with ExitStack() as undo:
            undo.callback(self._copies.clear)
            undo.enter_context(shared_by(self.team))
            for encoder in self.encoders if self.chunk or self.team.size > 1 else ():
                for name in encoder.rowwise:
                    encode = partial(self._encode, encoder, getattr(encoder, name))
                    undo.enter_context(_replaced(encoder, name, encode))
            for block in (b for e in self.encoders for b in blocks(e)) if self.checkpoint else ():
                undo.enter_context(_replaced(block, "forward", partial(self._again, block, block.forward)))
            yield

    def outside(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Those whose gradient each process computes as a whole, not as a sum over the processes."""
        return [parameter for parameter in parameters if id(parameter) not in self._inside]

    def _encode(self, encoder: Encoder, encode: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """What ``encode`` makes of all rows."""
        count = _rows(args, kwargs)
        # Within a call they are divided already; what has no rows is computed whole, in every process.
        if self._shares or not count or count < self.team.size:
            return encode(*args, **kwargs)
        sizes, self._calls = self.team.shares(count), self._calls + 1
        args = tuple(self._own(value, sizes) for value in args)
        kwargs = {name: self._own(value, sizes) for name, value in kwargs.items()}
        work = partial(self._piece, encode, sizes, self._copied(_weights(encoder)), args, kwargs)
        size, first = sizes[self.team.rank], self.team.own(sizes).start
        with _Hooks(encoder) as hooks:
            pieces = []
            for start in range(0, size, self.chunk or size):
                seed = fold(torch.initial_seed(), "rows", self._calls, first + start)
                piece = partial(work, slice(start, start + (self.chunk or size)), seed)
                pieces.append(_repeatable(piece) if self.chunk else piece())
                hooks.next()
            out = self._whole(pieces, sizes)
        hooks.call(partial(self._whole, sizes=sizes))
        return out

    def _piece(
        self,
        encode: Callable[..., Tensor],
        sizes: list[int],
        weights: Weights,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        rows: slice,
        seed: int,
    ) -> Tensor:
        """What the encoder makes of some of the process's own rows."""
        args = tuple(value[rows] if isinstance(value, Tensor) else value for value in args)
        kwargs = {n: value[rows] if isinstance(value, Tensor) else value for n, value in kwargs.items()}
        cuda = [args[0].device] if args[0].is_cuda else []
        # Draws (dropout) are a piece's own, so that those that follow are alike in all processes.
        with torch.random.fork_rng(cuda), self._within(sizes), _holding(weights):
            torch.manual_seed(seed)
            return encode(*args, **kwargs)

    def _copied(self, weights: Weights) -> Weights:
        """The weights, to be used for own rows; made once, so that their gradients are summed once."""
        wanted = list({id(w): w for _, _, w in weights if w.requires_grad}.values())
        if self.team.size == 1 or not wanted or not torch.is_grad_enabled():
            return weights
        key = tuple(map(id, wanted))
        if key not in self._copies:
            self._copies[key] = wanted, dict(zip(key, copied(self.team, *wanted), strict=True))
        copies = self._copies[key][1]
        return [(part, name, copies.get(id(w), w)) for part, name, w in weights]

    @contextmanager
    def _within(self, shares: list[int] | None) -> Iterator[None]:
        """Inside of an encoder whose rows are divided so; as it is where they are not."""
        before, self._shares = self._shares, shares
        together = Together(self.team, shares) if shares and self.team.size > 1 else nullcontext()
        try:
            with together, shared_by(ALONE) if shares else nullcontext():  # rows are a process's own here
                yield
        finally:
            self._shares = before

    def _again(self, block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a block gives, without keeping its activations."""
        shares, weights = self._shares, _weights(block)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _EachTime(partial(self._repeated, block, weights, shares))

        return repeatable(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    @contextmanager
    def _repeated(self, block: nn.Module, weights: Weights, shares: list[int] | None) -> Iterator[None]:
        """A block computed once more: what it keeps (running statistics) has moved already."""
        kept = [(part, name, b) for part in block.modules() for name, b in part.named_buffers(recurse=False)]
        for part, name, buffer in kept:
            setattr(part, name, buffer.clone())
        try:
            with self._within(shares), _holding(weights):
                yield
        finally:
            for part, name, buffer in kept:
                setattr(part, name, buffer)

    def _own(self, value: Any, sizes: Sequence[int]) -> Any:
        """The process's own rows of a tensor; anything else as it is."""
        return own(value, self.team, sizes) if isinstance(value, Tensor) and self.team.size > 1 else value

    def _whole(self, pieces: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
        """All rows, from the pieces of each process; of one row may come several, of all alike."""
        mine = pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
        if self.team.size == 1:
            return mine
        each, rest = divmod(len(mine), sizes[self.team.rank])
        if rest or not each:
            raise ValueError(f"encoder: expected rows for {sizes[self.team.rank]} rows, found {len(mine)}")
        return whole(mine, self.team, [size * each for size in sizes])


def check_chunk(method: nn.Module, chunk: int) -> None:
    """Raise ``InputError`` if an encoder of ``method`` cannot be given ``chunk`` rows at a time."""
    for encoder in _outermost(method) if chunk else ():
        for name, norm in encoder.named_modules():
            if isinstance(norm, NORMS) and (isinstance(norm, NORMS[0]) or norm.track_running_stats):
                kind = f"{type(norm).__name__} ({name})"
                raise InputError(
                    f"train.chunk: expected a network without statistics of the batch, found {kind} in "
                    f"{encoder.config.kind}; train.checkpoint saves memory with any network"
                )


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network: what stands in its lists and sequences, and sequences of single layers."""
    listed = isinstance(module, CONTAINERS)
    for child in module.children():
        if not any(True for _ in child.children()):
            continue
        plain = isinstance(child, nn.Sequential) and not any(any(c.children()) for c in child)
        if plain or (listed and not isinstance(child, CONTAINERS)):
            yield child
        else:
            yield from blocks(child)


def _outermost(module: nn.Module, seen: set[nn.Module] | None = None) -> Iterator[Encoder]:
    """The encoders in a module, each once, but for those within another one."""
    seen = set() if seen is None else seen
    if module in seen:
        return
    seen.add(module)
    if isinstance(module, Encoder):
        yield module
    else:
        for child in module.children():
            yield from _outermost(child, seen)


def _weights(module: nn.Module) -> Weights:
    """What a module computes with now; within ``functional_call`` that is not what it owns."""
    return [(part, n, w) for part in module.modules() for n, w in part._parameters.items() if w is not None]


@contextmanager
def _holding(weights: Weights) -> Iterator[None]:
    """Let modules compute with these in the block."""
    before = [(part, name, part._parameters[name]) for part, name, _ in weights]
    try:
        for part, name, weight in weights:
            part._parameters[name] = weight  # pyright: ignore[reportArgumentType] -- any tensor will do
        yield
    finally:
        for part, name, weight in before:
            part._parameters[name] = weight


@contextmanager
def _replaced(module: nn.Module, name: str, by: Callable[..., Any]) -> Iterator[None]:
    """Let a module have another method of this name in the block."""
    own = vars(module)
    before = own.get(name)
    own[name] = by
    try:
        yield
    finally:
        del own[name]
        if before is not None:
            own[name] = before


class _EachTime(AbstractContextManager[None]):
    """A block that can be entered again: second derivatives compute activations a third time."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self.make = make

    def __enter__(self) -> None:
        self.now = self.make()
        return self.now.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self.now.__exit__(*error)


class _Hooks:
    """Hooks on the layers of an encoder wait, while it runs piece by piece, for all rows of their layer."""

    def __init__(self, encoder: Encoder) -> None:
        layers = (layer for layer in encoder.modules() if layer is not encoder)
        self.hooks = {layer: layer._forward_hooks for layer in layers if layer._forward_hooks}
        self.now: dict[nn.Module, Tensor] = {}
        self.found: dict[nn.Module, list[Tensor]] = {}

    def __enter__(self) -> Self:
        for layer, hooks in self.hooks.items():
            layer._forward_hooks = type(hooks)()
            layer.register_forward_hook(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for layer, hooks in self.hooks.items():
            layer._forward_hooks = hooks

    def _note(self, layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.now[layer] = output

    def next(self) -> None:
        """A piece is done; of a layer that was called several times, the last output counts."""
        for layer, output in self.now.items():
            self.found.setdefault(layer, []).append(output)
        self.now.clear()

    def call(self, joined: Callable[[Sequence[Tensor]], Tensor]) -> None:
        """Let them see all rows."""
        for layer, pieces in self.found.items():
            output = joined(pieces)
            if any(hook(layer, (), output) is not None for hook in list(self.hooks[layer].values())):
                raise TypeError(f"{type(layer).__name__}: expected a hook that reads, found one that changes")


def _rows(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How many rows all tensors of a call have, the first argument being one; 0 if that is not so."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if not args or not isinstance(args[0], Tensor) or not all(tensor.ndim for tensor in tensors):
        return 0
    counts = {len(tensor) for tensor in tensors}
    return counts.pop() if len(counts) == 1 else 0


def _repeatable(piece: Callable[[], Tensor]) -> Any:
    """What a piece gives, computed once more for its gradient; it sets its own draws."""
    return repeatable(piece, use_reentrant=False, preserve_rng_state=False)
