"""sae_cache/: converted SAEs, one folder each, written once and whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.paths import cache_root

if TYPE_CHECKING:
    from emosae.saes.config import SAEConfig
    from emosae.saes.convert import FeatureMajor

__all__ = [
    "CacheEntry",
    "cache_root",
    "entry_folders",
    "entry_key",
    "find_entry",
    "key_of",
    "list_entries",
    "obtain",
    "open_entry",
    "saes_root",
    "temporary_folders",
    "try_lock",
    "writable",
]

log = logging.getLogger(__name__)

FORMAT = 1
ENTRY_FILE = "entry.json"
WEIGHTS_FILE = "weights.safetensors"
_TEMPORARY = ".writing-"
_LOCKS = ".locks"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A converted SAE in the cache.

    Attributes:
        key: The folder's name.
        path: The folder.
        source: Where it came from: `kind` (folder, registry or hub) and what names it there.
        cfg: Its config.
        fingerprint: The identity of its content.
        checksums: CRC-32 of the tensors that are read at once.
        nbytes: The size of its weights.
        created: When it was converted, ISO 8601, UTC.
        created_by: The versions of emosae, sae-lens and torch that converted it.
    """

    key: str
    path: Path
    source: dict[str, Any]
    cfg: SAEConfig
    fingerprint: str
    checksums: dict[str, int]
    nbytes: int
    created: str
    created_by: str


def saes_root() -> Path:
    """Give the folder of converted SAEs inside the cache."""
    return cache_root() / "saes"


