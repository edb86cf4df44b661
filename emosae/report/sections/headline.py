"""The headline in plain sentences, from the tables: each number beside its ceiling and its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from emosae.report.names import language_name, readable
from emosae.report.sections.data_sets import scores_by_data_set
from emosae.report.sections.likeness import likeness
from emosae.report.sections.space import several_raters
from emosae.report.sections.steering_summary import steering_sentences
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite
from emosae.report.text import count, number, shorten

__all__ = ["sentences"]


def sentences(run: Run) -> list[str]:
    """Say what the numbers of a run say; nothing where it holds no score. Of several sites, from which to which."""
    name = "the phantom" if run.is_phantom else _name(run)

    def of(stage: str) -> list[Stage]:
        return [stages[stage] for stages in run.stages.values() if stage in stages]

    said = [*_of_space(name, run, of("geometry")), *_of_ratings(run, of("ratings"))]
    if len(run.stages) > 1:
        sites = [shorten(site, 60) for site in run.stages]
        read = f"{name[0].upper()}{name[1:]} was read at {len(sites)} sites: {', '.join(sites[:-1])} and {sites[-1]}."
        ranges = " Each score above goes from the lowest of them to the highest." if said else ""
        said.append(f"{read}{ranges} The table holds the scores of each beside their baselines.")
    for site, stages in run.stages.items():
        steered = f"{name} at {shorten(site, 60)}" if len(run.stages) > 1 else name
        said += steering_sentences(steered, stages.get("steer"))
    return said


def _span(values: Iterable[object]) -> str:
    """Write the lowest and the highest of some numbers, or the one that they all are."""
    found = sorted(value for each in values if (value := finite(each)) is not None)
    ends = list(dict.fromkeys(map(number, found[:1] + found[-1:])))
    return " to ".join(ends)


def _name(run: Run) -> str:
    named = part(run.manifest, "inputs").get("name") or part(run.config, "model").get("name") or "the model"
    return shorten(named, 60)


def _of_space(name: str, run: Run, stages: Sequence[Stage]) -> list[str]:
    known = [own for stage in stages for own in likeness(run, stage) if finite(own.row["score"]) is not None]
    if not known:
        return []
    first = known[0]
    n = first.row.get("n_concepts")
    by_language: dict[str, list[object]] = {}
    for own in known:
        by_language.setdefault(own.language, []).append(own.row["score"])
    scores = [
        _span(values) + (f" for {language_name(language)} words" if language else "")
        for language, values in by_language.items()
    ]
    what = f"{count(n)} emotions" if n else "emotions"
    whom = "a single rater's view" if several_raters(stages[0]) else run.voice.judgements
    text = f"The features of {name} place {what} in a way that agrees with {whom} by {' and '.join(scores)}"
    if first.ceiling:
        text += f"; the raters' own disagreement allows at most {number(first.ceiling[1])}"
    valence = dict(first.beside).get(readable("valence"))
    end = f", and valence alone, without a model, reaches {number(valence)}." if valence is not None else "."
    return [text + end]


def _of_ratings(run: Run, stages: Sequence[Stage]) -> list[str]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by data set and language, from all sites
    for stage in stages:
        for name, scores in scores_by_data_set(stage):
            for row in scores.iter_rows(named=True):
                found.setdefault((name, row["language"]), []).append(row)
    texts = []
    for (name, language), rows in found.items():
        own = [row for row in rows if row["predictor"] == "features" and finite(row["r"]) is not None]
        parts = []
        for target in dict.fromkeys(row["target"] for row in own):
            r = {
                each: _span(row["r"] for row in rows if (row["target"], row["predictor"]) == (target, each))
                for each in ("features", "residual")
            }
            ceiling = _span(row.get("ceiling") for row in own if row["target"] == target)
            beside = {readable("residual"): r["residual"], "ceiling": ceiling}
            also = ", ".join(f"{what} {value}" for what, value in beside.items() if value)
            parts.append(f"{target} with r = {r['features']}{f' ({also})' if also else ''}")
        if own:
            n = own[0].get("n_words")
            words = f"{language_name(language)} words"
            words = f"{count(n)} {words}" if n else words
            words += f" in {name}" if name else ""
            whose = run.voice.ratings
            texts.append(
                f"{whose[0].upper()}{whose[1:]} of {words} are predicted from the features: {' and '.join(parts)}."
            )
    return texts
