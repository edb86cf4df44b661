"""The browser as a folder: a page, an index that is loaded at once, and cards in files that are loaded when asked for.

A page opened from a file may fetch nothing, so the data are scripts that call `emosae.index` and `emosae.cards`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emosae.artifacts import atomic_path
from emosae.browse.cards import Card, Cards, Context
from emosae.report.text import clean

__all__ = ["About", "script", "write_site"]

CARDS_PER_FILE = 64
_PAGE = Path(__file__).resolve().parent / "page"
_SHARED_STYLE = Path(__file__).resolve().parent.parent / "report" / "style.css"
_WORDS = 6  # of a feature in the index: what a search finds
_DIGITS = 4
_SCRIPTS = ("search.js", "card.js", "app.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What the page says of itself.

    Attributes:
        title: The model's name.
        phantom: Whether it is the phantom, which is no evidence.
        notes: For each site what the reader must know.
    """

    title: str
    phantom: bool = False
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def write_site(
    folder: Path, sites: Sequence[Cards], about: About, step: Callable[[int], None] | None = None
) -> Path:
    """Write the browser.

    Args:
        folder: Where to; made if it is not there.
        sites: The cards of each SAE; made and written a few at a time.
        about: What the page says of itself.
        step: Called with the number of cards written.

    Returns:
        The page, `folder/index.html`.
    """
    menu = []
    for cards in sites:
        slug = re.sub(r"[^a-z0-9]+", "-", cards.site.lower()).strip("-")
        place = folder / "data" / slug
        _write_data(place, slug, cards, step)
        menu.append(
            {
                "slug": slug,
                "site": cards.site,
                "sae": clean(cards.sae.name),
                "corpus": clean(cards.collected.corpus),
                "tokens": cards.collected.stats.n_tokens,
                "texts": cards.collected.n_texts,
                "notes": [clean(note) for note in about.notes.get(cards.site, ())],
            }
        )
    for name in _SCRIPTS:
        _write(folder / name, (_PAGE / name).read_text(encoding="utf-8"))
    page = folder / "index.html"
    _write(page, _page(about, menu))
    return page


def script(call: str, *arguments: Any) -> str:
    r"""Write a call of JavaScript with data that can close no script element and end no line.

    Example:
        >>> script("emosae.cards", "</script>")
        'emosae.cards("\\u003c/script>");\n'
    """
    return f"{call}({', '.join(map(_json, arguments))});\n"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _page(about: About, menu: list[dict[str, Any]]) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = "".join(path.read_text(encoding="utf-8") for path in (_SHARED_STYLE, _PAGE / "browse.css"))
    return environment.get_template("index.html.j2").render(
        title=clean(about.title),
        phantom=about.phantom,
        style=Markup(style),
        scripts=_SCRIPTS,
        menu=Markup(_json(menu)),
    )


def _write_data(place: Path, slug: str, cards: Cards, step: Callable[[int], None] | None) -> None:
    n = len(cards.collected.features)
    assert n == cards.sae.d_sae, "the page finds a feature by its number, so that it needs all of them"
    index = _Index(cards)
    for number, first in enumerate(range(0, n, CARDS_PER_FILE)):
        made = list(cards.make(range(first, min(first + CARDS_PER_FILE, n))))
        for card in made:
            index.add(card)
        _write(
            place / f"{number:05d}.js", script("emosae.cards", slug, number, [plain(card) for card in made])
        )
        if step is not None:
            step(len(made))
    _write(place / "index.js", script("emosae.index", slug, index.data()))


class _Index:
    """What is known of every feature at once: the columns that are sorted by, and the words that are searched."""

    def __init__(self, cards: Cards) -> None:
        self._cards = cards
        self._columns: dict[str, list[float | None]] = {
            name: []
            for name in (
                "selectivity",
                "universality",
                "density",
                "maximum",
                "valence",
                "arousal",
                "output_score",
            )
        }
        self._concept: list[int] = []
        self._language: list[int] = []
        self._words: list[str] = []
        self._concepts = list(cards.facts.concepts)
        self._row = 0

    def add(self, card: Card) -> None:
        best = card.concepts[0] if card.concepts else None
        values = {
            "selectivity": best["auroc"] if best else None,
            "universality": card.universality,
            "density": card.density,
            "maximum": card.maximum,
            "valence": _importance(card, "valence"),
            "arousal": _importance(card, "arousal"),
            "output_score": card.output_score,
        }
        for name, value in values.items():
            self._columns[name].append(_short(value))
        self._concept.append(self._concepts.index(best["concept"]) if best else -1)
        self._language.append(sum(1 << at for at in self._cards.rates.main(self._row)))
        self._words.append("\t".join(word for word, _ in card.words[:_WORDS]))
        self._row += 1

    def data(self) -> dict[str, Any]:
        found = self._cards.collected
        return {
            "site": self._cards.site,
            "sae": clean(self._cards.sae.name),
            "fingerprint": self._cards.sae.fingerprint,
            "features": len(found.features),
            "cards_per_file": CARDS_PER_FILE,
            "languages": self._cards.rates.names,
            "concepts": self._concepts,
            "columns": {name: _packed(values, "<f4") for name, values in self._columns.items()},
            "concept": _packed(self._concept, "<i2"),
            "language": _packed(self._language, "<i4"),
            "words": "\n".join(self._words),
            "sets": self._sets(),
        }

    def _sets(self) -> dict[str, list[list[float | None]]]:
        """For each emotion the features that some language selects for it, with the largest AUROC."""
        best = (
            self._cards.facts.scores.filter("selected")
            .group_by("concept", "feature")
            .agg(pl.col("auroc").max())
            .sort("auroc", "feature", descending=[True, False])
        )
        sets: dict[str, list[list[float | None]]] = {name: [[], []] for name in self._concepts}
        for concept, feature, auroc in best.iter_rows():
            sets[concept][0].append(feature)
            sets[concept][1].append(_short(auroc))
        return sets


def _packed(values: Sequence[float | None], kind: str) -> str:
    """Write numbers as the base64 of their bytes, None as NaN: a browser reads one text sooner than 65,536 numbers."""
    plain_values = [math.nan if value is None else value for value in values]
    return base64.b64encode(np.array(plain_values, dtype=kind).tobytes()).decode("ascii")


def plain(card: Card) -> dict[str, Any]:
    """Turn a card into what its file holds: numbers of four digits, contexts without their zeros."""
    values = {
        each.name: getattr(card, each.name) for each in fields(card) if each.name not in {"top", "groups"}
    }
    shown: dict[str, Any] = _rounded(values)
    return shown | {
        "top": [_context(each) for each in card.top],
        "groups": [[low, high, [_context(each) for each in own]] for low, high, own in card.groups],
    }


def _context(context: Context) -> list[Any]:
    """Write `[activation, place of the token it is about, pieces]`; a piece is a text, or a text with an activation."""
    pieces = [[text, _short(value)] if value > 0 else text for text, value in context.pieces]
    return [_short(context.value), context.at, pieces]


def _importance(card: Card, target: str) -> float | None:
    own = [each["importance"] for each in card.weights if each["target"] == target]
    return sum(own) / len(own) if own else None


def _short(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if abs(short) < 1e15 and short.is_integer() else short


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
