"""The grammar's own classifier: which of the 27 emotions, or none, a text turns to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from emosae.phantom.corpus import passages
from emosae.phantom.passage import Kind, Layout, Passage, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["NEUTRAL", "EmotionClassifier", "after_opening", "train_classifier"]

NEUTRAL = "neutral"
_BUCKETS = 2**17


def after_opening(passage: Passage, n: int = 1) -> tuple[str, str]:
    """Split a passage's text after its first `n` sentences; a heading belongs to neither part."""
    sentences = [span for span in passage.spans if span.role is not Role.HEADING]
    start, at = sentences[0].start, sentences[n - 1].end
    return passage.text[start:at], passage.text[at:]


@dataclass(frozen=True, slots=True)
class EmotionClassifier:
    """Multinomial logistic regression on the presence of single tokens and pairs of them."""

    tokenizer: PreTrainedTokenizerFast
    model: LogisticRegression

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probability of each class of `classes` for each text, [n, 28]."""
        return self.model.predict_proba(_features(self.tokenizer, texts))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest class of each text."""
        return [str(label) for label in self.model.predict(_features(self.tokenizer, texts))]

    @property
    def classes(self) -> list[str]:
        """The 27 emotions and `neutral`, in the order of the probabilities."""
        return [str(label) for label in self.model.classes_]


def _features(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> csr_array:
    rows, columns = [], []
    for i, ids in enumerate(tokenizer(list(texts), add_special_tokens=False)["input_ids"]):
        found = set(ids)
        found |= {8192 + (a * 7919 + b * 104_729) % (_BUCKETS - 8192) for a, b in itertools.pairwise(ids)}
        rows += [i] * len(found)
        columns += sorted(found)
    values = np.ones(len(rows), dtype=np.float32)
    return csr_array((values, (rows, columns)), shape=(len(texts), _BUCKETS))


def train_classifier(
    tokenizer: PreTrainedTokenizerFast, *, n_passages: int = 40_000, seed: int = 0
) -> EmotionClassifier:
    """Train the classifier on text of its own.

    Half of the passages are neutral, half emotional; each is read without its first sentence, as a
    continuation is.

    Args:
        tokenizer: The phantom's tokenizer.
        n_passages: How many passages to learn from.
        seed: The recipe's seed; the split is the classifier's own.

    Returns:
        The classifier.
    """
    texts, labels = [], []
    for layout in (Layout.EN, Layout.ZH):
        for kind, label in ((Kind.NEUTRAL, NEUTRAL), (Kind.EMOTIONAL, "")):
            for passage in passages(
                f"classifier/{layout.value}", n_passages // 4, seed, kind=kind, layout=layout
            ):
                texts.append(after_opening(passage)[1])
                labels.append(label or passage.emotions[0])
                # A single sentence of the passage as well, so that short continuations are judged fairly.
                span = passage.spans[-1]
                if span.role not in (Role.TEMPO, Role.JUDGEMENT):
                    texts.append(passage.text[span.start : span.end])
                    labels.append(label or passage.emotions[0])
    model = LogisticRegression(C=10.0, max_iter=200)
    model.fit(_features(tokenizer, texts), labels)
    return EmotionClassifier(tokenizer, model)
