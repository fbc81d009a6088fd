from __future__ import annotations

import colorsys

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.views.color import blurred, grayed, jittered, solarized, turned_hue

X = torch.rand(60, 3, 6, 6, generator=generator(7))


def test_hue_turns_as_in_hsv():
    turns = torch.linspace(-0.5, 0.5, 20)
    x = X[:20].clone()
    x[0], x[1, :, 0, 0], x[2, :, 0, 0] = 0.3, 0, 1  # gray, black, white: no hue
    out = turned_hue(x, turns)
    for i in range(20):
        for r in range(6):
            h, s, v = colorsys.rgb_to_hsv(*x[i, :, r, 0].tolist())
            expected = torch.tensor(colorsys.hsv_to_rgb((h + float(turns[i])) % 1, s, v))
            torch.testing.assert_close(out[i, :, r, 0], expected, rtol=0, atol=2e-6)


def slow(x: torch.Tensor, change: int, factor: float) -> torch.Tensor:
    luminance = 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]
    if change == 0:
        return (x * factor).clamp(0, 1)
    if change == 1:
        return (luminance.mean() * (1 - factor) + x * factor).clamp(0, 1)
    if change == 2:
        return (luminance * (1 - factor) + x * factor).clamp(0, 1)
    return turned_hue(x[None], torch.tensor([factor]))[0]


def test_jitter_is_four_changes_in_an_order_of_each_samples_own():
    amounts = (0.8, 0.6, 1.5, 0.3)
    out = jittered(X, amounts, 0.7, generator(3))
    rng = generator(3)  # what it is documented to draw
    chosen, unit = torch.rand(60, generator=rng) < 0.7, torch.rand(60, 4, generator=rng)
    order = torch.rand(60, 4, generator=rng).argsort(1)
    low, high = torch.tensor([0.2, 0.4, 0.0, -0.3]), torch.tensor([1.8, 1.6, 2.5, 0.3])
    factor = low + (high - low) * unit
    for i in range(60):
        x = X[i]
        for change in order[i].tolist() if chosen[i] else ():
            x = slow(x, change, float(factor[i, change]))
        torch.testing.assert_close(out[i], x, rtol=0, atol=1e-5)
    assert len({tuple(o) for o in order.tolist()}) > 15 and 30 < chosen.sum() < 54


def test_no_amount_changes_nothing_and_the_given_images_are_left_alone():
    before = X.clone()
    assert torch.equal(jittered(X, (0, 0, 0, 0), 1.0, generator(0)), X)
    for change in (
        lambda: jittered(X, (0.5, 0.5, 0.5, 0.1), 1.0, generator(0)),
        lambda: grayed(X, 1.0, generator(0)),
        lambda: blurred(X, 1.0, (0.5, 2.0), generator(0)),
        lambda: solarized(X, 1.0, generator(0)),
    ):
        out = change()
        assert torch.equal(X, before) and not torch.equal(out, X)
        assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_without_color_change_in_brightness_and_contrast_alone(channels):
    x = X[:, :1].repeat(1, channels, 1, 1)
    out = jittered(x, (0.5, 0.5, 0.5, 0.5), 1.0, generator(0))
    assert not torch.equal(out, x) and torch.equal(out[:, :1].expand_as(out), out)
    assert torch.equal(jittered(x, (0, 0, 0.9, 0.5), 1.0, generator(0)), x)
    assert torch.equal(grayed(x, 1.0, generator(0)), x)


def test_a_share_of_the_samples_is_changed_and_the_others_are_not():
    gray = grayed(X, 0.4, generator(0))
    made = torch.isclose(gray[:, :1], gray).flatten(1).all(1)
    assert 12 < made.sum() < 36 and torch.equal(gray[~made], X[~made])
    torch.testing.assert_close(gray[made, 0], 0.299 * X[made, 0] + 0.587 * X[made, 1] + 0.114 * X[made, 2])
    inverted = solarized(X, 0.4, generator(0))
    made = (inverted != X).flatten(1).any(1)
    assert 12 < made.sum() < 36
    assert torch.equal(inverted[made], torch.where(X[made] < 0.5, X[made], 1 - X[made]))


def test_each_sample_is_blurred_by_its_own_width():
    dot = torch.zeros(200, 1, 41, 41)
    dot[:, :, 20, 20] = 1
    out = blurred(dot, 0.5, (1.0, 3.0), generator(0))
    made = out[:, 0, 20, 20] < 1
    assert 70 < made.sum() < 130 and torch.equal(out[~made], dot[~made])
    torch.testing.assert_close(out.sum((1, 2, 3)), torch.ones(200))
    at = (torch.arange(41.0) - 20).square()
    sigma = (out.sum((1, 2)) * at).sum(1)[made].sqrt()
    assert 0.98 < sigma.min() < 1.1 and 2.7 < sigma.max() < 3.0


def test_switching_a_change_off_leaves_what_is_drawn_after_it():
    for change in (
        lambda rng, on: jittered(X, (0.5 * on, 0, 0, 0), on, rng),
        lambda rng, on: grayed(X, on, rng),
        lambda rng, on: blurred(X, on, (0.1, 1.0), rng),
        lambda rng, on: solarized(X, on, rng),
    ):
        one, other = generator(0), generator(0)
        change(one, 1.0)
        change(other, 0.0)
        assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))
