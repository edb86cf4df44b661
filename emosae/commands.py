"""What the commands are called, what their help says, and the small tools beside the stages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emosae.errors import UserError, unknown_name

__all__ = [
    "COMMANDS",
    "OVERVIEW",
    "STAGE_HELP",
    "TOOLS",
    "cache_command",
    "doctor_command",
    "norms_command",
    "stage_help",
]

STAGE_HELP = {
    "run": "Every stage, then the report.",
    "features": "Read concept words through the model and its SAEs; write what fires for each word.",
    "select": "Rank features for each concept and language: AUROC, mean difference, exact test, BH.",
    "geometry": "Compare the model's emotion space with human similarity judgements, with its baselines.",
    "ratings": "Predict human valence and arousal of words from features, with nested cross-validation.",
    "report": "Draw the report again from a run's folder (`emosae report outputs/run/…`), or run and draw.",
}
TOOLS = {
    "norms": "Human data: `list`, `fetch NAME [FILE]`, `add FILE [key=value …]`.",
    "cache": "sae_cache/: `list`, `verify`, `prune`.",
    "doctor": "What is here and what fits: versions, cache, human data, accelerators.",
}
COMMANDS = {**STAGE_HELP, **TOOLS}

OVERVIEW = "\n".join(
    [
        "emosae reads emotion in a language model through sparse autoencoders and holds it beside human data.",
        "",
        "Stages (each runs what it needs; settings are key=value):",
        *[f"  emosae {name:<9} {text}" for name, text in STAGE_HELP.items()],
        "",
        "Tools:",
        *[f"  emosae {name:<9} {text}" for name, text in TOOLS.items()],
        "",
        "Examples:",
        "  emosae run preset=phantom                      the model in the package, offline, about two minutes",
        "  emosae run model=FOLDER sae=FOLDER norms=[warriner,human27]",
        "  emosae run -m preset=phantom 'language=[en],[zh]'   a Hydra sweep",
        "  emosae run --from outputs/run/…/manifest.json  the same run again",
        "",
        "`emosae STAGE --help` shows a stage's settings. --debug shows tracebacks.",
    ]
)

_SETTINGS = """\
Settings:
  preset=NAME                 a model, its SAEs, concepts and human data at once
  model=NAME|FOLDER           a transformers model; also model.dtype= model.device= model.revision=
  sae=FOLDER                  a SAELens folder; or sae.release= with sae.sae_id=; or sae.repo=
  concepts=NAME               the emotions and their words
  norms=[NAME,…]              human ratings and similarity; norms.NAME.path=FILE says where a file lies
  language=[en,zh]            languages whose words are read
  features.templates=all|bare  features.pooling=mean|max|last  features.max_tokens=4096
  selection.… geometry.… ratings.…   see conf/ or the manifest of any run
  reuse=FOLDER                take over the stages that an earlier run finished
  -m                          sweep: key=a,b runs both"""


def stage_help(command: str) -> str:
    """Write a command's help: what it does, an example, its settings and their options."""
    if command in TOOLS:
        return f"emosae {command}: {TOOLS[command]}\n\n{_TOOL_EXAMPLES[command]}"
    from emosae.paths import cache_root, conf_dir

    groups = []
    for group in ("preset", "concepts", "norms"):
        folders = [conf_dir() / group, cache_root() / "conf" / group]
        names = sorted(path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml"))
        groups.append(f"  {group:<9} {', '.join(names)}")
    example = (
        "emosae report outputs/run/DATE-TIME" if command == "report" else f"emosae {command} preset=phantom"
    )
    return "\n".join(
        [
            f"emosae {command}: {STAGE_HELP[command]}",
            "",
            f"Example: {example}",
            "",
            _SETTINGS,
            "",
            "Options:",
            *groups,
        ]
    )


_TOOL_EXAMPLES = {
    "norms": "Examples:\n  emosae norms list\n  emosae norms fetch warriner\n"
    "  emosae norms fetch warriner Ratings_Warriner_et_al.csv   take a file you have\n"
    "  emosae norms add my_ratings.csv name=mine language=en\n"
    "Folders named in $EMOSAE_DATA are searched too.",
    "cache": "Examples:\n  emosae cache list\n  emosae cache verify\n  emosae cache prune",
    "doctor": "Example: emosae doctor",
}


def _show(table: Any) -> None:
    """Print a table: folded to a terminal's width, or one line a row where something else reads it."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.iter_rows():
        shown.add_row(*["" if value is None else str(value) for value in row])
    Console(width=None if sys.stdout.isatty() else 300).print(shown)


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


def norms_command(words: Sequence[str]) -> int:
    """`emosae norms list | fetch NAME [FILE] | add FILE [key=value …]`."""
    from emosae import norms

    verb, rest = _verb("norms", words, ["list", "fetch", "add"])
    if verb == "list":
        _show(norms.list_entries())
        return 0
    if not rest:
        example = "fetch warriner" if verb == "fetch" else "add my_ratings.csv"
        raise UserError(f"`emosae norms {verb}` needs a name or file, for example `emosae norms {example}`.")
    if verb == "fetch":
        path = norms.fetch(rest[0], source=Path(rest[1]) if len(rest) > 1 else None)
        print(f"{rest[0]}: {path}")
        return 0
    entry, notes = norms.add_from_words(Path(rest[0]), _settings(rest[1:]))
    for note in notes:
        print(note)
    print(f"{entry.name}: {entry.n_words} words. Use it with norms={entry.name}")
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
