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
    from emosae.geometry.control import ControlSet
    from emosae.geometry.direction import valence_axis
    from emosae.geometry.draws import Draws, random_draws
    from emosae.geometry.latents import Words, require_cebra
    from emosae.geometry.layers import compare_layers
    from emosae.geometry.rdm import compute_rdm, concept_matrix
    from emosae.geometry.result import Geometry
    from emosae.geometry.runs import check_runs
    from emosae.geometry.sites import compare_sites
    from emosae.geometry.study import study_geometry

__all__ = [
    "Comparator",
    "ControlSet",
    "Dissimilarity",
    "Draws",
    "Geometry",
    "GeometryConfig",
    "ResidualNull",
    "Words",
    "check_runs",
    "compare",
    "compare_layers",
    "compare_sites",
    "compute_rdm",
    "concept_matrix",
    "random_draws",
    "require_cebra",
    "study_geometry",
    "valence_axis",
]

_HOMES = {
    "ControlSet": "control",
    "Draws": "draws",
    "Geometry": "result",
    "Words": "latents",
    "compare": "comparators",
    "check_runs": "runs",
    "compare_layers": "layers",
    "compare_sites": "sites",
    "compute_rdm": "rdm",
    "concept_matrix": "rdm",
    "random_draws": "draws",
    "require_cebra": "latents",
    "study_geometry": "study",
    "valence_axis": "direction",
}

__getattr__ = lazily(__name__, _HOMES)
