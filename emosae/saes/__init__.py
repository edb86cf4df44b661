"""Pretrained sparse autoencoders: read by name, kept feature-major in sae_cache/, sparse in and out.

The names are resolved when they are used, so that asking for the cache's folder imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.saes.cache import CacheEntry, cache_root, list_entries
    from emosae.saes.config import Activation, Architecture, Normalization, SAEConfig
    from emosae.saes.encode import NormedInput
    from emosae.saes.rows import SAERows
    from emosae.saes.sae import SparseAutoencoder
    from emosae.saes.sparse import SparseFeatures
    from emosae.saes.stats import FeatureStats, find_stats
    from emosae.saes.upkeep import Verification, prune, verify
    from emosae.saes.weights import CorruptSAEError

_HOMES = {
    "Activation": "config",
    "Architecture": "config",
    "CacheEntry": "cache",
    "CorruptSAEError": "weights",
    "FeatureStats": "stats",
    "Normalization": "config",
    "NormedInput": "encode",
    "SAEConfig": "config",
    "SAERows": "rows",
    "SparseAutoencoder": "sae",
    "SparseFeatures": "sparse",
    "Verification": "upkeep",
    "cache_root": "cache",
    "find_stats": "stats",
    "list_entries": "cache",
    "prune": "upkeep",
    "verify": "upkeep",
}

__all__ = [
    "Activation",
    "Architecture",
    "CacheEntry",
    "CorruptSAEError",
    "FeatureStats",
    "Normalization",
    "NormedInput",
    "SAEConfig",
    "SAERows",
    "SparseAutoencoder",
    "SparseFeatures",
    "Verification",
    "cache_root",
    "find_stats",
    "list_entries",
    "prune",
    "verify",
]


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
