"""The features behind each emotion, and the words that fire them."""

from __future__ import annotations

import polars as pl

from emosae.report.bars import draw_counts
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Missing, Paragraph, Section, Table, Word, Words
from emosae.report.source import Run, Stage
from emosae.report.text import concept_name, count, number, p_value, shorten

__all__ = ["selection_section"]

_PER_CONCEPT = 5  # features listed for each concept and language; all of them are in tables/
_PER_FEATURE = 8  # words shown for each
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
    for language in languages:
        blocks.append(_best(run, stage, selected, concepts, language))
    parts = [
        _concept(run, stage, selected, concept, languages, f"{anchor}-{index}")
        for index, concept in enumerate(concepts)
    ]
    blocks += [block for block in parts if block is not None]
    sets = _sets(stage)
    if sets is not None:
        blocks.append(sets)
    if summary.height:
        blocks.append(_summary(run, summary))
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
        title="Selected features of each emotion",
        caption=(
            "Left: how many features were selected for each emotion's words; blue ones pass the exact "
            "test after correction for all features and emotions. Right: how well the best of them tells "
            "the emotion's words from all others. 0.5 is chance, 1 is a feature that never mistakes a "
            "word."
        ),
        alt=f"Number of selected features and best AUROC for {len(concepts)} emotions in "
        f"{', '.join(map(language_name, languages))}; the numbers are in the tables of this section.",
        fallback=numbered(concepts),
    )


def numbered(concepts: list[str]) -> dict[str, str]:
    """Name concepts by their number, for a PNG on a machine without the glyphs of their names."""
    return {concept_name(concept, 26): f"concept {index}" for index, concept in enumerate(concepts, start=1)}


def _fired(stage: Stage, language: str, concept: str, feature: int, most: int) -> Words:
    table = stage.table("words", "language", "concept", "feature", "word", "activation", "in_concept")
    rows = (
        table.filter(
            (pl.col("language") == language) & (pl.col("concept") == concept) & (pl.col("feature") == feature)
        )
        .sort("activation", descending=True, maintain_order=True)
        .head(most)
    )
    pairs = rows.select("word", "in_concept").iter_rows()
    return Words([Word(shorten(word, 40), bool(inside)) for word, inside in pairs], language)


def _named(run: Run, concept: str, language: str) -> str:
    label = run.label(concept, language)
    own = concept_name(concept)
    return own if label in {concept, own} else f"{own} ({shorten(label, 40)})"


def _best(run: Run, stage: Stage, selected: pl.DataFrame, concepts: list[str], language: str) -> Table:
    rows: list[list[str | Words]] = []
    for concept in concepts:
        own = selected.filter((pl.col("language") == language) & (pl.col("concept") == concept))
        if own.is_empty():
            rows.append([_named(run, concept, language), "none", "", "", ""])
            continue
        first = own.row(0, named=True)
        rows.append(
            [
                _named(run, concept, language),
                str(first["feature"]),
                number(first["auroc"], 2),
                p_value(first.get("p_adjusted")),
                _fired(stage, language, concept, first["feature"], _PER_FEATURE),
            ]
        )
    return Table(
        caption=f"The best feature of each emotion in {language_name(language)}, and the words that fire it "
        "most. Words of the emotion's own list are set bold; the others were not meant and fire it all "
        "the same.",
        columns=[
            Column("Emotion", False),
            Column("Feature"),
            Column("AUROC"),
            Column("adjusted p"),
            Column("Words, strongest first", False),
        ],
        rows=rows,
    )


def _concept(
    run: Run, stage: Stage, selected: pl.DataFrame, concept: str, languages: list[str], anchor: str
) -> Table | None:
    rows: list[list[str | Words]] = []
    for language in languages:
        own = selected.filter((pl.col("language") == language) & (pl.col("concept") == concept))
        for row in own.head(_PER_CONCEPT).iter_rows(named=True):
            rows.append(
                [
                    str(row["feature"]),
                    language_name(language),
                    number(row["auroc"], 2),
                    number(row.get("mean_difference"), 2),
                    p_value(row.get("p_adjusted")),
                    count(row.get("support")),
                    number(row.get("density"), 3),
                    _fired(stage, language, concept, row["feature"], _PER_FEATURE),
                ]
            )
    if not rows:
        return None
    shown = {language: run.label(concept, language) for language in languages}
    others = [shorten(label, 30) for label in shown.values() if label not in {concept, concept_name(concept)}]
    also = f" ({', '.join(others)})" if others else ""
    return Table(
        caption=f"{concept_name(concept)}{also}: the first {_PER_CONCEPT} features in each language",
        columns=[
            Column("Feature"),
            Column("Language", False),
            Column("AUROC"),
            Column("mean difference"),
            Column("adjusted p"),
            Column("own words that fire it"),
            Column("share of all words"),
            Column("Words, strongest first", False),
        ],
        rows=rows,
        folded=True,
    )


def _sets(stage: Stage) -> Table | None:
    sets = stage.table("sets", "set", "feature")
    if sets.is_empty():
        return None
    sizes = sets.group_by("set", maintain_order=True).agg(pl.col("feature").n_unique().alias("n"))
    meaning = {
        "space": "emotion space: every feature selected in any language",
        "universal": "universal: selected in each language",
        "control": "control: outside the space, matched in number, density and mean activation",
    }
    rows = []
    for name, size in sizes.iter_rows():
        only = name.endswith("_only")
        own = f"selected in {language_name(name.removesuffix('_only'))}" + (" only" if only else "")
        words = meaning.get(name, own)
        rows.append([shorten(words, 90), count(size)])
    return Table(
        caption="Sets of features that later stages use",
        columns=[Column("Set", False), Column("Features")],
        rows=rows,
    )


def _summary(run: Run, summary: pl.DataFrame) -> Table:
    names = {
        "n_words": "words used",
        "n_missing": "words dropped",
        "n_shared": "words shared with other emotions",
        "n_negatives": "words compared with",
        "n_candidates": "candidate features",
        "n_significant": "significant",
        "n_selected": "selected",
    }
    used = [name for name in names if name in summary.columns]
    noted = "note" in summary.columns and any(summary["note"].to_list())
    rows = []
    for row in summary.iter_rows(named=True):
        cells = [_named(run, row["concept"], row["language"]), language_name(row["language"])]
        cells += [count(row[name]) for name in used] + (
            [shorten(row["note"] or "\u2013", 200)] if noted else []
        )
        rows.append(cells)
    return Table(
        caption="How many words and features each emotion had to work with",
        columns=[
            Column("Emotion", False),
            Column("Language", False),
            *(Column(names[name]) for name in used),
            *([Column("Note", False)] if noted else []),
        ],
        rows=rows,
        folded=len(rows) > 12,
    )
