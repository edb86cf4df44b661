"""Corpora: texts from a file, a few at a time, whatever its size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from emosae.errors import MissingFileError, UserError, unknown_name

__all__ = ["Corpus", "open_corpus", "split_long"]

_CHUNK = 256  # texts that are held at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """A file of texts.

    Attributes:
        name: What statistics of it are called.
        total: Its size in the units that `chunks` counts.
        chunks: Starts reading: an iterator over texts and how many units they were.
    """

    name: str
    total: int
    chunks: Callable[[], Iterator[tuple[list[str], int]]]


def open_corpus(path: str | Path, *, column: str = "text", name: str | None = None) -> Corpus:
    """Open a corpus.

    Args:
        path: A `.txt` file (a text a line), `.jsonl` (an object a line) or `.parquet` file. Empty texts are skipped.
        column: The field or column that holds the text.
        name: What to call it; None takes the file's name.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is of another kind, or has no such column; while it is read, a line that is no object, or a text
            that is none.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError.at("The corpus", file, "Give a .txt, .jsonl or .parquet file.")
    if file.suffix not in _READERS:
        raise UserError(
            f"A corpus must be a .txt, .jsonl or .parquet file, got {str(file)!r}. Save it as one of these."
        )
    if file.suffix == ".parquet":
        columns = pl.read_parquet_schema(file)
        if column not in columns:
            raise unknown_name(f"column of {file.name}", column, columns, "Name it with corpus.column=.")
        total = int(pl.scan_parquet(file).select(pl.len()).collect().item())
    else:
        total = file.stat().st_size

    def chunks() -> Iterator[tuple[list[str], int]]:
        return _READERS[file.suffix](file, column)

    return Corpus(name=name or file.stem, total=total, chunks=chunks)


def split_long(tokenizer: Any, texts: list[str], window: int) -> list[str]:
    """Cut texts of more than `window` tokens into pieces of at most about that many, between tokens.

    Nothing is lost, as it would be where a tokenizer cuts a text at the model's limit.

    Args:
        tokenizer: A fast tokenizer.
        texts: The texts.
        window: Tokens of a piece, special ones not counted.

    Returns:
        The pieces, in order.
    """
    long = [text for text in texts if len(text.encode()) > window]  # a token covers a byte at least
    if not long:
        return list(texts)
    options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
    offsets = iter(tokenizer(long, **options)["offset_mapping"])
    pieces = []
    for text in texts:
        if len(text.encode()) <= window:
            pieces.append(text)
            continue
        starts = [start for start, _ in next(offsets)][::window][1:]
        cuts = [0, *dict.fromkeys(cut for cut in starts if 0 < cut < len(text)), len(text)]
        pieces += [text[a:b] for a, b in pairwise(cuts)]
    return pieces


def _lines(path: Path, _column: str) -> Iterator[tuple[list[str], int]]:
    held: list[str] = []
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            size += len(line)
            held.append(_decoded(line, path, number).strip())
            if len(held) >= _CHUNK:
                yield _kept(held), size
                held, size = [], 0
    yield _kept(held), size


def _objects(path: Path, column: str) -> Iterator[tuple[list[str], int]]:
    number = 0
    for lines, size in _lines(path, column):
        texts = []
        for line in lines:
            number += 1
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                value = None
            if not isinstance(value, dict) or not isinstance(value.get(column), str):
                raise UserError(
                    f"Each line of {path.name} must be a JSON object with a text under {column!r}, got {line[:80]!r} "
                    f"(text {number}). Name the field with corpus.column=."
                )
            texts.append(value[column])
        yield _kept(texts), size


def _table(path: Path, column: str) -> Iterator[tuple[list[str], int]]:
    rows = pl.scan_parquet(path).select(column)
    first = 0
    while True:
        part = rows.slice(first, _CHUNK).collect()[column]
        if not len(part):
            return
        if part.dtype != pl.String:
            raise UserError(
                f"The column {column!r} of {path.name} must hold texts, got {part.dtype}. Name another with "
                "corpus.column=."
            )
        yield _kept(part.drop_nulls().to_list()), len(part)
        first += len(part)


_READERS: dict[str, Callable[[Path, str], Iterator[tuple[list[str], int]]]] = {
    ".txt": _lines,
    ".jsonl": _objects,
    ".parquet": _table,
}


def _kept(texts: list[str]) -> list[str]:
    return [text for text in texts if text.strip()]


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name} must be UTF-8 text, got other bytes in line {number}. Convert it, e.g. with iconv."
        ) from error
