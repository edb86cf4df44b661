"""emosae: emotion in language models, read through sparse autoencoders and held beside human data.

The public names are resolved when they are first used, so that importing emosae imports neither torch nor
sae_lens.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emosae.errors import CoverageError, MissingFileError, UserError
    from emosae.features import FeatureMatrix
    from emosae.lens import Lens, load
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder, SparseFeatures

__version__ = "0.1.0"

__all__ = [
    "CoverageError",
    "FeatureMatrix",
    "Lens",
    "MissingFileError",
    "Site",
    "SparseAutoencoder",
    "SparseFeatures",
    "UserError",
    "load",
]

_HOMES = {
    "CoverageError": "errors",
    "FeatureMatrix": "features",
    "Lens": "lens",
    "MissingFileError": "errors",
    "Site": "models",
    "SparseAutoencoder": "saes",
    "SparseFeatures": "saes",
    "UserError": "errors",
    "load": "lens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emosae' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"emosae.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
