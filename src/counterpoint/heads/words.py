"""A classifier that is made of what it classifies into: weights read off the words, anew at every step."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from counterpoint.heads.mlp import mlp


class GeneratedClassifier(nn.Module):
    """``o_k = κ ⟨h, w_k⟩`` with ``w_k = normalize(MLP(normalize(v_k)))`` for the words v_k given.

    Gidaris et al. 2021 (OBoW), arXiv:2012.11552, section 3.4: a classifier for a vocabulary that moves; one
    with weights of its own would have to forget as words change places. The words are the batch of the
    perceptron's normalization. h is not brought to unit length: that would flatten the softmax.

    Args:
        word_dim: Width of a word.
        dim: Width of h; the perceptron's hidden layer has twice as much.
        sharpness: κ; 5 for ResNet-18 and 8 for ResNet-50 in the paper.
    """

    def __init__(self, word_dim: int, dim: int, sharpness: float = 5.0) -> None:
        super().__init__()
        self.sharpness, self.generator = sharpness, mlp(word_dim, 2 * dim, dim)

    def forward(self, h: Tensor, words: Tensor) -> Tensor:
        """(B, dim) features and (K, word_dim) words, constant → (B, K) logits."""
        weights = normalize(self.generator(normalize(words.detach(), dim=1)), dim=1)
        return self.sharpness * linear(h, weights.to(h))
