"""From words to the features that read a concept: scores, exact tests, feature sets.

The names are resolved when first used: reading the configuration's schema imports neither scipy nor polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily
from emosae.selection.config import RankBy, SelectionConfig

if TYPE_CHECKING:
    from emosae.selection.stability import split_half_stability
    from emosae.selection.study import Selection, select_features

__all__ = ["RankBy", "Selection", "SelectionConfig", "select_features", "split_half_stability"]

_HOMES = {"Selection": "study", "select_features": "study", "split_half_stability": "stability"}

__getattr__ = lazily(__name__, _HOMES)
