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
    from emosae.geometry.control import ControlSet, valence_axis
    from emosae.geometry.draws import Draws, random_draws
    from emosae.geometry.rdm import compute_rdm, concept_matrix
    from emosae.geometry.sites import compare_sites
    from emosae.geometry.study import Geometry, study_geometry

__all__ = [
    "Comparator",
    "ControlSet",
    "Dissimilarity",
    "Draws",
    "Geometry",
    "GeometryConfig",
    "ResidualNull",
    "compare",
    "compare_sites",
    "compute_rdm",
    "concept_matrix",
    "random_draws",
    "study_geometry",
    "valence_axis",
]

_HOMES = {
    "ControlSet": "control",
    "Draws": "draws",
    "Geometry": "study",
    "compare": "comparators",
    "compare_sites": "sites",
    "compute_rdm": "rdm",
    "concept_matrix": "rdm",
    "random_draws": "draws",
    "study_geometry": "study",
    "valence_axis": "control",
}

__getattr__ = lazily(__name__, _HOMES)
