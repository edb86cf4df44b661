"""The corpora that a browser reads: the phantom's own text, a file, a Hugging Face data set by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from emosae.browse.config import BrowseConfig
from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.steering.corpus import Corpus, open_corpus

__all__ = ["choose_corpus", "texts_corpus"]

PHANTOM = "phantom"
_PASSAGES = 3000  # of the phantom's own text, about 200,000 tokens; no other split has its seed
_CHUNK = 256  # texts that are held at once
_SURROGATE = re.compile("[\ud800-\udfff]")


def choose_corpus(config: BrowseConfig, preset: str) -> Corpus:
    """Open the corpus that the settings name; lone surrogates in it become U+FFFD.

    Args:
        config: The browser's settings.
        preset: The preset of the study; the phantom's has a corpus of its own.

    Raises:
        UserError: No corpus is named and the preset has none, the file is of an unknown kind, or the data set cannot
            be read or has no such column.
    """
    name = config.corpus or (PHANTOM if preset == PHANTOM else None)
    if name is None:
        raise UserError(
            "The browser needs a corpus whose contexts it shows. Give corpus=FILE (.txt, .jsonl or .parquet), or the "
            "name of a Hugging Face data set."
        )
    if name == PHANTOM:
        return _phantom()
    path = Path(name)
    if path.is_file():
        return _readable(open_corpus(path, column=config.column))
    if path.is_absolute() or path.suffix in {".txt", ".jsonl", ".parquet"}:
        if path.is_dir():
            return _readable(_dataset(config, name))
        raise MissingFileError.at("The corpus", path, "Give a .txt, .jsonl or .parquet file.")
    return _readable(_dataset(config, name))


def texts_corpus(texts: Iterable[str], name: str, total: int = 0) -> Corpus:
    """Make a corpus of texts, read a few at a time; an iterable that can be gone through once is read once."""

    def chunks() -> Iterator[tuple[list[str], int]]:
        waiting = iter(texts)
        while part := list(islice(waiting, _CHUNK)):
            yield [text for text in part if text.strip()], len(part)

    return _readable(Corpus(name=name, total=total, chunks=chunks))


def _phantom() -> Corpus:
    from emosae.phantom.corpus import passages

    return texts_corpus(
        (passage.text for passage in passages("browse", _PASSAGES)), "the phantom's own text", _PASSAGES
    )


def _readable(corpus: Corpus) -> Corpus:
    """Replace lone surrogates, which no tokenizer and no UTF-8 file takes."""

    def chunks() -> Iterator[tuple[list[str], int]]:
        for texts, units in corpus.chunks():
            yield [_SURROGATE.sub("\ufffd", text) for text in texts], units

    return replace(corpus, chunks=chunks)


def _dataset(config: BrowseConfig, name: str) -> Corpus:
    """Open a data set of the Hugging Face hub, or a folder of one; its rows are streamed."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            f"Reading the data set {name!r} needs the package datasets. Install it, or give a file as corpus=."
        ) from error
    try:
        rows: Any = load_dataset(name, config.subset, split=config.split, streaming=True)
        first = next(iter(rows), None)
    except Exception as error:  # each of its loaders raises something of its own
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"The data set {name!r} cannot be read ({type(error).__name__}: {said}). Check its name, browse.subset=, "
            "browse.split= and the network; or give a file as corpus=."
        ) from error
    if first is not None and config.column not in first:
        raise unknown_name(
            f"column of {name}", config.column, first, "Name the one with the text with browse.column=."
        )
    if first is not None and not isinstance(first[config.column], str | None):
        raise UserError(
            f"The column {config.column!r} of {name} must hold texts, got {type(first[config.column]).__name__}. "
            "Name another with browse.column=."
        )
    return texts_corpus((row[config.column] or "" for row in rows), name)
