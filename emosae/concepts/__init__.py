"""Concept sets: which words stand for which emotion in each language, and the texts that they are read in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.concepts.align import Alignment, align_names, align_words
    from emosae.concepts.associations import Responses
    from emosae.concepts.build import Built, build_from_associations
    from emosae.concepts.check import ConceptCheck, check_concepts
    from emosae.concepts.config import ConceptKind, ConceptsConfig, LanguageWords
    from emosae.concepts.items import TemplateChoice, bare_template, load_templates, word_items
    from emosae.concepts.known import coverage
    from emosae.concepts.load import available_concepts, from_config, load_concepts
    from emosae.concepts.rule import AssociationRule, Direction, Multiword, Shared
    from emosae.concepts.save import save_concepts
    from emosae.concepts.sets import ConceptSet
    from emosae.concepts.table import build_from_table

# Resolved on first use: the schema alone (which composing a configuration needs) must not import polars.
_HOME = {
    "Alignment": "align",
    "AssociationRule": "rule",
    "Built": "build",
    "ConceptCheck": "check",
    "ConceptKind": "config",
    "ConceptSet": "sets",
    "ConceptsConfig": "config",
    "Direction": "rule",
    "LanguageWords": "config",
    "Multiword": "rule",
    "Responses": "associations",
    "Shared": "rule",
    "TemplateChoice": "items",
    "align_names": "align",
    "align_words": "align",
    "available_concepts": "load",
    "bare_template": "items",
    "build_from_associations": "build",
    "build_from_table": "table",
    "check_concepts": "check",
    "coverage": "known",
    "from_config": "load",
    "load_concepts": "load",
    "load_templates": "items",
    "save_concepts": "save",
    "word_items": "items",
}

__all__ = [
    "Alignment",
    "AssociationRule",
    "Built",
    "ConceptCheck",
    "ConceptKind",
    "ConceptSet",
    "ConceptsConfig",
    "Direction",
    "LanguageWords",
    "Multiword",
    "Responses",
    "Shared",
    "TemplateChoice",
    "align_names",
    "align_words",
    "available_concepts",
    "bare_template",
    "build_from_associations",
    "build_from_table",
    "check_concepts",
    "coverage",
    "from_config",
    "load_concepts",
    "load_templates",
    "save_concepts",
    "word_items",
]


__getattr__ = lazily(__name__, _HOME)
