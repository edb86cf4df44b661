"""Steering in brief: its tile, its sentence of the headline, and its paragraph of the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from emosae.report.names import language_name
from emosae.report.sections.steering_names import classifier_words, method_name
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite
from emosae.report.text import count, interval, number, shorten

__all__ = ["STEERING_BESIDE", "steering_methods", "steering_sentences", "steering_tile"]

STEERING_BESIDE = {
    "diff_mean": "DiffMean",
    "prompt": "prompt instruction",
    "decoder_sum": "sum of decoder rows",
    "random_features": "as many random features",
}
"""What the score of the SAE's features stands beside in the first screen."""

_OPS = {
    "set": "set to their targets",
    "at_least": "held at no less than their targets",
    "add": "raised by their targets",
}
_SCOPES = {
    "generated": "at the tokens that were generated",
    "from_last_prompt_token": "from the opening's last token on",
    "prompt": "at the opening's tokens",
    "all": "at every token",
}


def _rows(stage: Stage | None) -> dict[str, Mapping[str, Any]]:
    """Give each method's scores over all languages, none where the run did not steer."""
    if stage is None:
        return {}
    table = stage.table("methods", "method", "language", "score", "rate", "content", "fluency")
    rows: dict[str, Mapping[str, Any]] = {
        row["method"]: row for row in table.filter(pl.col("language") == "all").iter_rows(named=True)
    }
    return rows if stage.values.get("main") in rows else {}


def steering_tile(stage: Stage | None) -> tuple[str, str, list[tuple[str, str]]] | None:
    """Give the score of the SAE's features, and what it must be compared with."""
    rows = _rows(stage)
    if stage is None or not rows:
        return None
    own = rows[stage.values["main"]]
    beside = []
    if finite(own.get("score_low")) is not None:
        beside.append(("interval", interval(own["score_low"], own.get("score_high"))))
    beside += [
        (name, number(rows[method]["score"])) for method, name in STEERING_BESIDE.items() if method in rows
    ]
    return (
        "Steering by SAE features: harmonic mean of concept, content and fluency",
        number(own["score"]),
        beside,
    )


def steering_sentences(name: str, stage: Stage | None) -> list[str]:
    """Say how often texts turn to the emotion that was meant, beside what else was tried."""
    rows = _rows(stage)
    if stage is None or not rows:
        return []
    own = rows[stage.values["main"]]
    beside = [
        f"{method_name(method)} {_share(rows[method]['rate'])}"
        for method in ("diff_mean", "prompt", "random_features", "unsteered")
        if method in rows
    ]
    judge = classifier_words(stage.values.get("classifier"))
    text = (
        f"Clamping SAE features of {name} turns {_share(own['rate'])} of the texts to the emotion that is meant, "
        f"told by {judge} ({', '.join(beside)})."
    )
    return [f"{text} {shorten(stage.values.get('verdict', ''), 400)}".strip()]


def _share(value: Any) -> str:
    known = finite(value)
    return number(None) if known is None else f"{known:.0%}"


def steering_methods(run: Run) -> str:
    """Write the paragraph of the methods; empty where the run did not steer."""
    stage = next((stages["steer"] for stages in run.stages.values() if _rows(stages.get("steer"))), None)
    if stage is None:
        return ""
    settings, values, shown = part(run.config, "steering"), stage.values, set(_rows(stage))
    doses = [f"{dose:g}" for dose in settings.get("doses") or []]
    features = count(settings["n_features"]) if settings.get("n_features") else "some"
    text = (
        f"For each emotion at most {features} features were {_OPS.get(str(settings.get('op')), 'clamped')} "
    )
    text += f"{_SCOPES.get(str(values.get('scope')), '')}, with what the sparse autoencoder does not explain kept. "
    text += "Features were chosen by the emotion's words and their output score"
    if "passage_features" in shown:
        n = settings.get("n_passages")
        text += f", or by orthogonal matching pursuit of what {count(n) if n else 'the'} passages of the emotion in "
        text += "each language add to others"
    text += ". A dose of 1 pushes by half of the median norm of the residual, for every way of steering. "
    text += _beside(shown)
    if doses:
        text += f" Doses ({', '.join(doses)}) were chosen for each way and emotion on openings of their own"
    n = values.get("n_prompts")
    if n:
        each = f" with {count(values['n_seeds'])} seeds" if (values.get("n_seeds") or 1) > 1 else ""
        text += f"; reported are {count(n)} other openings in each language{each}, the same for every way and drawn "
        text += "with the same noise"
    text += ". " + _judged(values)
    if stage.table("necessity", "ablated").height:
        text += " Necessity is how far the log-probability of an emotion's words falls after a passage and a question "
        text += "when its features are ablated, less the fall without control features of like density and activation."
    if stage.table("sense", "set").height:
        text += " Passages that do not name their emotion were told from those of the other emotions by the sum of "
        text += "the features' mean activations, each times its target (area under the ROC curve)."
    if stage.table("transfer", "set", "emotion").height and len(run.languages) > 1:
        text += f" For transfer, features chosen in {' or '.join(language_name(each) for each in run.languages)} alone "
        text += "were clamped while each language was written."
    return text


def _beside(shown: set[str]) -> str:
    known = {
        "diff_mean": "the difference of mean residuals (DiffMean)",
        "decoder_sum": "the sum of the features' decoder rows",
        "random_features": "as many random features",
        "random_direction": "a random direction",
        "prompt": "an instruction before the opening",
    }
    named = [text for method, text in known.items() if method in shown]
    return f"Beside them stand {_listed(named)}." if named else ""


def _judged(values: Mapping[str, Any]) -> str:
    names = [str(values[key]) for key in ("classifier", "second_classifier") if values.get(key)]
    judges = [classifier_words(name) for name in names]
    text = f"An emotion was told by {' and, reported beside it, by '.join(judges)}; " if judges else ""
    text += "content is the cosine of mean hidden states with the unsteered text of the same opening, fluency compares "
    text += "perplexity under the unsteered model, distinct pairs of tokens and repeats with unsteered text, and the "
    text += "score is the harmonic mean of the three."
    n = values.get("n_resamples")
    text += f" Intervals (95%) are from {count(n)} resamples of the openings." if n else ""
    return text[:1].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
