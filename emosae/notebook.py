"""What a notebook shows of emosae's objects: small tables, with every text escaped.

A class shows itself by `_repr_html_`, which calls the function for it here. No style is brought along: a notebook's own
tables look right in light and dark. What the text holds is data: names and texts are escaped, and control signs and
lone surrogates replaced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.report.text import clean

if TYPE_CHECKING:
    from emosae.features import FeatureMatrix
    from emosae.lens import Lens
    from emosae.steering import Clamp
    from emosae.steering.applied import Applied
    from emosae.steering.plan import Plan

__all__ = ["applied_html", "clamp_html", "lens_html", "matrix_html", "plan_html", "result_html", "table_html"]

_ROWS = 8  # shown of a table
_FEATURES = 6  # shown of an item
_LONGEST = 120  # characters of a cell
_ITEM = ("text", "word", "language", "n_readings")  # what is shown of an item, where it has them


def table_html(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Write a table.

    Args:
        title: Its caption.
        heads: Headings of the columns.
        rows: Cells; numbers are shown with four digits and to the right, None as an empty cell.
        note: A line below it.

    Example:
        >>> "<caption>&lt;t&gt;</caption>" in table_html("<t>", ["a"], [[1.23456]])
        True
    """
    head = "".join(f'<th style="text-align:left">{_text(each)}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = f"<p>{_text(note)}</p>" if note else ""
    return (
        f"<table><caption>{_text(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{below}"
    )


def lens_html(lens: Lens) -> str:
    """Show a lens: its model, and what each SAE is and where it reads."""
    rows = [
        (
            str(site),
            sae.name,
            sae.cfg.architecture,
            sae.d_in,
            sae.d_sae,
            str(sae.dtype).removeprefix("torch."),
        )
        for site, sae in lens.saes.items()
    ]
    return table_html(
        f"Lens {lens.name}: {type(lens.model).__name__}",
        ["site", "SAE", "architecture", "d_in", "features", "dtype"],
        rows,
        f"Concepts: {lens.concepts}. Languages: {', '.join(lens.languages)}.",
    )


def matrix_html(matrix: FeatureMatrix) -> str:
    """Show a feature matrix: the first items, each with its strongest features."""
    known = matrix.items.columns
    names = [name for name in _ITEM if name in known] or known
    rows = []
    for at in range(min(_ROWS, len(matrix))):
        low, high = matrix.csr.indptr[at], matrix.csr.indptr[at + 1]
        own = sorted(
            zip(matrix.csr.data[low:high].tolist(), matrix.csr.indices[low:high].tolist(), strict=True),
            key=lambda pair: (-pair[0], pair[1]),
        )
        strongest = ", ".join(f"{feature}={value:.3g}" for value, feature in own[:_FEATURES])
        rows.append((*matrix.items.select(names).row(at), len(own), strongest))
    note = f"{matrix.l0:.1f} features are active in the mean item."
    note += f" Read at {matrix.site}." if matrix.site else ""
    note += f" The first {_ROWS} are shown." if len(matrix) > _ROWS else ""
    return table_html(
        f"FeatureMatrix: {len(matrix):,} items, {matrix.d_sae:,} features of {matrix.sae or 'an SAE'}",
        [*names, "active", "strongest features"],
        rows,
        note,
    )


def clamp_html(clamp: Clamp) -> str:
    """Show one clamp."""
    return table_html("Clamp", _CLAMP, [_clamp(clamp)])


def plan_html(plan: Plan) -> str:
    """Show a plan: its clamps, and which tokens they are for."""
    names = {sae.fingerprint: sae.hook_name or sae.name for sae in plan.saes}
    several = len(plan.rows) > 1
    rows = [
        (*([number] if several else []), names.get(str(clamp.sae), str(clamp.sae)), *_clamp(clamp)[1:])
        for number, row in enumerate(plan.rows)
        for clamp in row
    ]
    return table_html(
        f"Plan for {plan.model or 'a model'}",
        [*(["row"] if several else []), "site", *_CLAMP[1:]],
        rows,
        f"Scope: {plan.scope.kind}. Special tokens are {'left as they are' if plan.skip_special else 'steered too'}. "
        f"What the SAE does not explain: {plan.error.value}.",
    )


def applied_html(applied: Applied) -> str:
    """Show what a steer block does or did: its clamps, how they were chosen, how often a steered site was reached."""
    said = f"{applied.n_forwards} forward passes so far."
    if applied.overflowed:
        said += " float16 could not hold an activation that was written."
    chosen = f"<pre>{_text(str(applied.chosen), lines=True)}</pre>" if applied.chosen is not None else ""
    return f"{plan_html(applied.plan)}<p>{_text(said)}</p>{chosen}"


def result_html(result: Any) -> str:
    """Show a stage's result: its tables by name and size, and its plain values."""
    rows = []
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, pl.DataFrame):
            rows.append((field.name, f"table, {value.height:,} rows", ", ".join(value.columns)))
        elif isinstance(value, str | int | float | bool):
            rows.append((field.name, "value", str(value)))
        else:
            rows.append((field.name, type(value).__name__, ""))
    return table_html(type(result).__name__, ["field", "what", "columns or value"], rows)


_CLAMP = ("sae", "feature", "op", "value", "unit", "only if active")


def _clamp(clamp: Clamp) -> tuple[Any, ...]:
    sae = clamp.sae
    name = sae if isinstance(sae, str) else getattr(sae, "name", None) or ("" if sae is None else str(sae))
    value = None if clamp.op == "ablate" else clamp.value
    return (
        name,
        clamp.feature,
        str(clamp.op),
        value,
        str(clamp.unit),
        "yes" if clamp.only_if_active else "no",
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f'<td style="text-align:left">{_text(value)}</td>'
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td style="text-align:right">{_text(shown)}</td>'


def _text(value: Any, *, lines: bool = False) -> str:
    text = str(value)
    if lines:
        return "\n".join(escape(clean(line)) for line in text.splitlines())
    return escape(clean(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"))
