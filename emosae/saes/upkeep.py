"""Keeping sae_cache/ sound: every byte checked, and what is of no use removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from emosae.errors import UserError, unknown_name
from emosae.saes.cache import (
    WEIGHTS_FILE,
    entry_folders,
    key_of,
    open_entry,
    saes_root,
    temporary_folders,
    try_lock,
    writable,
)

__all__ = ["Verification", "prune", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking an entry found: no problems, or one sentence for each."""

    key: str
    path: Path
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not self.problems


def verify(key: str | None = None) -> list[Verification]:
    """Check every byte of one entry, or of all.

    Args:
        key: The entry's name; None checks the whole cache.

    Returns:
        What was found, an entry each.

    Raises:
        UserError: There is no entry of that name.
    """
    folders = entry_folders()
    if key is not None:
        chosen = [path for path in folders if path.name == key]
        if not chosen:
            raise unknown_name("converted SAE", key, [path.name for path in folders])
        folders = chosen
    return [Verification(path.name, path, tuple(_problems(path))) for path in folders]


def prune(*, check: bool = False, dry_run: bool = False) -> list[Verification]:
    """Remove what can no longer be used.

    That is: leftovers of conversions that were killed, entries that cannot be read, and entries of folders
    that are gone or have changed since.

    Args:
        check: Also verify every byte, and remove the entries that fail.
        dry_run: Only say what would be removed.

    Returns:
        What was removed, with the reasons.
    """
    removed = []
    for path in temporary_folders(saes_root()):
        removed.append(Verification(path.name, path, ("a conversion was stopped before its end",)))
    for path in entry_folders():
        reasons = _problems(path, check=check) or _outdated(path)
        if reasons:
            removed.append(Verification(path.name, path, tuple(reasons)))
    return [found for found in removed if dry_run or _remove(found.path)]


def _remove(path: Path) -> bool:
    """Remove a folder unless a conversion is at work on it, and say whether it is gone."""
    with try_lock(path.parent, key_of(path)) as free:
        if free:
            with writable(path.parent):
                shutil.rmtree(path)
    return free


def _problems(path: Path, *, check: bool = True) -> list[str]:
    from emosae.saes.weights import Weights

    try:
        entry = open_entry(path)
        if not check:
            return []
        weights = Weights.open(path / WEIGHTS_FILE, entry.checksums)
    except UserError as error:
        return [str(error)]
    problems = []
    for name in weights.matrices:
        wrong = weights.wrong_rows(name)
        if wrong:
            shown = ", ".join(str(row) for row in wrong[:5]) + (", …" if len(wrong) > 5 else "")
            problems.append(f"{len(wrong)} rows of {name} do not match their checksums: {shown}")
    if weights.fingerprint(entry.cfg.arithmetic) != entry.fingerprint:
        problems.append("the config or the vectors are not those that the fingerprint was made of")
    return problems


def _outdated(path: Path) -> list[str]:
    source = open_entry(path).source
    if source.get("kind") != "folder":
        return []
    from emosae.saes.folder import folder_identity

    folder = Path(source["path"])
    try:
        current = folder_identity(folder)
    except (OSError, UserError):
        return [f"its source is gone: {str(folder)!r}"]
    if current != source["identity"]:
        return [f"its source has changed since it was converted: {str(folder)!r}"]
    return []
