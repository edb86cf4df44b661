"""What a report is made of: sections of paragraphs, figures and tables, as the template takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from emosae.report.style import inline_svg, save_figure
from emosae.report.text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Block",
    "Canvas",
    "Code",
    "Column",
    "Copy",
    "FigureBlock",
    "Listing",
    "Missing",
    "Paragraph",
    "Reference",
    "References",
    "Section",
    "Table",
    "Word",
    "Words",
]


@dataclass(frozen=True, slots=True)
class Word:
    """A word that fires a feature: the text, and whether it belongs to the feature's concept."""

    text: str
    inside: bool


@dataclass(frozen=True, slots=True)
class Words:
    """A table cell that lists words, strongest first, in one language."""

    words: Sequence[Word]
    language: str


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: its heading, and whether its cells are numbers."""

    title: str
    number: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes:
        caption: What the table holds.
        columns: Headings.
        rows: Cells: text, or words.
        folded: Shown on request only, as long tables are.
        marked: Rows (by number) that are the study's own result, told apart from what it is compared with.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Words]]
    folded: bool = False
    marked: frozenset[int] = frozenset()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureBlock:
    """A figure with its caption; `svg` is safe markup that `Canvas` made.

    `lead` is the sentence above it: what it shows, for a reader who knows nothing of the method.
    """

    svg: Markup
    name: str
    title: str
    caption: str
    lead: str = ""
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A plain paragraph; `quiet` ones explain, the others state."""

    text: str
    quiet: bool = False
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that the run does not hold: what, and the command that adds it."""

    text: str
    command: str = ""
    kind: str = field(default="missing", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """Text to be pasted elsewhere, under a heading of its own."""

    title: str
    texts: Sequence[str]
    level: int = 3
    kind: str = field(default="copy", init=False)


@dataclass(frozen=True, slots=True)
class Code:
    """A command line: what it does, and the line."""

    title: str
    text: str
    kind: str = field(default="code", init=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """Plain sentences, one below the other."""

    texts: Sequence[str]
    kind: str = field(default="list", init=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """A work to cite: its text and its address; only http addresses become links."""

    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class References:
    """The works a report rests on."""

    references: Sequence[Reference]
    kind: str = field(default="references", init=False)


Block = Table | FigureBlock | Paragraph | Missing | Copy | Code | Listing | References


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and what stands under it."""

    anchor: str
    title: str
    blocks: Sequence[Block] = ()
    sections: Sequence[Section] = ()


@dataclass(slots=True)
class Canvas:
    """Writes a report's figures and remembers them.

    Attributes:
        folder: Where `figures/` is.
        prefix: Starts the names of the figures of one site, where there are several.
        drawn: Names of the figures written so far.
    """

    folder: Path
    prefix: str = ""
    drawn: list[str] = field(default_factory=list)

    def add(
        self,
        figure: Figure,
        name: str,
        *,
        title: str,
        caption: str,
        alt: str,
        lead: str = "",
        fallback: Mapping[str, str] | None = None,
    ) -> FigureBlock:
        """Write a figure as SVG and PNG, and return it for the page.

        Args:
            figure: Drawn inside `style.drawing()`.
            name: File name without prefix and ending.
            title: A few words.
            caption: How to read it.
            alt: What it shows, for those who cannot see it.
            lead: One plain sentence above it that says what it shows.
            fallback: See `style.save_figure`.
        """
        full = f"{self.prefix}{name}"
        svg = save_figure(figure, self.folder / "figures", full, fallback)
        self.drawn.append(full)
        inline = inline_svg(svg, f"f{len(self.drawn)}", clean(alt))
        return FigureBlock(svg=Markup(inline), name=full, title=title, caption=caption, lead=lead)
