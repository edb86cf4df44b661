"""Finding out what the columns of a table of ratings mean, from their headers and from what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import DIMENSIONS
from emosae.norms.sheet import Sheet, numbers

__all__ = ["LANGUAGE_NAMES", "guess_columns", "header_tokens"]

LANGUAGE_NAMES = {
    "arabic": "ar",
    "chinese": "zh",
    "croatian": "hr",
    "danish": "da",
    "dutch": "nl",
    "eng": "en",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hindi": "hi",
    "indonesian": "id",
    "ita": "it",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "mandarin": "zh",
    "norwegian": "no",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "turkish": "tr",
}
"""Languages by the names that headers give them."""


def _names(text: str) -> set[str]:
    return set(text.split())


_WORD = _names(
    """
    word words item items term lemma entry stimulus concept token wort woord mot mots palabra parola palavra
    słowo slowo слово kelime sana 词 词语 词汇 单词 字词 詞 詞語 詞彙 單詞 단어 어휘 単語 語
    """
)
_DIMENSION = {
    "valence": _names(
        """
        valence val v pleasantness pleasure valencia valenz valenza valens valência walencja valentie валентность
        emo 效价 效價 愉悦度 愉悅度 정서가 쾌 感情価
        """
    ),
    "arousal": _names(
        """
        arousal aro arou ar a activation activación activacion erregung attivazione alerta ativação pobudzenie
        excitation 唤醒度 唤醒 喚醒度 喚醒 각성가 각성 覚醒度
        """
    ),
    "dominance": _names(
        """
        dominance dom d control dominancia dominanz dominanza dominância dominantie
        优势度 支配度 優勢度 支配 지배
        """
    ),
}
_MEASURE = {
    "_sd": _names("sd std stdev stddev deviation ds dt et dp odchylenie"),
    "_n": _names("n rat count raters nratings ratings num number"),
    "": _names("mean means mn avg average m mw media moyenne mittelwert rating score średnia"),
}
_EVERYBODY = {"sum", "all", "total", "overall"}
_SOMEBODY = _names(
    "male males female females men women man woman mal fem boys girls young old older younger middle aged adult adults"
)


def guess_columns(
    sheet: Sheet, decimal: str, given: dict[str, str], path: Path, language: str = ""
) -> dict[str, str]:
    """Find out what the columns of a table mean.

    Args:
        sheet: The table.
        decimal: Its decimal sign.
        given: Meanings that the caller has settled: meaning -> header.
        path: The file, for messages.
        language: ISO 639 code of the words, where known: of several columns of words the one that names it.

    Returns:
        Meaning -> header: word, valence, arousal and whatever else is recognised; groups of raters are not.

    Raises:
        UserError: No column of words, or neither valence nor arousal.
    """
    numeric = [header for i, header in enumerate(sheet.header) if _is_numeric(sheet, i, decimal)]
    candidates: dict[str, list[tuple[int, str]]] = {}
    for header in numeric:
        read = _read_header(header, sheet.header)
        if read is not None and sheet.header.count(header) == 1:
            meaning, not_understood = read
            others = _languages(header) - {language} if language else set()
            candidates.setdefault(meaning, []).append((not_understood + 10 * len(others), header))
    columns = {"word": given.get("word") or _word_column(sheet, numeric, path, language), **given}
    for meaning in (f"{dimension}{suffix}" for dimension in DIMENSIONS for suffix in ("", "_sd", "_n")):
        if meaning in candidates and meaning not in columns:
            columns[meaning] = min(candidates[meaning], key=lambda candidate: candidate[0])[1]
    for header in sheet.header:
        tokens = header_tokens(header)
        if tokens == ["concepticon", "id"]:
            columns.setdefault("concepticon_id", header)
        elif header in numeric and tokens in (["frequency"], ["freq"]):
            columns.setdefault("frequency", header)
    if not {"valence", "arousal"} & columns.keys():
        raise UserError(
            f"Neither valence nor arousal was recognised in {path}. Its columns of numbers are: "
            f"{', '.join(map(repr, numeric)) or 'none'}. Say which they are: valence=HEADER arousal=HEADER."
        )
    return columns


def header_tokens(header: str) -> list[str]:
    """Split a header into lower-case words.

    Example:
        >>> header_tokens("V.Mean.Sum"), header_tokens("ValenceMean"), header_tokens("val_sd")
        (['v', 'mean', 'sum'], ['valence', 'mean'], ['val', 'sd'])
    """
    spaced = re.sub(r"(?<=[a-zà-ÿ])(?=[A-Z])", " ", header)
    return re.findall(r"[^\W\d_]+", spaced.lower())


def _read_header(header: str, headers: list[str]) -> tuple[str, int] | None:
    """Read a header as a measure of a dimension, with the number of words that were not understood."""
    tokens = [token for token in header_tokens(header) if token not in _EVERYBODY]
    if _SOMEBODY & set(tokens):  # a group of raters never stands in for all
        return None
    found = [(d, token) for d, names in _DIMENSION.items() for token in tokens if token in names]
    # A single letter means a dimension only in front, and only beside the others: V, A or V.Mean, A.Mean.
    first_letters = {words[0] for other in headers if (words := header_tokens(other))}
    if not {"v", "a"} <= first_letters:
        found = [(d, token) for d, token in found if len(token) > 1]
    found = [(d, token) for d, token in found if len(token) > 1 or token == tokens[0]]
    if len({dimension for dimension, _ in found}) != 1:
        return None
    dimension, name = found[0]
    rest = [token for token in tokens if token != name]
    for suffix, names in _MEASURE.items():
        if names & set(rest):
            return f"{dimension}{suffix}", len(rest) - 1
    return dimension, len(rest)


def _languages(header: str) -> set[str]:
    return {LANGUAGE_NAMES[token] for token in header_tokens(header) if token in LANGUAGE_NAMES}


def _is_numeric(sheet: Sheet, place: int, decimal: str) -> bool:
    """Tell whether most of a column's cells that are not blank hold numbers."""
    cells = [row[place] for row in sheet.rows if row[place].strip()]
    values = pl.DataFrame({"x": cells}, schema={"x": pl.String}).select(numbers(pl.col("x"), decimal=decimal))
    return 2 * values["x"].count() > len(cells)


def _word_column(sheet: Sheet, numeric: list[str], path: Path, language: str) -> str:
    texts = [header for header in sheet.header if header not in numeric and sheet.header.count(header) == 1]
    if not texts:
        there = ", ".join(repr(header) for header in sheet.header)
        raise UserError(
            f"{path} must have a column of words. Its columns are: {there}. Say which: word=HEADER."
        )
    own = [header for header in texts if language and language in _languages(header)]
    of_others = [header for header in texts if language and _languages(header) - {language}]
    called = [header for header in texts if set(header_tokens(header)) & _WORD]
    for named in (
        [header for header in own if header in called],
        own,
        [header for header in called if header not in of_others],
        called,
        [header for header in texts if _languages(header)],
    ):
        if named:
            return min(named, key=lambda header: len(header_tokens(header)))

    # Words differ from row to row and are short; labels repeat and definitions are long.
    def fitness(header: str) -> tuple[float, float]:
        cells = sheet.column(header, str(path))
        return round(len(set(cells)) / max(len(cells), 1), 1), -sum(map(len, cells))

    return max(texts, key=fitness)
