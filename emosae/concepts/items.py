"""The texts in which words are read: bare, and in neutral sentences that mention the word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import polars as pl

from emosae.errors import UserError, unknown_name
from emosae.paths import cache_root, conf_dir

__all__ = ["TemplateChoice", "bare_template", "load_templates", "word_items"]

SLOT = "{word}"
SCHEMA = {
    "text": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "word": pl.String,
    "language": pl.String,
    "template": pl.Int64,
}
_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my", "bo", "dz"})  # no spaces between words


class TemplateChoice(StrEnum):
    """Which of a language's readings of a word are made."""

    all = "all"
    """Bare and in every template."""
    bare = "bare"
    """The word alone."""
    framed = "framed"
    """In every template, not bare."""


def bare_template(language: str) -> str:
    """Give the template of a word alone.

    A language that puts spaces between words gets one before the word, because tokenizers of the byte-level
    BPE kind know a word by the space before it; the space is not part of the word's span.

    Args:
        language: Code, with or without script or region (`zh`, `zh-Hans`).

    Returns:
        `" {word}"` or `"{word}"`.
    """
    return SLOT if language.replace("_", "-").split("-")[0].lower() in _UNSPACED else f" {SLOT}"


def load_templates(language: str) -> list[str]:
    """Load the templates of a language from `conf/templates/`, or from `templates/` of the cache's `conf/`.

    Args:
        language: Code, for example `en`.

    Returns:
        The bare template, then the others; the place in this list is the number in the column `template` of
        `word_items`.

    Raises:
        UserError: A language without templates, or a template that does not hold `{word}` once.

    Example:
        >>> load_templates("en")[0]
        ' {word}'
    """
    import yaml

    folders = [cache_root() / "conf" / "templates", conf_dir() / "templates"]
    files = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
    if language not in files:
        raise unknown_name(
            "set of templates for the language",
            language,
            files,
            f"Read the words bare (templates=bare), or write {folders[0] / language}.yaml like that for en.",
        )
    values = yaml.safe_load(files[language].read_text(encoding="utf-8"))
    templates = values.get("templates") if isinstance(values, dict) else None
    if not isinstance(templates, list) or not templates:
        raise UserError(
            f"{files[language]} must have a list 'templates'. See conf/templates/en.yaml for the layout."
        )
    return [bare_template(language), *(_checked(template, str(files[language])) for template in templates)]


def _checked(template: object, origin: str) -> str:
    if not isinstance(template, str) or template.count(SLOT) != 1:
        raise UserError(
            f"A template must hold {SLOT} once, got {template!r} in {origin}. Correct the template."
        )
    return template


def word_items(
    words: pl.DataFrame,
    templates: str | Sequence[str] | Mapping[str, Sequence[str]] = TemplateChoice.all,
) -> pl.DataFrame:
    """Put words into texts, with the characters that the word takes up in each.

    Args:
        words: At least the columns `word` and `language`; a word that stands there several times (in several
            concepts, say) is read once.
        templates: `all`, `bare` or `framed` (see `TemplateChoice`); or templates of one's own, each with
            `{word}` once, as a list for every language or as a mapping from language to list. The template
            `{word}` is the bare one.

    Returns:
        A row for each distinct word, language and template: `text`, `start`, `end` (characters of the word:
        `text[start:end]` is the word), `word`, `language`, `template` (0 is bare, others count from 1).

    Raises:
        UserError: Missing columns, an empty word, a language without templates, a template that does not hold
            `{word}` once.

    Example:
        >>> words = pl.DataFrame({"word": ["joy"], "language": ["en"]})
        >>> word_items(words, "bare").row(0)
        (' joy', 1, 4, 'joy', 'en', 0)
    """
    for column in ("word", "language"):
        if column not in words.columns:
            raise UserError(
                f"A table of words must have the columns word and language, and has no {column}. Add it."
            )
    pairs = words.select("word", "language").unique(maintain_order=True)
    if pairs.null_count().sum_horizontal().item() or (pairs["word"] == "").any():
        raise UserError(
            "A table of words must have a word and a language in each row. Remove the rows that lack one."
        )
    used = {
        language: _numbered(templates, language) for language in pairs["language"].unique(maintain_order=True)
    }
    rows = []
    for word, language in pairs.iter_rows():
        for number, before, after in used[language]:
            start = len(before)  # not by search: the template's own words may hold the word
            rows.append((f"{before}{word}{after}", start, start + len(word), word, language, number))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _numbered(
    templates: str | Sequence[str] | Mapping[str, Sequence[str]], language: str
) -> list[tuple[int, str, str]]:
    """List the templates of a language as number, text before the word and text after it."""
    if isinstance(templates, str):
        if templates not in TemplateChoice.__members__:
            raise unknown_name(
                "choice of templates", templates, TemplateChoice.__members__, "Or give a list of them."
            )
        if templates == TemplateChoice.bare:
            listed = [bare_template(language)]
        else:
            listed = load_templates(language)[templates == TemplateChoice.framed :]
    elif isinstance(templates, Mapping):
        if language not in templates:
            raise unknown_name("list of templates for the language", language, templates)
        listed = list(templates[language])
    else:
        listed = list(templates)
    if not listed:
        raise UserError(
            f"At least one template must be given for {language!r}, got none. Use 'bare' for the word alone."
        )
    checked = (_checked(each, "the templates given") for each in listed)
    bare = bare_template(language)
    distinct = dict.fromkeys(bare if each.strip() == SLOT else each for each in checked)
    framed = [each for each in distinct if each != bare]
    numbered = [(0, bare)] * (bare in distinct) + list(enumerate(framed, start=1))
    halves = [(number, each.partition(SLOT)) for number, each in numbered]
    return [(number, before, after) for number, (before, _, after) in halves]
