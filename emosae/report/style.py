"""The look of the figures, and how they are written: palette, fonts, deterministic SVG and PNG.

Colours that carry structure (ink, paper, grid, the series) are taken from `INK` and its neighbours only. In
the report their hex values in the SVG are replaced by CSS variables of the same name, which is how one
drawing serves light paper, dark screens and print.
"""

from __future__ import annotations

import io
import itertools
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.artifacts import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "ACCENT_SOFT",
    "BASELINE",
    "CONTROL",
    "GRID",
    "HALO",
    "HUMAN",
    "INK",
    "MUTED",
    "PAPER",
    "SECOND",
    "SINGLE_COLUMN",
    "WIDTH",
    "drawing",
    "font_families",
    "inline_svg",
    "legend_columns",
    "new_figure",
    "save_figure",
]

logger = logging.getLogger(__name__)

# Okabe & Ito's colour-blind-safe hues, with neutral greys for what is only compared with.
INK, MUTED, GRID, PAPER = "#1d2127", "#5a636e", "#dde2e8", "#fdfefe"
ACCENT, ACCENT_SOFT, SECOND, HUMAN = "#0072b2", "#6fb1d8", "#d55e00", "#009e73"
BASELINE, CONTROL = "#8b949e", "#c3c9d0"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    ACCENT: "--accent",
    ACCENT_SOFT: "--accent-soft",
    SECOND: "--second",
    HUMAN: "--human",
    BASELINE: "--baseline",
    CONTROL: "--control",
}

WIDTH = 7.1  # inches: two columns of a journal page
SINGLE_COLUMN = 3.5
PNG_DPI = 200
HALO = "halo"  # texts whose gid starts with this are drawn on an outline of paper colour
_FONT_STACK = (
    "'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', 'Noto Sans CJK SC', 'PingFang SC', "
    "'Hiragino Sans', 'Microsoft YaHei', sans-serif"
)
_CJK = re.compile(
    r"Noto Sans (CJK|SC)|Source Han Sans|WenQuanYi|PingFang|Hiragino Sans|Heiti|Microsoft YaHei|SimHei|"
    r"Droid Sans Fallback|AR PL|Arial Unicode"
)
_CJK_FILE = re.compile(
    r"cjk|han-?sans|wqy|pingfang|hiragino|heiti|msyh|simhei|fallback|uming|ukai|arial ?unicode", re.I
)
_RC: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: the reader's browser has glyphs that this machine may lack
    "svg.hashsalt": "emosae",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "text.color": INK,
    "text.parse_math": False,  # a label is data: a dollar sign in it is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "path.simplify": True,
}


@lru_cache(maxsize=1)
def font_families() -> tuple[str, ...]:
    """List the installed font families of the figures: a Latin one, then one with Chinese where there is.

    matplotlib keeps a list of fonts from its first start; a font installed since then is looked up on the
    disk.
    """
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = sorted({entry.name for entry in manager.ttflist if _CJK.search(entry.name)})
    if not known:
        for path in sorted(font_manager.findSystemFonts()):
            if _CJK_FILE.search(Path(path).name):
                try:
                    manager.addfont(path)
                except (OSError, RuntimeError, UnicodeDecodeError) as error:
                    logger.debug("the font %s cannot be read: %s", path, error)
        known = sorted({entry.name for entry in manager.ttflist if _CJK.search(entry.name)})
    # the sans of the simplified script first: the glyphs of the others differ slightly
    known.sort(
        key=lambda name: ("Sans" not in name, "SC" not in name and "JP" not in name, "Mono" in name, name)
    )
    return ("DejaVu Sans", *known[:1])


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager

    found: set[int] = set()
    for family in font_families():
        path = font_manager.findfont(family, fallback_to_default=True)
        found |= set(font_manager.get_font(path).get_charmap())
    return frozenset(found)


def drawable(text: str) -> bool:
    """Tell whether the installed fonts have every character of `text`, as a PNG needs."""
    return all(ord(character) in _glyphs() or character.isspace() for character in text)


