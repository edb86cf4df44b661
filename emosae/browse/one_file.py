"""Which cards go into a browser that is one file, and how many may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from emosae.errors import UserError

if TYPE_CHECKING:
    from emosae.browse.facts import Facts
    from emosae.saes import SparseAutoencoder

__all__ = ["MOST_CARDS", "choose_cards"]

MOST_CARDS = 8192
"""Cards that one file may hold: at about 6 kB each, 50 MB, which a browser still opens at once."""


def choose_cards(
    saes: Mapping[str, SparseAutoencoder], facts: Mapping[str, Facts], which: str
) -> Sequence[Sequence[int] | None]:
    """Choose the features whose cards one file holds.

    Args:
        saes: The SAEs that are browsed, by site.
        facts: What is known of their features, by site.
        which: `all`, or `selected`: those that some emotion selects.

    Returns:
        For each SAE the features; None means all.

    Raises:
        UserError: More than `MOST_CARDS`, or no feature is selected.
    """
    if which == "all":
        chosen: list[Sequence[int] | None] = [None for _ in saes]
        n = sum(sae.d_sae for sae in saes.values())
        hint = "browse.one_file=selected writes those that an emotion selects, browse.site= one of the SAEs"
    else:
        chosen = [
            facts[site].scores.filter("selected")["feature"].unique().sort().to_list()
            if site in facts
            else []
            for site in saes
        ]
        n = sum(len(own) for own in chosen if own is not None)
        hint = "Name one of the SAEs with browse.site="
        if not n:
            raise UserError(
                "browse.one_file=selected needs features that some emotion selects, and there are none. Write a folder "
                "by leaving it out, or browse.one_file=all."
            )
    if n > MOST_CARDS:
        raise UserError(
            f"One file holds the cards of at most {MOST_CARDS:,} features (about 50 MB), and these are {n:,}. {hint}, "
            "or leave browse.one_file out for a folder, which has no bound."
        )
    return chosen
