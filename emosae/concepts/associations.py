"""Reading free-association norms in the layouts of the Small World of Words: who answers what to which word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import polars as pl

from emosae.concepts.cells import UNQUOTED_NA, open_rows
from emosae.concepts.files import clean
from emosae.errors import UserError

__all__ = ["ASSOCIATION_SCHEMA", "Associations", "Responses", "read_associations", "word_key"]

ASSOCIATION_SCHEMA = {
    "cue": pl.String,
    "response": pl.String,
    "count": pl.Int64,
    "n": pl.Int64,
    "strength": pl.Float64,
}

# What stands where nobody answered: buttons of the task and tags of the authors' own cleaning. None is a word.
_NOT_WORDS = frozenset(
    {"", "no more responses", "unknown word", "#missing", "#unknown", "#symbol", "#long", "#repeat"}
)
# Buttons of the Chinese task that are phrases of the language too: only their place in a row tells.
_NO_MORE_ZH, _UNKNOWN_ZH = "没有了", "不认识"


class Responses(StrEnum):
    """Which of a participant's three responses count."""

    R1 = "R1"
    """The first."""
    R123 = "R123"
    """All three."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Associations:
    """The associations from and to some words.

    Attributes:
        language: Language of the norms.
        path: Their file.
        responses: Which responses are counted.
        table: A row for each pair of which one word was asked for: cue, response (each in its commonest spelling),
            count (participants who gave it), n (responses to the cue, missing ones left out), strength (count / n).
        cues: Every cue of the norms, by `word_key`.
        n_rows: Rows read.
        n_missing: Cells that hold no response.
        n_odd: Rows left out because they have more cells than the header.
    """

    language: str
    path: Path
    responses: Responses
    table: pl.DataFrame
    cues: frozenset[str]
    n_rows: int
    n_missing: int
    n_odd: int


@lru_cache(maxsize=200_000)
def word_key(word: str) -> str:
    """Bring a word into the form in which words are compared: composed, no outer blanks, capitals ignored."""
    return clean(word).casefold()


def read_associations(
    path: Path | str,
    words: Iterable[str],
    *,
    language: str,
    responses: Responses | None = None,
    encoding: str | None = None,
) -> Associations:
    """Read the associations from and to some words.

    Two layouts are known, both told by their header. In response files each row is a participant and a cue (`cue`,
    `R1`, `R2`, `R3`, as in `SWOW-EN.complete`, `SWOW-EN.R100`, `SWOW-ZH_raw`, `SWOW-ZH_R55`); strength files
    have a row for each pair (`cue`, `response`, `R1` or `R123`, `N`, `R1.Strength` or `R123.Strength`). Other columns
    are not read, and the file is not kept in memory.

    A response counts once per participant and cue. `No more responses`, `Unknown word`, the tags that begin with #,
    an empty cell and, in response files, an NA without quotation marks are no responses; `null`, `nan`, `none` and
    `NA` as a cue or in a strength file are words. 没有了 and 不认识 are responses unless they stand where the
    buttons of the task put them.

    Args:
        path: The file: separated by commas, tabs or semicolons.
        words: The words whose associations are wanted; capitals are ignored.
        language: Language of the norms (ISO 639-1), which helps to tell an encoding that is not UTF-8.
        responses: First responses or all; None means all, and in a strength file those that it counts.
        encoding: Text encoding; None means UTF-8, or a guess where it is not.

    Returns:
        The associations.

    Raises:
        MissingFileError: There is no such file.
        UserError: No such layout, or responses that the file does not count.

    Source: De Deyne, Navarro, Perfors, Brysbaert & Storms (2019), Behavior Research Methods 51; Li, Ding, De Deyne &
        Cai (2024), Behavior Research Methods 57; both with the authors' published scripts.
    """
    path = Path(path).expanduser()
    tally = _Tally(frozenset(word_key(word) for word in words))
    opened = open_rows(
        path, "The file of associations", language=language, encoding=encoding, mark_missing=True
    )
    with opened as rows:
        header = [cell.strip().lower() for cell in next(rows, [])]
        count = _count_pairs if "response" in header else _count_responses
        counted = count(header, rows, tally, path, responses)
    return Associations(
        language=language,
        path=path,
        responses=counted,
        table=tally.table(),
        cues=frozenset(tally.total),
        n_rows=tally.n_rows,
        n_missing=tally.n_missing,
        n_odd=tally.n_odd,
    )


class _Tally:
    """Counts of the pairs that matter, and of the responses to every cue."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.wanted = wanted
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.strengths: dict[tuple[str, str], float] = {}  # only where a file has no counts
        self.total: Counter[str] = Counter()
        self.spelling: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.n_rows = self.n_missing = self.n_odd = 0

    def add(self, cue: str, response: str, count: int, strength: float | None = None) -> None:
        pair = (word_key(cue), word_key(response))
        if not self.wanted.isdisjoint(pair):
            self.pairs[pair] += count
            if strength is not None:
                self.strengths[pair] = self.strengths.get(pair, 0.0) + strength
            for key, word in zip(pair, (cue, response), strict=True):
                self.spelling[key][clean(word)] += max(count, 1)

    def table(self) -> pl.DataFrame:
        spelt = {
            key: min(seen, key=lambda word: (-seen[word], word != word.lower(), word))
            for key, seen in self.spelling.items()
        }
        rows = []
        for pair, count in sorted(self.pairs.items()):
            cue, response = pair
            n = self.total[cue]
            known = pair in self.strengths
            strength = self.strengths[pair] if known else count / n
            rows.append(
                (spelt[cue], spelt[response], None if known else count, None if known else n, strength)
            )
        return pl.DataFrame(rows, schema=ASSOCIATION_SCHEMA, orient="row")