@contextmanager
def drawing() -> Iterator[None]:
    """Set the figures' look for a block, and leave matplotlib's settings as they were."""
    from matplotlib import rc_context

    settings: Any = {**_RC, "font.family": list(font_families())}
    with rc_context(settings), warnings.catch_warnings():
        # the SVG keeps such text as text, the PNG gets a fallback: see save_figure
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def new_figure(width: float = WIDTH, height: float = 4.0) -> Figure:
    """Make a figure without pyplot, so that no state is shared. Width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # a renderer, which label placement measures with
    return figure


def legend_columns(labels: Sequence[str], width: float, most: int = 3) -> int:
    """Return how many columns of a legend fit a figure's width.

    Args:
        labels: The entries, in order; a legend fills its columns from the top.
        width: Width of the figure, inches.
        most: Most columns wanted.

    Example:
        >>> legend_columns(["short", "a much longer label than that"], 3.0)
        1
    """
    em = 8 / 72  # size of the legend's letters, inches
    # a wide character takes a whole em, a Latin one a good half; handle and gaps another four
    sizes = [em * (sum(1.0 if ord(c) > 0x2E7F else 0.57 for c in label) + 4.0) for label in labels]
    for columns in range(min(most, len(labels)), 1, -1):
        least, longer = divmod(len(labels), columns)  # matplotlib gives the first columns one entry more
        ends = [column * least + min(column, longer) for column in range(columns + 1)]
        if sum(max(sizes[a:b]) for a, b in itertools.pairwise(ends)) <= width:
            return columns
    return 1


def save_figure(figure: Figure, folder: Path, name: str, fallback: Mapping[str, str] | None = None) -> str:
    """Write `name.svg` and `name.png`.

    Args:
        figure: What to write; drawn inside `drawing()`, and this called inside it too.
        folder: Where to write.
        name: File name without its ending.
        fallback: What a PNG says in place of a label for which no installed font has the glyphs; a label
            that is
            not listed gets a box for each such character.

    Returns:
        The SVG's text, the same bytes for the same figure.
    """
    from matplotlib import patheffects
    from matplotlib.text import Text

    figure.draw_without_rendering()  # lays out once; both files then have the same positions
    figure.set_layout_engine("none")
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="svg", dpi=PNG_DPI, metadata={"Date": None, "Creator": None})
        svg = _tidy(buffer.getvalue().decode("utf-8"))
    with atomic_path(folder / f"{name}.svg") as path:
        path.write_text(svg, encoding="utf-8")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        shown = text.get_text()
        if not drawable(shown):
            text.set_text((fallback or {}).get(shown, "".join(c if drawable(c) else "□" for c in shown)))
        if str(text.get_gid() or "").startswith(HALO):
            text.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground=PAPER)])
    with atomic_path(folder / f"{name}.png") as path:
        figure.savefig(path, format="png", dpi=PNG_DPI, facecolor="white")
    return svg


def _tidy(svg: str) -> str:
    """Drop the metadata, fix the fonts to a list that does not depend on this machine, draw the halos."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.S)
    svg = re.sub(r"font-family: [^;\"]+", f"font-family: {_FONT_STACK}", svg)
    svg = re.sub(r"font: ([^;\"]*?\d+(?:\.\d+)?px) [^;\"]+", rf"font: \1 {_FONT_STACK}", svg)
    # made from the picture's content, so that two alike would share one id; nothing refers to it
    svg = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", svg)
    halo = (
        f'g[id^="{HALO}"] text{{paint-order:stroke;stroke:{PAPER};stroke-width:2.4px;stroke-linejoin:round}}'
    )
    return svg.replace("</style>", halo + "</style>", 1)


def inline_svg(svg: str, prefix: str, label: str) -> str:
    """Turn a figure's SVG into one that can stand inside the report.

    Ids get a prefix, since several figures share one page; structural colours become CSS variables, since
    the page is light or dark; the figure scales with its column and is one image to a screen reader.

    Args:
        svg: What `save_figure` returned.
        prefix: Unique in the page; letters, digits, `-`.
        label: What the figure shows, for those who cannot see it; any text.

    Returns:
        The `<svg>` element.
    """
    import html

    body = svg[svg.index("<svg") :].rstrip()
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, count=1, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = body.replace('xlink:href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    body = body.replace("xlink:href=", "href=")
    # only inside tags: a label that reads like a colour stays a label
    body = re.sub(r"<[^>]+>", lambda tag: _with_variables(tag.group()), body)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body).groups()  # type: ignore[union-attr]
    head = (
        f'<svg viewBox="0 0 {width} {height}" width="{float(width):.0f}" height="{float(height):.0f}" '
        # a narrow figure stays narrow, so that letters have one size throughout the page
        f'style="max-width:{60 * float(width) / (72 * WIDTH):.1f}rem" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, body, count=1)


def _with_variables(tag: str) -> str:
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable},{colour})")
    return tag
