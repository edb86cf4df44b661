"""Finding out by itself how a table of ratings is written, what its columns mean, its scale and its language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import DIMENSIONS, Format, Script
from emosae.norms.sheet import Sheet, numbers, split_cells

__all__ = ["guess_columns", "guess_decimal", "guess_encoding", "guess_language", "guess_scale", "guess_split"]

_WORD_HEADERS = {
    *("word", "words", "item", "items", "term", "lemma", "entry", "stimulus", "concept", "token", "w"),
    *(
        "wort",
        "woord",
        "mot",
        "mots",
        "palabra",
        "parola",
        "palavra",
        "słowo",
        "slowo",
        "слово",
        "kelime",
        "sana",
    ),
    *("词", "词语", "词汇", "单词", "字词", "詞", "詞語", "詞彙", "單詞", "단어", "어휘", "単語", "語"),
}
_LANGUAGES = {
    **{"english": "en", "chinese": "zh", "mandarin": "zh", "korean": "ko", "japanese": "ja", "spanish": "es"},
    **{"german": "de", "french": "fr", "italian": "it", "dutch": "nl", "polish": "pl", "portuguese": "pt"},
    **{"finnish": "fi", "swedish": "sv", "danish": "da", "turkish": "tr", "croatian": "hr", "russian": "ru"},
}
_DIMENSION_WORDS = {
    "valence": {
        *("valence", "val", "v", "pleasantness", "pleasure", "valencia", "valenz", "valenza", "valência"),
        *(
            "walencja",
            "valentie",
            "效价",
            "效價",
            "愉悦度",
            "愉悅度",
            "정서가",
            "쾌",
            "感情価",
            "валентность",
        ),
    },
    "arousal": {
        *("arousal", "aro", "arou", "a", "activation", "activación", "activacion", "erregung", "attivazione"),
        *(
            "alerta",
            "ativação",
            "pobudzenie",
            "excitation",
            "唤醒度",
            "唤醒",
            "喚醒度",
            "각성가",
            "각성",
            "覚醒度",
        ),
    },
    "dominance": {
        *(
            "dominance",
            "dom",
            "d",
            "control",
            "dominancia",
            "dominanz",
            "dominanza",
            "dominância",
            "dominantie",
        ),
        *("优势度", "支配度", "優勢度", "支配", "지배"),
    },
}
_MEAN = {
    "mean",
    "means",
    "avg",
    "average",
    "m",
    "mw",
    "media",
    "moyenne",
    "mittelwert",
    "rating",
    "score",
    "średnia",
}
_SD = {"sd", "std", "stdev", "stddev", "ds", "dt", "et", "dp", "deviation"}
_N = {"n", "rat", "count", "raters", "nratings", "ratings", "num", "number"}
_ALL = {"sum", "all", "total", "overall"}

# Scales that norms use; the tightest one that holds the values is taken.
_SCALES = [(0, 1), (1, 5), (1, 7), (1, 9), (0, 5), (0, 6), (0, 9), (0, 10), (0, 100), (1, 100), (0, 1000)]
_SIGNED_SCALES = [(-1, 1), (-2, 2), (-3, 3), (-4, 4), (-5, 5), (-10, 10), (-50, 50), (-100, 100)]


def guess_encoding(path: Path) -> tuple[str, str]:
    """Find a text file's encoding.

    Returns:
        The encoding, and how sure it is: `certain` (UTF-8, or a byte order mark) or `guessed`.

    Raises:
        UserError: The file is no text.
    """
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", "certain"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        best = None
        if b"\0" not in data:
            from charset_normalizer import from_bytes

            best = from_bytes(data).best()
        if best is None:
            raise UserError(
                f"{path} must be a table of text, and is none. Give a CSV, TSV, Parquet or Excel file."
            ) from None
        return best.encoding, "guessed"
    if "\0" in data[:4096].decode("utf-8", errors="ignore"):
        raise UserError(
            f"{path} must be a table of text, and is none. Give a CSV, TSV, Parquet or Excel file."
        )
    return "utf-8", "certain"


def guess_split(text: str, path: Path) -> tuple[Sheet, str, str]:
    """Find the delimiter and whether quotes enclose cells: the split with the most rows of the header's width.

    Returns:
        The table, its delimiter and its quote character (empty where quotes are plain text).

    Raises:
        UserError: No delimiter gives two columns.
    """
    best: tuple[float, int] = (0.0, 0)
    found = None
    for delimiter in (",", "\t", ";", "|"):
        for quote in ('"', ""):
            try:
                sheet = split_cells(text, path, delimiter=delimiter, quote=quote)
            except UserError:
                continue
            width, n_rows = len(sheet.header), len(sheet.rows) + len(sheet.odd)
            if width < 2 or not n_rows:
                continue
            full = sum(bool(row[-1].strip()) or any(cell.strip() for cell in row[1:]) for row in sheet.rows)
            score = (round(full / n_rows, 3), n_rows * width)
            if score > best:
                best, found = score, (sheet, delimiter, quote)
    if found is None:
        raise UserError(
            f"{path} must be a table of at least two columns, separated by commas, tabs, semicolons or bars, with a "
            f"header. Save it as CSV."
        )
    return found


def guess_decimal(sheet: Sheet) -> str:
    """Tell whether numbers have a decimal comma: more cells look like 5,4 than like 5.4."""
    cells = [cell.strip() for row in sheet.rows for cell in row]
    commas = sum(bool(re.fullmatch(r"[-−]?\d+,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-−]?\d+\.\d+", cell)) for cell in cells)
    return "," if commas > points else "."


def guess_columns(sheet: Sheet, decimal: str, given: dict[str, str], path: Path) -> dict[str, str]:
    """Find out what the columns mean, from their headers and from what is in them.

    Args:
        sheet: The table.
        decimal: Its decimal sign.
        given: Meanings that the caller has settled: meaning -> header.
        path: The file, for messages.

    Returns:
        Meaning -> header: word, valence, arousal and whatever else is there, without groups of raters.

    Raises:
        UserError: No column of words, or neither valence nor arousal.
    """
    numeric = {header for i, header in enumerate(sheet.header) if _is_numeric(sheet, i, decimal)}
    candidates: dict[str, list[tuple[int, str]]] = {}
    for header in sheet.header:
        if header in numeric and (meaning := _meaning(header, sheet.header)):
            candidates.setdefault(meaning[0], []).append((meaning[1], header))
    columns = dict(given)
    if "word" not in columns:
        columns["word"] = _word_column(sheet, numeric, path)
    for meaning in (f"{dimension}{suffix}" for dimension in DIMENSIONS for suffix in ("", "_sd", "_n")):
        if meaning in candidates and meaning not in columns:
            columns[meaning] = min(candidates[meaning])[1]
    for header in sheet.header:
        tokens = _tokens(header)
        if tokens == ["concepticon", "id"]:
            columns.setdefault("concepticon_id", header)
        elif header in numeric and tokens in (["frequency"], ["freq"], ["wf"]):
            columns.setdefault("frequency", header)
    if not {"valence", "arousal"} & columns.keys():
        raise UserError(
            f"Neither valence nor arousal was recognised in {path}. Its columns of numbers are: "
            f"{', '.join(map(repr, sorted(numeric))) or 'none'}. Say which they are: valence=HEADER arousal=HEADER."
        )
    return columns


def guess_scale(values: pl.Series) -> tuple[float, float] | None:
    """Find the tightest scale in use that holds all values; None where there is none, or no value.

    Example:
        >>> guess_scale(pl.Series([1.3, 4.0, 8.5])), guess_scale(pl.Series([-2.9, 1.0]))
        ((1.0, 9.0), (-3.0, 3.0))
    """
    known = values.drop_nulls()
    if known.is_empty():
        return None
    low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
    fitting = [
        scale for scale in (_SIGNED_SCALES if low < 0 else _SCALES) if scale[0] <= low and high <= scale[1]
    ]
    if not fitting:
        return None
    best = min(fitting, key=lambda scale: scale[1] - scale[0])
    return float(best[0]), float(best[1])


def guess_language(words: Sequence[str], header: str) -> tuple[str, Script | None, str]:
    """Find the language of words by their script, or by a header that names it.

    Returns:
        ISO 639 code (empty where the script belongs to many languages), Chinese script, and the reason in words.
    """
    named = [_LANGUAGES[token] for token in _tokens(header) if token in _LANGUAGES]
    scripts = Counter(_script(word) for word in words)
    scripts.pop("", None)
    main, _ = scripts.most_common(1)[0] if scripts else ("none", 0)
    if scripts["kana"] > 0.05 * len(words):
        return "ja", None, "kana"
    if main == "han":
        script = _chinese_script(words)
        return (
            named[0] if named else "zh",
            script,
            f"Chinese characters{f', {script.value}' if script else ''}",
        )
    own = {"hangul": "ko", "greek": "el", "hebrew": "he", "thai": "th", "georgian": "ka", "armenian": "hy"}
    if main in own:
        return own[main], None, main.capitalize()
    if named:
        return named[0], None, f"the header {header!r}"
    return "", None, f"{main.capitalize()} letters, which many languages use"


def _tokens(header: str) -> list[str]:
    """Split a header into lower-case words: `V.Mean.Sum`, `ValenceMean`, `val_sd` alike."""
    spaced = re.sub(r"(?<=[a-zà-ÿ])(?=[A-Z])", " ", header)
    return re.findall(r"[^\W\d_]+", spaced.lower())


def _meaning(header: str, headers: list[str]) -> tuple[str, int] | None:
    """Read a header as a measure of a dimension, with the number of its words that were not understood."""
    tokens = [token for token in _tokens(header) if token not in _ALL]
    found = [
        (dimension, token)
        for dimension, names in _DIMENSION_WORDS.items()
        for token in tokens
        if token in names
    ]
    # A single letter means a dimension only beside other single letters: V, A or V.Mean, A.Mean.
    letters = {tokens[0] for other in headers if (tokens := _tokens(other))}
    found = [
        (d, token)
        for d, token in found
        if len(token) > 1 or {"v", "a"} <= letters and token == _tokens(header)[0]
    ]
    if len({dimension for dimension, _ in found}) != 1:
        return None
    dimension, name = found[0]
    tokens.remove(name)
    for suffix, names in (("_sd", _SD), ("_n", _N), ("", _MEAN)):
        hits = [token for token in tokens if token in names]
        if hits:
            return f"{dimension}{suffix}", len(tokens) - 1
    return dimension, len(tokens)


def _is_numeric(sheet: Sheet, place: int, decimal: str) -> bool:
    cells = [row[place] for row in sheet.rows if row[place].strip()]
    if not cells:
        return False
    values = pl.DataFrame({"x": cells}).select(numbers(pl.col("x"), decimal=decimal))["x"]
    return values.is_not_null().mean() > 0.5  # type: ignore[operator]


def _word_column(sheet: Sheet, numeric: set[str], path: Path) -> str:
    texts = [header for header in sheet.header if header not in numeric and sheet.header.count(header) == 1]
    for names in (_WORD_HEADERS, set(_LANGUAGES)):
        named = [header for header in texts if set(_tokens(header)) & names]
        if named:
            return min(named, key=lambda header: len(_tokens(header)))
    if not texts:
        there = ", ".join(repr(header) for header in sheet.header)
        raise UserError(
            f"{path} must have a column of words. Its columns are: {there}. Say which: word=HEADER."
        )
    # Words differ from row to row and are short; labels repeat and definitions are long.
    rows = max(len(sheet.rows), 1)

    def fitness(header: str) -> tuple[float, float]:
        cells = sheet.column(header, str(path))
        return round(len(set(cells)) / rows, 1), -sum(map(len, cells)) / rows

    return max(texts, key=fitness)


def _script(word: str) -> str:
    """Name the script of a word's first letter."""
    for name, pattern in _SCRIPTS.items():
        if pattern.search(word):
            return name
    return ""


_SCRIPTS = {
    "hangul": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "kana": re.compile(r"[\u3040-\u30ff]"),
    "han": re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff]"),
    "greek": re.compile(r"[\u0370-\u03ff]"),
    "cyrillic": re.compile(r"[\u0400-\u052f]"),
    "hebrew": re.compile(r"[\u0590-\u05ff]"),
    "arabic": re.compile(r"[\u0600-\u06ff\u0750-\u077f]"),
    "devanagari": re.compile(r"[\u0900-\u097f]"),
    "thai": re.compile(r"[\u0e00-\u0e7f]"),
    "georgian": re.compile(r"[\u10a0-\u10ff]"),
    "armenian": re.compile(r"[\u0530-\u058f]"),
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
}


def _chinese_script(words: Sequence[str]) -> Script | None:
    """Tell simplified from traditional: which characters only the one or the other national encoding has."""
    characters = set("".join(words))

    def only(one: str, other: str) -> int:
        return sum(_encodable(char, one) and not _encodable(char, other) for char in characters)

    simplified, traditional = only("gb2312", "big5"), only("big5", "gb2312")
    if simplified == traditional:
        return None
    return Script.simplified if simplified > traditional else Script.traditional


def _encodable(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
