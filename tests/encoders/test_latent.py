from __future__ import annotations

import pytest
import torch

from counterpoint.core.encoder import tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.latent import Latent


def test_features_are_the_decoders_last_state_and_the_code_can_be_read():
    config = Latent.Config(channels=1, encoder=ConvNet.Config(channels=3, width=4), dim=3, hidden=7)
    network, x = config.build().eval(), torch.rand(2, 1, 16, 16)
    with torch.no_grad(), tapped(network, ["code"]) as seen:
        out = network(x)
    assert out.shape == (2, 7) and seen["code"].shape == (2, 3) and (out >= 0).all()
    torch.testing.assert_close(seen["code"], network.code(network.encoder(x)))
    torch.testing.assert_close(out, network.decoder(seen["code"]))


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="latent: expected positive channels, dim and hidden"):
        Latent.Config(dim=0)
