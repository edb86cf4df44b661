"""Which features steer a concept: those that read it in the languages asked for and that write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from emosae.errors import UserError, unknown_name
from emosae.selection.sets import SPACE, UNIVERSAL, feature_sets
from emosae.steering.output_score import MIN_SCORE

__all__ = ["CHOICE_SCHEMA", "Choice", "choose_features", "languages_of", "set_names"]

CHOICE_SCHEMA = {
    "concept": pl.String,
    "feature": pl.Int64,
    "auroc": pl.Float64,
    "p_adjusted": pl.Float64,
    "significant": pl.Boolean,
    "output_score": pl.Float64,
}

Scorer = Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Choice:
    """The features that steer one concept, and how they were chosen.

    Attributes:
        features: Best first: concept, feature, auroc (mean over the set's languages), p_adjusted (the largest of them),
            significant (in each of them), output_score. The last four are null for features that were given.
        how: One sentence on the rule and on what it left out.
    """

    features: pl.DataFrame
    how: str


def set_names(languages: Sequence[str]) -> list[str]:
    """Name the feature sets that can steer: universal, space, each language, and each language alone.

    Example:
        >>> set_names(["en", "zh"])
        ['universal', 'space', 'en', 'zh', 'en_only', 'zh_only']
    """
    only = [f"{language}_only" for language in languages] if len(languages) > 1 else []
    return [UNIVERSAL, SPACE, *languages, *only]


def languages_of(name: str, own: Sequence[str], known: Sequence[str]) -> list[str]:
    """Tell which languages' words a feature set is made of.

    Args:
        name: The set, one of `set_names`, or a language that the concept set has.
        own: The lens' languages.
        known: The concept set's languages.

    Raises:
        UserError: There is no such set, and the concept set has no words in a language of that name.
    """
    for language in own:
        if language not in known:
            raise unknown_name("language", language, known, "The concept set has no words in it.")
    if name in set_names(own):
        return [name] if name in own else list(own)
    if name in known:
        return [name]
    raise unknown_name("language or feature set", str(name), {*set_names(own), *known})


def choose_features(
    scores: pl.DataFrame,
    concept: str,
    name: str,
    languages: Sequence[str],
    n_features: int,
    *,
    fired: np.ndarray,
    output_score: Scorer | None,
) -> Choice:
    """Choose a concept's features from a selection.

    The set's features of the concept (for `universal`, those that every language selects for it) are the candidates.
    Those that never fire in running text have no dose and are left out. Of the rest those whose output score reaches
    0.01 are taken, by AUROC; where none reaches it, the highest output scores are taken instead.

    Args:
        scores: `Selection.scores` of the languages.
        concept: The concept.
        name: The set (`set_names`).
        languages: The languages that make it.
        n_features: Most features to take.
        fired: Whether each feature of the SAE fires in running text, `[d_sae]`.
        output_score: Gives features' output scores; None goes by AUROC alone.

    Raises:
        UserError: The set has no feature of the concept, or none that fires in running text.
    """
    if isinstance(n_features, bool) or not isinstance(n_features, int) or n_features < 1:
        raise UserError(f"n_features must be a whole number from 1, got {n_features!r}. The default is 8.")
    own = scores.filter(pl.col("selected") & (pl.col("concept") == concept))
    sets = feature_sets(own, list(languages)).filter((pl.col("set") == name) & (pl.col("concept") == concept))
    candidates = (
        own.filter(pl.col("feature").is_in(sets["feature"].to_list()))
        .group_by("feature")
        .agg(pl.col("auroc").mean(), pl.col("p_adjusted").max(), pl.col("significant").all())
        .sort("auroc", "feature", descending=[True, False])
    )
    if not candidates.height:
        several = len(languages) > 1
        where = f"each of {', '.join(languages)}" if name == UNIVERSAL and several else f"the set {name!r}"
        raise UserError(
            f"Some feature must be selected for {concept!r} in {where}, got none. Give another language=, "
            f"as in language={languages[0]!r}, or another site."
        )
    alive = candidates.filter(pl.Series(fired[candidates["feature"].to_numpy()], dtype=pl.Boolean))
    if not alive.height:
        raise UserError(
            f"Some feature of {concept!r} must fire in the running text that doses are measured on, got none of "
            f"{candidates['feature'].to_list()}. Measure statistics on a corpus that speaks of it."
        )
    how = [f"{candidates.height} features selected for {concept!r} in {name!r} ({', '.join(languages)})"]
    if alive.height < candidates.height:
        how.append(f"{candidates.height - alive.height} never fire in running text")
    if output_score is None:
        ranked = alive.with_columns(pl.lit(None, dtype=pl.Float64).alias("output_score"))
        how.append("by AUROC, without output score")
    else:
        scored = alive.with_columns(
            pl.Series("output_score", output_score(alive["feature"].to_list()), dtype=pl.Float64)
        )
        ranked = scored.filter(pl.col("output_score") >= MIN_SCORE)
        if ranked.height:
            how.append(f"{ranked.height} with an output score of {MIN_SCORE:g} or more, by AUROC")
        else:
            ranked = scored.sort("output_score", "auroc", descending=True)
            how.append(
                f"none with an output score of {MIN_SCORE:g}, so the highest: they may read it without writing it"
            )
    taken = ranked.head(n_features).with_columns(pl.lit(concept).alias("concept"))
    return Choice(
        features=taken.select(list(CHOICE_SCHEMA)),
        how=f"{'; '.join(how)}; taken {taken.height}.",
    )
