"""Valence and arousal of words predicted from features, beside baselines and the ratings' own reliability.

The names are resolved when first used: reading the configuration's schema imports neither scipy nor polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily
from emosae.ratings.config import Model, RatingsConfig, Scaling, Transform

if TYPE_CHECKING:
    from emosae.ratings.folds import assign_folds, group_words, stem
    from emosae.ratings.groups import study_groups
    from emosae.ratings.inner import inner_folds
    from emosae.ratings.nested import NestedRidge, nested_ridge
    from emosae.ratings.pls import PLSPath, nested_pls, pls_path
    from emosae.ratings.ridge import RidgePath, penalty_grid, ridge_path
    from emosae.ratings.scores import reliability_ceiling
    from emosae.ratings.several import agreement, join_studies, split_studies
    from emosae.ratings.study import RatingsResult, study_ratings

__all__ = [
    "Model",
    "NestedRidge",
    "PLSPath",
    "RatingsConfig",
    "RatingsResult",
    "RidgePath",
    "Scaling",
    "Transform",
    "agreement",
    "assign_folds",
    "group_words",
    "inner_folds",
    "join_studies",
    "nested_pls",
    "nested_ridge",
    "penalty_grid",
    "pls_path",
    "reliability_ceiling",
    "ridge_path",
    "split_studies",
    "stem",
    "study_groups",
    "study_ratings",
]

_HOMES = {
    "NestedRidge": "nested",
    "PLSPath": "pls",
    "RatingsResult": "study",
    "RidgePath": "ridge",
    "agreement": "several",
    "assign_folds": "folds",
    "group_words": "folds",
    "inner_folds": "inner",
    "join_studies": "several",
    "nested_pls": "pls",
    "nested_ridge": "nested",
    "penalty_grid": "ridge",
    "pls_path": "pls",
    "reliability_ceiling": "scores",
    "ridge_path": "ridge",
    "split_studies": "several",
    "stem": "folds",
    "study_groups": "groups",
    "study_ratings": "study",
}


__getattr__ = lazily(__name__, _HOMES)
