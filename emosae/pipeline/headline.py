"""The headline: what a study found, in sentences a reader who skips everything else can use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.config import Config

__all__ = ["headline", "site_lines"]


def headline(results: Mapping[str, Mapping[str, Any]], config: Config) -> list[str]:
    """Write the headline lines of the stages that ran, each number beside its baseline and its ceiling.

    Args:
        results: Stage to site to the stage's result.
        config: The study.

    Returns:
        One line for each finding.
    """
    lines = []
    sites = list(results["features"])
    for site in sites:
        mark = f"{site}: " if len(sites) > 1 else ""
        for stage, write in (
            ("select", _selection), ("geometry", _geometry), ("ratings", _ratings), ("steer", _steering),
        ):  # fmt: skip
            if site in results.get(stage, {}):
                lines += [mark + line for line in write(results[stage][site])]
    if not lines:
        lines = [
            f"{site}: {row['n_words']} words read, {row['l0']:.1f} of {row['d_sae']} features active on a word"
            for site in sites
            for row in results["features"][site].summary.iter_rows(named=True)
        ]
    return lines


def site_lines(sites: pl.DataFrame) -> list[str]:
    """Say which of several sites is most like people, corrected for having looked at all of them.

    Args:
        sites: The table of `emosae.geometry.compare_sites`.

    Returns:
        One line for each model space; none where there is one site.
    """
    best = sites.filter((pl.col("role") == "model") & pl.col("best") & (pl.col("n_sites") > 1))
    return [
        f"best of {row['n_sites']} sites{_language(row['space'].removeprefix('features'))}: {row['site']} with "
        f"{row['comparator']} {_number(row['score'])}, p corrected over sites {_p(row['p_max'])}; chosen on half of "
        f"the concepts in {_share(row['chosen'])} of splits, it then reaches {_number(row['held_out'])} on the others"
        for row in best.iter_rows(named=True)
    ]


def _share(value: float | None) -> str:
    return "no" if value is None else f"{value:.0%}"


def _selection(selection: Any) -> list[str]:
    lines = []
    best = selection.scores.filter(pl.col("rank") == 1)
    for (language,), own in selection.summary.group_by("language", maintain_order=True):
        passed = own.filter(pl.col("n_significant") > 0).height
        median = best.filter(pl.col("language") == language)["auroc"].median()
        lines.append(
            f"selection ({language}): {passed} of {own.height} concepts have a feature that passes the exact test "
            f"(BH, alpha {selection.alpha:g}); the best feature's AUROC is {_number(median)} in the median"
        )
    return lines


def _geometry(geometry: Any) -> list[str]:
    rsa = (
        geometry.rsa.filter(pl.col("comparator") == geometry.comparator)
        if geometry.rsa.height
        else geometry.rsa
    )
    if not rsa.height:
        return []
    scores = dict(rsa.select("space", "score").iter_rows())
    lines = []
    for row in rsa.filter(pl.col("role") == "model").iter_rows(named=True):
        end = row["space"].removeprefix("features")
        beside = [
            f"{label} {_number(scores[name])}"
            for name, label in (
                ("valence", "valence alone"),
                (f"residual{end}", "raw residual"),
                (f"embedding{end}", "static embedding"),
                (f"reconstruction{end}", "SAE reconstruction"),
                (f"error{end}", "SAE error term"),
                (f"random{end}", "random features"),
                (f"matched_control{end}", "matched control"),
            )
            if name in scores
        ]
        raters = "single raters" if row["n_raters"] > 1 else "the given distances"
        ceiling = (
            f"; raters' ceiling {_number(row['ceiling_lower'])} to {_number(row['ceiling_upper'])}"
            if row["ceiling_lower"] is not None
            else ""
        )
        lines.append(
            f"geometry{_language(end)}: {geometry.comparator} with {raters} {_number(row['score'])} "
            f"[{_number(row['ci_low'])}, {_number(row['ci_high'])}], p {_p(row['p'])}; {', '.join(beside)}{ceiling}"
        )
    return lines


def _ratings(ratings: Any) -> list[str]:
    lines = []
    keys = ["norms", "language"] if "norms" in ratings.scores.columns else ["language"]
    several = _several(ratings.data_sets)
    for key, own in ratings.scores.group_by(*keys, "target", maintain_order=True):
        language, target = key[-2:]
        of = f"{language}, {key[0]}" if language in several else language
        rows = {row["predictor"]: row for row in own.iter_rows(named=True)}
        if "features" not in rows:
            continue
        row = rows["features"]
        beside = [
            f"{label} {_number(rows[name]['r'])}"
            for name, label in (
                ("residual", "raw residual"),
                ("embedding", "static embedding"),
                ("reconstruction", "SAE reconstruction"),
                ("error", "SAE error term"),
                ("matched_control", "matched control"),
            )
            if name in rows
        ]
        ceiling = f"; reliability ceiling {_number(row['ceiling'])}" if row["ceiling"] is not None else ""
        lines.append(
            f"ratings ({of}): {target} of {row['n_words']} words from features r {_number(row['r'])} "
            f"[{_number(row['r_low'])}, {_number(row['r_high'])}]; {', '.join(beside)}{ceiling}"
        )
    return lines


def _several(data_sets: pl.DataFrame) -> set[str]:
    """Return the languages that more than one data set rates."""
    return set(data_sets.filter(pl.col("language").is_duplicated())["language"].to_list())


def _steering(steering: Any) -> list[str]:
    rows = {
        row["method"]: row
        for row in steering.methods.filter(pl.col("language") == "all").iter_rows(named=True)
    }
    own = rows[steering.main]
    n = f"{own['n_emotions']} emotions, {steering.n_prompts} openings a language, seeds: {steering.n_seeds}"
    lines = [
        f"steering ({n}): {steering.verdict}",
        f"steering by SAE features ({steering.main.replace('_', ' ')}): target rate {_number(own['rate'])} "
        f"[{_number(own['rate_low'])}, {_number(own['rate_high'])}] by {steering.classifier}, content "
        f"{_number(own['content'])}, fluency {_number(own['fluency'])}; random features "
        f"{_number(rows['random_features']['rate'])}, unsteered {_number(rows['unsteered']['rate'])}",
    ]
    if steering.necessity.height:
        diagonal = steering.necessity.filter(pl.col("ablated") == pl.col("emotion"))
        lines.append(
            f"necessity: without an emotion's features its word's log-probability falls by "
            f"{_number(diagonal['fall'].mean())} in the mean, without matched controls by "
            f"{_number(diagonal['fall_control'].mean())}"
        )
    return lines


def _language(end: str) -> str:
    return f" ({end.removeprefix('_')})" if end else ""


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):  # missing is said to be missing, never shown as zero
        return "not computed"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _p(value: float | None) -> str:
    return "not computed" if value is None else "< .001" if value < 0.001 else f"= {_number(value)}"
