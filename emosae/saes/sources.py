"""From what a user names (a folder, a release, a repository) to its converted entry in the cache."""

from __future__ import annotations

from pathlib import Path

from emosae.errors import UserError
from emosae.saes import cache
from emosae.saes.convert import FeatureMajor, convert
from emosae.saes.folder import check_folder, folder_identity, read_folder

__all__ = ["entry_of_folder", "entry_of_release", "entry_of_repository"]


def entry_of_folder(folder: str | Path, *, norm_scaling_factor: float | None = None) -> cache.CacheEntry:
    """Give the entry of a SAELens folder, converting it if it is new or has changed.

    A folder that is itself a converted entry is used where it is.
    """
    path = Path(folder).expanduser()
    if (path / cache.ENTRY_FILE).is_file() and (path / cache.WEIGHTS_FILE).is_file():
        return cache.open_entry(path)
    check_folder(path)
    identity = folder_identity(path)
    source = {
        "kind": "folder",
        "name": path.resolve().name,
        "path": str(path.resolve()),
        "identity": identity,
        "norm_scaling_factor": norm_scaling_factor,
    }
    key = cache.entry_key(path.resolve().name, {**identity, "norm_scaling_factor": norm_scaling_factor})
    return cache.obtain(key, source, lambda: read_folder(path, norm_scaling_factor=norm_scaling_factor))


def entry_of_release(
    release: str, sae_id: str, *, revision: str | None = None, norm_scaling_factor: float | None = None
) -> cache.CacheEntry:
    """Give the entry of an SAE of SAELens' registry; a release with a slash may be a repository instead."""
    identity = {
        "release": release,
        "sae_id": sae_id,
        "revision": revision,
        "norm_scaling_factor": norm_scaling_factor,
    }
    source = {"kind": "registry", "name": f"{release}/{sae_id}", **identity}
    key = cache.entry_key(f"{release}--{sae_id}", identity)
    found = cache.find_entry(key)
    if found is not None:
        return found

    from emosae.saes import registry

    if "/" in release and not registry.has_release(release):
        return entry_of_repository(
            release, sae_id, revision=revision, norm_scaling_factor=norm_scaling_factor
        )
    registry.lookup(release, sae_id)
    return cache.obtain(key, source, lambda: _read_release(release, sae_id, revision, norm_scaling_factor))


def entry_of_repository(
    repo_id: str, path: str = "", *, revision: str | None = None, norm_scaling_factor: float | None = None
) -> cache.CacheEntry:
    """Give the entry of a folder of a Hugging Face repository."""
    if repo_id.count("/") != 1:
        raise UserError(
            f"The repository must be owner/name, got {repo_id!r}. Copy it from its Hugging Face page."
        )
    path = path.strip("/")
    identity = {
        "repo_id": repo_id,
        "path": path,
        "revision": revision,
        "norm_scaling_factor": norm_scaling_factor,
    }
    name = f"{repo_id}/{path}".rstrip("/")
    source = {"kind": "hub", "name": name, **identity}

    def read() -> FeatureMajor:
        from emosae.saes.hub import download_folder
        from emosae.saes.registry import find_path

        listed = find_path(repo_id, path)
        if listed is not None:
            return _read_release(*listed, revision, norm_scaling_factor)
        folder = download_folder(repo_id, path, revision=revision)
        return read_folder(
            folder, norm_scaling_factor=norm_scaling_factor, release=repo_id, sae_id=path, revision=revision
        )

    return cache.obtain(cache.entry_key(name.replace("/", "--"), identity), source, read)


def _read_release(
    release: str, sae_id: str, revision: str | None, norm_scaling_factor: float | None
) -> FeatureMajor:
    from emosae.saes.lens import load_release

    cfg, state = load_release(release, sae_id, revision=revision)
    return convert(cfg, state, norm_scaling_factor=norm_scaling_factor)
