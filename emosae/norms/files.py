"""Finding a data set's files on this machine, and telling whether they are the ones that were checked."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from emosae.errors import MissingFileError
from emosae.norms.entry import NormEntry
from emosae.paths import data_dirs, embedded

__all__ = ["ENDINGS", "checksum_ok", "digest", "file_names", "locate", "require", "walk"]

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".parquet")
"""Endings of the files that looking can read."""

log = logging.getLogger(__name__)


Tree = Iterable[tuple[Path, frozenset[str]]]
"""Folders, shallowest first, each with the names of what is in it."""


def locate(
    entry: NormEntry, folders: Iterable[Path] | None = None, trees: Mapping[Path, Tree] | None = None
) -> Path | None:
    """Find an entry's file, or its folder where the entry has parts.

    `entry.path` alone counts where it is set. Otherwise each of `folders` is searched with everything below
    it, the shallowest hit first; where several folders have a file of that name, the one with the entry's
    checksum is preferred. The file of an entry that was never verified may end in any of `ENDINGS`: a CSV saved
    from the authors' workbook does as well.

    Args:
        entry: The data set.
        folders: Folders to search; None means `data_dirs()`.
        trees: What `walk` found below the folders, for looking up many entries; None means to walk now.

    Returns:
        The path, or None where it is nowhere.
    """
    fits = _fits(entry)
    if entry.path is not None:
        path = Path(embedded(entry.path)).expanduser()
        return path.absolute() if fits(path) else None
    if not entry.file:
        return None
    names = file_names(entry)
    hits = [
        hit
        for folder in (data_dirs() if folders is None else folders)
        if (hit := _search(folder, names, fits, walk(folder) if trees is None else trees[folder]))
    ]
    if len(hits) > 1:
        return next((hit for hit in hits if checksum_ok(entry, hit)), hits[0])
    return hits[0] if hits else None


def file_names(entry: NormEntry) -> list[str]:
    """List the names under which an entry's file is searched for, the preferred one first."""
    if entry.verified or entry.parts:
        return [entry.file]
    stem = Path(entry.file).stem
    return list(dict.fromkeys([entry.file, *(f"{stem}{ending}" for ending in ENDINGS)]))


def require(entry: NormEntry) -> Path:
    """Find an entry's file, or say where it was looked for and what to do.

    Raises:
        MissingFileError: It is nowhere.
    """
    path = locate(entry)
    if path is not None:
        return path
    what = (
        f"The folder {entry.file!r} with {', '.join(entry.parts.values())}"
        if entry.parts
        else f"The file {entry.file!r}"
    )
    if entry.path is not None:
        looked = f"norms.{entry.name}.path, which is {entry.path!r}"
    else:
        looked = "; ".join(
            f"{folder}{'' if folder.is_dir() else ' (no such folder)'}" for folder in data_dirs()
        )
    raise MissingFileError(
        f"{what} of the data set {entry.name!r} was not found. Looked in: {looked}. Get it with `emosae "
        f"norms fetch {entry.name}`, or say where it is with "
        f"norms.{entry.name}.path={'FOLDER' if entry.parts else 'FILE'} or by naming its folder in the "
        "environment variable EMOSAE_DATA."
    )


def digest(path: Path) -> str:
    """Compute a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_ok(entry: NormEntry, path: Path) -> bool | None:
    """Compare what lies at `path` with the entry's checksums.

    Returns:
        True or False; None where the entry has no checksum for any of the files.
    """
    if entry.parts:
        pairs = [(path / name, entry.sha256.get(name)) for name in entry.parts.values()]
    else:
        pairs = [(path, entry.sha256.get(entry.file))]
    known = [(file, wanted) for file, wanted in pairs if wanted]
    return all(digest(file) == wanted for file, wanted in known) if known else None


def warn_on_mismatch(entry: NormEntry, path: Path) -> bool | None:
    """Do as `checksum_ok`, and log a warning where the file is not the one that was checked."""
    same = checksum_ok(entry, path)
    if same is False:
        log.warning(
            "%s is not the file that the entry %s was checked against (its SHA-256 differs): a newer "
            "edition, or a changed file. It is read all the same.",
            path,
            entry.name,
        )
    return same


def _fits(entry: NormEntry) -> Callable[[Path], bool]:
    if entry.parts:
        return lambda path: path.is_dir() and all((path / name).is_file() for name in entry.parts.values())
    return Path.is_file


def walk(root: Path) -> Iterator[tuple[Path, frozenset[str]]]:
    """List a folder and those below it breadth first; hidden folders are left out."""
    waiting, seen = deque([root]), set()
    while waiting:
        folder = waiting.popleft()
        real = os.path.realpath(folder)  # a link may lead back up
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(folder))
        except OSError:  # no such folder, or not ours to read
            continue
        yield folder, frozenset(entry.name for entry in entries)
        waiting.extend(
            map(Path, sorted(entry.path for entry in entries if entry.name[0] != "." and entry.is_dir()))
        )


def _search(root: Path, names: Sequence[str], fits: Callable[[Path], bool], tree: Tree) -> Path | None:
    """Find the shallowest entry called one of `names` that `fits`; `root` itself counts."""
    if root.name in names and fits(root):
        return root
    for folder, there in tree:
        for name in names:
            if name in there and fits(folder / name):
                return folder / name
    return None
