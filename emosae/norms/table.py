"""The table of docs/norms.md: `python -m emosae.norms.table` writes it from the registry."""

from __future__ import annotations

import sys

from emosae.norms.entry import Kind, NormEntry, is_mapped
from emosae.norms.registry import find, way_in
from emosae.paths import conf_dir

__all__ = ["markdown_table"]


def markdown_table() -> str:
    """Write a row for each shipped data set, ratings first, by language."""
    entries = [find(path.stem) for path in (conf_dir() / "norms").glob("*.yaml")]
    order = list(Kind)
    entries.sort(key=lambda entry: (order.index(entry.kind), entry.language, entry.name))
    rows = [
        "| data set | language | words | file | columns | what |",
        "|---|---|---|---|---|---|",
        *(_row(entry) for entry in entries),
    ]
    return "\n".join(rows) + "\n"


def _row(entry: NormEntry) -> str:
    language = f"{entry.language}, {entry.script.value}" if entry.script else entry.language
    if entry.kind is Kind.associations:
        columns = "cues and responses"
    elif entry.verified:
        columns = "checked against the file"
    else:
        columns = "as others read them" if is_mapped(entry) else "looked at"
    words = f"{entry.n_words:,}" if entry.n_words else ""
    link = f"https://doi.org/{entry.doi}" if entry.doi else entry.url
    what = f"[{entry.title}]({link})" if link else entry.title
    return f"| `{entry.name}` | {language} | {words} | {way_in(entry)} | {columns} | {what} |"


if __name__ == "__main__":
    sys.stdout.write(markdown_table())
