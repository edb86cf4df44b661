"""Where emosae keeps things and looks for them: the cache, the configuration, the user's data."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root", "conf_dir", "data_dirs", "embedded"]

_PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """Find the shipped configuration: inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def cache_root() -> Path:
    """Name the cache folder, which need not exist yet.

    Returns:
        `$EMOSAE_CACHE` where it is set, else `sae_cache/` of the checkout, else the user's cache folder.
    """
    named = os.environ.get("EMOSAE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "conf").is_dir():
        return checkout / "sae_cache"
    from platformdirs import user_cache_path

    return user_cache_path("emosae", appauthor=False)


def data_dirs() -> list[Path]:
    """List the folders searched for human data, in order, whether they exist or not.

    Returns:
        Every folder of `$EMOSAE_DATA` (separated as in `$PATH`), then `data/` in the cache.
    """
    named = [part for part in os.environ.get("EMOSAE_DATA", "").split(os.pathsep) if part]
    return [*(Path(part).expanduser().absolute() for part in named), cache_root() / "data"]


def embedded(name: str) -> str:
    """Resolve a name like `phantom:weights/model`, which means a folder or file that the package carries.

    Args:
        name: A hub name, a path, or `phantom:` and a path inside the package's phantom.

    Returns:
        The path of the part; any other name comes back unchanged.
    """
    scheme, colon, part = name.partition(":")
    return str(_PACKAGE / "phantom" / part) if colon and scheme == "phantom" else name
