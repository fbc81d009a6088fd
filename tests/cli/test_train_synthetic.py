from __future__ import annotations

from pathlib import Path

from counterpoint.core.networks import about, load_networks
from counterpoint.train.record import read_run

RECIPE = Path(__file__).parents[2] / "recipes" / "general.yaml"
SHORT = ("--train.steps", "2", "--train.batch", "2", "--patches", "4", "--train.precision", "32-true")


def test_the_recipe_of_the_shipped_model_trains_without_images(run, tmp_path):
    small = ("--method.size", "32", "--method.encoder.widths", "4", "8", *SHORT)
    ended = run("train", "template", "--config", str(RECIPE), "--synthetic", "-o", "run", "--json", *small)
    assert ended.code == 0 and ended.answer["synthetic"] is True
    settings = read_run("run")["settings"]
    assert settings["method"]["spin"] is True
    assert load_networks("run")["moving"].out_dim == 2 and about("run")["data"]["synthetic"] is True


def test_drawn_pairs_and_images_exclude_each_other(refused, folders):
    sentence = refused("train", "template", "--fixed", "HE", "--moving", "SHG", "--synthetic")
    assert "--synthetic: expected no --fixed" in sentence


def test_one_network_is_trained_on_pairs_of_one_number_of_channels(run, folders):
    flags = ("--method.size", "16", "--method.encoder.widths", "4", "8", *SHORT)
    ended = run("train", "template", "--fixed", "HE", "--moving", "SHG", "-o", "run", "--json", *flags)
    assert ended.code == 0 and load_networks("run")["fixed"].config.channels >= 1
