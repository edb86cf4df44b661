"""The emotion space: RDMs, their comparison with people's, axes, alignment."""

from __future__ import annotations

from emosae.geometry.compare import Comparator, compare
from emosae.geometry.config import GeometryConfig
from emosae.geometry.rdm import Dissimilarity, compute_rdm, concept_matrix
from emosae.geometry.study import Geometry, study_geometry

__all__ = [
    "Comparator",
    "Dissimilarity",
    "Geometry",
    "GeometryConfig",
    "compare",
    "compute_rdm",
    "concept_matrix",
    "study_geometry",
]
