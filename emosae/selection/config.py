"""What a selection is asked for: thresholds, sizes and the order of the features."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from emosae.errors import UserError, unknown_name

__all__ = ["RankBy", "SelectionConfig"]


class RankBy(StrEnum):
    """The score that puts the features of one concept in order."""

    AUROC = "auroc"
    MEAN_DIFFERENCE = "mean_difference"
    MUTUAL_INFORMATION = "mutual_information"
    P = "p"


@dataclass(kw_only=True, slots=True)
class SelectionConfig:
    """Thresholds and sizes of a selection.

    A feature is a *candidate* of a concept when it passes `min_support`, `max_density` and `min_auroc`.
    Candidates that pass Benjamini-Hochberg come first, then the others; inside each part `rank_by` orders
    them. The first `max_features` significant ones are selected; where fewer than `min_features` are
    significant, the best of the other candidates fill the set up to `min_features`, and stay marked as not
    significant.
    """

    alpha: float = 0.05
    """False discovery rate over all features x concepts of a language."""

    max_features: int = 20
    """Most features that one concept may select in one language."""

    min_features: int = 5
    """A concept with fewer significant features is filled up to this many; 0 keeps to the significant."""

    min_auroc: float = 0.6
    """Least AUROC of a candidate; 0.5 is chance."""

    min_support: int = 3
    """Least number of the concept's own words on which a candidate is active."""

    max_density: float = 0.5
    """Greatest share of all words of the language on which a candidate is active."""

    rank_by: str = RankBy.AUROC
    """The score that orders the candidates: auroc, mean_difference, mutual_information or p."""

    n_candidates: int = 50
    """Rows kept in the table of scores for each concept and language, selected ones included."""

    stability_splits: int = 5
    """Random halves of the words whose selections are compared; 0 leaves the table of stability out."""

    n_words: int = 10
    """Words kept for each selected feature: those on which it is most active."""

    def __post_init__(self) -> None:
        if self.rank_by not in list(RankBy):
            raise unknown_name("score for selection.rank_by", self.rank_by, list(RankBy))
        self.rank_by = RankBy(self.rank_by)
        defaults = {field.name: field.default for field in fields(self)}
        for name, low, high in (
            ("alpha", 0.0, 1.0),
            ("min_auroc", 0.0, 1.0),
            ("max_density", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(
                    f"selection.{name} must be between {low:g} and {high:g}, got {value!r}. "
                    f"The default is {defaults[name]}."
                )
        for name, least in (
            ("max_features", 1),
            ("min_features", 0),
            ("min_support", 1),
            ("n_candidates", 1),
            ("n_words", 0),
            ("stability_splits", 0),
        ):
            value = getattr(self, name)
            if value < least:
                raise UserError(
                    f"selection.{name} must be at least {least}, got {value!r}. "
                    f"The default is {defaults[name]}."
                )
        if self.min_features > self.max_features:
            raise UserError(
                f"selection.min_features must be at most selection.max_features ({self.max_features}), "
                f"got {self.min_features!r}. Lower the one or raise the other."
            )
