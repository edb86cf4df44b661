"""SAELens' registry of releases, read from its data file: no network, and not SAELens' own import."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emosae.errors import UserError, unknown_name

__all__ = ["Release", "find_path", "has_release", "lookup", "releases"]


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the registry.

    Attributes:
        name: SAELens' name of it.
        model: The model its SAEs were trained on.
        repo_id: The Hugging Face repository.
        paths: The path in the repository of each SAE, by its id.
    """

    name: str
    model: str
    repo_id: str
    paths: dict[str, str]


@functools.cache
def releases() -> dict[str, Release]:
    """Give every release that the installed SAELens knows, by name; reading takes about two seconds.

    Raises:
        UserError: SAELens is not installed, or its registry has moved.
    """
    spec = importlib.util.find_spec("sae_lens")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / "pretrained_saes.yaml" if folders else None
    if path is None or not path.is_file():
        raise UserError("SAELens' registry of releases is missing. Install sae-lens 6.54 or later.")
    with path.open(encoding="utf-8") as file:
        content: dict[str, Any] = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {
        name: Release(
            name=name,
            model=str(entry["model"]),
            repo_id=str(entry["repo_id"]),
            paths={str(sae["id"]): str(sae["path"]) for sae in entry["saes"]},
        )
        for name, entry in content.items()
    }


def has_release(name: str) -> bool:
    """Say whether the registry knows a release of that name."""
    return name in releases()


def lookup(release: str, sae_id: str) -> Release:
    """Check a release and an id before anything is downloaded.

    Args:
        release: SAELens' name of the release.
        sae_id: The id in it.

    Returns:
        The release.

    Raises:
        UserError: There is no such release, or no such id in it; the message names the nearest.
    """
    if not has_release(release):
        raise unknown_name("SAE release", release, releases())
    found = releases()[release]
    if sae_id not in found.paths:
        raise unknown_name(f"SAE in release {release}:", sae_id, found.paths)
    return found


def find_path(repo_id: str, path: str) -> tuple[str, str] | None:
    """Give the (release, sae_id) under which the registry lists a path of a repository, or None.

    The registry knows what the repository's own files do not say: the norm scaling factor, or that the
    model's writing weights were centred.
    """
    for release in releases().values():
        if release.repo_id == repo_id:
            for sae_id, listed in release.paths.items():
                if listed.strip("/") == path.strip("/"):
                    return release.name, sae_id
    return None
