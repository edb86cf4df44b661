"""The schema of a registry entry: one YAML file of conf/norms/ says everything about one human data set."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from emosae.errors import UserError, unknown_name

__all__ = [
    "DIMENSIONS",
    "NAME_PATTERN",
    "Access",
    "Format",
    "Kind",
    "Layout",
    "Multiword",
    "NormEntry",
    "Script",
    "check_entry",
    "check_meaning",
    "dimension_of",
    "group_of",
    "is_mapped",
    "scale_of",
]

DIMENSIONS = ("valence", "arousal", "dominance")
NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_PLAIN_COLUMNS = ("word", "concepticon_id", "frequency")
_MEASURE = re.compile(
    rf"(?:(?P<group>[a-z][a-z0-9_]*?)_)?(?P<dimension>{'|'.join(DIMENSIONS)})(?:_(?:sd|n))?"
)

# OmegaConf reads an Enum by its member's name, so that names and values are the same word here.


class Kind(StrEnum):
    """What people were asked."""

    ratings = "ratings"
    """To rate words one by one."""
    similarity = "similarity"
    """To compare concepts two by two."""
    associations = "associations"
    """To name what a cue brings to mind: no ratings, but a source of words for concept sets."""


class Access(StrEnum):
    """What stands between a reader and the file."""

    open = "open"
    """Nothing: it lies at an address, or on a page, that anybody can open."""
    form = "form"
    """A form: who one is, what it is for."""
    licence = "licence"
    """Terms that one accepts by hand before the download starts."""
    request = "request"
    """The authors: they send it, or its password, when asked."""


class Format(StrEnum):
    """How the file is written."""

    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"
    xlsx = "xlsx"
    xls = "xls"


class Script(StrEnum):
    """Which Chinese characters the words are written in."""

    simplified = "simplified"
    traditional = "traditional"


class Layout(StrEnum):
    """How similarity judgements are laid out."""

    pairs = "pairs"
    """A row per rater, a column per pair in the order of `scipy.spatial.distance.pdist`."""
    square = "square"
    """One named, symmetric matrix: the mean over raters."""


class Multiword(StrEnum):
    """What becomes of entries of several words, or with a gloss in brackets."""

    keep = "keep"
    drop = "drop"


@dataclass(kw_only=True, slots=True)
class NormEntry:
    """One human data set: where it is, whose it is, and how its file is read.

    The defaults describe a UTF-8 CSV of single words; a field that does not apply stays empty.
    """

    name: str = ""
    """Identifier; the same as the YAML file's name."""
    kind: Kind = Kind.ratings
    """Word ratings, or similarity judgements."""
    title: str = ""
    """What a person would call it."""
    language: str = ""
    """ISO 639 code of the words: en, zh, ko."""
    script: Script | None = None
    """For Chinese: simplified or traditional characters."""
    url: str = ""
    """Official page; empty where none is known."""
    download: dict[str, str] = field(default_factory=dict)
    """Direct addresses by file name; empty where there is none, or where it is behind a form."""
    archive: dict[str, str] = field(default_factory=dict)
    """For a file that comes inside a ZIP archive: its place in the archive, by file name."""
    access: Access = Access.open
    """Whether anybody can download it, or a form, a licence or the authors come first."""
    license: str = ""
    """The terms, as their authors state them."""
    citation: str = ""
    """How to cite it."""
    doi: str = ""
    """Digital object identifier, without the resolver."""
    path: str | None = None
    """The file (or folder) itself; None means it is searched for under `file`."""
    file: str = ""
    """Name of the file; of the folder, where `parts` are in it."""
    parts: dict[str, str] = field(default_factory=dict)
    """For a set of several files: which file in the folder holds raters, concepts, attributes."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Checksums by file name, of files that were really read."""
    verified: bool = False
    """Whether this mapping was checked against the real file; only then there are checksums."""
    format: Format = Format.csv
    """How the file is written."""
    delimiter: str = ""
    """Character between cells; empty means the format's own."""
    quote: str = '"'
    """Character around cells that hold a delimiter or a line break; empty where quotes are plain text."""
    encoding: str = "utf-8"
    """Text encoding; a byte order mark is always accepted."""
    decimal: str = "."
    """Decimal sign: a point or a comma."""
    sheet: int = 1
    """Of an Excel workbook: which sheet, from 1."""
    skip_rows: int = 0
    """Lines (rows of a sheet) above the header, blank ones counted."""
    header_rows: int = 1
    """Lines of the header: two are read together, the upper one running on to the right (`VAL` over `M`, `SD`
    is `VAL M`, `VAL SD`); 0 where there is none and the columns are called 0, 1, 2, …"""
    missing: list[str] = field(default_factory=list)
    """Numbers that stand for `no value`, such as -99. Never applied to words."""
    columns: dict[str, str] = field(default_factory=dict)
    """Header of each column by meaning: word, valence, valence_sd, valence_n (number of raters), arousal and
    dominance alike, concepticon_id, frequency; and for a group of raters GROUP_valence,
    GROUP_valence_sd, … Of several columns with one header `HEADER [2]` is the second. Empty where nobody has
    confirmed them: the file is then looked at when it is read."""
    scale_min: float | None = 1.0
    """Low end of the rating scale; null where it is not known and the file is looked at."""
    scale_max: float | None = 9.0
    """High end of the rating scale; null where it is not known."""
    arousal_min: float | None = None
    """Low end for arousal, where it has a scale of its own; above the high end where reversed."""
    arousal_max: float | None = None
    """High end for arousal, where it has a scale of its own."""
    dominance_min: float | None = None
    """Low end for dominance, where it has a scale of its own."""
    dominance_max: float | None = None
    """High end for dominance, where it has a scale of its own."""
    multiword: Multiword = Multiword.keep
    """Keep entries of several words (the table flags them), or drop them."""
    layout: Layout = Layout.pairs
    """For similarity: a row per rater, or one square matrix."""
    dissimilarity: bool = True
    """For similarity: whether large numbers mean unlike; False turns them round on their scale."""
    step: float = 0.0
    """For similarity: smallest step a rater could give; values between were filled in by the authors."""
    n_words: int = 0
    """Words (or concepts) that reading the verified file gives; where it was not read, what the article says;
    0 where neither is known."""
    notes: str = ""
    """What a reader should know: traps, groups of raters, how the file differs from the article."""


