"""What a study knows of features beside their contexts: emotions, ratings, output scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.artifacts import load_result, read_json
from emosae.errors import CoverageError, MissingFileError, UserError
from emosae.models import is_decoder

if TYPE_CHECKING:
    from emosae.config import Config
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.ratings import RatingsResult
    from emosae.selection import Selection

__all__ = ["Facts", "facts_of_run", "facts_of_study", "score_outputs"]

log = logging.getLogger(__name__)

_SCORES = {
    "language": pl.String,
    "concept": pl.String,
    "feature": pl.Int64,
    "auroc": pl.Float64,
    "mean_difference": pl.Float64,
    "p_adjusted": pl.Float64,
    "rank": pl.Int64,
    "significant": pl.Boolean,
    "selected": pl.Boolean,
}
_SETS = {"set": pl.String, "concept": pl.String, "feature": pl.Int64}
_WORDS = {"language": pl.String, "feature": pl.Int64, "word": pl.String, "activation": pl.Float64}
_WEIGHTS = {
    "language": pl.String,
    "target": pl.String,
    "feature": pl.Int64,
    "weight": pl.Float64,
    "stability": pl.Float64,
    "importance": pl.Float64,
    "rank": pl.Int64,
}
_PREDICTOR = "features"  # the ridge on all features, of those that a ratings study fits


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Facts:
    """What is known of one SAE's features.

    Attributes:
        concepts: The emotions, in their set's order.
        scores: Candidates of each emotion and language, as in `Selection.scores`.
        sets: Sets and their features, as in `Selection.sets`.
        words: Concept words that fire features most: language, feature, word, activation.
        weights: Weights in the ratings, as in `RatingsResult.weights`, of the ridge on all features.
        output: Output score of those features that have one.
        notes: What the reader must know, in plain sentences.
    """

    concepts: tuple[str, ...] = ()
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SCORES))
    sets: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SETS))
    words: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_WORDS))
    weights: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_WEIGHTS))
    output: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def facts_of_run(run: Path, lens: Lens | None = None) -> dict[str, Facts]:
    """Read the selection and, where the run has them, the ratings of an earlier run.

    Args:
        run: The run's folder.
        lens: The model that is browsed; its SAEs must be those of the run. None does not look.

    Returns:
        Site to what is known there.

    Raises:
        MissingFileError: There is no such run, or it has no selection.
        UserError: The run is of other SAEs.
    """
    from emosae.ratings import RatingsResult
    from emosae.selection import Selection

    manifest = read_json(run / "manifest.json")
    ran = manifest.get("inputs", {}).get("saes", {})
    for site, sae in lens.saes.items() if lens is not None else ():
        known = ran.get(str(site), {}).get("fingerprint")
        if known is not None and known != sae.fingerprint:
            raise UserError(
                f"The run {run} is of another SAE at {site} than the one that is browsed ({sae.name}). Name a run of "
                "this SAE, or leave run= out."
            )
    selections = load_result(run, "select", Selection)
    try:
        ratings = load_result(run, "ratings", RatingsResult)
        notes: tuple[str, ...] = ()
    except MissingFileError:
        ratings, notes = {}, (f"The run {run.name} has no ratings, so no feature has a weight in them.",)
    return {site: _facts(found, ratings.get(site), notes) for site, found in selections.items()}


def facts_of_study(config: Config, lens: Lens) -> dict[str, Facts]:
    """Select the features of the study's emotions now; readings are cached. Ratings are left to a run.

    Raises:
        UserError: An unknown concept set or language.
    """
    from emosae.pipeline.inputs import load_inputs
    from emosae.pipeline.study import Study

    own = replace(config, norms={}, selection=replace(config.selection, stability_splits=0), reuse=None)
    notes = ("Ratings were not studied; run=FOLDER shows those of a run.",)
    try:
        found = Study(own, load_inputs(own, need_ratings=False, need_human=False), lens).selection
    except CoverageError as error:
        said = f"No emotion has features: {error}"
        log.warning("%s", said)
        return {str(site): Facts(notes=(said,)) for site in lens.saes}
    return {site: _facts(each, None, notes) for site, each in found.items()}


def score_outputs(facts: Facts, lens: Lens, site: Site, which: str) -> Facts:
    """Add output scores of the features that some emotion selects, of all, or of none.

    Args:
        facts: What is known already.
        lens: The model; an encoder has no output scores.
        site: Where.
        which: `selected`, `all` or `none`.
    """
    if not is_decoder(lens.model) or which == "none":
        return facts
    chosen: Sequence[int] = range(lens.saes[site].d_sae)
    if which == "selected":
        chosen = facts.scores.filter("selected")["feature"].unique().sort().to_list()
    try:
        scores = lens.output_scores(chosen, site)
    except UserError as error:
        log.warning("No output scores: %s", error)
        return replace(facts, notes=(*facts.notes, f"There are no output scores: {error}"))
    return replace(facts, output=dict(zip(map(int, chosen), scores.tolist(), strict=True)))


def _facts(selection: Selection, ratings: RatingsResult | None, notes: tuple[str, ...]) -> Facts:
    words = selection.words.select(*_WORDS).unique(["language", "feature", "word"], maintain_order=True)
    extra: dict[str, Any] = {}
    if ratings is not None:
        weights = ratings.weights.filter(pl.col("predictor") == _PREDICTOR)
        extra["weights"] = weights.select(*_WEIGHTS)
    return Facts(
        concepts=tuple(dict.fromkeys(selection.summary["concept"])),
        scores=selection.scores.select(*_SCORES),
        sets=selection.sets.select(*_SETS),
        words=words.sort("activation", descending=True, maintain_order=True),
        notes=notes,
        **extra,
    )
