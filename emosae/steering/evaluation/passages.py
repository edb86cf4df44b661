"""Passages that carry an emotion: what features and directions are made of, and what is read with features ablated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from emosae.errors import MissingFileError, UserError

__all__ = ["PASSAGE_SCHEMA", "read_passages"]

PASSAGE_SCHEMA = {
    "part": pl.String,
    "concept": pl.String,
    "language": pl.String,
    "text": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
}
"""One row a passage. `part` is features or necessity; `concept` is empty for a neutral passage; `start` and `end` bound
the characters that are read for the emotion."""

_NEUTRAL_FOR_EACH = 10
"""Neutral passages of the phantom for each passage of one emotion."""


def read_passages(
    source: str, emotions: Sequence[str], languages: Sequence[str], n_features: int, n_necessity: int
) -> pl.DataFrame:
    """Read or write passages of each emotion and language.

    Args:
        source: `phantom` (its grammar), or a .jsonl, .csv or .parquet file with concept, language and text. A row with
            no concept, or with `neutral`, is a neutral passage.
        emotions: The emotions that are wanted; other rows of a file are left out.
        languages: The languages.
        n_features: Most passages of each emotion and language for features and directions.
        n_necessity: Most others in which features are ablated; where a file has too few for both, up to half.

    Returns:
        Rows of `PASSAGE_SCHEMA`.

    Raises:
        UserError: A file that is missing or of another form, or one without a passage of some emotion.
    """
    read = _of_phantom if source == "phantom" else _of_file(Path(source))
    table = read(emotions, languages, n_features, n_necessity)
    features = table.filter(pl.col("part") == "features")
    missing = [
        f"{emotion} ({language})"
        for language in languages
        for emotion in emotions
        if features.filter((pl.col("concept") == emotion) & (pl.col("language") == language)).is_empty()
    ]
    if missing:
        raise UserError(
            f"Passages must hold some of each emotion in each language, got none of {', '.join(missing[:8])} in "
            f"{source}. Add them, or name the emotions with steering.emotions=."
        )
    return table


def _of_phantom(
    emotions: Sequence[str], languages: Sequence[str], n_features: int, n_necessity: int
) -> pl.DataFrame:
    from emosae.phantom.corpus import passages
    from emosae.phantom.passage import Kind, Layout, Passage, Role

    rows: list[tuple[str, str, str, str, int, int]] = []

    def add(part: str, concept: str, language: str, passage: Passage) -> None:
        spans = [span for span in passage.spans if span.role is not Role.HEADING]
        first, turn = spans[0].start, next((s for s in spans if s.role is Role.SITUATION), spans[0])
        end = spans[-1].end
        if part == "necessity":  # up to where the emotion is named, for it is what is asked for
            after = [span for span in spans if span.start > turn.start]
            named = next((at for at, span in enumerate(after) if span.named), len(after))
            end = ([turn, *after][named]).end
        text = passage.text[first:end]
        rows.append((part, concept, language, text, turn.start - first, len(text)))

    for language in languages:
        layout = Layout(language)
        for part, n in (("features", n_features), ("necessity", n_necessity)):
            for emotion in emotions:
                split = f"steering/{part}/{language}/{emotion}"
                for passage in passages(split, n, kind=Kind.EMOTIONAL, layout=layout, emotion=emotion):
                    add(part, emotion, language, passage)
        n = _NEUTRAL_FOR_EACH * n_features
        for passage in passages(f"steering/neutral/{language}", n, kind=Kind.NEUTRAL, layout=layout):
            add("features", "", language, passage)
    return pl.DataFrame(rows, schema=PASSAGE_SCHEMA, orient="row")


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
}


def _of_file(path: Path) -> Callable[[Sequence[str], Sequence[str], int, int], pl.DataFrame]:
    if not path.is_file():
        raise MissingFileError.at("The file of passages", path, "Give a .jsonl, .csv or .parquet file.")
    if path.suffix not in _READERS:
        raise UserError(
            f"Passages must be a .jsonl, .csv or .parquet file, got {path.name!r}. Save them as one of these."
        )
    try:
        table = _READERS[path.suffix](path)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path.name} cannot be read as a table ({error}). Check its form.") from error
    lacking = [name for name in ("concept", "language", "text") if name not in table.columns]
    if lacking:
        raise UserError(
            f"A file of passages must have the columns concept, language and text, got {table.columns}. "
            f"Add {', '.join(lacking)}."
        )

    def read(
        emotions: Sequence[str], languages: Sequence[str], n_features: int, n_necessity: int
    ) -> pl.DataFrame:
        own = table.select(
            pl.col("concept").cast(pl.String).fill_null("").replace("neutral", ""),
            pl.col("language").cast(pl.String),
            pl.col("text").cast(pl.String),
        ).filter(
            pl.col("concept").is_in([*emotions, ""])
            & pl.col("language").is_in(list(languages))
            & (pl.col("text").str.len_chars() > 0)
        )
        parts = []
        for (concept, _), rows in own.group_by("concept", "language", maintain_order=True):
            n_held = 0 if concept == "" else min(n_necessity, rows.height // 2)
            n = rows.height - n_held if concept == "" else min(n_features, rows.height - n_held)
            parts.append(rows.head(n).with_columns(pl.lit("features").alias("part")))
            parts.append(rows.slice(n, n_held).with_columns(pl.lit("necessity").alias("part")))
        found = pl.concat(parts) if parts else own.with_columns(pl.lit("").alias("part"))
        return found.with_columns(
            pl.lit(0).cast(pl.Int64).alias("start"),
            pl.col("text").str.len_chars().cast(pl.Int64).alias("end"),
        ).select(list(PASSAGE_SCHEMA))

    return read
