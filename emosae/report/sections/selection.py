"""The features behind each emotion, and the words that fire them."""

from __future__ import annotations

import polars as pl

from emosae.report.bars import draw_counts
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Missing, Paragraph, Section
from emosae.report.sections.selection_tables import best_table, concept_table, sets_table, summary_table
from emosae.report.sections.stability import stability_blocks
from emosae.report.source import Run, Stage
from emosae.report.text import concept_name, count

__all__ = ["selection_section"]

_NEEDED = ("language", "concept", "feature", "auroc", "rank", "selected")


def selection_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section:
    """Build the section on selection: how many features, the best of each emotion, their words."""
    title = "The features behind each emotion"
    scores = stage.table("scores", *_NEEDED) if stage else pl.DataFrame()
    if stage is None or scores.is_empty():
        return Section(anchor=anchor, title=title, blocks=[_absent(stage)])
    selected = scores.filter(pl.col("selected")).sort("language", "concept", "rank", maintain_order=True)
    languages = _in_order(scores["language"].unique().to_list(), run.languages)
    summary = stage.table("summary", "language", "concept")
    listed = summary if summary.height else scores
    concepts = list(dict.fromkeys(listed["concept"].to_list()))
    blocks: list[Block] = [Paragraph(_lead(stage, selected, languages))]
    if selected.height:
        blocks.append(_counts(run, selected, concepts, languages, canvas))
    blocks += stability_blocks(run, stage, concepts, canvas)
    for language in languages:
        blocks.append(best_table(run, stage, selected, concepts, language))
    parts = [
        concept_table(run, stage, selected, concept, languages, f"{anchor}-{index}")
        for index, concept in enumerate(concepts)
    ]
    blocks += [block for block in parts if block is not None]
    sets = sets_table(stage)
    if sets is not None:
        blocks.append(sets)
    if summary.height:
        blocks.append(summary_table(run, summary))
    return Section(anchor=anchor, title=title, blocks=blocks)


def _absent(stage: Stage | None) -> Missing:
    if stage is None:
        return Missing("This run did not select features.", "emosae select")
    return Missing(
        "The selection holds no candidate feature: nothing passed the filters on support and density."
    )


def _in_order(found: list[str], wanted: list[str]) -> list[str]:
    return [each for each in wanted if each in found] + sorted(set(found) - set(wanted))


def _lead(stage: Stage, selected: pl.DataFrame, languages: list[str]) -> str:
    n_features = stage.values.get("n_features")
    total = selected["feature"].n_unique()
    of_all = f" of the {count(n_features)} of this autoencoder" if n_features else ""
    text = f"{count(total)} different features{of_all} were selected for at least one emotion"
    text += f" in {' or '.join(map(language_name, languages))}." if languages else "."
    if "significant" in selected.columns and selected.height:
        passed = int(selected["significant"].sum())
        alpha = stage.values.get("alpha")
        rate = f" at a false discovery rate of {alpha:g}" if isinstance(alpha, float) else ""
        others = selected.height - passed
        share = f"{count(passed)} of the" if others else "All"
        text += f" {share} {count(selected.height)} selections pass the exact test{rate}"
        text += (
            "; the others are the best of the remaining candidates and describe without proving."
            if others
            else "."
        )
    return text


def _counts(
    run: Run, selected: pl.DataFrame, concepts: list[str], languages: list[str], canvas: Canvas
) -> Block:
    counts: dict[str, list[tuple[int, int]]] = {}
    best: dict[str, list[float | None]] = {}
    for language in languages:
        name = language_name(language)
        counts[name], best[name] = [], []
        for concept in concepts:
            rows = selected.filter((pl.col("language") == language) & (pl.col("concept") == concept))
            passed = int(rows["significant"].sum()) if "significant" in rows.columns else 0
            counts[name].append((passed, rows.height - passed))
            best[name].append(rows["auroc"].max() if rows.height else None)  # type: ignore[arg-type]
    return canvas.add(
        draw_counts(concepts, counts, best),
        "selection",
        lead="How many features does each emotion have, and how surely does the best of them know its words?",
        title="Selected features of each emotion",
        caption=(
            "Left: how many features were selected for each emotion's words; blue ones pass the exact "
            "test after correction for all features and emotions. Right: how well the best of them tells "
            "the emotion's words from all others. 0.5 is chance, 1 is a feature that never mistakes a "
            "word. It was chosen for being the best, so it is less sure of new words; the test is corrected for the "
            "choice, the area is not."
        ),
        alt=f"Number of selected features and best AUROC for {len(concepts)} emotions in "
        f"{', '.join(map(language_name, languages))}; the numbers are in the tables of this section.",
        fallback=numbered(concepts),
    )


def numbered(concepts: list[str]) -> dict[str, str]:
    """Name concepts by their number, for a PNG on a machine without the glyphs of their names."""
    return {concept_name(concept, 26): f"concept {index}" for index, concept in enumerate(concepts, start=1)}
