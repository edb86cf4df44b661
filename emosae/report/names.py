"""What the report calls predictors, spaces and sets, in which order, and what role each plays."""

from __future__ import annotations

from collections.abc import Iterable

from emosae.report.bars import Role
from emosae.report.text import clean, words_of

__all__ = ["language_name", "order_names", "readable", "role", "split_language"]

_READABLE = {
    "features": "SAE features",
    "space": "emotion space",
    "emotion_space": "emotion space",
    "universal": "universal features",
    "residual": "raw residual",
    "raw_residual": "raw residual",
    "embedding": "static embedding",
    "static_embedding": "static embedding",
    "reconstruction": "SAE reconstruction",
    "error": "SAE error term",
    "random": "random features",
    "control": "control",
    "valence": "valence alone",
    "valence_only": "valence alone",
    "arousal": "arousal alone",
    "arousal_only": "arousal alone",
    "valence_arousal": "valence and arousal",
    "length": "word length",
    "frequency": "log frequency",
    "human": "people",
}
_LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
}
_HUMAN = {"valence", "valence_only", "arousal", "arousal_only", "valence_arousal", "human"}
_SUBSETS = {"space", "emotion_space", "universal"}
_CONTROLS = {"random", "control", "shuffled"}
_ORDER = ["features", "subset", "baseline", "control", "human"]


def language_name(code: str) -> str:
    """Return a language's English name, its code where we know none.

    Example:
        >>> language_name("zh"), language_name("yo")
        ('Chinese', 'yo')
    """
    return _LANGUAGES.get(code, clean(code))


def split_language(name: str, languages: Iterable[str]) -> tuple[str, str]:
    """Split `features_en` into the space and its language; the language is empty where there is none.

    Example:
        >>> split_language("features_en", ["en", "zh"]), split_language("valence_only", ["en"])
        (('features', 'en'), ('valence_only', ''))
    """
    for language in languages:
        if name.endswith(f"_{language}"):
            return name.removesuffix(f"_{language}"), language
    return name, ""


def role(name: str) -> Role:
    """Tell what a predictor or space is to the study: the features, a set of them, a baseline, a control, "
    "people.
    """
    base = name.replace("-", "_").replace(" ", "_")
    if base == "features":
        return "features"
    if base in _HUMAN:
        return "human"
    if any(part in _CONTROLS for part in base.split("_")):
        return "control"
    if base in _SUBSETS or base.endswith("_only"):
        return "subset"
    return "baseline"


def readable(name: str, languages: Iterable[str] = ()) -> str:
    """Return the name as a person would write it, its language in brackets.

    Example:
        >>> readable("residual_en", ["en", "zh"])
        'raw residual (English)'
    """
    base, language = split_language(name, languages)
    text = _READABLE.get(base.replace("-", "_").replace(" ", "_"), words_of(base))
    return f"{text} ({language_name(language)})" if language else text


def order_names(names: Iterable[str], languages: Iterable[str] = ()) -> list[str]:
    """Put names in the order of roles, features first and ratings last, well-known names before others."""
    known = list(languages)
    listed = list(dict.fromkeys(names))
    common = list(_READABLE)

    def place(name: str) -> tuple[int, int]:
        base = split_language(name, known)[0]
        return _ORDER.index(role(base)), common.index(base) if base in common else len(common)

    return sorted(listed, key=place)
