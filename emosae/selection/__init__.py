"""From words to the features that read a concept: scores, exact tests, feature sets."""

from __future__ import annotations

from emosae.selection.config import RankBy, SelectionConfig
from emosae.selection.study import Selection, select_features

__all__ = ["RankBy", "Selection", "SelectionConfig", "select_features"]
