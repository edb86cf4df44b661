"""Finding a data set's files on this machine, and telling whether they are the ones that were checked."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from emosae.errors import MissingFileError
from emosae.norms.entry import NormEntry
from emosae.paths import data_dirs, embedded

__all__ = ["checksum_ok", "digest", "locate", "require"]

log = logging.getLogger(__name__)


def locate(entry: NormEntry, folders: Iterable[Path] | None = None) -> Path | None:
    """Find an entry's file, or its folder where the entry has parts.

    `entry.path` alone counts where it is set. Otherwise each of `folders` is searched with everything below
    it, the shallowest hit first; where several folders have a file of that name, the one with the entry's
    checksum is preferred.

    Args:
        entry: The data set.
        folders: Folders to search; None means `data_dirs()`.

    Returns:
        The path, or None where it is nowhere.
    """
    fits = _fits(entry)
    if entry.path is not None:
        path = Path(embedded(entry.path)).expanduser()
        return path.absolute() if fits(path) else None
    if not entry.file:
        return None
    hits = [
        hit
        for folder in (data_dirs() if folders is None else folders)
        if (hit := _search(folder, entry.file, fits))
    ]
    if len(hits) > 1:
        return next((hit for hit in hits if checksum_ok(entry, hit)), hits[0])
    return hits[0] if hits else None


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


def _search(root: Path, name: str, fits: Callable[[Path], bool]) -> Path | None:
    """Search `root` breadth first for an entry called `name` that `fits`; hidden folders are left out."""
    if root.name == name and fits(root):
        return root
    waiting, seen = deque([root]), set()
    while waiting:
        folder = waiting.popleft()
        real = os.path.realpath(folder)  # a link may lead back up
        if real in seen:
            continue
        seen.add(real)
        if fits(folder / name):
            return folder / name
        try:
            below = sorted(
                entry.path for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
            )
        except OSError:  # no such folder, or not ours to read
            continue
        waiting.extend(map(Path, below))
    return None
