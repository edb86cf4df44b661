"""What the report calls the ways of steering and the sets of features, and what each is to the study."""

from __future__ import annotations

from emosae.report.bars import Role
from emosae.report.names import language_name
from emosae.report.sections.wording import counted
from emosae.report.source import Stage
from emosae.report.text import shorten, words_of

__all__ = ["METHODS", "classifier_words", "method_name", "method_role", "set_name", "texts_counted"]

METHODS = {
    "passage_features": ("SAE features, by passages", "features"),
    "word_features": ("SAE features, by words", "features"),
    "decoder_sum": ("sum of decoder rows", "subset"),
    "diff_mean": ("DiffMean", "baseline"),
    "prompt": ("prompt instruction", "baseline"),
    "random_features": ("random features", "control"),
    "random_direction": ("random direction", "control"),
    "unsteered": ("unsteered", "control"),
}
"""Name and role of each method, in the report's order."""


_CLASSIFIERS = {
    "lexicon": "the emotions' words in it",
    "phantom": "a classifier trained on the planted text",
    "norms": "the emotion whose words lie nearest in rated valence and arousal",
}


def classifier_words(name: object) -> str:
    """Say what tells a text's emotion.

    Example:
        >>> classifier_words("lexicon"), classifier_words("my/model")
        ("the emotions' words in it", 'the classifier my/model')
    """
    return _CLASSIFIERS.get(str(name)) or f"the classifier {shorten(name, 60)}"


def method_name(method: str) -> str:
    """Return a method's name, as it is where we know none."""
    return METHODS[method][0] if method in METHODS else words_of(method)


def method_role(method: str) -> Role:
    """Tell what a method is to the study."""
    return METHODS[method][1] if method in METHODS else "baseline"


def set_name(name: str) -> str:
    """Return what a set of features is called: its languages, or what it is.

    Example:
        >>> set_name("en_only"), set_name("zh"), set_name("universal")
        ('English alone', 'chosen in Chinese', 'universal')
    """
    if name in {"universal", "control"}:
        return "matched control" if name == "control" else name
    if name.endswith("_only"):
        return f"{language_name(name.removesuffix('_only'))} alone"
    return f"chosen in {language_name(name)}"


def texts_counted(stage: Stage) -> str:
    """Say how many texts a score rests on: openings of each language, and texts of each opening."""
    values = stage.values
    n = f"{counted(values.get('n_prompts'), 'opening')} a language"
    return f"{n}, {counted(values.get('n_seeds'), 'text')} each" if values.get("n_seeds") else n