def _place(header: Sequence[str], name: str, path: Path, layout: str) -> int:
    if header.count(name) != 1:
        raise UserError(
            f"{path} must have one column {name!r} to be a {layout}, and its columns are: "
            f"{', '.join(map(repr, header)) or 'none'}. Give a file of responses (cue, R1, R2, R3) or of strengths "
            "(cue, response, R123, N, R123.Strength)."
        )
    return header.index(name)


def _count_responses(
    header: list[str], rows: Iterator[list[str]], tally: _Tally, path: Path, responses: Responses | None
) -> Responses:
    """Count a file with a row for each participant and cue."""
    wanted = responses or Responses.R123
    cue_at = _place(header, "cue", path, "file of associations")
    at = [_place(header, name, path, "file of responses") for name in ("r1", "r2", "r3")]
    for row in rows:
        if not _usable(row, header, tally):
            continue
        cue = row[cue_at].replace(UNQUOTED_NA, "NA")
        cells = _responses([row[place] for place in at])
        tally.n_missing += cells.count(None)
        given = [cell for cell in cells[: 1 if wanted is Responses.R1 else 3] if cell is not None]
        once = {word_key(cell): cell for cell in reversed(given)}
        if not word_key(cue):
            continue
        tally.total[word_key(cue)] += len(once)
        for response in once.values():
            tally.add(cue, response, 1)
    return wanted


def _responses(cells: Sequence[str]) -> list[str | None]:
    """Tell responses from cells that hold none, in the order of a participant's row.

    The Chinese buttons are taken for what they say by the rule of the authors' `participantCleaning`.
    """
    words = [None if _is_no_word(cell) else clean(cell) for cell in cells]
    if all(word == _UNKNOWN_ZH for word in words) or all(word == _NO_MORE_ZH for word in words):
        return [None] * len(words)
    if words[2] == _NO_MORE_ZH:
        words[2] = None
        if words[1] == _NO_MORE_ZH:
            words[1] = None
    return words


def _is_no_word(cell: str) -> bool:
    # one release holds the token with a stray quotation mark in front
    return cell == UNQUOTED_NA or word_key(cell).strip('"') in _NOT_WORDS


def _count_pairs(
    header: list[str], rows: Iterator[list[str]], tally: _Tally, path: Path, responses: Responses | None
) -> Responses:
    """Take the counts of a file with a row for each pair; without counts, its strengths."""
    there = [each for each in Responses if each.lower() in header or f"{each.lower()}.strength" in header]
    if len(there) != 1 and responses not in there:
        _place(header, "r123.strength", path, "file of strengths")
    wanted = responses or there[0]
    if wanted not in there:
        raise UserError(
            f"{path} counts {there[0]}, and {wanted} was asked for. Give the file of strengths for {wanted}, or "
            f"choose responses={there[0]}."
        )
    cue_at, response_at = (_place(header, name, path, "file of strengths") for name in ("cue", "response"))
    count_at = header.index(wanted.lower()) if wanted.lower() in header else None
    n_at = header.index("n") if "n" in header and count_at is not None else None
    value_at = count_at if count_at is not None else header.index(f"{wanted.lower()}.strength")
    stated: dict[str, int] = {}  # a cue's N, by its exact spelling
    for row in rows:
        if not _usable(row, header, tally):
            continue
        # these tables were made of what remained when missing responses had been left out: NA is a word here
        cue, response = (row[at].replace(UNQUOTED_NA, "NA") for at in (cue_at, response_at))
        value = _number(row[value_at], header[value_at], path)
        count = int(value) if count_at is not None else 0
        missing = _is_no_word(response)
        if n_at is not None and cue not in stated:
            stated[cue] = int(_number(row[n_at], "N", path))
            tally.total[word_key(cue)] += stated[cue]
        if missing:
            tally.n_missing += 1
        if n_at is not None:
            tally.total[word_key(cue)] -= count if missing else 0
        else:
            tally.total[word_key(cue)] += 0 if missing else count
        if not missing:
            tally.add(cue, response, count, value if count_at is None else None)
    return wanted


def _usable(row: list[str], header: list[str], tally: _Tally) -> bool:
    if not any(row):
        return False
    tally.n_rows += 1
    if len(row) != len(header):
        tally.n_odd += 1
        return False
    return True


def _number(cell: str, name: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise UserError(
            f"The column {name!r} of {path} must hold numbers, got {cell!r}. Correct the file."
        ) from error
