"""Valence and arousal of words predicted from features, beside baselines and the ratings' own reliability.

The names are resolved when first used: reading the configuration's schema imports neither scipy nor polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily
from emosae.ratings.config import RatingsConfig, Scaling, Transform

if TYPE_CHECKING:
    from emosae.ratings.folds import assign_folds, group_words, inner_folds, stem
    from emosae.ratings.groups import study_groups
    from emosae.ratings.nested import NestedRidge, nested_ridge
    from emosae.ratings.ridge import RidgePath, penalty_grid, ridge_path
    from emosae.ratings.scores import reliability_ceiling
    from emosae.ratings.study import RatingsResult, study_ratings

__all__ = [
    "NestedRidge",
    "RatingsConfig",
    "RatingsResult",
    "RidgePath",
    "Scaling",
    "Transform",
    "assign_folds",
    "group_words",
    "inner_folds",
    "nested_ridge",
    "penalty_grid",
    "reliability_ceiling",
    "ridge_path",
    "stem",
    "study_groups",
    "study_ratings",
]

_HOMES = {
    "NestedRidge": "nested",
    "RatingsResult": "study",
    "RidgePath": "ridge",
    "assign_folds": "folds",
    "group_words": "folds",
    "inner_folds": "folds",
    "nested_ridge": "nested",
    "penalty_grid": "ridge",
    "reliability_ceiling": "scores",
    "ridge_path": "ridge",
    "stem": "folds",
    "study_groups": "groups",
    "study_ratings": "study",
}


__getattr__ = lazily(__name__, _HOMES)
