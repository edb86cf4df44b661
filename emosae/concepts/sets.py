"""The concept set: concepts, and in each language the words that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from emosae.concepts.config import ConceptKind
from emosae.errors import UserError, unknown_name

__all__ = ["SCHEMA", "ConceptSet"]

SCHEMA = {"concept": pl.String, "language": pl.String, "word": pl.String, "weight": pl.Float64}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptSet:
    """Concepts, and in each language the words that stand for them.

    Every concept has words in every language of the set, and no word twice in one concept of one language.

    Attributes:
        name: The set's name.
        words: Columns `concept`, `language`, `word`, `weight` (above 0; 1 unless the set says otherwise), in
            the order in which the set lists them.
        labels: Language to concept to the concept's name in that language.
        kind: What the set is for.
        title: The name as a heading.
        description: What the categories are.
        source: Where categories and words come from.
        synonyms: Concept to other names by which human data may call it; see `align_names`.
    """

    name: str
    words: pl.DataFrame
    labels: Mapping[str, Mapping[str, str]]
    kind: ConceptKind = ConceptKind.emotion
    title: str = ""
    description: str = ""
    source: str = ""
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def concepts(self) -> list[str]:
        """The concepts' keys, in the set's order."""
        return self.words["concept"].unique(maintain_order=True).to_list()

    @property
    def languages(self) -> list[str]:
        """The languages' codes, in the set's order."""
        return self.words["language"].unique(maintain_order=True).to_list()

    def restrict(
        self, languages: str | Sequence[str] | None = None, concepts: str | Sequence[str] | None = None
    ) -> ConceptSet:
        """Keep some languages and concepts, in the set's order.

        Args:
            languages: Codes of languages; None means all.
            concepts: Keys of concepts; None means all.

        Returns:
            The smaller set.

        Raises:
            UserError: A language or concept that the set does not have, or none asked for.
        """
        hint = f"They are those of the set {self.name!r}."
        kept_languages = _chosen("language", languages, self.languages, hint)
        kept_concepts = _chosen("concept", concepts, self.concepts, hint)
        words = self.words.filter(
            pl.col("language").is_in(kept_languages) & pl.col("concept").is_in(kept_concepts)
        )
        labels = {
            language: {concept: self.labels[language][concept] for concept in kept_concepts}
            for language in kept_languages
        }
        synonyms = {concept: names for concept, names in self.synonyms.items() if concept in kept_concepts}
        return replace(self, words=words, labels=labels, synonyms=synonyms)

    def ambiguous(self) -> pl.DataFrame:
        """List the words that stand for more than one concept; selection takes them as nobody's negative.

        Returns:
            Columns `language`, `word`, `concepts` (the list of them), in the set's order.
        """
        return (
            self.words.group_by("language", "word", maintain_order=True)
            .agg(pl.col("concept").alias("concepts"))
            .filter(pl.col("concepts").list.len() > 1)
        )

    def summary(self) -> pl.DataFrame:
        """Count words and overlap.

        Returns:
            A row for each concept of each language: `language`, `concept`, `label`, `words`, `shared` (words
            that another concept has too) and `shares_with` (the list of those concepts).
        """
        owners = self.words.join(
            self.words.select("language", "word", other="concept"),
            on=["language", "word"],
            maintain_order="left",
        )
        others = owners.filter(pl.col("other") != pl.col("concept"))
        shared = others.group_by("language", "concept").agg(
            pl.col("word").n_unique().cast(pl.Int64).alias("shared"),
            pl.col("other").unique(maintain_order=True).alias("shares_with"),
        )
        counts = self.words.group_by("language", "concept", maintain_order=True).agg(
            pl.len().cast(pl.Int64).alias("words")
        )
        labels = pl.DataFrame(
            [(language, *pair) for language, named in self.labels.items() for pair in named.items()],
            schema={"language": pl.String, "concept": pl.String, "label": pl.String},
            orient="row",
        )
        return (
            counts.join(labels, on=["language", "concept"], how="left", maintain_order="left")
            .join(shared, on=["language", "concept"], how="left", maintain_order="left")
            .with_columns(pl.col("shared").fill_null(0), pl.col("shares_with").fill_null([]))
            .select("language", "concept", "label", "words", "shared", "shares_with")
        )


def _chosen(kind: str, asked: str | Sequence[str] | None, known: list[str], hint: str) -> list[str]:
    if asked is None:
        return known
    wanted = [asked] if isinstance(asked, str) else list(asked)
    for name in wanted:
        if name not in known:
            raise unknown_name(kind, name, known, hint)
    if not wanted:
        raise UserError(f"At least one {kind} must be chosen, got none. There are: {', '.join(known)}.")
    return [name for name in known if name in wanted]
