"""The small tools beside the stages, as commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emosae.errors import UserError, unknown_name

__all__ = [
    "cache_command",
    "card_command",
    "concepts_command",
    "doctor_command",
    "norms_command",
    "serve_command",
    "show_selection",
    "stats_command",
    "top_command",
]


def _show(table: Any) -> None:
    """Print a table: folded to a terminal's width, or one line a row where something else reads it."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.iter_rows():
        shown.add_row(*[_cell(value) for value in row])
    Console(width=None if sys.stdout.isatty() else 300).print(shown)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def show_selection(run: Path) -> None:
    """Write and print what a selection found for each emotion of each language, site by site."""
    import polars as pl

    from emosae.selection.overview import write_overview

    heads = {"best_feature": "best feature", "auroc": "AUROC", "word": "fires most for"} | {
        "agreement_chance": "by chance",
        "agreement_by_words": "agreement by words in a half",
    }
    tables = write_overview(run)
    for site, table in tables.items():
        print(f"Features of each emotion at {site}")
        small, q = pl.col("q") < 0.001, pl.col("q").round(3).cast(pl.String)
        shown = table.with_columns(
            pl.col("auroc", "agreement", "agreement_chance").round(2),
            pl.when(small).then(pl.lit("< .001")).otherwise(q).alias("q"),
        )
        if not shown["missing"].sum():
            shown = shown.drop("missing")
        if not shown["agreement"].count():
            shown = shown.drop("agreement", "agreement_chance", "agreement_by_words")
        _show(shown.rename({old: new for old, new in heads.items() if old in shown.columns}))
        print()
    print(
        "passing: features that pass the exact test; q: of the best feature, adjusted over all features and "
        "emotions;\nagreement: of the features that two halves of the words select, the share that both do."
    )


def _verb(command: str, words: Sequence[str], verbs: Sequence[str]) -> tuple[str, list[str]]:
    if not words:
        raise UserError(
            f"`emosae {command}` needs one of: {', '.join(verbs)}. See `emosae {command} --help`."
        )
    if words[0] not in verbs:
        raise unknown_name(f"command `emosae {command}`", words[0], verbs)
    return words[0], list(words[1:])


