"""Taking in a table of ratings of one's own: look at it, say what was found, keep a copy, write its entry."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml

from emosae.errors import MissingFileError, UserError
from emosae.norms.download import staging
from emosae.norms.entry import DIMENSIONS, NAME_PATTERN, NormEntry, check_meaning
from emosae.norms.files import digest
from emosae.norms.headers import guess_columns
from emosae.norms.look import look_at, say_columns, with_scale
from emosae.norms.readers import load_ratings
from emosae.norms.registry import entry_files, find, is_own, target_of
from emosae.norms.scripts import guess_language
from emosae.norms.sheet import Sheet
from emosae.paths import cache_root

__all__ = ["add", "add_from_words", "entry_yaml", "remove"]

log = logging.getLogger(__name__)

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_SETTINGS = ("name", "language", "encoding", "scale", "sheet")


def add(
    path: Path | str,
    *,
    name: str | None = None,
    language: str | None = None,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
    encoding: str | None = None,
    sheet: int = 1,
) -> NormEntry:
    """Add a table of word ratings to the registry: CSV, TSV, Parquet or Excel.

    What is not given is found out by looking at the file, and said in the entry's `notes`. The file is read
    once as the entry says before anything is written; then a copy goes to `data/` of the cache and the entry
    to `conf/norms/` beside it.

    Args:
        path: The file.
        name: Name of the data set; None makes one from the file's name.
        language: ISO 639 code of the words; None means by their script, where only one language uses it.
        columns: What columns mean: `{"valence": "V.Mean.Sum"}`; those not named are looked for.
        scale: Low and high end of the rating scale; None means the tightest usual scale that holds the
            values.
        encoding: Text encoding; None means UTF-8, or a guess where it is not.
        sheet: Of an Excel workbook: which sheet, from 1.

    Returns:
        The new entry.

    Raises:
        MissingFileError: There is no such file.
        UserError: Something cannot be found out, the file cannot be read, or the name is taken.
    """
    return _add(Path(path), name, language, dict(columns or {}), scale, encoding, sheet)[0]


def add_from_words(path: Path | str, settings: Mapping[str, str]) -> tuple[NormEntry, list[str]]:
    """Do as `add`, with settings as they are typed on a command line.

    Args:
        path: The file.
        settings: `name`, `language`, `encoding`, `scale` (as 1..9, 1,9 or 1-9), `sheet` (of a workbook), and a
            header for any meaning of a column: `valence`, `arousal_sd`, `word`, …

    Returns:
        The new entry, and a sentence for each thing that was found out.

    Raises:
        MissingFileError: There is no such file.
        UserError: As for `add`, or a setting that is none.
    """
    left = dict(settings)
    name, language, encoding = (left.pop(key, None) for key in ("name", "language", "encoding"))
    scale, sheet = left.pop("scale", None), left.pop("sheet", "1")
    if not sheet.isdecimal() or sheet == "0":
        raise UserError(f"The sheet must be a number from 1, got {sheet!r}. Write sheet=2 for the second.")
    columns = {key.removeprefix("columns."): header for key, header in left.items()}
    for meaning in columns:
        check_meaning(meaning, "setting of `emosae norms add`", _SETTINGS)
    ends = None if scale is None else _parse_scale(scale)
    return _add(Path(path), name, language, columns, ends, encoding, int(sheet))


def _add(
    path: Path,
    name: str | None,
    language: str | None,
    columns: dict[str, str],
    scale: tuple[float, float] | None,
    encoding: str | None,
    sheet: int,
) -> tuple[NormEntry, list[str]]:
    path = path.expanduser()
    if not path.is_file():
        raise MissingFileError.at(
            "The table of ratings", path, "Give the path of a CSV, TSV, Parquet or Excel file."
        )
    name = _free_name(path, name)
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise UserError(
            f"The language must be a code of ISO 639 such as en, zh or de, got {language!r}. Write that."
        )
    entry, table, found = look_at(path, encoding, language, sheet)
    meant = guess_columns(table, entry.decimal, columns, path, language or "")
    entry = replace(entry, name=name, title=path.stem, columns=meant)
    found.append(say_columns(meant))
    found += _unused(table, meant)
    entry = with_scale(entry, table, scale, path, found)
    entry = _with_language(entry, table, language, path, found)
    entry = replace(
        entry, file=f"{name}{path.suffix.lower()}", sha256={f"{name}{path.suffix.lower()}": digest(path)}
    )
    ratings = load_ratings(replace(entry, path=str(path)))
    found.append(ratings.summary().removeprefix(f"{name}: ") + ".")
    entry = replace(
        entry, verified=True, n_words=len(ratings), notes=f"Added from {path.name}. {' '.join(found)}"
    )
    _write(entry, path)
    return entry, found


def _unused(table: Sheet, meant: dict[str, str]) -> list[str]:
    """Say which columns were taken for nothing, and how to take one for a rating all the same."""
    left = [header for header in table.header if header and header not in meant.values()]
    open_ = [dimension for dimension in DIMENSIONS if dimension not in meant]
    if not left or not open_:
        return []
    shown = ", ".join(map(repr, left[:8])) + (" and more" if len(left) > 8 else "")
    return [f"Not used: {shown}. If one of them is {' or '.join(open_)}, say so: {open_[0]}={left[0]!r}."]


def _free_name(path: Path, name: str | None) -> str:
    made = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") if name is None else name
    if not NAME_PATTERN.fullmatch(made):
        raise UserError(
            "The name of a data set must be letters, digits and underscores, starting with a letter, got "
            f"{made!r}. Choose one with name=NAME."
        )
    taken = entry_files()
    if made in taken:
        also = f", or take it out first with `emosae norms remove {made}`" if is_own(made) else ""
        raise UserError(
            f"There is a data set {made!r} already ({taken[made]}). Choose another name with name=NAME{also}."
        )
    return made


def _with_language(
    entry: NormEntry, sheet: Sheet, language: str | None, path: Path, found: list[str]
) -> NormEntry:
    header = entry.columns["word"]
    guess, script, reason = guess_language(sheet.column(header, str(path)), header)
    if language is None and not guess:
        raise UserError(
            f"The language of {path} cannot be told from its words ({reason}). Say which it is with "
            "language=CODE, for example language=en."
        )
    if language is None:
        found.append(f"Language taken to be {guess} by {reason}.")
    language = language or guess
    return replace(entry, language=language, script=script if language.startswith("zh") else None)


def _parse_scale(text: str) -> tuple[float, float]:
    number = r"\s*([-−]?\d+(?:\.\d+)?)\s*"
    match = re.fullmatch(rf"[\[(]?{number}(?:\.\.|,|:|-|to){number}[\])]?", text)
    if not match:
        raise UserError(f"The scale must be its two ends, got {text!r}. Write scale=1..9 or scale=-3..3.")
    low, high = (float(end.replace("−", "-")) for end in match.groups())
    return low, high


def remove(name: str) -> list[Path]:
    """Take a data set of one's own out of the registry: its entry, and the copy of its file in the cache.

    Args:
        name: Name of the data set.

    Returns:
        The files that were removed; the file that was once added stays where it is.

    Raises:
        UserError: There is no such data set, or it is one that emosae brings.
    """
    entry = find(name)
    if not is_own(name):
        raise UserError(
            f"The data set {name!r} belongs to emosae and stays. Only those that you added can go."
        )
    conf, data = entry_files()[name], target_of(entry)
    conf.unlink()  # first: no entry ever points at nothing
    gone = [conf]
    if entry.path is None and data.is_file():
        data.unlink()
        gone.append(data)
    return gone


def entry_yaml(entry: NormEntry) -> str:
    """Write an entry as a file of conf/norms/: what differs from the defaults, packaged for Hydra."""
    default = asdict(NormEntry())
    body: dict[str, Any] = {}
    for item in fields(NormEntry):
        value = getattr(entry, item.name)
        if item.name in {"name", "kind"} or value != default[item.name]:
            body[item.name] = _plain(value)
    text = yaml.safe_dump(body, allow_unicode=True, sort_keys=False, width=110)
    return f"# @package norms.{entry.name}\n{text}"


def _plain(value: Any) -> Any:
    """Turn Enums into their words, and keep OmegaConf from reading `${…}` in a header as a reference."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", str(getattr(value, "value", value)))
    return value


def _write(entry: NormEntry, source: Path) -> None:
    """Put the copy in place and then the entry, each in one step: no entry ever points at nothing."""
    data = cache_root() / "data" / entry.file
    conf = cache_root() / "conf" / "norms" / f"{entry.name}.yaml"
    if data.exists() and digest(data) != entry.sha256[entry.file]:
        raise UserError(f"{data} is in the way: another file is there. Remove it, or choose another name.")
    with staging(data.parent) as folder:
        shutil.copyfile(source, folder / entry.file)
        os.replace(folder / entry.file, data)
    with staging(conf.parent) as folder:
        staged = folder / conf.name
        staged.write_text(entry_yaml(entry), encoding="utf-8")
        os.replace(staged, conf)
    log.info("Added %s: %s", entry.name, conf)
