"""counterpoint: register images of different modalities, on representations learned by contrast.

The public names are loaded when first used, so that ``import counterpoint`` costs nothing:
``register``, ``Registration``, ``Transform``, ``read_image``, ``write_image``, ``Image``, ``load_model``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.data.image import Image
    from counterpoint.data.read import read_image
    from counterpoint.data.write import write_image
    from counterpoint.integrations.hub import load_model
    from counterpoint.registration.register import register
    from counterpoint.registration.result import Registration
    from counterpoint.registration.transform import Transform

__version__ = "0.1.0"

_PUBLIC = {
    "Image": ("counterpoint.data.image", "Image"),
    "Registration": ("counterpoint.registration.result", "Registration"),
    "Transform": ("counterpoint.registration.transform", "Transform"),
    "load_model": ("counterpoint.integrations.hub", "load_model"),
    "read_image": ("counterpoint.data.read", "read_image"),
    "register": ("counterpoint.registration.register", "register"),
    "write_image": ("counterpoint.data.write", "write_image"),
}

__all__ = ["Image", "Registration", "Transform", "load_model", "read_image", "register", "write_image"]


def __getattr__(name: str) -> Any:
    """Load a public name from the file it stands in, at its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'counterpoint' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)