def entry_key(name: str, identity: Mapping[str, Any]) -> str:
    """Name an entry: readable first, then a digest of all that determines it.

    Args:
        name: What a person would call it.
        identity: What it was converted from, as JSON values.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-80:] or "sae"
    text = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
    return f"{readable}--{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def open_entry(path: Path) -> CacheEntry:
    """Read an entry's description.

    Raises:
        UserError: The folder holds no entry of this version's format.
    """
    from emosae.saes.config import SAEConfig

    try:
        described = json.loads((path / ENTRY_FILE).read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise UserError(
                f"The converted SAE at {str(path)!r} has format {described['format']!r}, and this emosae "
                f"reads format {FORMAT}. Delete that folder; the SAE is converted again when it is next used."
            )
        nbytes = (path / WEIGHTS_FILE).stat().st_size
        if nbytes != described["nbytes"]:
            raise UserError(
                f"The converted SAE at {str(path)!r} is cut short: {nbytes} bytes of {described['nbytes']}. "
                "Delete that folder; the SAE is converted again when it is next used."
            )
        return CacheEntry(
            key=path.name,
            path=path,
            source=described["source"],
            cfg=SAEConfig.from_fields(described["config"]),
            fingerprint=described["fingerprint"],
            checksums=described["checksums"],
            nbytes=nbytes,
            created=described["created"],
            created_by=described["created_by"],
        )
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The folder {str(path)!r} holds no readable converted SAE ({error}). "
            "Delete it; the SAE is converted again when it is next used."
        ) from error


def find_entry(key: str) -> CacheEntry | None:
    """Give the entry of that key, or None where there is no readable one."""
    path = saes_root() / key
    if not (path / ENTRY_FILE).is_file():
        return None
    try:
        return open_entry(path)
    except UserError as error:
        log.warning("%s", error)
        return None


def obtain(key: str, source: Mapping[str, Any], convert: Callable[[], FeatureMajor]) -> CacheEntry:
    """Give the entry of that key, converting its source first where there is none.

    Two processes that want it at once end with one entry: the second waits for the first. The entry is
    written beside its place and renamed, so that a conversion that is killed leaves nothing that is read.

    Args:
        key: What `entry_key` gave.
        source: What the entry will say it came from.
        convert: Reads the source; called only where it is needed.

    Raises:
        UserError: The source cannot be converted, or the cache cannot be written.
    """
    found = find_entry(key)
    if found is not None:
        return found
    root = saes_root()
    with _lock(root, key):
        found = find_entry(key)
        if found is not None:
            return found
        _remove_leftovers(root, key)
        log.info("Converting the SAE %s; this is done once", key)
        raw = convert()
        with writable(root):
            folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{key}.", dir=root))
            try:
                _write_entry(folder, source, raw)
                if (root / key).exists():  # find_entry has said that it cannot be read
                    shutil.rmtree(root / key)
                folder.rename(root / key)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return open_entry(root / key)


def list_entries() -> list[CacheEntry]:
    """Give every readable entry of the cache, in the order of their names."""
    found = (find_entry(path.name) for path in entry_folders())
    return [entry for entry in found if entry is not None]


def _write_entry(folder: Path, source: Mapping[str, Any], raw: FeatureMajor) -> None:
    from emosae.saes.pack import plan

    layout = plan(raw)
    free = shutil.disk_usage(folder).free
    if layout.nbytes > free:
        raise UserError(
            f"The converted SAE needs {layout.nbytes / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free "
            f"at {str(folder.parent)!r}. Make room there, or set EMOSAE_CACHE to a folder with more."
        )
    with (folder / WEIGHTS_FILE).open("wb") as file:
        packed = layout.write(file)
        file.flush()
        os.fsync(file.fileno())
    described = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_by": _versions(),
        "source": dict(source),
        "config": raw.cfg.to_dict(),
        "arithmetic": raw.cfg.arithmetic,
        "fingerprint": packed.fingerprint,
        "checksums": packed.checksums,
        "nbytes": layout.nbytes,
    }
    # entry.json is what makes a folder an entry, so it comes last.
    with (folder / ENTRY_FILE).open("w", encoding="utf-8") as text:
        json.dump(described, text, indent=2)
        text.flush()
        os.fsync(text.fileno())
    folder.chmod(0o755)  # mkdtemp keeps others out, and caches are shared


def _versions() -> str:
    """What converts now: the loaders of another sae-lens may read a release differently."""

    def version(package: str) -> str:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            return package

    return ", ".join(version(package) for package in ("emosae", "sae-lens", "torch"))


def entry_folders() -> list[Path]:
    """Give the folders of the cache that are, or claim to be, entries."""
    root = saes_root()
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def temporary_folders(root: Path) -> list[Path]:
    """Give the folders that conversions are writing, or were when they were killed."""
    return sorted(root.glob(f"{_TEMPORARY}*")) if root.is_dir() else []


def key_of(path: Path) -> str:
    """The entry that a folder is, or was meant to become."""
    name = path.name
    return name.removeprefix(_TEMPORARY).rpartition(".")[0] if name.startswith(_TEMPORARY) else name


def _remove_leftovers(root: Path, key: str) -> None:
    """Remove what killed conversions of this entry left; its lock is held, so nobody is writing."""
    for path in temporary_folders(root):
        if key_of(path) == key:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def writable(root: Path) -> Iterator[None]:
    """Turn a cache that cannot be written into a sentence."""
    try:
        yield
    except (UserError, TimeoutError):  # a lock that is held is no fault of the folder's
        raise
    except OSError as error:
        raise UserError(
            f"The cache of converted SAEs at {str(root)!r} cannot be written ({error.strerror or error}). "
            "Set EMOSAE_CACHE to a folder that can."
        ) from error


@contextlib.contextmanager
def _lock(root: Path, key: str) -> Iterator[None]:
    """Hold an entry's lock, waiting for whoever has it."""
    with try_lock(root, key, patience_s=1) as free:
        if free:
            yield
            return
    log.info("Waiting for another process that is converting the SAE %s", key)
    with try_lock(root, key, patience_s=-1):
        yield


@contextlib.contextmanager
def try_lock(root: Path, key: str, patience_s: float = 0) -> Iterator[bool]:
    """Hold an entry's lock, or say that another process has it after some seconds; -1 waits for ever."""
    from filelock import FileLock, Timeout

    lock = FileLock(root / _LOCKS / f"{key}.lock")
    try:
        with writable(root):
            (root / _LOCKS).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience_s)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
