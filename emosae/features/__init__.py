"""Items to sparse features: extraction, pooling, the feature matrix and its cache."""

from emosae.features.cache import (
    cached_extract,
    list_readings,
    model_fingerprint,
    prune_readings,
    reading_key,
)
from emosae.features.extract import Reading, encode_tokens, extract, text_items, unknown_items
from emosae.features.matrix import FeatureMatrix
from emosae.features.pooling import Pooling, pool_dense, pool_sparse

__all__ = [
    "FeatureMatrix",
    "Pooling",
    "Reading",
    "cached_extract",
    "encode_tokens",
    "extract",
    "list_readings",
    "model_fingerprint",
    "pool_dense",
    "pool_sparse",
    "prune_readings",
    "reading_key",
    "text_items",
    "unknown_items",
]
