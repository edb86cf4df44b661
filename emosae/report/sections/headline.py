"""The headline in plain sentences, from the tables: each number beside its ceiling and its baseline."""

from __future__ import annotations

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
    """Say what the numbers of a run say; nothing where it holds no score."""
    name = "the phantom" if run.is_phantom else _name(run)
    if len(run.stages) > 1:
        sites = [shorten(site, 60) for site in run.stages]
        return [
            f"{name[0].upper()}{name[1:]} was read at {len(sites)} sites: {', '.join(sites[:-1])} and {sites[-1]}. The "
            "table below holds the scores of each beside their baselines.",
            *(
                line
                for site, stages in run.stages.items()
                for line in steering_sentences(f"{name} at {shorten(site, 60)}", stages.get("steer"))
            ),
        ]
    stages = next(iter(run.stages.values()), {})
    return [
        *_of_space(name, run, stages.get("geometry")),
        *_of_ratings(run, stages.get("ratings")),
        *steering_sentences(name, stages.get("steer")),
    ]


def _name(run: Run) -> str:
    named = part(run.manifest, "inputs").get("name") or part(run.config, "model").get("name") or "the model"
    return shorten(named, 60)


def _of_space(name: str, run: Run, stage: Stage | None) -> list[str]:
    known = [own for own in likeness(run, stage) if finite(own.row["score"]) is not None]
    if stage is None or not known:
        return []
    first = known[0]
    n = first.row.get("n_concepts")
    scores = [
        number(own.row["score"]) + (f" for {language_name(own.language)} words" if own.language else "")
        for own in known
    ]
    what = f"{count(n)} emotions" if n else "emotions"
    whom = "a single rater's view" if several_raters(stage) else run.voice.judgements
    text = f"The features of {name} place {what} in a way that agrees with {whom} by {' and '.join(scores)}"
    if first.ceiling:
        text += f"; the raters' own disagreement allows at most {number(first.ceiling[1])}"
    valence = dict(first.beside).get(readable("valence"))
    end = f", and valence alone, without a model, reaches {number(valence)}." if valence is not None else "."
    return [text + end]


def _of_ratings(run: Run, stage: Stage | None) -> list[str]:
    texts = []
    for name, scores in scores_by_data_set(stage):
        rows = [row for row in scores.iter_rows(named=True) if finite(row["r"]) is not None]
        own = [row for row in rows if row["predictor"] == "features"]
        parts = []
        for row in own:
            beside = [
                f"{readable(other['predictor'])} {number(other['r'])}"
                for other in rows
                if (other["target"], other["predictor"]) == (row["target"], "residual")
            ]
            if finite(row.get("ceiling")) is not None:
                beside.append(f"ceiling {number(row['ceiling'])}")
            also = f" ({', '.join(beside)})" if beside else ""
            parts.append(f"{row['target']} with r = {number(row['r'])}{also}")
        if own:
            n = own[0].get("n_words")
            words = f"{language_name(own[0]['language'])} words"
            words = f"{count(n)} {words}" if n else words
            words += f" in {name}" if name else ""
            whose = run.voice.ratings
            texts.append(
                f"{whose[0].upper()}{whose[1:]} of {words} are predicted from the features: {' and '.join(parts)}."
            )
    return texts
