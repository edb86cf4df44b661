"""Human data: word ratings, similarity judgements, and the registry that says where each set comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.norms.entry import Format, Kind, Layout, Multiword, NormEntry, Script
    from emosae.norms.intake import add, add_from_words
    from emosae.norms.ratings import Ratings, merge
    from emosae.norms.readers import load_ratings
    from emosae.norms.registry import fetch, find, list_entries
    from emosae.norms.similarity import HumanSimilarity, load_similarity

# Resolved on first use: the schema alone (which composing a configuration needs) must not import polars.
_HOME = {
    "add": "intake",
    "add_from_words": "intake",
    "Format": "entry",
    "Kind": "entry",
    "Layout": "entry",
    "Multiword": "entry",
    "NormEntry": "entry",
    "Script": "entry",
    "Ratings": "ratings",
    "load_ratings": "readers",
    "merge": "ratings",
    "fetch": "registry",
    "find": "registry",
    "list_entries": "registry",
    "HumanSimilarity": "similarity",
    "load_similarity": "similarity",
}

__all__ = [
    "Format",
    "HumanSimilarity",
    "Kind",
    "Layout",
    "Multiword",
    "NormEntry",
    "Ratings",
    "Script",
    "add",
    "add_from_words",
    "fetch",
    "find",
    "list_entries",
    "load_ratings",
    "load_similarity",
    "merge",
]


__getattr__ = lazily(__name__, _HOME)
