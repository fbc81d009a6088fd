from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.data.arrays import Arrays
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.decoupled_uniformity import DecoupledUniformity
from counterpoint.objectives.uniformity import centers, decoupled_uniformity
from counterpoint.pairs.kernels import bandwidth, cosine, rbf, smoother
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.views.presets import ManyCrops

AT = Progress(0, 1, 0, 1)
IMAGE = torch.rand(5, 1, 12, 12, generator=generator(3))
PRIOR = torch.randn(5, 2, generator=generator(4))
BATCH = {"image": IMAGE, "prior": PRIOR, "id": torch.arange(5)}
CONFIG = DecoupledUniformity.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, views=ManyCrops(count=3, size=8)
)


@pytest.mark.parametrize("kernel", ["none", "rbf", "cosine"])
@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_the_loss_is_that_of_centers_shared_by_the_prior(kernel, sigma):
    model = fresh(replace(CONFIG, kernel=kernel, sigma=sigma), 0)
    views = model.views(BATCH, generator(0, "views"))
    terms = model.loss(views, AT)
    with torch.no_grad():
        z = model.projector(model.encoder(torch.cat([v.x for v in views[:3]])))
    means = centers(torch.stack([z[:5], z[5:10], z[10:]]))
    k = {"none": None, "rbf": rbf(PRIOR, sigma or bandwidth(PRIOR)), "cosine": cosine(PRIOR)}[kernel]
    share = None if k is None else smoother(k, 0.01)
    expected = decoupled_uniformity(means, 2.0, share)
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms.notes["agreement"].item() == pytest.approx(means.square().sum(1).mean().item(), rel=1e-5)
    assert model.needs == ({"image"} if k is None else {"image", "prior"})


def test_a_prior_that_says_nothing_is_no_kernel_but_for_the_ridge():
    """σ far below the distances: the loss of plain centers, a hundredth shorter; far above: stuck at 0."""
    plain, narrow, broad = (
        fresh(replace(CONFIG, kernel=kernel, sigma=sigma), 0)
        for kernel, sigma in (("none", 0.0), ("rbf", 1e-4), ("rbf", 1e5))
    )
    views = narrow.views(BATCH, generator(0, "views"))
    one, other = plain.loss(views[:3], AT).total, narrow.loss(views, AT)
    assert one.item() == pytest.approx(other.total.item(), rel=0.05)
    assert other.notes["means"] > 4.9 and broad.loss(views, AT).notes["means"] < 1.1
    assert broad.loss(views, AT).total.item() == pytest.approx(0, abs=1e-3)


def test_any_entry_of_a_batch_may_be_the_prior_and_one_that_lacks_is_named(tmp_path):
    model = fresh(replace(CONFIG, kernel="rbf", prior="label"), 0)
    data, settings = Arrays(IMAGE, torch.arange(5)), TrainConfig(steps=2, batch=4, device="cpu")
    assert fit(model, data, settings, tmp_path / "run", progress=False).steps == 2
    with pytest.raises(InputError, match="expected batches with image, prior"):
        fit(fresh(replace(CONFIG, kernel="rbf"), 0), data, settings, tmp_path / "none", progress=False)
