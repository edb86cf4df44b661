"""Whether the model can be steered: methods side by side, doses, what is expressed, and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.heatmaps import draw_heatmaps
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Listing, Paragraph, Section, Table, Words
from emosae.report.sections.steering_causes import necessity_blocks, transfer_blocks
from emosae.report.sections.steering_names import METHODS, method_name, method_role
from emosae.report.sections.wording import counted
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import NOT_COMPUTED, concept_name, interval, number, shorten

__all__ = ["steering_section"]

_ALL = "all"
_MEASURES = {
    "score": "Harmonic mean of the three",
    "rate": "Concept: target rate",
    "content": "Content kept",
    "fluency": "Fluency",
}


def steering_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section | None:
    """Build the section; None where the run did not steer."""
    if stage is None or stage.table("methods", "method", "language", "score").is_empty():
        return None
    blocks: list[Block] = [Paragraph(shorten(stage.values.get("verdict", ""), 400))]
    blocks += _methods(run, stage, canvas)
    notes = [shorten(note, 400) for note in stage.values.get("notes") or []]
    parts = [
        Section(anchor=f"{anchor}-doses", title="Doses", blocks=_doses(run, stage, canvas)),
        Section(
            anchor=f"{anchor}-expressed", title="Meant and expressed", blocks=_expressed(run, stage, canvas)
        ),
        Section(
            anchor=f"{anchor}-transfer", title="Across languages", blocks=transfer_blocks(run, stage, canvas)
        ),
        Section(anchor=f"{anchor}-necessity", title="Necessity", blocks=necessity_blocks(run, stage, canvas)),
        Section(anchor=f"{anchor}-samples", title="Samples side by side", blocks=_samples(run, stage)),
    ]
    if notes:
        blocks.append(Listing(notes))
    return Section(
        anchor=anchor, title="Steering", blocks=blocks, sections=[part for part in parts if part.blocks]
    )


def _texts(stage: Stage) -> str:
    values = stage.values
    n = f"{counted(values.get('n_prompts'), 'opening')} a language"
    return f"{n}, {counted(values.get('n_seeds'), 'text')} each" if values.get("n_seeds") else n


def _methods(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    table = stage.table("methods", "method", "language", "score", "rate", "content", "fluency")
    rows = {row["method"]: row for row in table.filter(pl.col("language") == _ALL).iter_rows(named=True)}
    order = [method for method in METHODS if method in rows]
    panels = [
        Panel(
            title=title,
            axis=f"{'Score' if name == 'score' else title.split(':')[0]} (0 to 1)",
            bars=[
                Bar(
                    name=method_name(method),
                    role=method_role(method),
                    value=finite(rows[method][name]),
                    low=finite(rows[method].get(f"{name}_low")),
                    high=finite(rows[method].get(f"{name}_high")),
                )
                for method in order
            ],
        )
        for name, title in _MEASURES.items()
    ]
    n = counted(rows[order[0]].get("n_emotions"), "emotion")
    anchor = finite(stage.values.get("content_anchor"))
    classifier = shorten(stage.values.get("classifier", "the classifier"), 60)
    figure = canvas.add(
        draw_bars(panels, whisker="95% interval over openings"),
        "steering_methods",
        lead="Which way of steering turns a text to an emotion, and keeps what it says and how well it reads?",
        title="Ways of steering side by side",
        caption=(
            f"Means over {n} and all languages, {_texts(stage)}, the same openings and the same noise for every "
            "method; features and doses were chosen on other openings. Target rate: share of texts that "
            f"{classifier} calls the emotion that was meant. Content: cosine of mean hidden states with the "
            "unsteered text of the same opening"
            + (
                f", {number(anchor)} for unsteered texts of different openings. "
                if anchor is not None
                else ". "
            )
            + "Fluency: 1 within the bounds of perplexity, distinct pairs and repeats, else how near the worst of them "
            "is to its bound. Unsteered text has nothing to lose in content and fluency."
        ),
        alt="; ".join(
            f"{method_name(m)}: score {number(rows[m]['score'])}, rate {number(rows[m]['rate'])}"
            for m in order
        ),
    )
    return [figure, _method_table(run, stage, table, order)]


def _method_table(run: Run, stage: Stage, table: pl.DataFrame, order: Sequence[str]) -> Table:
    cells: list[list[str | Words]] = []
    marked: list[int] = []
    second = stage.values.get("second_classifier")
    for method in order:
        for row in table.filter(pl.col("method") == method).iter_rows(named=True):
            if method == stage.values.get("main"):
                marked.append(len(cells))
            cells.append(
                [
                    method_name(method),
                    "all" if row["language"] == _ALL else language_name(row["language"]),
                    number(row["score"]),
                    interval(row.get("score_low"), row.get("score_high")),
                    _difference(row) if method != stage.values.get("main") else "\u2013",
                    number(row["rate"]),
                    *([number(row.get("second_rate"))] if second else []),
                    number(row["content"]),
                    number(row.get("overlap")),
                    number(row["fluency"]),
                    number(row.get("perplexity_ratio"), 2),
                    number(row.get("distinct_2_ratio"), 2),
                    number(row.get("repeated_4")),
                    number(row.get("valence"), 2),
                    number(row.get("arousal"), 2),
                ]
            )
    columns = [Column("Method", False), Column("Language", False), Column("score"), Column("interval")]
    columns += [Column("score less the features'"), Column("target rate")]
    columns += [Column(f"rate by {shorten(second, 30)}")] if second else []
    columns += [Column("content"), Column("tokens shared"), Column("fluency"), Column("perplexity ratio")]
    columns += [
        Column("distinct pairs, ratio"),
        Column("repeated fours"),
        Column("valence"),
        Column("arousal"),
    ]
    return Table(
        caption="Every way of steering in every language, at the doses chosen on other openings. Valence and arousal "
        "are the means of the text's rated words, \u22121 to 1.",
        columns=columns,
        rows=cells,
        marked=frozenset(marked),
        folded=True,
    )


def _difference(row: Mapping[str, Any]) -> str:
    ends = finite(row.get("difference_low")), finite(row.get("difference_high"))
    text = number(row.get("difference"))
    return text if None in ends else f"{text} ({interval(*ends)})"


def _doses(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    main = stage.values.get("main")
    scores = stage.table("scores", "part", "method", "emotion", "language", "dose", "rate", "score")
    own = scores.filter((pl.col("part") == "report") & (pl.col("method") == main))
    if own.is_empty():
        return []
    n_emotions = own["emotion"].n_unique()
    plain = scores.filter((pl.col("part") == "report") & (pl.col("method") == "unsteered"))
    both = pl.concat([plain, own], how="diagonal_relaxed")
    mean = both.group_by("language", "dose").agg(
        pl.col(*_MEASURES, "second_rate").cast(pl.Float64).mean(), pl.col("emotion").n_unique().alias("n")
    )
    mean = mean.filter(pl.col("n") == n_emotions).sort("dose")
    languages = [*(each for each in run.languages if each in mean["language"].to_list()), _ALL]
    panels = []
    for name in ("rate", "content", "fluency", "score"):
        curves = []
        for language in reversed(languages):
            part = mean.filter(pl.col("language") == language)
            curves.append(
                Curve(
                    name="all languages" if language == _ALL else language_name(language),
                    role="features" if language == _ALL else "baseline",
                    x=part["dose"].to_list(),
                    y=[finite(value) for value in part[name]],
                )
            )
        panels.append(CurvePanel(title=_MEASURES[name], curves=curves, axis="0 to 1"))
    figure = canvas.add(
        draw_curves(panels, axis="Dose (1 pushes by half of the residual's norm)"),
        "steering_doses",
        lead="How much does it take, and when does the text break?",
        title="Dose and response of the SAE's features",
        caption=f"{method_name(str(main))}, means over {counted(n_emotions, 'emotion')}, {_texts(stage)}; dose 0 is "
        "unsteered text. Doses that were chosen for one emotion alone are not drawn.",
        alt="; ".join(
            f"{panel.title}: {', '.join(number(y, 2) for y in panel.curves[0].y)}" for panel in panels
        ),
    )
    return [figure, _dose_table(run, stage, own)]


def _dose_table(run: Run, stage: Stage, own: pl.DataFrame) -> Table:
    doses = stage.table("doses", "method", "emotion", "dose", "stable_low", "stable_high")
    rows = []
    for row in doses.filter(pl.col("method") == stage.values.get("main")).iter_rows(named=True):
        at = own.filter((pl.col("emotion") == row["emotion"]) & (pl.col("dose") == row["dose"]))
        by_language = {each["language"]: each for each in at.iter_rows(named=True)}
        low, high = finite(row["stable_low"]), finite(row["stable_high"])
        rows.append(
            [
                concept_name(row["emotion"]),
                f"{row['dose']:g}",
                "none" if low is None or high is None else f"{low:g} to {high:g}",
                *(number(by_language.get(each, {}).get("rate"), 2) for each in run.languages),
                *(number(by_language.get(_ALL, {}).get(each), 2) for each in ("content", "fluency", "score")),
                interval(
                    by_language.get(_ALL, {}).get("score_low"), by_language.get(_ALL, {}).get("score_high"), 2
                ),
            ]
        )
    return Table(
        caption="Each emotion at the dose chosen for it. The stable range is the run of doses around the best in which "
        "the target rate is more than 0.8 of its greatest and every bound of fluency holds.",
        columns=[
            Column("Emotion", False),
            Column("dose"),
            Column("stable range"),
            *(Column(f"target rate, {language_name(each)}") for each in run.languages),
            *(Column(each) for each in ("content", "fluency", "score", "interval")),
        ],
        rows=rows,
    )


def _expressed(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    table = stage.table("expressed", "method", "language", "intended", "expressed", "share")
    own = table.filter(pl.col("method") == stage.values.get("main"))
    if own.is_empty():
        return []
    rows = own["intended"].unique(maintain_order=True).to_list()
    told = own.group_by("expressed").agg(pl.col("share").sum()).sort("share", descending=True)["expressed"]
    others = [name for name in told if name not in rows and name != "none"]
    columns = [*rows, *others[:8], *(["other"] if len(others) > 8 else []), "none"]
    matrices = {}
    for language in run.languages:
        part = own.filter(pl.col("language") == language)
        if part.height:
            matrix = np.zeros((len(rows), len(columns)))
            for intended, name, share in part.select("intended", "expressed", "share").rows():
                matrix[rows.index(intended), columns.index(name if name in columns else "other")] += share
            matrices[language_name(language)] = matrix
    return [
        canvas.add(
            draw_heatmaps(
                matrices,
                rows,
                columns,
                label="Share of texts (0 to 1)",
                row_label="Meant",
                column_label="Expressed",
            ),
            "steering_expressed",
            lead="When a text misses the emotion that was meant, which one does it turn to?",
            title="Emotion meant and emotion expressed",
            caption=f"{method_name(str(stage.values.get('main')))} at the chosen doses, {_texts(stage)}, as "
            f"{shorten(stage.values.get('classifier', ''), 60)} tells them; each row sums to 1. None: no emotion.",
            alt="; ".join(
                f"{title}: on the diagonal {', '.join(number(m[i, i], 2) for i in range(len(rows)))}"
                for title, m in matrices.items()
            ),
        )
    ]


def _samples(run: Run, stage: Stage) -> list[Block]:
    needed = ("method", "emotion", "language", "dose", "prompt", "seed", "opening", "text", "label")
    texts = stage.table("texts", *needed)
    doses = stage.table("doses", "method", "emotion", "dose")
    if texts.is_empty() or doses.is_empty():
        return []
    chosen = {
        (method, emotion): dose for method, emotion, dose in doses.select("method", "emotion", "dose").rows()
    }
    firsts = texts.filter((pl.col("prompt") == 0) & (pl.col("seed") == texts["seed"].min()))
    openings = dict(firsts.select("language", "opening").rows())
    languages = [language for language in run.languages if language in openings]
    lines = [f"{language_name(language)}: {shorten(openings[language], 300)}" for language in languages]
    blocks: list[Block] = [
        Paragraph(
            "The first opening of each language, not picked, and how each method goes on from it:", True
        ),
        Listing(lines),
    ]
    emotions = [emotion for emotion in firsts["emotion"].unique(maintain_order=True) if emotion]
    for number_of, emotion in enumerate(emotions):
        rows = []
        for method in METHODS:
            dose = chosen.get((method, emotion), 0.0)
            own = firsts.filter(
                (pl.col("method") == method)
                & pl.col("emotion").is_in([emotion, ""])
                & (pl.col("dose") == dose)
            )
            found = {row["language"]: row for row in own.iter_rows(named=True)}
            if found:
                rows.append([method_name(method), *(_sample(found.get(language)) for language in languages)])
        blocks.append(
            Table(
                caption=f"Meant: {concept_name(emotion)}; in brackets what the classifier calls it",
                columns=[
                    Column("Method", False),
                    *(Column(language_name(each), False) for each in languages),
                ],
                rows=rows,
                folded=number_of > 0,
            )
        )
    return blocks


def _sample(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOT_COMPUTED
    return f"{shorten(row['text'], 280)} [{shorten(row['label'] or 'none', 30)}]"