def is_mapped(entry: NormEntry) -> bool:
    """Tell whether the entry says which columns hold the ratings, so that its file need not be looked at."""
    return entry.kind is not Kind.ratings or bool(entry.columns)


def scale_of(entry: NormEntry, dimension: str) -> tuple[float, float]:
    """Return the low and the high end of a dimension's scale, in the file's own unit.

    Raises:
        UserError: The entry does not say.
    """
    low, high = entry.scale_min, entry.scale_max
    if low is None or high is None:
        raise UserError(
            f"norms.{entry.name} must say what the ends of its rating scale are, and does not. Add "
            f"norms.{entry.name}.scale_min and norms.{entry.name}.scale_max."
        )
    if dimension == "arousal":
        low = entry.arousal_min if entry.arousal_min is not None else low
        high = entry.arousal_max if entry.arousal_max is not None else high
    elif dimension == "dominance":
        low = entry.dominance_min if entry.dominance_min is not None else low
        high = entry.dominance_max if entry.dominance_max is not None else high
    return low, high


def group_of(column: str) -> str | None:
    """Return the group of raters that a column of `columns` belongs to, None for all raters.

    Example:
        >>> group_of("high_education_arousal_sd"), group_of("arousal_sd")
        ('high_education', None)
    """
    match = _MEASURE.fullmatch(column)
    return match["group"] if match else None


def dimension_of(column: str) -> str | None:
    """Return the rated dimension of a column of `columns`, None for words, ids and frequencies."""
    match = _MEASURE.fullmatch(column)
    return match["dimension"] if match else None


def check_meaning(column: str, kind: str, others: tuple[str, ...] = ()) -> None:
    """Refuse a key of `columns` that means nothing.

    Raises:
        UserError: It is none; the options are listed, `others` among them.
    """
    if column not in _PLAIN_COLUMNS and not _MEASURE.fullmatch(column):
        measures = [f"{dimension}{suffix}" for dimension in DIMENSIONS for suffix in ("", "_sd", "_n")]
        raise unknown_name(kind, column, [*others, *_PLAIN_COLUMNS, *measures])


def check_entry(entry: NormEntry) -> None:
    """Refuse an entry that contradicts itself, before any file is opened.

    Raises:
        UserError: A bad name, an unknown column meaning, no word or rating column, an empty scale.
    """
    where = f"norms.{entry.name}" if entry.name else "norms"
    if not NAME_PATTERN.fullmatch(entry.name):
        raise UserError(
            "The name of a data set must be letters, digits and underscores, starting with a letter, got "
            f"{entry.name!r}. Choose another name."
        )
    if entry.kind is Kind.similarity:
        needed = {Layout.pairs: ("raters", "concepts"), Layout.square: ()}[entry.layout]
        for part in needed:
            if part not in entry.parts:
                raise UserError(
                    f"{where}.parts must name the file of the {part}. Add {part}: FILE to the entry."
                )
    elif entry.columns:
        _check_columns(entry, where)
    known = entry.scale_min is not None and entry.scale_max is not None
    for dimension in (
        DIMENSIONS if known or (is_mapped(entry) and entry.kind is not Kind.associations) else ()
    ):
        low, high = scale_of(entry, dimension)
        if low == high:
            raise UserError(
                f"The {dimension} scale of {entry.name} must have two different ends, got {low:g} and "
                f"{high:g}. Set {where}.scale_min and {where}.scale_max."
            )
    if entry.verified and entry.kind is Kind.ratings and not entry.columns:
        raise UserError(
            f"{where}.columns must say which columns hold the ratings where verified is true. Add the columns, "
            "or set verified to false."
        )
    for row in ("sheet", "skip_rows", "header_rows"):
        least, most = {"sheet": (1, 1000), "skip_rows": (0, 1000), "header_rows": (0, 2)}[row]
        if not least <= getattr(entry, row) <= most:
            raise UserError(
                f"{where}.{row} must be {least} to {most}, got {getattr(entry, row)}. Correct it."
            )
    if entry.decimal not in {".", ","}:
        raise UserError(f"{where}.decimal must be '.' or ',', got {entry.decimal!r}. Write one of the two.")


def _check_columns(entry: NormEntry, where: str) -> None:
    for column in entry.columns:
        check_meaning(column, f"column meaning in {where}.columns")
    if "word" not in entry.columns:
        raise UserError(f"{where}.columns must say which column holds the words. Add word: HEADER to it.")
    if not {"valence", "arousal"} & set(entry.columns):
        raise UserError(
            f"{where}.columns must say which column holds valence or arousal. Add valence: HEADER and "
            "arousal: HEADER to it."
        )
