"""From `{"joy": 1.0}` to a plan: the features of each concept, their targets, and a steer block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.models import is_decoder
from emosae.steering.block import Steering, steer
from emosae.steering.choice import CHOICE_SCHEMA, Choice, choose_features, languages_of
from emosae.steering.chosen import DOSE_SCHEMA, FEATURE_SCHEMA, Chosen
from emosae.steering.clamp import Clamp, Op
from emosae.steering.dose import LEVEL, check_dose, combine, dose_stats, push_norm, targets_at_dose_one
from emosae.steering.plan import Plan
from emosae.steering.scope import Scope
from emosae.steering.words import concepts_of, selection_of

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.saes import FeatureStats, SparseAutoencoder

__all__ = ["CALIBRATED", "Dosed", "Recipe", "dosed", "read_op", "special_ids", "steer_lens"]

CALIBRATED = "calibrated"
"""In place of a dose: the one that `Lens.calibrate` found."""

_OPS = (Op.SET, Op.ADD, Op.AT_LEAST, Op.AT_MOST, Op.ABLATE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How concepts become clamps; what `Lens.steer` takes beside them.

    Attributes:
        language: The feature set that is taken: `universal`, `space`, a language, or `en_only` and the like.
        n_features: Most features of each concept.
        op: `set`, `add`, `at_least`, `at_most` or `ablate`.
        features: Concept -> features to take instead: numbers, or number -> target at dose 1 in activation units.
        output_score: Whether features must write the concept, not only read it.
        corpus: The corpus that doses are measured on; None takes the only one there is.
    """

    language: str = "universal"
    n_features: int = 8
    op: Op | str = Op.SET
    features: Mapping[str, Any] = field(default_factory=dict)
    output_score: bool = True
    corpus: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dosed:
    """One concept's features with their targets at dose 1."""

    choice: Choice
    targets: dict[int, float]


def dosed(lens: Lens, concept: str, site: Site, recipe: Recipe, stats: FeatureStats | None) -> Dosed:
    """Choose a concept's features and say their targets at dose 1.

    Args:
        lens: The lens.
        concept: A concept of its concept set, or one whose features are given.
        site: Where.
        recipe: How.
        stats: The features' statistics; None will do for features that are given with targets.

    Raises:
        UserError: An unknown concept or set, no feature of it, or features given that have no dose.
    """
    sae = lens.saes[site]
    if concept in recipe.features:
        return _given(concept, recipe.features[concept], sae, stats)
    assert stats is not None
    known = concepts_of(lens)
    if concept not in known.concepts:
        hint = f"They are those of the set {known.name!r}; features= takes features of your own."
        raise unknown_name("concept", str(concept), known.concepts, hint)
    languages = languages_of(recipe.language, lens.languages, known.languages)
    scores = pl.concat([selection_of(lens, site, language).scores for language in languages])

    def score(features: Sequence[int]) -> np.ndarray:
        return lens.output_scores(features, site)

    choice = choose_features(
        scores,
        concept,
        recipe.language,
        languages,
        recipe.n_features,
        fired=stats.quantile(LEVEL) > 0,
        output_score=score if recipe.output_score else None,
    )
    return Dosed(choice=choice, targets=targets_at_dose_one(sae, choice.features["feature"].to_list(), stats))


def steer_lens(
    lens: Lens,
    emotions: Any,
    site: Site | str | None,
    recipe: Recipe,
    *,
    scope: Any = None,
    skip_special: bool | None = None,
    **options: Any,
) -> Steering:
    """Make the steer block of `Lens.steer`, which says what the arguments mean."""
    if not is_decoder(lens.model):
        raise UserError(
            f"A lens must be on a decoder to be steered, got {type(lens.model).__name__}, an encoder. Encoders are for "
            "analysis."
        )
    options |= {"skip_special": skip_special, "special_ids": special_ids(lens), "corpus": recipe.corpus}
    if isinstance(emotions, (str, Path)) and str(emotions).endswith(".json"):
        emotions = Plan.load(emotions)
    if isinstance(emotions, Plan):
        return steer(lens.model, lens.saes, emotions, scope, **options)
    op = read_op(recipe.op)
    where = lens.steering_site(site)
    read_scope = Scope.parse("generated" if scope is None else scope)
    by_row = isinstance(emotions, (list, tuple)) and not (
        emotions and all(isinstance(each, Clamp) for each in emotions)
    )
    rows = list(emotions) if by_row else [emotions]
    if not rows:
        raise UserError(
            "Emotions must be given for at least one row, got an empty list. Give e.g. {'joy': 1.0}."
        )
    cook = _Cook(lens, where, recipe, op, read_scope)
    clamps = [cook.clamps(at, row) for at, row in enumerate(rows)]
    block = steer(lens.model, lens.saes, clamps if by_row else clamps[0], read_scope, **options)
    block.chosen = cook.chosen()
    return block


