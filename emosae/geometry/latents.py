"""CEBRA latents of the emotion space, always beside latents fitted to shuffled labels."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.geometry.comparators import mean_over_raters
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Human, Notes, Spaces
from emosae.geometry.measures import Dissimilarity
from emosae.geometry.permutation import permutation_p
from emosae.geometry.rdm import compute_rdm

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["CEBRA_MAP_SCHEMA", "CEBRA_SCHEMA", "Words", "fit_latent", "latent_tables", "require_cebra"]

logger = logging.getLogger(__name__)

CEBRA_SCHEMA = {
    "space": pl.String,
    "labels": pl.String,
    "loss": pl.Float64,
    "loss_shuffled": pl.Float64,
    "p_loss": pl.Float64,
    "comparator": pl.String,
    "score": pl.Float64,
    "score_shuffled": pl.Float64,
    "shuffled_low": pl.Float64,
    "shuffled_high": pl.Float64,
    "p": pl.Float64,
    "n_items": pl.Int64,
    "n_features": pl.Int64,
    "n_dimensions": pl.Int64,
    "n_iterations": pl.Int64,
    "n_shuffles": pl.Int64,
}
CEBRA_MAP_SCHEMA = {"space": pl.String, "labels": pl.String, "concept": pl.String, "latent_1": pl.Float64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Single words of the concepts in one space.

    Attributes:
        matrix: Words x coordinates.
        concepts: The concept of each word.
    """

    matrix: Float[np.ndarray, "words k"]
    concepts: Sequence[str]


