"""Concept sets: which words stand for which emotion in each language, and the texts that they are read in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.concepts.config import ConceptKind, ConceptsConfig, LanguageWords
    from emosae.concepts.items import TemplateChoice, bare_template, load_templates, word_items
    from emosae.concepts.known import coverage
    from emosae.concepts.load import available_concepts, from_config, load_concepts
    from emosae.concepts.sets import ConceptSet

# Resolved on first use: the schema alone (which composing a configuration needs) must not import polars.
_HOME = {
    "ConceptKind": "config",
    "ConceptSet": "sets",
    "ConceptsConfig": "config",
    "LanguageWords": "config",
    "TemplateChoice": "items",
    "available_concepts": "load",
    "bare_template": "items",
    "coverage": "known",
    "from_config": "load",
    "load_concepts": "load",
    "load_templates": "items",
    "word_items": "items",
}

__all__ = [
    "ConceptKind",
    "ConceptSet",
    "ConceptsConfig",
    "LanguageWords",
    "TemplateChoice",
    "available_concepts",
    "bare_template",
    "coverage",
    "from_config",
    "load_concepts",
    "load_templates",
    "word_items",
]


__getattr__ = lazily(__name__, _HOME)
