"""What is told of each text: its emotion by two classifiers, content, fluency, valence and arousal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.steering.classifiers import Classifier
from emosae.steering.evaluation.affect import AffectLexicon
from emosae.steering.evaluation.writing import Ask, Text
from emosae.steering.scores import embedding_similarity, mean_losses, token_overlap

if TYPE_CHECKING:
    from emosae.lens import Lens

__all__ = ["TEXT_SCHEMA", "UNSTEERED", "judge"]

UNSTEERED = "unsteered"

TEXT_SCHEMA = {
    "part": pl.String,
    "method": pl.String,
    "emotion": pl.String,
    "language": pl.String,
    "dose": pl.Float64,
    "prompt": pl.Int64,
    "seed": pl.Int64,
    "opening": pl.String,
    "text": pl.String,
    "label": pl.String,
    "second_label": pl.String,
    "loss": pl.Float64,
    "n_tokens": pl.Int64,
    "n_pairs": pl.Int64,
    "n_distinct": pl.Int64,
    "n_runs": pl.Int64,
    "n_repeated": pl.Int64,
    "content": pl.Float64,
    "overlap": pl.Float64,
    "valence": pl.Float64,
    "arousal": pl.Float64,
}
"""One row a text. `part` is choose, report or transfer; `label` and `second_label` what the classifiers call it, null
for no emotion; `loss` its mean loss a token under the unsteered model after its opening alone; `n_pairs` and
`n_distinct` neighbouring tokens and different ones, `n_runs` and `n_repeated` runs of four and those seen before;
`content` the cosine with the unsteered text of the same opening and seed, `overlap` their common tokens (F1); valence
and arousal -1 to 1."""


def judge(
    lens: Lens,
    part: str,
    asks: Sequence[Ask],
    texts: Sequence[Text],
    first: Classifier,
    second: Classifier | None,
    affect: AffectLexicon,
) -> pl.DataFrame:
    """Judge texts, all under the model as it is.

    Args:
        lens: The lens.
        part: Which part of the study they are of.
        asks: What was asked for, the unsteered text of each opening and seed among it.
        texts: What was written.
        first: The classifier that doses are chosen by.
        second: Another one; None for none.
        affect: Rated words.
    """
    plain: Mapping[Any, Text] = {
        ask.key: text for ask, text in zip(asks, texts, strict=True) if ask.method == UNSTEERED
    }
    answers = [text.answer for text in texts]
    base = [plain[ask.key] for ask in asks]
    # after the opening alone: what an instruction makes likely is no part of how well a text reads
    losses = mean_losses(lens.model, [each.prompt for each in base], answers)
    content = embedding_similarity(lens.model, answers, [each.answer for each in base])
    shown = [text.text for text in texts]
    labels, others = first(shown), second(shown) if second is not None else [None] * len(shown)
    rows = []
    for at, (ask, text) in enumerate(zip(asks, texts, strict=True)):
        answer = text.answer
        pairs = list(itertools.pairwise(answer))
        runs = [tuple(answer[i : i + 4]) for i in range(len(answer) - 3)]
        valence, arousal = affect.score(text.text)
        rows.append(
            {
                "part": part,
                "method": ask.method,
                "emotion": ask.emotion,
                "language": ask.language,
                "dose": ask.dose,
                "prompt": ask.prompt,
                "seed": ask.seed,
                "opening": ask.opening,
                "text": text.text,
                "label": labels[at],
                "second_label": others[at],
                "loss": float(losses[at]) if answer else None,
                "n_tokens": len(answer),
                "n_pairs": len(pairs),
                "n_distinct": len(set(pairs)),
                "n_runs": len(runs),
                "n_repeated": len(runs) - len(set(runs)),
                "content": float(content[at]),
                "overlap": token_overlap(answer, base[at].answer),
                "valence": valence,
                "arousal": arousal,
            }
        )
    return pl.DataFrame(rows, schema=TEXT_SCHEMA).with_columns(pl.col("valence", "arousal").fill_nan(None))
