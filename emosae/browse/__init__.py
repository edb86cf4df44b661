"""The feature browser: what fires a feature, what it writes, what it stands for; a folder, a terminal, a notebook.

The names are resolved when first used: reading the configuration's schema imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.browse.config import BrowseConfig
from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.browse.cards import Card, Cards
    from emosae.browse.collect import Collected, collect
    from emosae.browse.facts import Facts
    from emosae.browse.site import write_site

__all__ = ["BrowseConfig", "Card", "Cards", "Collected", "Facts", "collect", "write_site"]

_HOMES = {
    "Card": "cards",
    "Cards": "cards",
    "Collected": "collect",
    "Facts": "facts",
    "collect": "collect",
    "write_site": "site",
}

__getattr__ = lazily(__name__, _HOMES)
