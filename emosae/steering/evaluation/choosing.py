"""What a study of steering works with: features and directions of each emotion, chosen before any text is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.features import Reading, extract
from emosae.steering.emotions import Recipe, dosed
from emosae.steering.evaluation.contrast import Contrast, contrast_of, strongest
from emosae.steering.evaluation.methods import Method, Targets, matched_control
from emosae.steering.words import concepts_of, selection_of

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.saes import FeatureStats
    from emosae.steering.config import SteeringConfig

__all__ = [
    "Chooser",
    "TransferSets",
    "choose_by_words",
    "feature_rows",
    "read_contrast",
    "transfer_sets",
    "word_contrast",
]

TransferSets = Mapping[str, tuple[str, Targets]]
"""Name of a set -> the languages that it was chosen from, and its features."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chooser:
    """Chooses an emotion's features from words or from passages, in languages of choice.

    Attributes:
        lens: The lens.
        site: Where.
        stats: Statistics of its SAE on running text.
        config: The study's settings.
        contrast: What passages of each emotion add; None where the study has none.
    """

    lens: Lens
    site: Site
    stats: FeatureStats
    config: SteeringConfig
    contrast: Contrast | None

    def sets(
        self, method: Method, which: str, emotions: Sequence[str]
    ) -> tuple[dict[str, dict[int, float]], list[str]]:
        """Choose features by one method from one language or several.

        Args:
            method: `word_features` or `passage_features`.
            which: `universal` (all languages), a language, or `en_only` and the like.
            emotions: The emotions.

        Returns:
            Emotion -> feature -> target at dose 1, and the emotions that have no such feature.
        """
        by = self._by_words if method is Method.WORD_FEATURES else self._by_passages
        found: dict[str, dict[int, float]] = {}
        none = []
        for emotion in emotions:
            try:
                found[emotion] = by(which, emotion)
            except UserError:
                none.append(emotion)
        return found, none

    def _by_words(self, which: str, emotion: str) -> dict[int, float]:
        recipe = Recipe(language=which, n_features=self.config.n_features, corpus=self.config.corpus)
        return dosed(self.lens, emotion, self.site, recipe, self.stats).targets

    def _by_passages(self, which: str, emotion: str) -> dict[int, float]:
        assert self.contrast is not None
        sae, n, languages = self.lens.saes[self.site], self.config.n_features, self.lens.languages
        base = which.removesuffix("_only")
        own = list(languages) if which == "universal" else [base]
        without: list[int] = []
        if base != which:  # what other languages' passages choose too is not that language's alone
            for other in languages:
                if other != base:
                    without += strongest(self.contrast.features[other][emotion], sae, self.stats, n)
        return strongest(self.contrast.of_features(emotion, own), sae, self.stats, n, without)

    def selected(self) -> list[int]:
        """Name the features that the words of any emotion select in any language."""
        tables = [selection_of(self.lens, self.site, language).scores for language in self.lens.languages]
        return (
            pl.concat([table.filter("selected").select("feature") for table in tables])["feature"]
            .unique()
            .to_list()
        )


def choose_by_words(
    chooser: Chooser, emotions: Sequence[str], notes: list[str]
) -> dict[str, dict[int, float]]:
    """Choose each emotion's universal features by its words, or those of any language where none is universal."""
    found, none = chooser.sets(Method.WORD_FEATURES, "universal", emotions)
    if none and len(chooser.lens.languages) > 1:
        anywhere, none = chooser.sets(Method.WORD_FEATURES, "space", none)
        if anywhere:
            notes.append(
                f"No feature is universal for {', '.join(anywhere)}, so those of any language were taken."
            )
        found |= anywhere
    if none:
        notes.append(f"No feature that fires in running text is selected for {', '.join(none)}: left out.")
    if not found:
        raise UserError(
            "Some emotion must have features to be steered by, got none. Measure statistics on a corpus that speaks of "
            "emotions, or choose another site."
        )
    return {emotion: found[emotion] for emotion in emotions if emotion in found}


def read_contrast(
    lens: Lens, site: Site, passages: pl.DataFrame, emotions: Sequence[str], max_tokens: int
) -> Contrast:
    """Read the passages of the part `features` and compare each emotion's with neutral or other ones."""
    items = passages.filter((pl.col("part") == "features") & pl.col("concept").is_in([*emotions, ""]))
    reading = extract(
        lens.model,
        lens.tokenizer,
        {site: lens.saes[site]},
        items.drop("part"),
        baselines=True,
        max_tokens=max_tokens,
    )[site]
    return contrast_of(reading, emotions, lens.languages)


def word_contrast(
    lens: Lens, reading: Reading, emotions: Sequence[str], neutral: pl.DataFrame | None
) -> Mapping[str, np.ndarray]:
    """Compare the residuals of each emotion's words with those of neutral or other words.

    Args:
        lens: The lens.
        reading: A row a word, with `residual`.
        emotions: The emotions.
        neutral: Neutral words, if there are any: language, word.

    Returns:
        Emotion -> difference of mean residuals, the mean over languages.
    """
    items = reading.features.items.with_row_index("row")
    known = [concepts_of(lens).words.select("concept", "language", "word")]
    if neutral is not None:
        known.append(neutral.select(pl.lit("").alias("concept"), "language", "word"))
    joined = items.join(pl.concat(known), on=["language", "word"], how="inner", maintain_order="left")
    rows = joined["row"].to_numpy().astype(np.int64)
    taken = replace(
        reading,
        features=replace(reading.features, csr=reading.features.csr[rows], items=joined.drop("row")),
        dense={"residual": reading.dense["residual"][rows]},
    )
    contrast = contrast_of(taken, emotions, lens.languages)
    return {emotion: contrast.of_residual(emotion, lens.languages) for emotion in emotions}


def transfer_sets(
    chooser: Chooser, method: Method, emotions: Sequence[str], own: Targets, notes: list[str]
) -> TransferSets:
    """Choose features from each language alone, those of that language only, and matched controls.

    Args:
        chooser: Chooses.
        method: By words or by passages.
        emotions: The emotions.
        own: The set of all languages together.
        notes: Takes what is left out.

    Returns:
        The sets; none where the study has one language.
    """
    languages = chooser.lens.languages
    if len(languages) < 2:
        notes.append("Transfer needs two languages, so it was left out. Add one with language=[en,zh].")
        return {}
    sets: dict[str, tuple[str, Targets]] = {"universal": (", ".join(languages), own)}
    for which in [*languages, *(f"{language}_only" for language in languages)]:
        found, none = chooser.sets(method, which, emotions)
        if found:
            sets[which] = (which.removesuffix("_only"), found)
        if none:
            notes.append(f"Transfer: no feature is in the set {which} for {', '.join(none)}.")
    sae = chooser.lens.saes[chooser.site]
    control = matched_control(sae, chooser.stats, own, chooser.selected())
    if control:
        sets["control"] = ("", control)
    return sets


def feature_rows(targets: Mapping[Method, Targets]) -> pl.DataFrame:
    """List the features of each method and emotion with their targets."""
    rows = [
        (str(method), emotion, feature, target)
        for method, sets in targets.items()
        for emotion, own in sets.items()
        for feature, target in own.items()
    ]
    schema = {"method": pl.String, "emotion": pl.String, "feature": pl.Int64, "target": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
