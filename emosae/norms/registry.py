"""The registry: which human data sets exist, which are here, and getting the others."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.norms.entry import Kind, NormEntry, check_entry
from emosae.norms.files import digest, locate
from emosae.paths import cache_root, conf_dir

__all__ = ["entry_files", "fetch", "find", "list_entries", "staging"]

log = logging.getLogger(__name__)

_TIMEOUT_S = 30


def entry_files() -> dict[str, Path]:
    """List the entries by name: the shipped ones and the user's own; of two of one name the user's."""
    shipped = {path.stem: path for path in sorted((conf_dir() / "norms").glob("*.yaml"))}
    own = {path.stem: path for path in sorted((cache_root() / "conf" / "norms").glob("*.yaml"))}
    for name in shipped.keys() & own.keys():
        log.warning("The data set %s of %s takes the place of the shipped one.", name, own[name])
    return dict(sorted((shipped | own).items()))


def find(name: str) -> NormEntry:
    """Read a data set's entry by its name.

    Raises:
        UserError: There is no such entry, or its YAML is wrong.
    """
    files = entry_files()
    if name not in files:
        raise unknown_name("data set", name, files, hint="Add one of your own with `emosae norms add FILE`.")
    return _read_entry(files[name])


def list_entries() -> pl.DataFrame:
    """List every data set and whether it is on this machine.

    Returns:
        Columns `name`, `kind`, `language`, `words` (concepts, for similarity), `licence`, `here` (yes or no),
        `verified` (yes or no: the mapping was checked against the real file), `path` (empty where not here).
    """
    rows = []
    for path in entry_files().values():
        entry = _read_entry(path)
        where = locate(entry)
        language = f"{entry.language} ({entry.script.value})" if entry.script else entry.language
        here, verified = ("yes" if where else "no"), ("yes" if entry.verified else "no")
        known = (entry.name, entry.kind.value, language, entry.n_words, entry.license)
        rows.append((*known, here, verified, str(where or "")))
    text = ["name", "kind", "language", "licence", "here", "verified", "path"]
    order = [*text[:3], "words", *text[3:]]
    return pl.DataFrame(rows, schema={c: pl.String if c in text else pl.Int64 for c in order}, orient="row")


def fetch(name: str, *, source: Path | None = None) -> Path:
    """Get a data set's file: from its official address, or from a copy that is already on this machine.

    Args:
        name: Name of the entry.
        source: A file (or folder, for a set of several files) to take instead of downloading. It is read once
            to see that it is what the entry describes; another edition is taken with a warning.

    Returns:
        Where the file lies: in `data/` of the cache, or where it already was.

    Raises:
        UserError: The address is unknown or cannot be reached, what came is another file, or another file is
            in the way; the message says where to get it and where to put it.
    """
    entry = find(name)
    target = cache_root() / "data" / entry.file
    if source is not None:
        return _take(entry, Path(source).expanduser(), target)
    here = locate(entry)
    if here is not None:
        log.info("%s is already here: %s", name, here)
        return here
    needed = list(entry.parts.values()) or [entry.file]
    missing = [file for file in needed if file not in entry.download]
    what = "FOLDER" if entry.parts else "FILE"
    by_hand = (
        f"{f'Download it by hand from {entry.url}' if entry.url else 'Get it from its authors'} and run "
        f"`emosae norms fetch {name} {what}`, or put it at {target}."
    )
    if missing:
        raise UserError(
            f"No direct address is known for {', '.join(missing)} of the data set {name!r}. {by_hand} "
            f"About this file: {entry.notes}"
        )
    if target.exists():
        raise UserError(
            f"{target} is in the way: it is not a whole {name!r}. Remove it and run the command again."
        )
    with staging(target.parent) as folder:
        staged = folder / entry.file
        for file in needed:
            _download(entry, file, staged if entry.parts else folder, by_hand)
        staged.replace(target)
    return target


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Give a hidden folder beside the goal, gone afterwards, so that nothing half-written is ever found."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".emosae-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _read_entry(path: Path) -> NormEntry:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(NormEntry), OmegaConf.load(path))
        entry = OmegaConf.to_object(merged)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} must be a registry entry, and is not ({reason}). Correct or remove it."
        ) from error
    assert isinstance(entry, NormEntry)
    if entry.name != path.stem:
        raise UserError(
            f"The name in {path} must be {path.stem!r}, got {entry.name!r}. Correct one of the two."
        )
    check_entry(entry)
    return entry


def _download(entry: NormEntry, file: str, folder: Path, by_hand: str) -> None:
    """Download one file into `folder`, where its checksum is compared."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    known = entry.sha256.get(file)
    address = entry.download[file]
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT_S)
    try:
        pooch.retrieve(address, known_hash=None, fname=file, path=folder, downloader=downloader)
    except (requests.RequestException, OSError, ValueError) as error:
        raise UserError(
            f"{file} could not be downloaded from {address} ({type(error).__name__}; is this machine "
            f"offline?). {by_hand}"
        ) from error
    if known and digest(folder / file) != known:
        raise UserError(
            f"What {address} sent is not the {file} that the entry {entry.name} was checked against (its "
            f"SHA-256 differs): a newer edition, or an error page. To use it all the same: {by_hand}"
        )


def _take(entry: NormEntry, source: Path, target: Path) -> Path:
    """Copy a local file or folder into the cache, after reading it as the entry says."""
    if not source.exists():
        raise MissingFileError.at(f"The file for {entry.name}", source, "Give the path of the file you have.")
    _read_through(replace(entry, path=str(source)))
    if target.exists():
        if locate(replace(entry, path=str(target))) and _same(entry, source, target):
            return target
        raise UserError(
            f"{target} is in the way: another file is there. Remove it and run the command again."
        )
    with staging(target.parent) as folder:
        staged = folder / entry.file
        if entry.parts:
            staged.mkdir()
            for file in sorted({*entry.parts.values(), *entry.sha256}):
                if (source / file).is_file():
                    shutil.copyfile(source / file, staged / file)
        else:
            shutil.copyfile(source, staged)
        staged.replace(target)
    return target


def _read_through(entry: NormEntry) -> None:
    from emosae.norms.readers import load_ratings
    from emosae.norms.similarity import load_similarity

    (load_ratings if entry.kind is Kind.ratings else load_similarity)(entry)


def _same(entry: NormEntry, one: Path, other: Path) -> bool:
    pairs = [(one / file, other / file) for file in entry.parts.values()] or [(one, other)]
    return all(digest(a) == digest(b) for a, b in pairs)
