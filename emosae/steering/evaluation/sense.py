"""Sense, not words: do an emotion's features fire in passages that carry it and do not name it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.features import extract
from emosae.steering.classifiers import lexicon
from emosae.steering.evaluation.methods import Targets
from emosae.steering.evaluation.scoring import interval_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.concepts import ConceptSet
    from emosae.lens import Lens
    from emosae.models import Site

__all__ = ["SENSE_SCHEMA", "measure_sense"]

SENSE_SCHEMA = {
    "set": pl.String,
    "emotion": pl.String,
    "language": pl.String,
    "n_passages": pl.Int64,
    "n_others": pl.Int64,
    "n_naming": pl.Int64,
    "auroc": pl.Float64,
    "auroc_low": pl.Float64,
    "auroc_high": pl.Float64,
}
"""One row a set of features (a method's, or `control`), an emotion and a language: the emotion's passages that do not
name it, passages of the other emotions, passages left out for naming it, and the area under the ROC curve with which
the set's firing tells the first from the second, with its interval over passages."""


def measure_sense(
    lens: Lens,
    site: Site,
    passages: pl.DataFrame,
    concepts: ConceptSet,
    sets: Mapping[str, Targets],
    *,
    n_resamples: int,
    seed: int = 0,
    max_tokens: int = 4096,
) -> pl.DataFrame:
    """Read passages that chose nothing, and tell each emotion's from the others' by its features alone.

    A passage's value is the sum of the features' mean activations, each times its target: what they would push if they
    were clamped to what they say. A passage in which a word of its emotion stands is left out, so that a set that
    knows words only falls to .5.

    Args:
        lens: The lens.
        site: Where.
        passages: Rows of `PASSAGE_SCHEMA`, none of which features were chosen on.
        concepts: The emotions' words.
        sets: Name -> emotion -> feature -> target.
        n_resamples: Resamples of the passages behind each interval.
        seed: Their seed.
        max_tokens: Bound on a batch's tokens, padding included.

    Returns:
        Rows of `SENSE_SCHEMA`; an emotion with no passage left in a language is absent there.
    """
    emotions = list(dict.fromkeys(emotion for targets in sets.values() for emotion in targets))
    given = passages.filter(pl.col("concept").is_in(concepts.concepts))
    if given.is_empty():
        return pl.DataFrame(schema=SENSE_SCHEMA)
    sae = {site: lens.saes[site]}
    reading = extract(lens.model, lens.tokenizer, sae, given, max_tokens=max_tokens)[site].features
    truth, language = given["concept"].to_numpy(), given["language"].to_numpy()
    naming = _naming(given, concepts)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for emotion in emotions:
        for code in dict.fromkeys(language):
            here = (truth == emotion) & (language == code)
            own, others = (
                np.flatnonzero(here & ~naming),
                np.flatnonzero((truth != emotion) & (language == code)),
            )
            if not len(own) or not len(others):
                continue
            about = {"emotion": emotion, "language": code, "n_passages": len(own), "n_others": len(others)}
            about["n_naming"] = int((here & naming).sum())
            draws = [_weights(len(at), n_resamples, rng) for at in (own, others)]
            for name, targets in sets.items():
                if emotion in targets:
                    features = list(targets[emotion])
                    value = reading.csr[:, features] @ np.array([*targets[emotion].values()])
                    areas = _areas(value[own], value[others], *draws)
                    low, high = interval_of(areas)
                    ends = {"auroc": float(areas[0]), "auroc_low": low, "auroc_high": high}
                    rows.append({"set": name} | about | ends)
    return pl.DataFrame(rows, schema=SENSE_SCHEMA)


def _naming(passages: pl.DataFrame, concepts: ConceptSet) -> np.ndarray:
    """Tell in which passages a word of their own emotion stands."""
    found = np.zeros(passages.height, dtype=bool)
    for (concept,), own in passages.with_row_index("at").group_by("concept"):
        classify = lexicon(concepts.restrict(concepts=[str(concept)]))
        named = [label is not None for label in classify(own["text"].to_list())]
        found[own["at"].to_numpy()] = named
    return found


def _weights(n: int, n_resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "draws n"]:
    """Weigh each passage alike in the first draw, as often as it was drawn in the others."""
    even = np.full(n, 1 / n)
    return np.vstack([even, rng.multinomial(n, even, size=n_resamples) / n])


def _areas(
    own: np.ndarray, others: np.ndarray, own_weights: np.ndarray, other_weights: np.ndarray
) -> Float[np.ndarray, " draws"]:
    """Give the share of pairs in which an own passage has the greater value, ties half, draw by draw."""
    wins = (own[:, None] > others) + 0.5 * (own[:, None] == others)
    return np.asarray(((own_weights @ wins) * other_weights).sum(1))
