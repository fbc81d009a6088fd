from __future__ import annotations

import torch
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.heads.words import GeneratedClassifier

H, WORDS = torch.randn(4, 5, generator=generator(0)), torch.rand(7, 3, generator=generator(1))


def test_logits_are_sharpened_products_with_unit_weights():
    torch.manual_seed(0)
    head = GeneratedClassifier(3, 5, sharpness=2.0)
    weights = normalize(head.generator(normalize(WORDS, dim=1)), dim=1)
    found = head(H, WORDS)
    assert torch.allclose(found, 2 * H @ weights.T, atol=1e-5)
    assert torch.allclose(head(3 * H, WORDS), 3 * found, atol=1e-4)  # the length of h counts
    assert torch.allclose(head(H, 3 * WORDS), found, atol=1e-5)  # that of words does not


def test_words_may_change_places():
    """Weights of its own could not follow: word k is another one each time the queue has gone round."""
    head, order = GeneratedClassifier(3, 5), torch.randperm(7, generator=generator(2))
    assert torch.allclose(head(H, WORDS[order]), head(H, WORDS)[:, order], atol=1e-5)


def test_the_generator_learns_and_words_do_not():
    words = WORDS.clone().requires_grad_()
    head = GeneratedClassifier(3, 5)
    head(H, words).square().sum().backward()
    assert words.grad is None and all(p.grad is not None for p in head.parameters())
