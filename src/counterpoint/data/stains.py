"""Two stains of one real tissue section, from the image that comes with scikit-image."""

from __future__ import annotations

import numpy as np

BLUR = (0.7, 1.2)
"""σ in pixels by which hematoxylin and DAB are blurred."""
NOISE = 0.05
"""σ of the noise added to each, for intensities in [0, 1]."""


def stains(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hematoxylin and DAB of the immunohistochemistry image, (512, 512, 1) float32 in [0, 1] each.

    Color deconvolution (Ruifrok and Johnston 2001) splits one exposure into two stains, which therefore share
    pixel noise. A method could register that noise instead of tissue, so the two are blurred differently and
    given noise of their own.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2hed
    from skimage.data import immunohistochemistry

    separate = rgb2hed(immunohistochemistry())
    rng = np.random.default_rng(seed)
    out = []
    for channel, blur in zip((separate[..., 0], separate[..., 2]), BLUR, strict=True):
        low, high = np.percentile(channel, (1, 99))
        image = gaussian_filter(np.clip((channel - low) / (high - low), 0, 1), blur)
        image += rng.normal(0, NOISE, image.shape)
        out.append(np.clip(image, 0, 1).astype(np.float32)[..., None])
    return out[0], out[1]
