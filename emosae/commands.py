"""What the commands are called, what their help says, and the small tools beside the stages."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emosae.errors import UserError, unknown_name

__all__ = [
    "COMMANDS",
    "OVERVIEW",
    "STAGE_HELP",
    "TOOLS",
    "cache_command",
    "card_command",
    "concepts_command",
    "doctor_command",
    "norms_command",
    "serve_command",
    "show_selection",
    "stage_help",
    "stats_command",
    "top_command",
]

STAGE_HELP = {
    "run": "Every stage, then the report.",
    "features": "Read concept words through the model and its SAEs; write what fires for each word.",
    "select": "Rank features for each concept and language: AUROC, mean difference, exact test, BH.",
    "geometry": "Compare the model's emotion space with human similarity judgements, with its baselines.",
    "ratings": "Predict human valence and arousal of words from features, with nested cross-validation.",
    "steer": "Steer the model towards each emotion: doses, methods side by side, transfer, necessity.",
    "report": "Draw the report again from a run's folder (`emosae report outputs/run/…`), or run and draw.",
    "browse": "Build the feature browser: a page that opens without a server, with a card for every feature.",
}
TOOLS = {
    "concepts": "Concept sets: `list`, `build en=FILE …`, `check NAME`, `align NAME DATA`.",
    "norms": "Human data: `list`, `show NAME`, `fetch NAME [FILE]`, `add FILE [key=value …]`.",
    "top": "The features of an emotion, best first, with what fires them: `top joy`.",
    "card": "One feature's card: contexts, words, emotions, logit lens, neighbours: `card 1234`.",
    "serve": "The steering desk: a local page with a slider for each emotion, one text beside the other.",
    "stats": "Count how features fire on running text of yours; doses and maxima are measured by it.",
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
  selection.… geometry.… ratings.… steering.…   see conf/ or the manifest of any run
  reuse=FOLDER                take over the stages that an earlier run finished
  -m                          sweep: key=a,b runs both"""

_STEER_SETTINGS = """\
Settings of the steering:
  steering.emotions=[joy,…]   without, all of the concept set (the phantom: six of its 27)
  steering.doses=[0.5,1,2]    what is tried; dose 1 pushes by half of the residual's median norm
  steering.classifier=phantom|lexicon|norms|MODEL   what tells an emotion; MODEL is any Hugging Face text-classification
                              model whose labels are the emotions' names; steering.second_classifier= stands beside it
  steering.n_report=8         openings of each language that are reported (steering.report_prompts), and
  steering.n_choose=4         others that features' doses are chosen on (steering.prompts); steering.seeds=[0,1]
  steering.passages=FILE      .jsonl, .csv or .parquet with concept, language and text: features and directions are
                              made of them and necessity is measured; without, DiffMean is that of words
  steering.site=SITE          where; needed if there are several SAEs and the preset names none
  steering.scope=generated    which tokens; also from_last_prompt_token, all
  steering.transfer=false     leave out the sets of single languages
Written texts are kept in the cache: the same command goes on where it was cut off. Doses need statistics of the SAE's
features on running text (`emosae stats --help`); the phantom brings its own."""

_BROWSE_SETTINGS = """\
Settings of the browser:
  corpus=FILE|NAME            text whose contexts are shown: a .txt (a text a line), .jsonl or .parquet file, or a
                              Hugging Face data set; the phantom has its own. Also browse.column= browse.split=
  run=FOLDER                  show the selection and the ratings of an earlier run; without, features are selected anew
  browse.tokens=1000000       stop after as many tokens; null reads all
  browse.site=SITE            one of the SAEs' sites; without, all
  browse.contexts=10          top contexts of a feature; browse.examples=4 in each quarter of its activations
  browse.output_score=selected|all|none   browse.logit_lens=10   browse.neighbours=8   browse.memory_gb=4
  browse.one_file=all         one file in place of a folder, up to 8,192 features; selected: of a larger SAE the cards
                              of those that some emotion selects
The page is index.html in outputs/browse/…; it opens with a double click and sends nothing anywhere."""


