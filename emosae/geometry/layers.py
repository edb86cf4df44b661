"""How the emotion space changes over depth: the RDM of every site beside that of every other site."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import MIN_SHARED
from emosae.geometry.result import Geometry
from emosae.geometry.sites import shared_concepts, site_rdm
from emosae.geometry.tables import compare_pairwise

__all__ = ["LAYERS_SCHEMA", "compare_layers"]

LAYERS_SCHEMA = {
    "site_a": pl.String,
    "site_b": pl.String,
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "n_concepts": pl.Int64,
}


def compare_layers(
    results: Mapping[str, Geometry],
    config: GeometryConfig | None = None,
    *,
    roles: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Compare each space of every site with the same space of every other site.

    The spaces of the model stand beside their baselines: where the raw residuals of two sites are as alike as
    their features, the features have added nothing to what depth keeps. Spaces that are the same at both sites,
    as the static embedding is, are left out.

    Args:
        results: The geometry of each site, on the same concepts.
        config: Comparator (the first), permutations, samples; None for the defaults.
        roles: Role of a space; None takes those of the tables, where there are human data, and model else.

    Returns:
        A row for each space and pair of sites, in the order of the sites, with the interval over concepts and
        the one-sided p of permuted labels. Empty with one site or fewer than four concepts that all have.

    Source: Kriegeskorte, Mur & Bandettini (2008) for second-order similarity; Mantel (1967) for the test.
    """
    config = config or GeometryConfig()
    concepts = shared_concepts(results)
    rows: list[dict[str, object]] = []
    if len(concepts) < MIN_SHARED:
        return pl.DataFrame(schema=LAYERS_SCHEMA)
    for space, role in _spaces(results, roles).items():
        rdms = {
            site: rdm
            for site, result in results.items()
            if (rdm := site_rdm(result, space, concepts)) is not None
        }
        sites = list(rdms)
        for at, site in enumerate(sites[:-1]):
            later = [other for other in sites[at + 1 :] if not np.array_equal(rdms[other], rdms[site])]
            if not later:
                continue
            found = compare_pairwise(
                rdms[site], np.array([rdms[other] for other in later]), len(concepts), config
            )
            for row, other in enumerate(later):
                who = {"site_a": site, "site_b": other, "space": space, "role": role}
                numbers = {"comparator": str(config.comparators[0]), "n_concepts": len(concepts)}
                rows.append(who | numbers | found.row(row))
    return pl.DataFrame(rows, schema=LAYERS_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _spaces(results: Mapping[str, Geometry], roles: Mapping[str, str] | None) -> dict[str, str]:
    """The spaces that have coordinates at some site, with their roles."""
    found: dict[str, str] = {}
    for one in results.values():
        named = dict(one.rsa.select("space", "role").unique(maintain_order=True).iter_rows()) | dict(
            roles or {}
        )
        for space in one.coordinates["space"].unique(maintain_order=True):
            if space != "human":
                found.setdefault(space, named.get(space, "model"))
    return found
