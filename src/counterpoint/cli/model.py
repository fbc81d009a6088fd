"""What stands for a model on the command line: a run folder, a file of networks, or one on the hub."""

from __future__ import annotations

from counterpoint.cli.console import say
from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, unknown
from counterpoint.integrations.hub import is_reference, pinned


def given(model: str) -> str:
    """The model as the user named it; one on the hub is downloaded, and named with its commit, which is said.

    Raises:
        InputError: it is not on the hub, or is not ours.
        WorkError: the hub cannot be reached.
    """
    if not is_reference(model):
        return model
    reference = pinned(model)
    say(f"model {reference}")
    return reference


def one_role(networks: dict[str, Encoder], role: str) -> str:
    """The role asked for, else the only one or "image"; an ``InputError`` names those there are."""
    if role:
        if role not in networks:
            raise unknown("role", role, networks)
        return role
    found = next(iter(networks)) if len(networks) == 1 else "image"
    if found not in networks:
        raise InputError(f"--role: expected one of {', '.join(networks)}, found none")
    return found
