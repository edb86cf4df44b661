"""One study: its stages in order, each computed once, taken from memory or from an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from emosae.artifacts import load_result, read_json
from emosae.config import Config, as_dict
from emosae.errors import UserError
from emosae.features import Reading, model_fingerprint
from emosae.geometry import Geometry, compare_layers, compare_sites, study_geometry
from emosae.lens import Lens, open_lens
from emosae.models import Site
from emosae.norms import Ratings
from emosae.pipeline.cells import rating_cells
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.readings import FeaturesResult, describe, read_words
from emosae.pipeline.spaces import concept_spaces, control_spaces, random_spaces
from emosae.progress import progress
from emosae.ratings import (
    RatingsResult,
    agreement,
    join_studies,
    split_studies,
    study_groups,
    study_ratings,
)
from emosae.selection import Selection, select_features, split_half_stability
from emosae.steering.evaluation import SteeringResult, study_steering

__all__ = ["Study", "select_words"]

log = logging.getLogger(__name__)
Result = TypeVar("Result")
# what must be equal for a stage's result to be taken over from an earlier run
_DETERMINES = {
    "select": ("model", "sae", "concepts", "language", "features", "selection"),
    "geometry": ("model", "sae", "concepts", "language", "features", "selection", "norms", "geometry"),
    "ratings": ("model", "sae", "concepts", "language", "features", "selection", "norms", "ratings"),
    "steer": ("model", "sae", "concepts", "language", "features", "selection", "norms", "steering"),
}
# rater groups are compared by these alone: each is fitted again in every simulation
_GROUP_PREDICTORS = ("features", "emotion_space", "residual")


class Study:
    """The stages of one study; each is computed when it is first asked for.

    Args:
        config: The study.
        inputs: Its words and human data.
        lens: The model with its SAEs; None opens what `config` names when a stage needs it.
    """

    def __init__(self, config: Config, inputs: Inputs, lens: Lens | None = None) -> None:
        self.config = config
        self.inputs = inputs
        self._lens = lens
        self._earlier = Path(config.reuse) if config.reuse else None

    @cached_property
    def lens(self) -> Lens:
        """The model with its SAEs."""
        if self._lens is not None:
            return self._lens
        config = self.config
        name = config.name or (config.preset if config.preset != "custom" else None)
        return open_lens(
            config.model, config.sae, name=name, concepts=config.concepts.path or config.concepts.name
        )

    @cached_property
    def model_id(self) -> str:
        """The model's fingerprint."""
        return model_fingerprint(self.lens.model, self.lens.tokenizer)

    @cached_property
    def _words(self) -> tuple[dict[Site, Reading], pl.DataFrame]:
        settings = self.config.features
        return read_words(
            self.lens,
            self.inputs.word_sets(),
            templates=settings.templates,
            config=settings,
            model_id=self.model_id,
            what="concept words",
        )

    @cached_property
    def features(self) -> dict[str, FeaturesResult]:
        """What fires for each word, by site."""
        readings, coverage = self._words
        return {str(site): describe(reading.features, coverage) for site, reading in readings.items()}

    @cached_property
    def selection(self) -> dict[str, Selection]:
        """The features of each concept, by site."""
        earlier = self._take_over("select", Selection)
        if earlier is not None:
            return earlier
        readings, _ = self._words
        results = {}
        for site, reading in readings.items():
            found = select_words(self.inputs, reading, self.config)
            neutral = self.inputs.neutral
            splits = self.config.selection.stability_splits
            with progress(f"stability of the selection at {site}", 1) as step:
                stability = (
                    split_half_stability(
                        reading.features.csr,
                        reading.features.items,
                        self.inputs.concepts.words,
                        neutral.words if neutral is not None else None,
                        languages=self.config.language,
                        config=self.config.selection,
                        n_splits=splits,
                    )
                    if splits
                    else found.stability
                )
                step(1)
            results[str(site)] = replace(found, stability=stability)
        return results

    @cached_property
    def geometry(self) -> dict[str, Geometry]:
        """The emotion space beside human judgements and its baselines, by site."""
        earlier = self._take_over("geometry", Geometry)
        if earlier is not None:
            return earlier
        readings, _ = self._words
        results = {}
        for site, reading in readings.items():
            selection, languages = self.selection[str(site)], self.config.language
            concepts, control = self.inputs.concepts, self.inputs.control
            spaces, roles = concept_spaces(concepts, reading, selection, languages)
            results[str(site)] = study_geometry(
                spaces,
                concepts.concepts,
                self.inputs.human,
                self.config.geometry,
                roles=roles,
                draws=random_spaces(concepts, reading, selection, languages, self.config.geometry),
                control=None if control is None else control_spaces(control, reading, selection, languages),
            )
        return results

    @cached_property
    def geometry_sites(self) -> pl.DataFrame:
        """Each space over the sites of the study, with p-values that hold for the best site."""
        results = self.geometry
        if self.inputs.human is None:
            return pl.DataFrame()
        table = compare_sites(results, self.inputs.human, self.config.geometry)
        layers = {site: Site.parse(site) for site in results}
        return table.select(
            "site",
            pl.col("site")
            .replace_strict({k: v.layer for k, v in layers.items()}, return_dtype=pl.Int64)
            .alias("layer"),
            pl.col("site")
            .replace_strict({k: v.stream.value for k, v in layers.items()}, return_dtype=pl.String)
            .alias("stream"),
            pl.all().exclude("site"),
        )

    @cached_property
    def geometry_layers(self) -> pl.DataFrame:
        """Each space at every site beside itself at every other."""
        return compare_layers(self.geometry, self.config.geometry)

    @cached_property
    def ratings(self) -> dict[str, RatingsResult]:
        """Valence and arousal predicted from features, from sets of them and from the baselines, by site.

        The concept sets' words chose the emotion space, so they leave, for all predictors alike.
        """
        earlier = self._take_over("ratings", RatingsResult)
        if earlier is not None:
            return earlier
        settings = self.config.features
        given = {each.name: each for each in self.inputs.ratings}
        readings, self.rating_coverage = read_words(
            self.lens,
            {name: each.table.select("language", "word") for name, each in given.items()},
            templates=settings.rating_templates,
            config=settings,
            model_id=self.model_id,
            what="rated words",
        )
        languages = {name: each.language for name, each in given.items()}
        between = agreement({name: each.table for name, each in given.items()})
        results = {}
        for site, reading in readings.items():
            plan = split_studies(languages)
            studies = []
            with progress(f"predicting ratings at {site}", len(plan)) as step:
                for names in plan:
                    found = self._rate(reading, [given[name] for name in names], self.selection[str(site)])
                    studies.append(({languages[name]: name for name in names}, found))
                    step(1)
            results[str(site)] = replace(join_studies(studies), agreement=between)
        return results

    def _rate(self, reading: Reading, ratings: Sequence[Ratings], selection: Selection) -> RatingsResult:
        """Study data sets of different languages together, on the words that they rate.

        Words that the tokenizer lacks are in no reading and so leave; `read_words` has counted them.
        """
        rated = pl.concat([each.table for each in ratings], how="diagonal_relaxed")
        table = reading.features.items.with_row_index("row").join(
            rated, on=["language", "word"], how="inner", maintain_order="left"
        )
        rows = table["row"].to_numpy()
        own = Reading(
            features=reading.features.take(rows),
            dense={name: values[rows] for name, values in reading.dense.items()},
        )
        table = table.drop("row")
        predictors, columns = rating_cells(own, selection, table, self.config.language)
        chosen_by = self.inputs.concepts.words.select("language", "word")
        found = study_ratings(
            predictors, table, config=self.config.ratings, exclude=chosen_by, features=columns
        )
        groups = study_groups(
            {name: predictors[name] for name in _GROUP_PREDICTORS if name in predictors},
            table,
            config=self.config.ratings,
            exclude=chosen_by,
        )
        return replace(found, groups=groups)

    @cached_property
    def steering(self) -> dict[str, SteeringResult]:
        """How well the model is steered at one site, by features and by what they are compared with."""
        earlier = self._take_over("steer", SteeringResult)
        if earlier is not None:
            return earlier
        config, languages = self.config, self.config.language
        lens = replace(self.lens, languages=tuple(languages), preset=config.preset)
        site = lens.site(config.steering.site if len(lens.saes) > 1 else None)
        selection = self.selection[str(site)]
        for language in languages:  # the study's own selection, not one with the default settings
            own = selection.scores.filter(pl.col("language") == language)
            lens.memory["selection", site, language] = replace(selection, scores=own)
        readings, _ = self._words
        neutral = self.inputs.neutral
        found = study_steering(
            lens,
            site,
            config.steering,
            self.inputs.concepts,
            words=readings[site],
            neutral=None if neutral is None else neutral.words.select("language", "word"),
            ratings=[each.table for each in self.inputs.ratings],
            max_tokens=config.features.max_tokens,
            use_cache=config.features.use_cache,
        )
        return {str(site): found}

    rating_coverage: pl.DataFrame | None = None

    def _take_over(self, stage: str, kind: type[Result]) -> dict[str, Result] | None:
        """Read a stage's result from the earlier run, where that run had the same settings."""
        if self._earlier is None or not (self._earlier / "tables" / f"{stage}.json").is_file():
            return None
        before = read_json(self._earlier / "manifest.json")["config"]
        now: dict[str, Any] = as_dict(self.config)
        for key in _DETERMINES[stage]:
            if before.get(key) != now[key]:
                raise UserError(
                    f"The earlier run {self._earlier} has other settings under {key!r}, so its {stage} stage does not "
                    "fit this study. Leave out reuse=, or use the earlier run's settings."
                )
        log.info("%s taken over from %s", stage, self._earlier)
        return load_result(self._earlier, stage, kind)


def select_words(inputs: Inputs, reading: Reading, config: Config) -> Selection:
    """Select each concept's features from the readings of the study's words.

    The control set's words count for density and among the words that fire a feature, never as positives or
    negatives, so that the control stays untouched by the selection.
    """
    return select_features(
        reading.features.csr,
        reading.features.items,
        inputs.concepts.words,
        inputs.neutral.words if inputs.neutral is not None else None,
        languages=config.language,
        config=config.selection,
    )
