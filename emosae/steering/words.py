"""The features that a lens' concepts select, read as the lens' preset says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from emosae.concepts import ConceptSet, available_concepts, load_concepts
from emosae.errors import unknown_name
from emosae.models import is_decoder

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.selection import Selection

__all__ = ["concepts_of", "rank_features", "selection_of"]

_SCORED = {"selected": pl.col("selected"), "all": pl.lit(True), "none": pl.lit(False)}


def concepts_of(lens: Lens) -> ConceptSet:
    """Load a lens' concept set, once."""
    if "concepts" not in lens.memory:
        lens.memory["concepts"] = load_concepts(lens.concepts)
    found: ConceptSet = lens.memory["concepts"]
    return found


def selection_of(lens: Lens, site: Site, language: str) -> Selection:
    """Select the features of a lens' concept set at one site in one language, with the default thresholds, once.

    Words are read in the preset's own frames, with its neutral and control words. A language's selection does not
    depend on which others a study reads, so that languages can be selected one by one.

    Args:
        lens: The lens.
        site: Where.
        language: A language of the concept set.

    Raises:
        UserError: The set has no words in that language, or the tokenizer knows too few of them.
    """
    key = ("selection", site, language)
    if key not in lens.memory:
        lens.memory[key] = _select(lens, site, language)
    found: Selection = lens.memory[key]
    return found


def rank_features(lens: Lens, concept: str, language: str, site: Site, output_score: str) -> pl.DataFrame:
    """Rank the features that respond to a concept's words; `Lens.select` says what the arguments mean."""
    if output_score not in _SCORED:
        raise unknown_name("choice for output_score=", str(output_score), _SCORED)
    known = concepts_of(lens).concepts
    if concept not in known:
        raise unknown_name("concept", concept, known, hint=f"They are those of the set {lens.concepts!r}.")
    scores = selection_of(lens, site, language).scores
    ranked = scores.filter(pl.col("concept") == concept).sort("rank")
    wanted = ranked.filter(_SCORED[output_score])["feature"].to_list() if is_decoder(lens.model) else []
    score = dict(zip(wanted, lens.output_scores(wanted, site).tolist(), strict=True)) if wanted else {}
    column = pl.Series("output_score", [score.get(each) for each in ranked["feature"]], dtype=pl.Float64)
    return ranked.insert_column(ranked.columns.index("p_adjusted") + 1, column)


def _select(lens: Lens, site: Site, language: str) -> Selection:
    from emosae.config import compose
    from emosae.pipeline.inputs import load_inputs
    from emosae.pipeline.readings import read_words
    from emosae.pipeline.study import select_words

    named = lens.concepts in available_concepts()
    concepts = (
        [f"concepts={lens.concepts}"] if named else ["concepts=custom", f"concepts.path='{lens.concepts}'"]
    )
    config = compose(
        [f"preset={lens.preset}", *concepts, "norms=[]", f"language=[{language}]", "model.name=unused"]
    )
    inputs = load_inputs(config, need_ratings=False, need_human=False)
    readings, _ = read_words(
        lens,
        inputs.word_sets(),
        templates=config.features.templates,
        config=config.features,
        model_id=lens.model_id(),
        what="concept words",
        sites=[site],
    )
    return select_words(inputs, readings[site], config)
