from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.cmim import CMIM
from counterpoint.train.loop import fresh

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(5, 1, 8, 8, generator=generator(3)), "id": torch.tensor([7, 3, 1, 0, 9])}
CONFIG = CMIM.Config(encoder=ConvNet.Config(channels=1, width=4), size=8, dim=4, hidden=6)


def made(config: CMIM.Config = CONFIG) -> tuple[CMIM, Tensor, Tensor, Tensor, Tensor]:
    """A method, its image and noise, and the law of its codes."""
    model = fresh(config, 0)
    image, noise = model.views(BATCH, generator(0, "views"))
    with torch.no_grad():
        features = model.latent.encoder(image.x)
        return (
            model,
            image.x,
            noise.x,
            model.latent.code(features),
            model.log_variance(features).clamp(min=-6),
        )


def slow(z: Tensor, tau: float, average: bool) -> float:
    losses = []
    for i in range(len(z)):
        others = [
            math.exp(float(z[i] @ z[j] / (z[i].norm() * z[j].norm())) / tau) for j in range(len(z)) if j != i
        ]
        far = sum(others) / (len(others) if average else 1)
        losses.append(-math.log(math.exp(1 / tau) / (math.exp(1 / tau) + far)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_contrast_is_the_slow_sum_over_codes_as_drawn(average, tau):
    model, _, noise, mean, spread = made(replace(CONFIG, average=average, temperature=tau))
    z = mean + (spread / 2).exp() * noise
    found = model.loss(model.views(BATCH, generator(0, "views")), AT).parts["contrast"].item()
    assert found == pytest.approx(slow(z, tau, average), rel=1e-4)
    assert found != pytest.approx(slow(mean, tau, average), rel=1e-4)  # the mean would be another method


@pytest.mark.parametrize("form", ["mim", "vae", "ae"])
def test_the_bound_is_made_of_torchs_densities(form):
    model, image, noise, mean, spread = made(replace(CONFIG, form=form, contrast=0.0))
    z = mean if form == "ae" else mean + (spread / 2).exp() * noise
    with torch.no_grad():
        likelihood = Normal(model.decoded(z), 0.1).log_prob(image).sum((1, 2, 3))
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    posterior = Normal(mean, (spread / 2).exp()).log_prob(z).sum(1)
    beside = {"ae": 0 * prior, "vae": posterior - prior, "mim": -(prior + posterior) / 2}
    expected = beside[form] - likelihood
    terms = model.loss(model.views(BATCH, generator(0, "views")), AT)
    torch.testing.assert_close(terms.parts["bound"], expected.mean(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(terms.total, terms.parts["bound"])


def test_a_larger_batch_sets_no_other_scale():
    """The same codes twice over: the mean stays, the sum grows by log 2 and more."""
    found = {}
    for average in (True, False):
        model = fresh(replace(CONFIG, average=average, dim=2), 0)
        views = model.views(BATCH, generator(0, "views"))
        z = torch.randn(32, 2, generator=generator(9))
        losses = []
        for count in (1, 8):
            many = z.repeat(count, 1)
            model._drawn = lambda _x, _n, many=many: (many, many, many)
            ids = torch.arange(len(many))
            view = replace(views[0], x=views[0].x[:1].expand(len(many), -1, -1, -1), ids=ids)
            losses.append(model.loss((view, views[1]), AT).parts["contrast"].item())
        found[average] = losses[1] - losses[0]
    assert abs(found[True]) < 0.05
    assert found[False] > 1


def test_codes_have_a_least_variance():
    model, *_ = made()
    with torch.no_grad():
        model.log_variance.bias.fill_(-100.0)
    views = model.views(BATCH, generator(0, "views"))
    assert model.loss(views, AT).notes["deviation of codes"].item() == pytest.approx(math.exp(-3))


def test_the_network_gives_the_state_the_image_is_made_from():
    model, image, *_ = made()
    network = model.network("image").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            model.image(network(image)).view(5, 1, 8, 8), model.decoded(network.code(network.encoder(image)))
        )


def test_images_go_in_whole_and_as_they_are():
    _, image, *_ = made()
    torch.testing.assert_close(image, BATCH["image"])


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="cmim: expected temperature, deviation > 0"):
        replace(CONFIG, temperature=0.0).build()
