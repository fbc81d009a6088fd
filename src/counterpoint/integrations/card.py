"""Card: what is told to others of a run, and the page of a published model made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from counterpoint.core.encoder import Encoder
from counterpoint.data.open import NAMED


def told(about: Mapping[str, Any]) -> dict[str, Any]:
    """What ``core.networks.about`` says of a run, without the paths and the names of its files.

    Of data from a path the path goes, of pairs their names: both may say whose images they are. How many
    there were and of which shape stays; so does the name of a set that comes with the package.
    """
    whole = dict(about)
    if isinstance(whole.get("data"), Mapping):
        data = dict(whole["data"])
        if data.get("data") not in NAMED:
            data.pop("data", None)
        if isinstance(data.get("pairs"), list):
            data["pairs"] = len(data["pairs"])
        whole["data"] = data
    return whole


def card(
    repository: str,
    networks: Mapping[str, Encoder],
    about: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]] = (),
    license: str | None = None,
) -> str:
    """A model card in the hub's form, YAML and Markdown: networks, use, method, data, training, scores.

    Args:
        repository: "OWNER/NAME".
        networks: By role.
        about: What ``told`` gives of their run: "method", "train", "data", "steps", "loss".
        scores: Answers of "counterpoint score": "task", "scores" (metric → value), "test" (samples).
        license: Identifier, e.g. "cc-by-4.0"; none is stated where it is not given.
    """
    method = about["method"].get("kind") if isinstance(about.get("method"), Mapping) else None
    tags = ["counterpoint", "representation-learning", *([method] if method else [])]
    front: dict[str, Any] = {"library_name": "counterpoint", "tags": tags}
    front |= {"pipeline_tag": "image-feature-extraction"} | ({"license": license} if license else {})
    lines = [f"---\n{_yaml(front)}---", f"# {repository.partition('/')[2]}"]
    lines += [
        f"Image encoders trained with counterpoint {version('counterpoint')}"
        + (f", method `{method}`." if method else ".")
    ]
    lines += [_table(("role", "network", "channels", "features", "parameters"), _rows(networks))]
    lines += ["## Use", _use(repository, networks)]
    for title, part in (("Method", "method"), ("Data", "data"), ("Training", "train")):
        if about.get(part):
            lines += [f"## {title}", f"```yaml\n{_yaml(about[part])}```"]
    if isinstance(about.get("loss"), float):
        lines += [f"Loss {about['loss']:.4g} after {about.get('steps', '?')} updates."]
    if scores:
        rows = [
            (s["task"], metric, f"{value:.4f}", s["test"])
            for s in scores
            for metric, value in s["scores"].items()
        ]
        lines += ["## Scores", _table(("task", "metric", "value", "samples"), rows)]
    return "\n\n".join(lines) + "\n"


def _rows(networks: Mapping[str, Encoder]) -> Iterator[tuple[object, ...]]:
    for role, network in networks.items():
        count = sum(p.numel() for p in network.parameters())
        yield (
            role,
            network.config.kind,
            getattr(network.config, "channels", "?"),
            network.out_dim,
            f"{count:,}",
        )


def _use(repository: str, networks: Mapping[str, Encoder]) -> str:
    pair = {"fixed", "moving"} <= networks.keys()
    command = (
        f"counterpoint register FIXED MOVING --model hf://{repository} -o result"
        if pair
        else f"counterpoint embed hf://{repository} DATA -o features.npz"
    )
    role = next(iter(networks))
    return (
        f"```\npip install 'counterpoint[hub]'\n{command}\n```\n\n"
        f'```python\nimport counterpoint\n\nnetworks = counterpoint.load_model("hf://{repository}")\n'
        f'features = networks["{role}"](images)  # (B, C, H, W) float32 in [0, 1]\n```'
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
