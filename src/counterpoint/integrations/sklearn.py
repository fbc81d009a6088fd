"""A scikit-learn transformer: images in, features out, learned by any method that learns from images."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from counterpoint.core.config import load
from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import MethodConfig
from counterpoint.core.networks import about as read_about
from counterpoint.core.networks import load_networks, save_networks
from counterpoint.data.arrays import Arrays
from counterpoint.tasks.features import features
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit as learn
from counterpoint.train.loop import fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log

USUAL = TrainConfig(epochs=100, batch=256, clip=0.0, optim=OptimConfig(lr=1e-3, warmup=0.1))
"""How training goes if it is not said; a start for small images."""
ROLE = "image"


class ContrastiveEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learns features of images with one of the methods, as ``counterpoint train`` does.

    Images are arrays (N, H, W), (N, C, H, W) or, with ``channels_last``, (N, H, W, C): uint8, uint16, bool,
    or float in [0, 1]. Features are (N, D) float32. ``fit`` after ``fit`` begins anew, unless ``folder``
    holds a run of the same settings and images. Wrong input raises ``InputError``, which is a ``ValueError``.

    Attributes after ``fit``: ``encoder_`` (the network), ``n_iter_`` (updates made), ``loss_curve_`` (the
    losses of the log). Keep a fitted one with ``save`` and ``load``, which need no pickle.
    """

    def __init__(
        self,
        method: str | MethodConfig = "simclr",
        settings: Mapping[str, Any] | None = None,
        train: TrainConfig | Mapping[str, Any] | None = None,
        *,
        channels_last: bool = False,
        tap: str = "",
        batch_size: int = 256,
        folder: Path | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        """Only take the parameters; they are checked by ``fit``.

        Args:
            method: Name of a method (``counterpoint methods`` lists them), or its settings.
            settings: Settings of a method given by name, as plain values, those left out being its defaults;
                the networks' number of input channels follows the images.
            train: How long and how; by default 100 epochs of batches of at most 256.
            channels_last: Whether four-dimensional arrays are (N, H, W, C).
            tap: The layer whose output are the features; empty for the encoder's own output.
            batch_size: Images at a time in ``transform``.
            folder: Where the run is kept, with its log and checkpoints, and resumed; a temporary one if None.
            random_state: The seed of training; that of ``train`` if None, so that ``fit`` is repeatable.
            verbose: Show a bar while training, on a terminal.
        """
        self.method = method
        self.settings = settings
        self.train = train
        self.channels_last = channels_last
        self.tap = tap
        self.batch_size = batch_size
        self.folder = folder
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on images; ``y``, (N,) classes of any type, is read by methods that need labels alone.

        Warns if the features collapsed on the way.

        Raises:
            InputError: images, labels or settings that cannot be trained with.
            WorkError: training failed.
        """
        config = self._config()
        needs = config.owner.needs  # pyright: ignore[reportAttributeAccessIssue]
        if not needs <= {"image", "label"}:
            raise InputError(f"method: expected one that learns from images, found {config.kind}")
        if "label" in needs and y is None:
            raise InputError(f"y: expected the classes of the images for {config.kind}, found none")
        code = np.unique(np.asarray(y), return_inverse=True)[1] if "label" in needs else None
        data = Arrays(self._images(X), code, name="X")
        config = _with_channels(config, data.image.shape[1])
        train = self._train(len(data))
        about = {"shape": list(data.image.shape), "content": _content(data)}
        with ExitStack() as stack:
            folder = self.folder or stack.enter_context(tempfile.TemporaryDirectory())
            learner = fresh(config, train.seed)
            done = learn(learner, data, train, folder, about=about, progress=self.verbose)
            log = read_log(done.folder)
            # Read back, because a run that was finished before trains nothing.
            self.encoder_, self._about = load_networks(done.networks)[ROLE], read_about(done.networks)
        for sentence in done.warnings:
            warnings.warn(sentence, UserWarning, stacklevel=2)
        self.n_iter_, self.loss_curve_ = done.steps, [line["loss"] for line in log]
        self._check_tap()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """(N, D) float32 features of images of as many channels as ``fit`` had.

        Raises:
            NotFittedError: ``fit`` was not called.
            InputError: images that do not fit the network.
        """
        check_is_fitted(self, "encoder_")
        self._check_tap()
        if self.batch_size < 1:
            raise InputError(f"batch_size: expected at least 1, found {self.batch_size}")
        data = Arrays(self._images(X), name="X")
        return features(self.encoder_, data, self.batch_size, tap=self.tap).z.numpy()

    def save(self, path: Path | str) -> None:
        """Write the encoder and its settings to a ``.safetensors`` file, which all commands take for a model.

        Raises:
            NotFittedError: ``fit`` was not called.
            WorkError: the file cannot be written.
        """
        check_is_fitted(self, "encoder_")
        save_networks(Path(path), {ROLE: self.encoder_}, self._about)

    @classmethod
    def load(cls, path: Path | str, **parameters: Any) -> Self:
        """A fitted transformer from ``save``'s file or a run folder; ``parameters`` are the constructor's.

        Method, settings and training are those of the file.

        Raises:
            InputError: nothing there, a damaged file, or a model of another kind than of single images.
        """
        networks, about = load_networks(path), read_about(path)
        if ROLE not in networks:
            raise InputError(f"{path}: expected a network of role {ROLE}, found {', '.join(networks)}")
        if "method" in about:
            settings = dict(about["method"])
            parameters = {"method": settings.pop("kind"), "settings": settings, **parameters}
        if "train" in about:
            parameters = {"train": about["train"], **parameters}
        made = cls(**parameters)
        made.encoder_, made._about = networks[ROLE], about
        made._check_tap()
        return made

    @property
    def _n_features_out(self) -> int:
        """How many features there are; scikit-learn names them by it."""
        return self.encoder_.taps[self.tap] if self.tap else self.encoder_.out_dim

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's checks and displays ask: images are no tables."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _config(self) -> MethodConfig:
        if isinstance(self.method, MethodConfig):
            if self.settings is not None:
                raise InputError("settings: expected none beside the settings of a method, found both")
            return self.method
        load(MethodConfig.room, self.method)  # an unknown name is named before its settings are
        return MethodConfig.from_dict({**(self.settings or {}), "kind": self.method})

    def _train(self, count: int) -> TrainConfig:
        """How to train on ``count`` images."""
        if self.train is None:
            train = replace(USUAL, batch=min(USUAL.batch, count))
        else:
            train = (
                self.train if isinstance(self.train, TrainConfig) else TrainConfig.from_dict(dict(self.train))
            )
        if self.random_state is None:
            return train
        if isinstance(self.random_state, int | np.integer):
            return replace(train, seed=int(self.random_state))
        return replace(train, seed=int(check_random_state(self.random_state).randint(2**31 - 1)))

    def _images(self, X: Any) -> torch.Tensor:
        """(N, C, H, W) of any type; the layout is as the user said, never guessed."""
        array = np.asarray(X)
        if array.ndim not in (3, 4) or array.dtype.kind not in "buif":
            raise InputError(
                "X: expected images (N, H, W) or (N, C, H, W), or (N, H, W, C) with channels_last, found "
                f"{array.dtype} of shape {array.shape}"
            )
        if array.ndim == 3:
            array = array[:, None]
        elif self.channels_last:
            array = np.moveaxis(array, 3, 1)
        array = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
        return torch.from_numpy(array)

    def _check_tap(self) -> None:
        encoder: Encoder = self.encoder_
        if self.tap and self.tap not in encoder.taps:
            raise unknown("tap", self.tap, encoder.taps)


def _with_channels(config: MethodConfig, channels: int) -> MethodConfig:
    """Every network's input channels as the images have them."""
    parts = {f.name: getattr(config, f.name) for f in fields(config)}
    networks = {k: replace(v, channels=channels) for k, v in parts.items() if isinstance(v, EncoderConfig)}
    return replace(config, **networks)


def _content(data: Arrays) -> str:
    """A name for the images and labels, so that a run is not resumed with others."""
    digest = hashlib.blake2b(data.image.numpy().tobytes(), digest_size=16)
    if data.label is not None:
        digest.update(data.label.numpy().tobytes())
    return digest.hexdigest()
