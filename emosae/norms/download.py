"""Getting a data set's file: from its official address, or from a copy that is already on this machine."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from emosae.errors import MissingFileError, UserError
from emosae.norms.entry import Kind, NormEntry
from emosae.norms.files import ENDINGS, digest, locate, require
from emosae.norms.registry import find, next_step, target_of, without_address

__all__ = ["fetch", "staging"]

log = logging.getLogger(__name__)

_TIMEOUT_S = 30


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
    target = target_of(entry)
    if source is not None:
        return _take(entry, Path(source).expanduser(), target)
    here = locate(entry)
    if here is not None:
        log.info("%s is already here: %s", name, here)
        return here
    if without_address(entry):
        raise UserError(next_step(entry))
    needed = list(entry.parts.values()) or [entry.file]
    by_hand = (
        f"Download it by hand from {entry.url or f'https://doi.org/{entry.doi}'} and run `emosae norms fetch {name} "
        f"{'FOLDER' if entry.parts else 'FILE'}`, or put it at {target}."
    )
    if target.exists():
        raise UserError(
            f"{target} is in the way: it is not a whole {name!r}. Remove it and run the command again."
        )
    with staging(target.parent) as folder:
        staged = folder / entry.file
        for file in needed:
            _download(entry, file, staged if entry.parts else folder, by_hand)
        if not entry.sha256:  # a checksum says that it is the right file; reading it says that it may be
            try:
                _read_through(replace(entry, path=str(staged)))
            except UserError as error:
                raise UserError(
                    f"What {' '.join(entry.download.values())} sent cannot be read as {name} ({error}) {by_hand}"
                ) from error
        staged.replace(target)
    return target


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Give a hidden folder beside the goal, gone afterwards, so that nothing half-written is ever found."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".emosae-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


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
        if file in entry.archive:
            _unpack(entry, file, folder, by_hand)
    except (requests.RequestException, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        if isinstance(error, requests.HTTPError) and error.response is not None:
            error.response.close()  # pooch leaves the connection of a refused download open
        raise UserError(
            f"{file} could not be downloaded from {address} ({type(error).__name__}; is this machine "
            f"offline?). {by_hand}"
        ) from error
    if known and digest(folder / file) != known:
        raise UserError(
            f"What {address} sent is not the {file} that the entry {entry.name} was checked against (its "
            f"SHA-256 differs): a newer edition, or an error page. To use it all the same: {by_hand}"
        )


def _unpack(entry: NormEntry, file: str, folder: Path, by_hand: str) -> None:
    """Put one member of the archive that was downloaded as `file` in its place."""
    member = entry.archive[file]
    try:
        with zipfile.ZipFile(folder / file) as archive:
            # Folders inside an archive come and go between editions; the file's own name stays.
            places = [one for one in archive.namelist() if one == member or one.endswith(f"/{member}")]
            if len(places) != 1:
                raise KeyError(f"it holds {', '.join(archive.namelist()[:8]) or 'nothing'}")
            content = archive.read(places[0])
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"What {entry.download[file]} sent is not the archive with {member} in it ({error}): another edition, "
            f"or an error page. {by_hand}"
        ) from error
    (folder / file).write_bytes(content)


def _take(entry: NormEntry, source: Path, target: Path) -> Path:
    """Copy a local file or folder into the cache, after reading it as the entry says."""
    if not source.exists():
        raise MissingFileError.at(f"The file for {entry.name}", source, "Give the path of the file you have.")
    if not entry.verified and not entry.parts and source.suffix.lower() in ENDINGS:
        # A table saved from the authors' file will do, under an ending that says what it is.
        target = target.with_suffix(source.suffix.lower())
        entry = replace(entry, file=target.name)
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

    if entry.kind is Kind.associations:
        with require(entry).open("rb") as file:
            header = file.readline().decode("utf-8-sig", errors="replace").lower()
        if "cue" not in re.split(r"\W+", header):
            raise UserError(
                f"{entry.path} must be a table of associations with a column `cue`, and its first line is "
                f"{header.strip()[:80]!r}. Give another file."
            )
        return
    (load_ratings if entry.kind is Kind.ratings else load_similarity)(entry)


def _same(entry: NormEntry, one: Path, other: Path) -> bool:
    pairs = [(one / file, other / file) for file in entry.parts.values()] or [(one, other)]
    return all(digest(a) == digest(b) for a, b in pairs)
