"""emosae: emotion in language models, read through sparse autoencoders and held beside human data.

The public names are resolved when they are first used, so that importing emosae imports neither torch nor
sae_lens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.errors import CoverageError, MissingFileError, UserError
    from emosae.features import FeatureMatrix
    from emosae.kernels import sparse_decode
    from emosae.lens import Lens, load
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder, SparseFeatures
    from emosae.steering import Clamp, prepare, steer

__version__ = "0.1.0"

__all__ = [
    "Clamp",
    "CoverageError",
    "FeatureMatrix",
    "Lens",
    "MissingFileError",
    "Site",
    "SparseAutoencoder",
    "SparseFeatures",
    "UserError",
    "load",
    "prepare",
    "sparse_decode",
    "steer",
]

_HOMES = {
    "Clamp": "steering",
    "CoverageError": "errors",
    "FeatureMatrix": "features",
    "Lens": "lens",
    "MissingFileError": "errors",
    "Site": "models",
    "SparseAutoencoder": "saes",
    "SparseFeatures": "saes",
    "UserError": "errors",
    "load": "lens",
    "prepare": "steering",
    "sparse_decode": "kernels",
    "steer": "steering",
}


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