class _Cook:
    """Turns rows of concepts into clamps, each concept looked up once, and keeps the record."""

    def __init__(self, lens: Lens, site: Site, recipe: Recipe, op: Op, scope: Scope) -> None:
        self._lens, self._site, self._recipe, self._op, self._scope = lens, site, recipe, op, scope
        self._sae = lens.saes[site]
        self._stats: FeatureStats | None = None
        self._dosed: dict[str, Dosed] = {}
        self._doses: list[tuple[Any, ...]] = []
        self._features: list[pl.DataFrame] = []

    def clamps(self, row: int, emotions: Any) -> list[Clamp]:
        """Give the clamps of one row: of concepts with doses, or as they were given."""
        if emotions is None:
            return []
        if isinstance(emotions, str):
            emotions = {emotions: CALIBRATED}
        if isinstance(emotions, Plan) and len(emotions.rows) == 1:
            emotions = emotions.rows[0]
        if isinstance(emotions, (list, tuple)) and all(isinstance(each, Clamp) for each in emotions):
            return list(emotions)
        if not isinstance(emotions, Mapping) or not emotions:
            raise UserError(
                f"Emotions must be a mapping of names to doses, got {emotions!r}. Give e.g. {{'joy': 1.0}}, a list of "
                "such for the rows of a batch, or a Plan."
            )
        parts = [(self._dose(name, dose), self._get(name).targets) for name, dose in emotions.items()]
        for name, (dose, targets) in zip(emotions, parts, strict=True):
            self._note(row, name, dose, targets)
        return [
            Clamp(feature, self._op, None if self._op is Op.ABLATE else target, sae=self._sae)
            for feature, target in combine(parts).items()
        ]

    def chosen(self) -> Chosen | None:
        """Give the record; None where no concept was asked for."""
        if not self._dosed:
            return None
        known = concepts_of(self._lens).languages
        given = all(name in self._recipe.features for name in self._dosed)
        return Chosen(
            site=str(self._site),
            sae=self._sae.name,
            language="given" if given else self._recipe.language,
            languages=()
            if given
            else tuple(languages_of(self._recipe.language, self._lens.languages, known)),
            op=self._op.value,
            scope=self._scope.kind.value,
            corpus=None if self._stats is None else self._stats.corpus,
            residual_norm=None if self._stats is None else self._stats.residual_norm,
            doses=pl.DataFrame(self._doses, schema=DOSE_SCHEMA, orient="row"),
            features=pl.concat(self._features),
        )

    def _get(self, concept: str) -> Dosed:
        if self._stats is None:
            try:
                self._stats = dose_stats(self._sae, self._recipe.corpus)
            except MissingFileError:
                if not isinstance(self._recipe.features.get(concept), Mapping):
                    raise
        if concept not in self._dosed:
            self._dosed[concept] = dosed(self._lens, concept, self._site, self._recipe, self._stats)
        return self._dosed[concept]

    def _dose(self, concept: str, dose: Any) -> float:
        if not (isinstance(dose, str) and dose == CALIBRATED):
            return check_dose(concept, dose)
        from emosae.steering.stored import find_calibration

        targets = self._get(concept).targets
        kind = self._scope.kind.value
        return find_calibration(self._lens, concept, self._site, self._op, kind, targets).dose

    def _note(self, row: int, concept: str, dose: float, targets: Mapping[int, float]) -> None:
        held = {feature: 0.0 if self._op is Op.ABLATE else dose * value for feature, value in targets.items()}
        push = None if self._stats is None else push_norm(self._sae, held, self._stats.residual_norm)
        choice = self._get(concept).choice
        self._doses.append((row, concept, dose, push, choice.how))
        self._features.append(
            choice.features.with_columns(
                pl.lit(row, dtype=pl.Int64).alias("row"),
                pl.Series(
                    "target", [held[feature] for feature in choice.features["feature"]], dtype=pl.Float64
                ),
            ).select(list(FEATURE_SCHEMA))
        )


def _given(concept: str, given: Any, sae: SparseAutoencoder, stats: FeatureStats | None) -> Dosed:
    """Read features that a caller named, with or without targets."""
    listed = (
        list(given)
        if isinstance(given, (Mapping, Sequence, np.ndarray)) and not isinstance(given, str)
        else []
    )
    numbers = [Clamp(feature, Op.ABLATE).feature for feature in listed]
    if not numbers or len(set(numbers)) < len(numbers) or max(numbers) >= sae.d_sae:
        raise UserError(
            f"The features of {concept!r} must be numbers from 0 to {sae.d_sae - 1}, each once, or a mapping of them "
            f"to targets, got {given!r}. Give e.g. [12, 40], or {{12: 3.0}}."
        )
    if isinstance(given, Mapping):
        targets = {
            at: check_dose(f"feature {at}", given[key]) for at, key in zip(numbers, listed, strict=True)
        }
    else:
        assert stats is not None
        targets = targets_at_dose_one(sae, numbers, stats)
    features = pl.DataFrame({"concept": [concept] * len(numbers), "feature": numbers}).with_columns(
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in CHOICE_SCHEMA.items()
        if name not in ("concept", "feature")
    )
    how = "Features and targets" if isinstance(given, Mapping) else "Features"
    return Dosed(
        choice=Choice(features=features.select(list(CHOICE_SCHEMA)), how=f"{how} were given."),
        targets=targets,
    )


def read_op(op: Any) -> Op:
    """Read what is done to a concept's features.

    Raises:
        UserError: It is nothing that can be done to a concept.
    """
    names = [each.value for each in _OPS]
    if op not in names:
        raise unknown_name(
            "operation for emotions", str(op), names, "Others are for single features: emosae.Clamp."
        )
    return Op(op)


def special_ids(lens: Lens) -> frozenset[int]:
    """Name the tokens that steering leaves alone: the tokenizer's special ones and the model's own."""
    ids = {int(each) for each in lens.tokenizer.all_special_ids}
    for config in (lens.model.config, getattr(lens.model, "generation_config", None)):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(config, name, None)
            ids.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    return frozenset(ids)
