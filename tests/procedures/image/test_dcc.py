from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.objectives.matching import row_distance
from counterpoint.procedures.image.dcc import DCC, classifier, gradient, teach

SMALL = DCC.Config(
    outer=2, inner=3, epochs=2, warmup_outer=1, real=4, width=4, depth=2, per_class=2, lr=0.5
)  # fmt: skip
LABEL = torch.arange(18) % 3
DATA = Arrays(torch.rand(18, 1, 8, 8, generator=generator(1)), LABEL, ("a", "b", "c"))
REAL = [torch.randn(n, 1, 8, 8, generator=generator(n), dtype=torch.float64) for n in (5, 6, 9)]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return classifier((1, 8, 8), 3, 4, 2).double()


def of_class(network, x: Tensor, k: int) -> list[Tensor]:
    """The gradient of a class, weight by weight, with a graph."""
    loss = cross_entropy(network(x), torch.full((len(x),), k))
    return list(torch.autograd.grad(loss, list(network.parameters()), create_graph=True))


def test_together_is_the_distance_of_mean_gradients_and_not_the_mean_of_distances(network):
    made = torch.randn(6, 1, 8, 8, generator=generator(9), dtype=torch.float64)
    config = replace(SMALL, real=100, warmup_outer=0)
    theirs = [of_class(network, x, k) for k, x in enumerate(REAL)]
    ours = [of_class(network, x, k) for k, x in enumerate(made.split(2))]
    means = [[torch.stack(of).mean(0) for of in zip(*all_, strict=True)] for all_ in (theirs, ours)]
    apart = sum(row_distance(g, h).item() for g, h in zip(theirs, ours, strict=True))
    together = DCC(config)._distance(network, REAL, made, 0, 0)
    assert together.item() == pytest.approx(row_distance(*means).item())  # unequal classes weigh alike
    for other in (replace(config, collective=False), replace(config, warmup_outer=5)):
        assert DCC(other)._distance(network, REAL, made, 0, 0).item() == pytest.approx(apart)


def test_warm_up_ends_with_the_network_or_with_the_step(network):
    made = torch.cat([x[:2] for x in REAL])
    config = replace(SMALL, real=100, warmup_outer=2, warmup_inner=3)
    whole = {c: DCC(replace(config, collective=c, warmup_outer=0))._distance(network, REAL, made, 0, 0).item()
             for c in (True, False)}  # fmt: skip
    for (o, i), together in {(0, 0): False, (1, 2): False, (2, 0): True, (0, 3): True}.items():
        found = DCC(config)._distance(network, REAL, made, o, i).item()
        assert found == pytest.approx(whole[together])


@pytest.mark.parametrize("collective", [True, False])
def test_it_vanishes_where_the_images_are_the_real_ones(network, collective):
    same = [x[:5] for x in REAL]
    config = replace(SMALL, real=5, per_class=5, warmup_outer=0, collective=collective)
    assert DCC(config)._distance(network, same, torch.cat(same), 0, 0).item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("siamese", [True, False])
def test_the_gradient_by_pixels_is_that_of_finite_differences(network, siamese):
    made = torch.randn(6, 1, 8, 8, generator=generator(9), dtype=torch.float64).requires_grad_()
    procedure = DCC(replace(SMALL, warmup_outer=0, siamese=siamese))
    (grad,) = torch.autograd.grad(procedure._distance(network, REAL, made, 0, 1), made)
    step = torch.randn(made.shape, generator=generator(4), dtype=torch.float64)
    ends = [procedure._distance(network, REAL, made.detach() + e * step, 0, 1).item() for e in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((grad * step).sum().item(), rel=1e-4)
    assert grad.abs().max() > 1e-4  # a detached synthetic gradient would leave none


def test_siamese_changes_are_shared_by_real_and_made_images(network):
    """Changed by draws of their own, equal images would have unlike gradients."""
    same = [x[:5] for x in REAL]
    config = replace(SMALL, real=5, per_class=5, warmup_outer=0, siamese=True)
    for step in range(6):
        found = DCC(config)._distance(network, same, torch.cat(same), 0, step)
        assert found.item() == pytest.approx(0, abs=0.01)


def test_samples_do_not_see_each_other_in_the_network(network):
    x = REAL[0]
    assert torch.allclose(network(x)[1:2], network(x[1:2]))


def test_the_papers_loops_follow_from_the_images_a_class():
    of = {n: DCC.Config(per_class=n).loops for n in (1, 5, 10, 50, 60)}
    assert of == {1: (10, 5), 5: (10, 50), 10: (10, 50), 50: (50, 10), 60: (50, 10)}
    assert replace(SMALL, per_class=10).loops == (3, 2)


def test_images_with_labels_come_out_and_follow_from_the_seed():
    made, again, other = (DCC(replace(SMALL, seed=s))(DATA) for s in (0, 0, 1))
    assert made.image.shape == (6, 1, 8, 8) and made.classes == DATA.classes
    assert made.label is not None and made.label.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(made.image, again.image) and not torch.equal(made.image, other.image)
    before = torch.get_rng_state()
    DCC(SMALL)(DATA)
    assert torch.equal(before, torch.get_rng_state())


def test_values_beyond_pixels_are_learned_and_cut_off_only_at_the_end():
    image, _ = DCC(replace(SMALL, lr=50.0)).condensed(DATA)
    made = DCC(replace(SMALL, lr=50.0))(DATA)
    assert image.min() < 0 and image.max() > 1 and torch.equal(made.image, image.clamp(0, 1))


def test_a_start_without_learning_is_real_images_of_each_class():
    image, label = DCC(replace(SMALL, lr=0.0)).condensed(DATA)
    for x, k in zip(image, label, strict=True):
        assert (DATA.image[k == LABEL] - x).abs().flatten(1).amax(1).min() < 1e-6
    noise, _ = DCC(replace(SMALL, lr=0.0, start="noise")).condensed(DATA)
    assert (noise - image).abs().max() > 0.1


def test_learning_brings_gradients_closer():
    config = replace(SMALL, outer=15, inner=2, warmup_outer=0, real=100, width=8, start="noise", lr=0.1)
    std, mean = torch.std_mean(DATA.image, correction=0)
    torch.manual_seed(5)
    network = classifier((1, 8, 8), 3, 8, 2)
    real = [((DATA.image - mean) / std)[k == LABEL] for k in range(3)]
    found = []
    for learned in (replace(config, lr=0.0), config):
        image = (DCC(learned).condensed(DATA)[0] - mean) / std
        found.append(DCC(config)._distance(network, real, image, 0, 0).item())
    assert found[1] < 0.8 * found[0]


def test_a_taught_network_knows_what_it_was_taught():
    torch.manual_seed(0)
    network = classifier((1, 8, 8), 3, 8, 2)
    teach(network, DATA.image, LABEL, 60, 0.05, generator(0), momentum=0.9)
    assert (network(DATA.image).argmax(1) == LABEL).float().mean() > 0.9
    assert all(g.grad_fn is None for g in gradient(network, DATA.image, LABEL))


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (Arrays(DATA.image), {}, "expected images with labels"),
        (DATA, {"per_class": 7}, "expected at least 7 images of every class, found 6"),
        (DATA, {"depth": 4}, "dcc.depth: expected images of at least 16 pixels"),
        (DATA, {"outer": 0}, "dcc.outer: expected at least 1"),
    ],
)
def test_what_cannot_be_condensed_is_refused(data, settings, words):
    with pytest.raises(InputError, match=words):
        DCC(replace(SMALL, **settings))(data)