def fit_latent(
    matrix: Float[np.ndarray, "items k"],
    labels: np.ndarray,
    *,
    dimensions: int = 3,
    iterations: int = 1_000,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "items dimensions"], float]:
    """Fit CEBRA to items and their labels, and return the latents and the loss at the end.

    Items of like label are drawn together on the unit sphere and all others apart (InfoNCE). A network of this
    size can do that for any labels, so the result means nothing without the same fit to shuffled labels.

    Args:
        matrix: Items x features; scaled to unit spread here.
        labels: Integers, one per item: items of one number belong together. Or numbers [items, k]: an item's
            partner is the one nearest to a small random step from its labels.
        dimensions: Dimensions of the latent space.
        iterations: Steps of the optimiser.
        seed: Seed of weights and batches. With numbers for labels CEBRA seeds its sampler of items itself, so that
            a fit repeats only about.

    Returns:
        Unit vectors, and the mean loss of the last tenth of the steps: log(batch) where labels help nothing.

    Raises:
        UserError: CEBRA is not installed.

    Source: Schneider, Lee & Mathis (2023), Learnable latent embeddings for joint behavioural and neural
        analysis. Nature 617.
    """
    require_cebra()
    import torch

    cebra = importlib.import_module("cebra")  # its own import takes seconds

    items = np.asarray(matrix, dtype=np.float64)
    spread = items.std(axis=0)
    live = spread > 1e-12 * np.maximum(np.abs(items).max(axis=0), 1e-300)
    items = ((items[:, live] - items[:, live].mean(axis=0)) / spread[live]).astype(np.float32)
    discrete = labels.ndim == 1
    model = cebra.CEBRA(
        model_architecture="offset1-model",  # one item at a time: items have no order in time
        batch_size=len(items),
        learning_rate=3e-3,
        max_iterations=iterations,
        output_dimension=dimensions,
        num_hidden_units=32,
        device="cpu",
        verbose=False,
        **({"conditional": None} if discrete else {"conditional": "delta_normal", "delta": 0.5}),
    )
    with torch.random.fork_rng(devices=[]):  # CEBRA draws from torch's global generator
        torch.manual_seed(seed)
        state = np.random.get_state()  # noqa: NPY002 - and, in some samplers, from numpy's
        np.random.seed(seed)  # noqa: NPY002
        try:
            model.fit(items, labels.astype(np.int64 if discrete else np.float32))
        finally:
            np.random.set_state(state)  # noqa: NPY002
    losses = np.asarray([float(loss) for loss in model.state_dict_["loss"]])
    last = max(1, len(losses) // 10)
    return np.asarray(model.transform(items), dtype=np.float64), float(losses[-last:].mean())


def require_cebra() -> None:
    """Check that CEBRA is installed, without importing it.

    Raises:
        UserError: It is not.
    """
    if "cebra" not in sys.modules and importlib.util.find_spec("cebra") is None:
        raise UserError(
            "CEBRA's latent space needs the package cebra, which is not installed. "
            "Install it with `pip install 'emosae[cebra]'`, or leave geometry.cebra out."
        )


def latent_tables(
    spaces: Spaces,
    people: Human | None,
    known: Mapping[str, np.ndarray],
    known_rows: np.ndarray,
    roles: Mapping[str, str],
    words: Mapping[str, Words] | None,
    config: GeometryConfig,
    notes: Notes,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fit the latents of the model's spaces to their labels and to shuffled ones.

    Args:
        spaces: The concepts' spaces; only those whose role is model are fitted.
        people: Judgements that the latents' RDM is compared with; None leaves the scores out.
        known: Valence and arousal where known: the labels where no words are given.
        known_rows: The concepts that they speak of.
        roles: Role of a space; a space that is not named is a model.
        words: Single words in a space, whose labels are their concepts.
        config: Whether at all, dimensions, iterations, shuffles.
        notes: Takes what is left out.

    Returns:
        A row for each space: labels (concept, or the attributes), loss and its mean over shuffles, p_loss
        (share of shuffles with as low a loss), score (mean over raters of the similarity of the latents' cosine
        RDM) with the shuffles' mean and range and p (share of shuffles that score as well), numbers. And the
        latents of every concept: space, labels (true, or shuffled: the first of the shuffles), concept,
        latent_1 ....

    Raises:
        UserError: CEBRA is asked for and not installed.
    """
    empty = pl.DataFrame(schema=CEBRA_SCHEMA), pl.DataFrame(schema=CEBRA_MAP_SCHEMA)
    if not config.cebra:
        return empty
    require_cebra()
    rows, maps = [], []
    for space in (name for name in spaces.matrices if roles.get(name, "model") == "model"):
        own = (words or {}).get(space)
        if own is not None:
            kept = np.array([concept in set(spaces.concepts) for concept in own.concepts])
            owners = np.array([spaces.concepts.index(c) for c in np.asarray(own.concepts)[kept]])
            matrix, labels, what = np.asarray(own.matrix)[kept], owners, "concept"
        elif known:
            owners = np.asarray(known_rows)
            matrix, what = spaces.matrices[space][owners], " and ".join(known)
            values = np.column_stack(list(known.values()))
            labels = (values - values.mean(axis=0)) / values.std(axis=0)
        else:
            notes.append(("cebra", f"{space}: left out, no words and no valence or arousal to label it by."))
            continue
        row, latents = _beside_shuffles(matrix, labels, owners, people, config)
        rows.append({"space": space, "labels": what} | row)
        for kind, latent in latents.items():
            at = np.unique(owners)
            columns: dict[str, object] = {
                "space": [space] * len(at),
                "labels": [kind] * len(at),
                "concept": [spaces.concepts[i] for i in at],
            }
            maps.append(
                pl.DataFrame(columns | {f"latent_{d + 1}": latent[:, d] for d in range(latent.shape[1])})
            )
        logger.info("CEBRA latents of %s: done", space)
    table = pl.DataFrame(rows, schema=CEBRA_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    return (table, pl.concat(maps)) if maps else empty


def _beside_shuffles(
    matrix: np.ndarray, labels: np.ndarray, owners: np.ndarray, people: Human | None, config: GeometryConfig
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Fit one space: the true labels first, then as many shuffles as are asked for."""
    rng = np.random.default_rng(config.seed)
    losses, scores, latents = [], [], {}
    for turn in range(config.cebra_shuffles + 1):
        order = np.arange(len(labels)) if turn == 0 else rng.permutation(len(labels))
        latent, loss = fit_latent(
            matrix,
            labels[order],
            dimensions=config.cebra_dimensions,
            iterations=config.cebra_iterations,
            seed=config.seed + turn,
        )
        concepts = np.array([latent[owners == concept].mean(axis=0) for concept in np.unique(owners)])
        losses.append(loss)
        scores.append(_score(concepts, np.unique(owners), people, config))
        if turn <= 1:
            latents["shuffled" if turn else "true"] = concepts
    null = np.array(scores[1:])
    low, high = np.quantile(null, [(1 - config.confidence) / 2, (1 + config.confidence) / 2])
    row: dict[str, object] = {
        "loss": losses[0],
        "loss_shuffled": float(np.mean(losses[1:])),
        "p_loss": float(permutation_p(np.array(-losses[0]), -np.array(losses[1:]), exact=False)),
        "comparator": str(config.comparators[0]),
        "score": scores[0],
        "score_shuffled": float(null.mean()),
        "shuffled_low": float(low),
        "shuffled_high": float(high),
        "p": float(permutation_p(np.array(scores[0]), null, exact=False)),
        "n_items": len(matrix),
        "n_features": matrix.shape[1],
        "n_dimensions": config.cebra_dimensions,
        "n_iterations": config.cebra_iterations,
        "n_shuffles": config.cebra_shuffles,
    }
    return row, latents


def _score(concepts: np.ndarray, rows: np.ndarray, people: Human | None, config: GeometryConfig) -> float:
    """Mean similarity to the raters of the latents' RDM; NaN without raters or where a concept has no latent."""
    if people is None or not set(people.rows) <= set(rows.tolist()):
        return float("nan")
    at = np.searchsorted(rows, people.rows)
    rdm = compute_rdm(concepts[at], Dissimilarity.COSINE)
    return float(mean_over_raters(rdm[None], people.raters, config.comparators[0])[0])
