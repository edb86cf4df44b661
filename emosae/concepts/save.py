"""Writing a concept set as the YAML that `load_concepts` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from emosae.artifacts import atomic_path
from emosae.concepts.load import available_concepts
from emosae.concepts.sets import ConceptSet
from emosae.errors import UserError
from emosae.paths import cache_root, conf_dir

__all__ = ["place_for", "save_concepts"]


def save_concepts(concepts: ConceptSet, path: Path | str) -> Path:
    """Write a concept set in the layout of conf/concepts/; what is read back is equal to what was written.

    Args:
        concepts: The set.
        path: File to write, ending in .yaml; its folder is made where it is missing.

    Returns:
        The file.

    Raises:
        UserError: Another ending.
    """
    import yaml

    path = Path(path).expanduser()
    if path.suffix.lower() not in {".yaml", ".yml"}:
        raise UserError(f"A concept set is written as .yaml, got {str(path)!r}. Give a name that ends so.")
    values: dict[str, Any] = {
        "name": concepts.name,
        "title": concepts.title,
        "description": concepts.description,
        "source": concepts.source,
        "kind": concepts.kind.value,
        "synonyms": {concept: list(names) for concept, names in concepts.synonyms.items()},
        "languages": {language: _language(concepts, language) for language in concepts.languages},
    }
    if not concepts.synonyms:
        del values["synonyms"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(
            yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=110, default_flow_style=None),
            encoding="utf-8",
        )
    return path


def _language(concepts: ConceptSet, language: str) -> dict[str, Any]:
    own = concepts.words.filter(pl.col("language") == language)
    words: dict[str, list[str]] = {concept: [] for concept in concepts.concepts}
    weights: dict[str, dict[str, float]] = {}
    for concept, word, weight in own.select("concept", "word", "weight").iter_rows():
        words[concept].append(word)
        if weight != 1.0:
            weights.setdefault(concept, {})[word] = weight
    found: dict[str, Any] = {"labels": dict(concepts.labels[language]), "words": words}
    return found | ({"weights": weights} if weights else {})


def place_for(name: str, output: str | None, *, overwrite: bool = False) -> Path:
    """Say where a new concept set is written.

    Args:
        name: The set's name; with it the set is found by `load_concepts` and on the command line.
        output: A file of the caller's choice; None means `conf/concepts/NAME.yaml` of the cache.
        overwrite: Whether a file that is there may be replaced; a shipped set never is.

    Raises:
        UserError: A name that is no name, or one that is taken.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(
            f"A concept set's name must be letters, digits, - and _, got {name!r}. Write name=my_words."
        )
    if (conf_dir() / "concepts" / f"{name}.yaml").is_file():
        raise UserError(
            f"The name of a new concept set must be free, and {name!r} is one that emosae ships. Write name=OTHER."
        )
    path = Path(output).expanduser() if output else cache_root() / "conf" / "concepts" / f"{name}.yaml"
    if path.exists() and not overwrite:
        taken = f"the set {name!r}" if name in available_concepts() and output is None else str(path)
        raise UserError(
            f"There is {taken} already. Write overwrite=true to replace it, or choose another name."
        )
    return path
