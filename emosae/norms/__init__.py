"""Human data: word ratings, similarity judgements, and the registry that says where each set comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.norms.download import fetch
    from emosae.norms.entry import Access, Format, Kind, Layout, Multiword, NormEntry, Script
    from emosae.norms.intake import add, add_from_words, remove
    from emosae.norms.ratings import Ratings, merge
    from emosae.norms.readers import load_ratings
    from emosae.norms.registry import find, list_entries, show
    from emosae.norms.similarity import HumanSimilarity, load_similarity

# Resolved on first use: the schema alone (which composing a configuration needs) must not import polars.
_HOME = {
    "add": "intake",
    "add_from_words": "intake",
    "remove": "intake",
    "Access": "entry",
    "Format": "entry",
    "Kind": "entry",
    "Layout": "entry",
    "Multiword": "entry",
    "NormEntry": "entry",
    "Script": "entry",
    "Ratings": "ratings",
    "load_ratings": "readers",
    "merge": "ratings",
    "fetch": "download",
    "find": "registry",
    "list_entries": "registry",
    "show": "registry",
    "HumanSimilarity": "similarity",
    "load_similarity": "similarity",
}

__all__ = [
    "Access",
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
    "remove",
    "show",
]


__getattr__ = lazily(__name__, _HOME)
