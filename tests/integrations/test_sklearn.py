from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError
from counterpoint.core.networks import load_networks
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.data.pixels import unit_floats
from counterpoint.integrations.sklearn import ContrastiveEncoder
from counterpoint.tasks.features import features
from counterpoint.train.config import TrainConfig

SETTINGS = {
    "encoder": {"kind": "convnet", "width": 4},
    "hidden": 8,
    "dim": 8,
    "views": {"size": 16, "flip": 0.0},
}
TRAIN = {"epochs": 1, "batch": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """60 digits (60, 16, 16) uint8 and their classes."""
    data = digits("train", size=16).subset(torch.arange(60))
    assert data.label is not None
    return (unit_floats(data.image[:, 0]) * 255).round().to(torch.uint8).numpy(), data.label.numpy()


def small(**changes) -> ContrastiveEncoder:
    return ContrastiveEncoder(**{"settings": SETTINGS, "train": TRAIN, **changes})


@pytest.fixture(scope="module")
def fitted(images) -> ContrastiveEncoder:
    return small().fit(images[0])


# scikit-learn's own suite feeds tables of numbers to what it checks and skips an estimator of images
# altogether; these are its checks that feed nothing.
@pytest.mark.parametrize(
    "check",
    [
        checks.check_estimator_cloneable,
        checks.check_estimator_tags_renamed,
        checks.check_valid_tag_types,
        checks.check_estimator_repr,
        checks.check_no_attributes_set_in_init,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_mixin_order,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn(check):
    check("ContrastiveEncoder", small())


def test_features_are_those_of_the_trained_network(images, fitted):
    x, _ = images
    z = fitted.transform(x)
    assert z.shape == (60, 16) and z.dtype == np.float32 and np.isfinite(z).all()
    assert np.array_equal(small().fit_transform(x), z)  # repeatable, and fit leaves evaluation mode
    assert np.allclose(fitted.transform(x[7:9]), z[7:9], atol=1e-6)
    assert fitted.n_iter_ == 3 and len(fitted.loss_curve_) == 3
    assert not np.array_equal(small(random_state=1).fit_transform(x), z)
    assert list(fitted.get_feature_names_out())[:2] == ["contrastiveencoder0", "contrastiveencoder1"]
    assert len(fitted.get_feature_names_out()) == 16


def test_fit_leaves_parameters_and_images_alone(images):
    x = images[0].copy()
    x.flags.writeable = False
    given = small(random_state=np.random.RandomState(0))
    before = {name: id(value) for name, value in given.get_params().items()}
    given.fit(x)
    assert before == {name: id(value) for name, value in given.get_params().items()}
    twin = clone(given)
    assert not hasattr(twin, "encoder_") and twin.get_params()["settings"] == SETTINGS


def test_layouts_are_as_said_and_never_guessed(images, fitted):
    x, _ = images
    z = fitted.transform(x)
    assert np.array_equal(fitted.transform(x[:, None]), z)
    last = clone(fitted).set_params(channels_last=True).fit(x[..., None])
    assert np.array_equal(last.transform(x[..., None]), z)
    floats = x.astype(">f8") / 255
    assert np.allclose(fitted.transform(floats), z, atol=1e-5)
    # (3, 2, 16, 3): who guesses takes the three columns for channels
    narrow = x[:6].reshape(3, 2, 16, 16)[..., :3]
    few = TRAIN | {"batch": 3}
    assert small(train=few).fit(narrow).encoder_.config.channels == 2
    assert small(train=few, channels_last=True).fit(narrow).encoder_.config.channels == 3


def test_in_a_pipeline_and_a_search(images):
    x, y = images
    pipeline = make_pipeline(small(), LogisticRegression(max_iter=300))
    assert pipeline.fit(x, y).predict(x).shape == (60,)
    assert pipeline.score(x, y) > 0.3  # chance is 0.1
    pipeline.set_params(contrastiveencoder__random_state=3)
    grid = {"contrastiveencoder__settings": [SETTINGS, SETTINGS | {"temperature": 0.1}]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x, y)
    assert search.cv_results_["mean_test_score"].shape == (2,)


def test_labels_go_to_methods_that_need_them_alone(images):
    x, y = images
    named = np.array([f"class {label}" for label in y])
    z = small(method="supcon").fit(x, named).transform(x)
    assert np.array_equal(small(method="supcon").fit(x, y).transform(x), z)
    assert not np.array_equal(small(method="supcon").fit(x, y // 2).transform(x), z)
    assert np.array_equal(small().fit(x, y).transform(x), small().fit_transform(x))
    with pytest.raises(InputError, match="y: expected the classes of the images for supcon, found none"):
        small(method="supcon").fit(x)


def test_settings_may_be_typed(images, fitted):
    method = load("counterpoint.methods", "simclr").Config.from_dict(SETTINGS)
    typed = small(method=method, settings=None, train=TrainConfig(epochs=1, batch=20, device="cpu"))
    assert np.array_equal(typed.fit_transform(images[0]), fitted.transform(images[0]))


def test_kept_without_pickle(images, fitted, tmp_path):
    x, _ = images
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "none.safetensors")
    fitted.save(tmp_path / "kept.safetensors")
    back = ContrastiveEncoder.load(tmp_path / "kept.safetensors", batch_size=13)
    assert np.allclose(back.transform(x), fitted.transform(x), atol=1e-6) and back.batch_size == 13
    assert np.array_equal(clone(back).fit_transform(x), fitted.transform(x))  # its settings came along
    assert load_networks(tmp_path / "kept.safetensors").keys() == {"image"}


def test_a_folder_keeps_the_run_and_it_is_resumed(images, tmp_path):
    x, _ = images
    first = small(folder=tmp_path / "run").fit(x)
    again = small(folder=tmp_path / "run").fit(x)
    assert (first.transform(x) == again.transform(x)).all() and first.loss_curve_ == again.loss_curve_
    assert np.array_equal(ContrastiveEncoder.load(tmp_path / "run").transform(x), first.transform(x))
    with pytest.raises(InputError, match=r"data\.content"):
        small(folder=tmp_path / "run").fit(255 - x)
    with pytest.raises(InputError, match=r"method\.temperature"):
        small(folder=tmp_path / "run", settings=SETTINGS | {"temperature": 0.1}).fit(x)


def test_a_layer_inside_is_read(images, fitted):
    x, _ = images
    inner = small(tap="layers.0").fit(x)
    assert inner.transform(x).shape == (60, 4) == (60, len(inner.get_feature_names_out()))
    assert np.array_equal(inner.transform(x), features(fitted.encoder_, Arrays(x), tap="layers.0").z)
    with pytest.raises(InputError, match=r"unknown tap 'layers.9': did you mean layers\."):
        small(tap="layers.9").fit(x)


def test_every_method_that_learns_from_images_is_known(images):
    for kind in names("counterpoint.methods"):
        needs = load("counterpoint.methods", kind).needs
        if not needs <= {"image", "label"}:
            with pytest.raises(InputError, match=f"expected one that learns from images, found {kind}"):
                ContrastiveEncoder(kind).fit(images[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "simclear"}, "unknown method 'simclear': did you mean simclr"),
        ({"settings": {"temprature": 1.0}}, "unknown setting in settings 'temprature'"),
        ({"train": {"epoch": 1}}, "unknown setting in settings 'epoch'"),
        ({"train": {"batch": 61}}, "train.batch: expected at most the 60 samples"),
        ({"method": load("counterpoint.methods", "simclr").Config()}, "settings: expected none beside"),
    ],
)
def test_mistakes_in_settings_are_one_sentence(images, changes, words):
    with pytest.raises(InputError, match=words):
        small(**changes).fit(images[0])


def test_mistakes_in_images_are_one_sentence(images, fitted):
    x, _ = images
    with pytest.raises(NotFittedError):
        small().transform(x)
    with pytest.raises(InputError, match=r"expected images \(N, H, W\).* found uint8 of shape \(60, 256\)"):
        small().fit(x.reshape(60, -1))
    with pytest.raises(InputError, match="scale them first"):
        small().fit(x.astype(float))
    with pytest.raises(InputError, match="with 1 channels as the network takes, found 3"):
        fitted.transform(np.repeat(x[:, None], 3, axis=1))
    with pytest.raises(InputError, match="batch_size: expected at least 1, found 0"):
        clone(fitted).set_params(batch_size=0).fit(x).transform(x)
