"""What the commands are called, and what their help says."""

from __future__ import annotations

import textwrap

__all__ = ["COMMANDS", "OVERVIEW", "STAGE_HELP", "TOOLS", "stage_help"]

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
    "norms": "Human data: `list`, `show NAME`, `fetch NAME [FILE]`, `add FILE [key=value …]`, `remove NAME`.",
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
    "  emosae norms remove mine                            one that you added\n"
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
