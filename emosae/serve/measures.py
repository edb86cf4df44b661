"""What is measured of a text: valence, arousal, emotion, perplexity; or in plain words why it is not."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.norms import Kind, load_ratings
from emosae.steering.classifiers import Classifier, get_classifier
from emosae.steering.evaluation.affect import AffectLexicon, nearest_emotion
from emosae.steering.scores import mean_losses
from emosae.steering.words import concepts_of

if TYPE_CHECKING:
    from emosae.config import Config
    from emosae.lens import Lens
    from emosae.steering.generate import Written

__all__ = ["Measures", "read_affect"]

log = logging.getLogger(__name__)

Measure = Mapping[str, Any]
"""`value` with `by`, what it was told by; or `why` there is none."""


def read_affect(config: Config) -> AffectLexicon:
    """Read the rated words that a study names in its languages.

    Raises:
        UserError: A data set is not there.
    """
    entries = [entry for entry in config.norms.values() if entry.kind is not Kind.similarity]
    return AffectLexicon.of(load_ratings(each).table for each in entries if each.language in config.language)


class Measures:
    """Measures texts; what needs no model is done in a thread of its own, because a classifier may have to learn first.

    Args:
        lens: The lens.
        config: The study: its ratings say valence and arousal, `steering.classifier` the emotion.
        affect: Its rated words.
    """

    def __init__(self, lens: Lens, config: Config, affect: AffectLexicon) -> None:
        self._lens, self._config, self._affect = lens, config, affect
        self._classify: Classifier | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emosae-measures")

    def at_once(self, written: Written) -> dict[str, Measure]:
        """Give what is quickly told, perplexity among it, for which the model must not be steered."""
        (loss,) = mean_losses(self._lens.model, written.prompts, written.answers)
        valence, arousal = self._affect.score(written.texts[0])
        names = [name for name, entry in self._config.norms.items() if entry.kind is not Kind.similarity]
        if self._affect:
            by, why = f"rated words ({', '.join(names)}), -1 to 1", "the text has no rated word"
        else:
            by, why = "", "no ratings are named; start the desk with e.g. norms=[warriner]"
        return {
            "valence": _measure(valence, by, why),
            "arousal": _measure(arousal, by, why),
            "perplexity": _measure(
                math.exp(min(loss, 700.0)), "the unsteered model, after the prompt", "there is no text"
            ),
        }

    def emotion(self, texts: Sequence[str]) -> Future[list[Measure]]:
        """Tell the texts' emotions; the first time the classifier may learn, for the phantom's some seconds."""
        return self._pool.submit(self._emotions, list(texts))

    def prepare(self) -> None:
        """Let the classifier learn beforehand."""
        self._pool.submit(self._emotions, [])

    def close(self) -> None:
        """Give the thread up; what it is doing is finished, what waits is not."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _emotions(self, texts: list[str]) -> list[Measure]:
        name = self._config.steering.classifier
        try:
            if self._classify is None:
                self._classify = self._find()
            labels = self._classify(texts or ["."])
        except Exception as error:  # a text without this measure is better than no text
            log.warning("the classifier %s cannot be used: %s", name, error)
            why = f"the classifier {name!r} cannot be used ({' '.join(str(error).split())[:300]})"
            return [{"value": None, "why": why} for _ in texts]
        none = f"{name} tells none"
        return [
            {"value": label, "by": name} if label else {"value": None, "why": none}
            for label in labels[: len(texts)]
        ]

    def _find(self) -> Classifier:
        concepts = concepts_of(self._lens)
        if self._config.steering.classifier != "norms":
            which = self._config.steering.classifier
            return get_classifier(which, tokenizer=self._lens.tokenizer, concepts=concepts)[1]
        found = nearest_emotion(self._affect, concepts)
        if found is None:
            raise UserError("no ratings are named; start the desk with e.g. norms=[warriner]")
        return found


def _measure(value: float, by: str, why: str) -> Measure:
    return {"value": value, "by": by} if math.isfinite(value) else {"value": None, "why": why}
