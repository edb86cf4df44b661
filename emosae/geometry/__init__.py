"""The emotion space: RDMs, their comparison with people's, axes, alignment.

The names are resolved when first used: reading the configuration's schema imports neither scipy nor polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.geometry.config import GeometryConfig
from emosae.geometry.measures import Comparator, Dissimilarity, ResidualNull
from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.geometry.comparators import compare
    from emosae.geometry.rdm import compute_rdm, concept_matrix
    from emosae.geometry.study import Geometry, study_geometry

__all__ = [
    "Comparator",
    "Dissimilarity",
    "Geometry",
    "GeometryConfig",
    "ResidualNull",
    "compare",
    "compute_rdm",
    "concept_matrix",
    "study_geometry",
]

_HOMES = {
    "Geometry": "study",
    "compare": "comparators",
    "compute_rdm": "rdm",
    "concept_matrix": "rdm",
    "study_geometry": "study",
}

__getattr__ = lazily(__name__, _HOMES)
