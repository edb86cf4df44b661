"""Classifiers: which concept a text expresses, by a lexicon, the phantom's grammar, or any model from Hugging Face."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError

if TYPE_CHECKING:
    from emosae.concepts import ConceptSet

__all__ = ["SPACELESS", "Classifier", "get_classifier", "hugging_face", "labels_of", "lexicon", "phantom"]

Classifier = Callable[[Sequence[str]], Sequence[str | None]]
"""Takes texts and gives for each the concept that it expresses, or None for none."""

SPACELESS = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힯]")
"""Letters of scripts that put no spaces between words."""


def lexicon(concepts: ConceptSet) -> Classifier:
    """Make a classifier that counts the concepts' words.

    A text is given the concept whose words it holds most often, the one that is named first where several tie, None
    where it holds none. Words are matched whole and whatever their case; in scripts without spaces anywhere. The words
    are the very ones that features may have been chosen by, so it tells what is said and not what is meant.

    Args:
        concepts: The set; words of all its languages count.

    Example:
        >>> from emosae.concepts import load_concepts
        >>> lexicon(load_concepts("ekman6"))(["What joy!", "A table."])
        ['joy', None]
    """
    owners: dict[str, list[str]] = {}
    for concept, word in concepts.words.select("concept", "word").iter_rows():
        owners.setdefault(word.casefold(), []).append(concept)
    longest_first = sorted(owners, key=len, reverse=True)
    parts = [
        re.escape(word) if SPACELESS.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)"
        for word in longest_first
    ]
    pattern = re.compile("|".join(parts))

    def classify(texts: Sequence[str]) -> list[str | None]:
        labels: list[str | None] = []
        for text in texts:
            counts: dict[str, int] = {}
            for match in pattern.finditer(text.casefold()):
                for concept in owners[match.group()]:
                    counts[concept] = counts.get(concept, 0) + 1
            labels.append(max(counts, key=lambda concept: counts[concept]) if counts else None)
        return labels

    return classify


def phantom(tokenizer: Any) -> Classifier:
    """Make the classifier of the phantom's own grammar; it learns in some seconds, once."""
    trained = _trained(tokenizer)

    def classify(texts: Sequence[str]) -> list[str | None]:
        return list(trained.predict(list(texts))) if len(texts) else []

    return classify


@lru_cache(maxsize=1)
def _trained(tokenizer: Any) -> Any:
    from emosae.phantom.classifier import train_classifier

    return train_classifier(tokenizer)


def hugging_face(name: str, *, device: str = "cpu") -> Classifier:
    """Make a classifier of any Hugging Face text-classification model.

    Its labels must be the concepts' names, whatever their case.

    Args:
        name: Hub name or folder.
        device: Where it runs.

    Raises:
        UserError: There is no such model.
    """
    from transformers import pipeline

    try:
        run = pipeline("text-classification", model=name, device=device, truncation=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The classifier must be 'lexicon', 'phantom', a function, or a Hugging Face text-classification model, "
            f"got {name!r} ({reason}). Check the name, or download it first."
        ) from error

    def classify(texts: Sequence[str]) -> list[str | None]:
        return [str(found["label"]).casefold() for found in run(list(texts))] if len(texts) else []

    return classify


def labels_of(which: Any) -> set[str] | None:
    """Name what a Hugging Face classifier can call a text, casefolded; None for others, which know all concepts."""
    if not isinstance(which, str) or which in ("lexicon", "phantom", "norms"):
        return None
    from transformers import AutoConfig

    return {str(label).casefold() for label in AutoConfig.from_pretrained(which).id2label.values()}


def get_classifier(which: Any, *, tokenizer: Any, concepts: ConceptSet) -> tuple[str, Classifier]:
    """Find a classifier and what it is called.

    Args:
        which: `lexicon`, `phantom`, a Hugging Face name or folder, or a function.
        tokenizer: The phantom's tokenizer.
        concepts: The set whose words a lexicon counts.

    Raises:
        UserError: It is none of these.
    """
    if callable(which):
        return getattr(which, "__name__", type(which).__name__), which
    if not isinstance(which, str) or not which:
        raise UserError(
            f"The classifier must be 'lexicon', 'phantom', a Hugging Face name, or a function, got {which!r}. Give one."
        )
    if which == "lexicon":
        return which, lexicon(concepts)
    return which, phantom(tokenizer) if which == "phantom" else hugging_face(which)
