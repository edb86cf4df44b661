"""What a ratings study is asked for: folds, penalties, intervals and the form of the features."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from emosae.errors import UserError, unknown_name

__all__ = ["Model", "RatingsConfig", "Scaling", "Transform"]


class Model(StrEnum):
    """Which regression predicts the ratings."""

    RIDGE = "ridge"
    PLS = "pls"


class Transform(StrEnum):
    """What is done to each feature value before the regression; it looks at no other word."""

    NONE = "none"
    SQRT = "sqrt"
    LOG1P = "log1p"


class Scaling(StrEnum):
    """What the columns are divided by, measured on the training words of each fold alone."""

    NONE = "none"
    SD = "sd"


@dataclass(kw_only=True, slots=True)
class RatingsConfig:
    """Folds, penalties and intervals of a ratings study.

    The defaults of `transform` and `scaling` are those that predicted best on real features; the table of the
    trial is in the docstring of `emosae.ratings.study`.
    """

    model: str = Model.RIDGE
    """Which regression: ridge, or pls (partial least squares). Rater groups are compared by ridge in either case."""

    folds: int = 10
    """Outer folds: each word is predicted once, by a model that saw nothing of its group."""

    inner_folds: int = 5
    """Inner folds, on the training words of an outer fold, that choose the penalty or the components."""

    penalties: int = 20
    """Number of penalties tried, evenly spaced in the logarithm."""

    penalty_low: float = 1e-4
    """Smallest penalty, in units of the variance of a row (the sum of the columns' variances)."""

    penalty_high: float = 1e4
    """Largest penalty, in the same unit; at 1e4 next to nothing is predicted."""

    components: int = 12
    """Most components of partial least squares; the inner folds choose how many are used."""

    min_features: int = 3
    """A set of fewer features gets a row that says so in place of numbers: they would tell of single features."""

    transform: str = Transform.NONE
    """What is done to sparse predictors, the SAE features: none, sqrt or log1p. Dense ones stay."""

    scaling: str = Scaling.NONE
    """What the columns are divided by: none or sd."""

    tolerance: float = 1e-6
    """Residual of the final fits, relative to the training ratings, where they are solved by iteration."""

    bootstrap: int = 2000
    """Resamples of the words for the intervals."""

    group_simulations: int = 250
    """Simulations of two groups of raters that share one truth; 0 leaves the comparison of groups out. Fewer than
    twenty times the comparisons leave p-values too coarse to survive their adjustment."""

    confidence: float = 0.95
    """Coverage of the intervals."""

    min_words: int = 100
    """A language with fewer rated words is refused."""

    seed: int = 0
    """Seed of the folds and of the resamples."""

    workers: int | None = None
    """Outer folds solved at once; None means one for each processor, at most 4. It changes no number."""

    def __post_init__(self) -> None:
        for name, kind in (("model", Model), ("transform", Transform), ("scaling", Scaling)):
            value = getattr(self, name)
            options = [option.value for option in kind]
            if str(value) not in options:
                raise unknown_name(f"ratings.{name}", str(value), options)
            setattr(self, name, str(value))
        least = {
            "folds": 2,
            "inner_folds": 2,
            "penalties": 1,
            "components": 1,
            "min_features": 1,
            "bootstrap": 100,
            "group_simulations": 0,
            "min_words": 1,
            "seed": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                raise UserError(
                    f"ratings.{name} must be at least {bound}, got {value!r}. Raise it or leave it out."
                )
        if not 0 < self.penalty_low <= self.penalty_high < float("inf"):
            raise UserError(
                "ratings.penalty_low must be above 0 and at most ratings.penalty_high, "
                f"got {self.penalty_low!r} and {self.penalty_high!r}. Give two positive numbers in order."
            )
        if not 0 < self.tolerance <= 1e-2:
            raise UserError(
                f"ratings.tolerance must be above 0 and at most 0.01, got {self.tolerance!r}. Use 1e-6."
            )
        if not 0 < self.confidence < 1:
            raise UserError(f"ratings.confidence must be between 0 and 1, got {self.confidence!r}. Use 0.95.")
        if self.workers is not None and self.workers < 1:
            raise UserError(
                f"ratings.workers must be at least 1 or none, got {self.workers!r}. Leave it out."
            )
