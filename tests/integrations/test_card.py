from __future__ import annotations

import yaml

from counterpoint.encoders.unet import UNet
from counterpoint.integrations.card import card, told


def test_what_is_told_leaves_out_whose_images_they_are():
    about = {"data": {"data": "/home/ann/x", "pairs": ["ann", "eve"], "sizes": [[8, 8, 1]]}, "steps": 2}
    assert told(about) == {"data": {"pairs": 2, "sizes": [[8, 8, 1]]}, "steps": 2}
    assert about["data"]["data"] == "/home/ann/x"
    assert told({"data": {"data": "digits"}, "own": "words"}) == {"data": {"data": "digits"}, "own": "words"}
    assert told({"data": "a word"}) == {"data": "a word"} and told({}) == {}


def test_a_pair_of_networks_is_for_registration():
    networks = {role: UNet.Config(widths=(2, 3), out=2).build() for role in ("fixed", "moving")}
    count = sum(p.numel() for p in networks["fixed"].parameters())
    text = card("ann/he_shg", networks, {"method": {"kind": "comir"}}, license="mit")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "mit" and front["tags"][-1] == "comir"
    assert "# he_shg\n" in text and "register FIXED MOVING --model hf://ann/he_shg" in text
    assert f"| moving | unet | 1 | 2 | {count:,} |" in text
    assert "## Method" in text and "## Data" not in text and "## Scores" not in text


def test_a_card_of_networks_nothing_else_is_known_of():
    text = card("ann/x", {"image": UNet.Config(widths=(2,)).build()}, {"data": "a word", "loss": None})
    assert "embed hf://ann/x DATA" in text and "method" not in text.split("## Use")[0] and "Loss" not in text
