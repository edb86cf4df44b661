"""What was read, what was lost on the way, and how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emosae.report.names import language_name
from emosae.report.page import Block, Code, Column, Listing, Missing, Paragraph, Section, Table
from emosae.report.source import Run, part
from emosae.report.text import concept_name, count, number, plain, shorten, words_of

__all__ = ["about", "coverage_section", "last_part", "model_name", "rerun_section", "title_of"]

_HEADINGS = {
    "n_words": "words",
    "n_unknown": "not in the tokenizer",
    "coverage": "share read",
    "known": "read",
}
_QUIET = ("concepts", "norms")  # long groups of the settings; the manifest has them in full


def title_of(run: Run) -> str:
    """Name the study: its own name, else the preset's or the model's."""
    name = run.config.get("name") or part(run.manifest, "inputs").get("name")
    name = name or last_part(part(run.config, "model").get("name") or "") or run.folder.resolve().name
    concepts = part(run.config, "concepts")
    what = concepts.get("title") or concepts.get("name")
    return f"{shorten(name, 80)}: {shorten(what, 80)}" if what else shorten(name, 80)


def about(run: Run) -> dict[str, Any]:
    """Return title, subtitle and footer of the page, and whether the model is the embedded one."""
    pieces = [f"Model {model_name(run)}"]
    saes = _sae_names(run)
    if saes:
        pieces.append(f"{'autoencoder' if len(saes) == 1 else 'autoencoders'} {', '.join(saes)}")
    if run.stages:
        pieces.append(f"read at {', '.join(shorten(site, 60) for site in run.stages)}")
    if run.languages:
        pieces.append(", ".join(map(language_name, run.languages)))
    started = str(run.manifest.get("started") or "")[:10]
    version = part(part(run.manifest, "environment"), "packages").get("emosae")
    footer = "Drawn by emosae" + (f" {version}" if version else "")
    return {
        "title": title_of(run),
        "subtitle": " · ".join([*pieces, *([started] if started else [])]),
        "phantom": run.is_phantom,
        "footer": f"{footer} from the tables of this run. This file needs no network.",
    }


def model_name(run: Run) -> str:
    """Name the model: a hub name as it is, a folder by what the run calls it."""
    name = str(part(run.config, "model").get("name") or "")
    if name and not Path(name).is_absolute():
        return shorten(name, 80)
    return shorten(part(run.manifest, "inputs").get("name") or last_part(name) or "of this run", 80)


def last_part(name: object) -> str:
    """Return the last part of a path on this machine, any other name as it is.

    Example:
        >>> last_part("/home/me/models/own"), last_part("google/gemma-2-2b")
        ('own', 'google/gemma-2-2b')
    """
    text = str(name)
    return Path(text).name or text if Path(text).is_absolute() else text


def _sae_names(run: Run) -> list[str]:
    listed = part(part(run.manifest, "inputs"), "saes")
    names = [each.get("name") if isinstance(each, Mapping) else each for each in listed.values()]
    return [shorten(name, 80) for name in names if name]


def coverage_section(run: Run) -> Section:
    """Build the section on words that were lost and on what a reader must know."""
    coverage = run.manifest.get("coverage")
    tables = _coverage_tables(coverage)
    blocks: list[Block] = []
    if tables:
        blocks.append(
            Paragraph(
                "A word whose tokens are unknown to the model's tokenizer cannot be read and is left out. "
                "Results speak for the words that remain.",
                quiet=True,
            )
        )
        blocks += tables
    else:
        blocks.append(Missing("This run's manifest holds no count of the words that the tokenizer knows."))
    blocks += _sparsity(run)
    notes = [str(note) for note in run.manifest.get("notes") or []]
    notes += [note for note in _stage_notes(run) if note not in notes]
    if notes:
        blocks += [Paragraph("What to keep in mind when reading these results:"), Listing(notes)]
    return Section(anchor="coverage", title="Words that were read, and notes", blocks=blocks)


def _coverage_tables(coverage: Any) -> list[Block]:
    if isinstance(coverage, list):
        coverage = {"words": coverage}
    if not isinstance(coverage, Mapping):
        return []
    named = {"concepts": "Words of the concept sets", "ratings": "Rated words"}
    blocks: list[Block] = []
    for name, rows in coverage.items():
        if isinstance(rows, Mapping):
            rows = [rows]  # noqa: PLW2901
        if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
            continue
        caption = named.get(name, words_of(name).capitalize())
        total = _totals(rows)
        if len(total) < len(rows):
            blocks.append(_coverage_table(caption, total, folded=False))
            caption += ", concept by concept"
        blocks.append(_coverage_table(caption, rows, folded=len(total) < len(rows)))
    return blocks


def _totals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the words of each set and language up over its concepts; shares are left to the single rows."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in rows:
        own = found.setdefault((row.get("set"), row.get("language")), {})
        for key, value in row.items():
            if isinstance(value, int) and not isinstance(value, bool):
                own[key] = own.get(key, 0) + value
            elif key in {"set", "language"}:
                own[key] = value
    return list(found.values())


def _coverage_table(caption: str, rows: Sequence[Mapping[str, Any]], *, folded: bool) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    texts = [key for key in columns if any(isinstance(row.get(key), str) for row in rows)]
    return Table(
        caption=caption,
        columns=[Column(_HEADINGS.get(key, words_of(key)), key not in texts) for key in columns],
        rows=[[_cell(key, row.get(key)) for key in columns] for row in rows],
        folded=folded,
    )


def _cell(key: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return plain(value)
    if isinstance(value, int):
        return count(value)
    if key == "language":
        return language_name(str(value))
    if key == "concept":
        return concept_name(value)
    return number(value) if isinstance(value, float) else shorten(value, 80)


def _sparsity(run: Run) -> list[Block]:
    """Tell how many features fire for a word, site by site."""
    rows = []
    for site, stages in run.stages.items():
        summary = stages["features"].table("summary", "n_words", "l0") if "features" in stages else None
        for row in summary.iter_rows(named=True) if summary is not None else ():
            cells = [
                shorten(site, 60),
                count(row["n_words"]),
                count(row.get("d_sae")),
                count(row.get("n_active")),
            ]
            rows.append([*cells, number(row["l0"], 1), number(row.get("density"), 4)])
    headings = (
        "words read",
        "features",
        "that fire for any word",
        "that fire for a word, on average",
        "as a share",
    )
    columns = [Column("Site", False), *map(Column, headings)]
    return (
        [Table(caption="How sparse the features are on these words", columns=columns, rows=rows)]
        if rows
        else []
    )


def _stage_notes(run: Run) -> list[str]:
    """Collect the notes that the stages themselves left, with the site where there are several."""
    found = []
    for site, stages in run.stages.items():
        start = f"{shorten(site, 60)}: " if len(run.stages) > 1 else ""
        for stage in stages.values():
            table = stage.table("notes")
            texts: Sequence[Any] = []
            if "note" in table.columns:
                topics = table["topic"].to_list() if "topic" in table.columns else [""] * table.height
                pairs = zip(topics, table["note"].to_list(), strict=True)
                texts = [f"{words_of(topic)}: {note}" if topic else note for topic, note in pairs]
            elif isinstance(stage.values.get("notes"), list):
                texts = stage.values["notes"]
            found += [start + shorten(text, 600) for text in texts]
    return list(dict.fromkeys(found))


def rerun_section(run: Run) -> Section:
    """Build the section with everything needed to run the study again."""
    manifest = run.manifest
    blocks: list[Block] = []
    command = manifest.get("command")
    if isinstance(command, list) and command:
        blocks.append(Code("The command that made this run:", shlex.join(str(word) for word in command)))
    elif isinstance(manifest.get("overrides"), list):
        words = ["emosae", str(manifest.get("stage", "run")), *map(str, manifest["overrides"])]
        blocks.append(Code("This run was one job of a sweep; alone it is:", shlex.join(words)))
    blocks += [
        Code(
            "The same run from its manifest, which lies beside this file:", "emosae run --from manifest.json"
        ),
        Code("This report again, without the model, from the run's folder:", "emosae report ."),
    ]
    blocks += _environment_table(run) + _inputs_table(run) + _settings_table(run)
    return Section(anchor="again", title="Run it again", blocks=blocks)


def _pairs(caption: str, rows: list[tuple[str, str]], *, folded: bool) -> list[Block]:
    if not rows:
        return []
    columns = [Column("What", False), Column("Value", False)]
    return [Table(caption=caption, columns=columns, rows=[list(row) for row in rows], folded=folded)]


def _environment_table(run: Run) -> list[Block]:
    environment = part(run.manifest, "environment")
    rows = [(key, str(run.manifest[key])) for key in ("started", "finished") if run.manifest.get(key)]
    rows += [("python", str(environment["python"]))] if environment.get("python") else []
    rows += [(str(key), str(value)) for key, value in part(environment, "packages").items() if value]
    rows += [
        (str(key), plain(value)) for key, value in part(environment, "machine").items() if value is not None
    ]
    return _pairs("Versions and machine", [(shorten(a, 60), shorten(b, 120)) for a, b in rows], folded=True)


def _flat(values: Mapping[str, Any], start: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{start}{key}.")
        else:
            rows.append((shorten(f"{start}{key}", 120), shorten(plain(value), 300)))
    return rows


def _inputs_table(run: Run) -> list[Block]:
    return _pairs(
        "Model, autoencoders and data by fingerprint", _flat(part(run.manifest, "inputs")), folded=True
    )


def _settings_table(run: Run) -> list[Block]:
    shown = {key: value for key, value in run.config.items() if key not in _QUIET}
    concepts = {
        k: v
        for k, v in part(run.config, "concepts").items()
        if k != "languages" and not isinstance(v, Mapping)
    }
    norms = {
        name: part(part(run.config, "norms"), name).get("title") or name for name in part(run.config, "norms")
    }
    rows = _flat({**shown, "concepts": concepts, "norms": norms})
    return _pairs("Settings (in full in manifest.json)", rows, folded=True)