def _settings(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for key, equals, _ in pairs:
        if not equals:
            raise UserError(f"{key!r} is not a setting. Write key=value, for example language=en.")
    return {key: value for key, _, value in pairs}


def concepts_command(words: Sequence[str]) -> int:
    """`emosae concepts list | build … | check NAME | align NAME DATA`."""
    from emosae.concepts import command

    verb, rest = _verb("concepts", words, ["list", "build", "check", "align"])
    if verb == "list":
        if rest:
            raise UserError(f"`emosae concepts list` takes nothing more, got {rest[0]!r}. Leave it out.")
        _show(command.list_sets())
        return 0
    parts = command.check(rest)[0] if verb == "check" else getattr(command, verb)(rest)
    for part in parts:
        print(part.heading)
        if part.table is not None:
            _show(part.table)
            print()
    return 0


def norms_command(words: Sequence[str]) -> int:
    """`emosae norms list [key=value …] | fetch NAME [FILE] | add FILE [key=value …] | show NAME | remove NAME`."""
    from emosae import norms

    verb, rest = _verb("norms", words, ["list", "fetch", "add", "show", "remove"])
    if verb == "list":
        _list_norms(_settings(rest))
        return 0
    if not rest:
        example = (
            f"{verb} {'my_ratings.csv' if verb == 'add' else 'mine' if verb == 'remove' else 'warriner'}"
        )
        raise UserError(f"`emosae norms {verb}` needs a name or file, for example `emosae norms {example}`.")
    if verb == "show":
        for name in rest:
            for word, text in norms.show(name):
                print(f"{word:<9} {text}")
        return 0
    if verb == "fetch":
        path = norms.fetch(rest[0], source=Path(rest[1]) if len(rest) > 1 else None)
        print(f"{rest[0]}: {path}")
        return 0
    if verb == "remove":
        for name in rest:
            print(f"{name}: removed {' and '.join(map(str, norms.remove(name)))}")
        return 0
    entry, notes = norms.add_from_words(Path(rest[0]), _settings(rest[1:]))
    for note in notes:
        print(note)
    print(f"{entry.name}: {entry.n_words} words. Use it with norms={entry.name}")
    return 0


def _list_norms(wanted: Mapping[str, str]) -> None:
    """Print the data sets that fit `wanted` (language=zh, here=yes, …); paths are for `emosae norms show`."""
    from emosae import norms

    table = norms.list_entries().drop("path")
    for column, value in wanted.items():
        if column not in table.columns:
            raise unknown_name("column of `emosae norms list`", column, table.columns)
        kept = [str(cell).split(" (")[0] == value or str(cell) == value for cell in table[column]]
        table = table.filter(kept)
    _show(table)
    print(f"{table.height} data sets. `emosae norms show NAME` says whose one is and how to get it.")


def top_command(words: Sequence[str]) -> int:
    """`emosae top EMOTION [key=value …]`."""
    from emosae.browse import terminal

    terminal.top(words)
    return 0


def card_command(words: Sequence[str]) -> int:
    """`emosae card FEATURE [key=value …]`."""
    from emosae.browse import terminal

    terminal.card(words)
    return 0


def serve_command(words: Sequence[str]) -> int:
    """`emosae serve [browse=FOLDER] [key=value …]`."""
    from emosae.serve import run

    for word in words:
        if "=" not in word:
            raise UserError(f"{word!r} is not a setting. Write key=value, for example preset=phantom.")
    run.serve(words, lambda line: print(line, flush=True))
    return 0


def stats_command(words: Sequence[str]) -> int:
    """`emosae stats [PRESET|MODEL] corpus=FILE [key=value …]`."""
    from emosae.steering import measure

    print("\n".join(measure.command(words)))
    return 0


def cache_command(words: Sequence[str]) -> int:
    """`emosae cache list | verify | prune`."""
    from emosae import saes
    from emosae.features import list_readings, prune_readings

    verb, rest = _verb("cache", words, ["list", "verify", "prune"])
    if rest:
        raise UserError(f"`emosae cache {verb}` takes nothing more, got {rest[0]!r}. Leave it out.")
    if verb == "list":
        entries = [("SAE", entry.cfg.d_sae, entry.key, entry.path) for entry in saes.list_entries()]
        for kind, size, name, path in [*entries, *list_readings()]:
            print(f"{kind:<8} {size:>8} {name:<40} {path}")
        return 0
    found = saes.prune() if verb == "prune" else saes.verify()
    for each in found:
        print(f"{each.key}: {'; '.join(each.problems) or 'whole'}")
    if verb == "prune":
        print(f"removed {len(found)} SAE entries and {prune_readings()} unfinished readings")
        return 0
    return 0 if all(each.ok for each in found) else 1


def doctor_command(words: Sequence[str]) -> int:
    """`emosae doctor`: versions, places, what is there."""
    if words:
        raise UserError("`emosae doctor` takes no settings. Leave them out.")
    import json
    import shutil

    import torch  # noqa: F401  (its presence in sys.modules makes environment() describe it)

    from emosae import norms
    from emosae.artifacts import environment
    from emosae.paths import cache_root, conf_dir, data_dirs

    print(json.dumps(environment(), indent=1))
    free_gb = (
        shutil.disk_usage(next(path for path in [cache_root(), *cache_root().parents] if path.exists())).free
        / 1e9
    )
    print(f"cache   {cache_root()} ({free_gb:.0f} GB free)")
    print(f"conf    {conf_dir()}")
    print(f"data    {', '.join(map(str, data_dirs())) or 'no $EMOSAE_DATA'}")
    _show(norms.list_entries())
    return 0
