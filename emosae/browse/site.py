"""The browser as a folder or as one file: a page, an index that is loaded at once, cards that are loaded on demand.

A page opened from a file may fetch nothing. In a folder the data are scripts that call `emosae.index` and
`emosae.cards`; in one file they are JSON that is read when it is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from emosae.artifacts import atomic_path
from emosae.browse.cards import Card, Cards, Context
from emosae.browse.index import CARDS_PER_FILE, Index, short
from emosae.report.text import clean

__all__ = ["About", "script", "write_file", "write_site"]

_PAGE = Path(__file__).resolve().parent / "page"
_SHARED_STYLE = Path(__file__).resolve().parent.parent / "report" / "style.css"
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
    """Write the browser as a folder.

    Args:
        folder: Where to; made if it is not there.
        sites: The cards of each SAE; made and written a few at a time.
        about: What the page says of itself.
        step: Called with the number of cards written.

    Returns:
        The page, `folder/index.html`.
    """
    for cards in sites:
        for name, call, arguments in _parts(cards, step):
            _write(folder / f"{name}.js", script(f"emosae.{call}", *arguments))
    for name in _SCRIPTS:
        _write(folder / name, (_PAGE / name).read_text(encoding="utf-8"))
    return _write(folder / "index.html", _page(about, sites))


def write_file(
    path: Path,
    sites: Sequence[Cards],
    about: About,
    chosen: Sequence[Collection[int] | None],
    step: Callable[[int], None] | None = None,
) -> Path:
    """Write the browser as one file that needs nothing beside it.

    Args:
        path: The file.
        sites: The cards of each SAE.
        about: What the page says of itself.
        chosen: For each site the features whose cards the file holds; None means all. All are found by the search.
        step: Called with the number of cards written.

    Returns:
        The file.
    """
    held = {}
    for cards, own in zip(sites, chosen, strict=True):
        for name, call, arguments in _parts(cards, step, own):
            held[name] = _json([call, *arguments])
    return _write(path, _page(about, sites, held))


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


def _page(about: About, sites: Sequence[Cards], held: dict[str, str] | None = None) -> str:
    """Fill the template; `held` is the data of a page in one file, whose scripts stand in it as well."""
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
    inline = {} if held is None else {name: (_PAGE / name).read_text(encoding="utf-8") for name in _SCRIPTS}
    return environment.get_template("index.html.j2").render(
        title=clean(about.title),
        phantom=about.phantom,
        style=Markup(style),
        scripts=[name for name in _SCRIPTS if name not in inline],
        inline=[Markup(text) for text in inline.values()],
        allowed=" ".join(map(_hash, inline.values())) or "'self' file:",
        held=[(name, Markup(data)) for name, data in (held or {}).items()],
        menu=Markup(_json([_entry(cards, about) for cards in sites])),
    )


def _hash(text: str) -> str:
    """Name a script by its content, so that the page runs this one and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _slug(cards: Cards) -> str:
    return re.sub(r"[^a-z0-9]+", "-", cards.site.lower()).strip("-")


def _entry(cards: Cards, about: About) -> dict[str, Any]:
    return {
        "slug": _slug(cards),
        "site": cards.site,
        "sae": clean(cards.sae.name),
        "corpus": clean(cards.collected.corpus),
        "tokens": cards.collected.stats.n_tokens,
        "texts": cards.collected.n_texts,
        "notes": [clean(note) for note in about.notes.get(cards.site, ())],
    }


def _parts(
    cards: Cards, step: Callable[[int], None] | None, chosen: Collection[int] | None = None
) -> Iterator[tuple[str, str, list[Any]]]:
    """Make the data of one SAE: name, call and arguments of each part, the index last."""
    n, slug = len(cards.collected.features), _slug(cards)
    assert n == cards.sae.d_sae, "the page finds a feature by its number, so that it needs all of them"
    index = Index(cards)
    held = None if chosen is None else set(chosen)
    for number, first in enumerate(range(0, n, CARDS_PER_FILE)):
        made = list(cards.make(range(first, min(first + CARDS_PER_FILE, n))))
        for card in made:
            index.add(card)
        shown = [plain(card) if held is None or card.feature in held else None for card in made]
        if any(shown):
            yield f"data/{slug}/{number:05d}", "cards", [slug, number, shown]
        if step is not None:
            step(len(made))
    yield f"data/{slug}/index", "index", [slug, index.data() | ({} if held is None else {"held": len(held)})]


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
    pieces = [[text, short(value)] if value > 0 else text for text, value in context.pieces]
    return [short(context.value), context.at, pieces]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return short(value)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value


def _write(path: Path, text: str) -> Path:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