def stage_help(command: str) -> str:
    """Write a command's help: what it does, an example, its settings and their options."""
    if command in TOOLS:
        return f"emosae {command}: {TOOLS[command]}\n\n{_TOOL_EXAMPLES[command]}"
    from emosae.paths import cache_root, conf_dir

    groups = []
    for group in ("preset", "concepts", "norms"):
        folders = [conf_dir() / group, cache_root() / "conf" / group]
        names = sorted(path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml"))
        groups.append(
            textwrap.fill(", ".join(names), 118, initial_indent=f"  {group:<9} ", subsequent_indent=" " * 12)
        )
    example = {
        "report": "emosae report outputs/run/DATE-TIME",
        "browse": "emosae browse preset=phantom run=outputs/run/DATE-TIME",
    }.get(command, f"emosae {command} preset=phantom")
    return "\n".join(
        [
            f"emosae {command}: {STAGE_HELP[command]}",
            "",
            f"Example: {example}",
            "",
            *([_BROWSE_SETTINGS, ""] if command == "browse" else []),
            *([_STEER_SETTINGS, ""] if command == "steer" else []),
            _SETTINGS,
            "",
            "Options:",
            *groups,
        ]
    )


_TOOL_EXAMPLES = {
    "top": """\
Examples:
  emosae top joy
  emosae top joy preset=phantom language=zh
  emosae top joy run=outputs/run/DATE-TIME             as that run selected, without opening the model
  emosae top joy model=FOLDER sae=FOLDER concepts=ekman6
browse.site=SITE says where to read, top.n=20 how many rows of each language.""",
    "card": """\
Examples:
  emosae card 12
  emosae card 12 preset=phantom browse.site=blocks.1.hook_resid_post
  emosae card 1234 model=FOLDER sae=FOLDER corpus=texts.parquet
The corpus is read for this one feature: browse.tokens=100000 tokens unless you say otherwise. run=FOLDER shows its
emotions and its weight in the ratings of that run.""",
    "concepts": """\
Examples:
  emosae concepts list
  emosae concepts build en=SWOW-EN.R100.csv zh=SWOW-ZH_R55.csv concepts=ekman6 name=swow6
      the words most tied to each emotion's name in free association; then: concepts=swow6
      responses=R1|R123 direction=forward|backward|both min_strength=0.01 min_count=2 max_words=20
      multiword=drop|keep shared=all|strongest keep_label=true labels.en.joy=joy,happiness
  emosae concepts build my_words.csv language=en name=mine
      a table with a row a word: concept, word and, where wanted, language and weight; columns.word=HEADER
  emosae concepts check swow6 neutral=neutral        overlap, word families, lengths; frequency.en=FILE
  emosae concepts align cowen27 human27 synonyms.anxiety=nervousness
output=FILE says where a built set is written; without, it is kept in the cache under its name.""",
    "norms": "Examples:\n  emosae norms list\n  emosae norms list language=zh here=yes\n  emosae norms show anew\n"
    "  emosae norms fetch warriner\n"
    "  emosae norms fetch warriner Ratings_Warriner_et_al.csv   take a file you have\n"
    "  emosae norms add my_ratings.csv name=mine language=en\n"
    "Folders named in $EMOSAE_DATA are searched too.",
    "serve": """\
Examples:
  emosae serve preset=phantom                          then open the address that it prints
  emosae serve preset=phantom browse=outputs/browse/DATE-TIME    with the feature browser beside it, to drag from
  emosae serve model=FOLDER sae=FOLDER concepts=ekman6 norms=[warriner]
serve.port=8765 (0: any that is free). serve.host=0.0.0.0 lets other machines in, with a token that is made and printed,
or serve.token=. serve.sets=FILE names features and targets of emotions; without, the emotion's words choose them.
serve.new_tokens=256, serve.prompt_characters=4000, serve.features=128 and serve.queue=8 are the most that is taken.
steering.site= steering.op= steering.scope= steering.classifier= as in `emosae steer --help`; norms= say valence and
arousal. It needs the packages of the extra: pip install 'emosae[serve]'.""",
    "stats": """\
Examples:
  emosae stats preset=phantom corpus=my_texts.txt
  emosae stats model=FOLDER sae=FOLDER corpus=texts.jsonl corpus.column=body corpus.tokens=2000000
A corpus is a .txt (a text a line), .jsonl or .parquet file; special tokens do not count. corpus.name=NAME
is what the statistics are called (else the file's name), corpus.window=512 the tokens read at a time.
They are written beside the SAE in the cache when the corpus was read, whole or not at all.""",
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
    """`emosae norms list [key=value …] | fetch NAME [FILE] | add FILE [key=value …] | show NAME`."""
    from emosae import norms

    verb, rest = _verb("norms", words, ["list", "fetch", "add", "show"])
    if verb == "list":
        _list_norms(_settings(rest))
        return 0
    if not rest:
        example = {"fetch": "fetch warriner", "add": "add my_ratings.csv", "show": "show warriner"}[verb]
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
