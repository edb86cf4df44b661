"""The browser in a terminal: `emosae top joy` and `emosae card 1234`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.concepts import load_concepts
from emosae.errors import UserError, unknown_name
from emosae.report.text import clean

if TYPE_CHECKING:
    from rich.console import Console

    from emosae.browse.cards import Card, Context
    from emosae.browse.facts import Facts
    from emosae.config import Config

__all__ = ["card", "top"]

_ROWS = 10
_TOKENS = 100_000  # read for one card, so that it comes at once
_WORDS = 6


def top(words: Sequence[str]) -> None:
    """Print the features of an emotion, language by language.

    Args:
        words: The words after `emosae top`.

    Raises:
        UserError: No emotion, an unknown one, or a setting that does not exist.
    """
    emotion, rest = _first(words, "top", "an emotion", "joy")
    rows = [word.partition("=")[2] for word in rest if word.startswith("top.n=")]
    n = _whole(rows[-1]) if rows else _ROWS
    config = _compose([word for word in rest if not word.startswith("top.n=")])
    console = _console()
    if config.browse.run is None:  # a wrong name shows before the model is opened
        _check_emotion(emotion, load_concepts(config.concepts.path or config.concepts.name).concepts)
    for site, facts in _facts(config).items():
        _check_emotion(emotion, facts.concepts)
        for language in config.language:
            table = facts.scores.filter((pl.col("concept") == emotion) & (pl.col("language") == language))
            _print_top(console, table.sort("rank").head(n), facts, f"{emotion} in {language} at {site}")
        if facts.output:
            console.print(
                "output score: whether raising it writes the tokens that its decoder row points to."
            )


def _check_emotion(emotion: str, known: Iterable[str]) -> None:
    if emotion not in known:
        hint = "They are those of the concept set; concepts=NAME names another."
        raise unknown_name("emotion", emotion, known, hint)


def card(words: Sequence[str]) -> None:
    """Print a feature's card, read from the corpus for it alone.

    Args:
        words: The words after `emosae card`.

    Raises:
        UserError: No number, one beyond the SAE, or what the browser refuses.
    """
    from emosae.browse.cards import Cards
    from emosae.browse.collect import collect
    from emosae.browse.corpus import choose_corpus
    from emosae.browse.facts import Facts, score_outputs
    from emosae.browse.stage import open_study, read_facts, sites_of

    number, rest = _first(words, "card", "a feature's number", "12")
    feature = _whole(number, least=0)
    if not any(word.startswith("browse.tokens=") for word in rest):
        rest.append(f"browse.tokens={_TOKENS}")
    config = _compose(rest)
    corpus = choose_corpus(config.browse, config.preset)
    lens = open_study(config)
    site = sites_of(config, lens)[0]
    sae = lens.saes[site]
    if feature >= sae.d_sae:
        raise UserError(
            f"A feature must be 0 to {sae.d_sae - 1} in the SAE {sae.name!r}, got {feature}. "
            "Choose one of its features."
        )
    found = collect(lens.model, lens.tokenizer, {site: sae}, corpus, config.browse, features=[feature])[site]
    facts = read_facts(config, lens).get(str(site), Facts())
    scored = (
        score_outputs(facts, lens, site, config.browse.output_score) if _selected(facts, feature) else facts
    )
    made = next(Cards(lens, site, found, scored, config.browse).make([0]))
    about = f"{found.stats.n_tokens:,} tokens of {found.corpus}"
    _print_card(_console(), made, f"feature {feature} of {sae.name} at {site}, {about}")


def _selected(facts: Facts, feature: int) -> bool:
    return bool(facts.scores.filter((pl.col("feature") == feature) & pl.col("selected")).height)


def _facts(config: Config) -> dict[str, Facts]:
    """What is known at the site asked for, or at the one that the preset steers at."""
    from emosae.browse.facts import facts_of_run, score_outputs
    from emosae.browse.stage import open_study, read_facts, sites_of

    if config.browse.run is not None:
        found = facts_of_run(Path(config.browse.run))
        if config.browse.site is None:
            return found
        if config.browse.site not in found:
            raise unknown_name("site in this run", config.browse.site, found)
        return {config.browse.site: found[config.browse.site]}
    lens = open_study(config)
    site = sites_of(config, lens)[0]
    return {
        str(site): score_outputs(read_facts(config, lens)[str(site)], lens, site, config.browse.output_score)
    }


def _print_top(console: Console, table: pl.DataFrame, facts: Facts, title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(title, style="bold"))
    shown = Table(box=None, pad_edge=False, header_style="bold")
    heads = [
        "feature",
        "AUROC",
        "q",
        "selected",
        *(["output score"] if facts.output else []),
        "fires most for",
    ]
    for head in heads:
        shown.add_column(head, justify="left" if head in {"selected", "fires most for"} else "right")
    for row in table.iter_rows(named=True):
        fired = facts.words.filter(
            (pl.col("feature") == row["feature"]) & (pl.col("language") == row["language"])
        )
        score = facts.output.get(row["feature"])
        cells = [
            str(row["feature"]),
            f"{row['auroc']:.2f}",
            "< .001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}",
            "yes" if row["selected"] else "",
            *([f"{score:.3f}" if score is not None else ""] if facts.output else []),
            ", ".join(map(clean, fired["word"].head(_WORDS))),
        ]
        shown.add_row(*map(Text, cells))
    if not table.height:
        shown.add_row(Text("no candidate"))
    console.print(shown)
    console.print()


def _print_card(console: Console, made: Card, title: str) -> None:
    from rich.text import Text

    console.print(Text(title, style="bold"))
    line = f"density {made.density:.3g}, {made.n_active} active tokens, maximum {made.maximum:.3g}"
    if made.n_active:
        line += f", median when active {made.quartiles[1]:.3g}"
    if made.universality is not None:
        line += f", universality {made.universality:.2f}"
    if made.output_score is not None:
        line += f", output score {made.output_score:.3f}"
    _say(console, line)
    if not made.top:
        _say(console, "It did not fire in this corpus.")
    for heading, contexts in [("Top contexts", made.top), *_quarters(made)]:
        if contexts:
            console.print(Text(f"\n{heading}", style="bold"))
        for each in contexts:
            console.print(_shaded(each, made.maximum))
    console.print()
    for heading, parts in _lists(made):
        if parts:
            console.print(Text.assemble((f"{heading}: ", "bold"), ", ".join(parts)))


def _quarters(made: Card) -> list[tuple[str, list[Context]]]:
    return [
        (f"{100 * low:.0f} to {100 * high:.0f} % of its activations", own[:2])
        for low, high, own in made.groups
    ]


def _lists(made: Card) -> list[tuple[str, list[str]]]:
    sets: dict[str, list[str]] = {}
    for name, concept in made.sets:
        sets.setdefault(name, []).extend([concept] if concept else [])
    return [
        ("Words", [f"{word} {value:.3g}" for word, value in made.words]),
        ("Languages", [f"{name} {share:.0%}" for name, share, _ in made.languages]),
        (
            "Emotions",
            [
                f"{row['concept']} ({row['language']}, AUROC {row['auroc']:.2f}"
                + (", selected)" if row["selected"] else ")")
                for row in made.concepts
            ],
        ),
        ("Sets", [name + (f" ({', '.join(own)})" if own else "") for name, own in sets.items()]),
        ("Concept words", list(dict.fromkeys(clean(word) for _, word, _ in made.concept_words))[:12]),
        (
            "Weights",
            [
                f"{row['target']} ({row['language']}) {row['weight']:.3g}, place {row['rank']}"
                for row in made.weights
            ],
        ),
        ("Promoted", [f"{token!r} {logit:.3g}" for token, logit in made.promoted]),
        ("Suppressed", [f"{token!r} {logit:.3g}" for token, logit in made.suppressed]),
        ("Neighbours", [f"{feature} {cosine:.2f}" for feature, cosine in made.neighbours]),
        ("Neuronpedia", [made.neuronpedia] if made.neuronpedia else []),
    ]


def _shaded(context: Context, maximum: float) -> Any:
    """One line: the activation, and the text with what fires in colour; the token meant stands in brackets."""
    from rich.text import Text

    line = Text(f"{context.value:8.3g}  ")
    for place, (text, value) in enumerate(context.pieces):
        shown = " ".join(text.splitlines()) if "\n" in text else text
        heat = value / maximum if maximum > 0 else 0.0
        style = "" if value <= 0 else "bold black on cyan" if heat > 0.5 else "cyan"
        if place == context.at:
            lead = shown[: len(shown) - len(shown.lstrip())]
            line.append(lead)
            line.append(f"[{shown.strip()}]", style=style)
        else:
            line.append(shown, style=style)
    return line


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)


def _console() -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        width=None if terminal else 300, soft_wrap=not terminal, no_color=not terminal, highlight=False
    )


def _first(words: Sequence[str], command: str, what: str, example: str) -> tuple[str, list[str]]:
    if not words or "=" in words[0]:
        raise UserError(f"`emosae {command}` needs {what}, for example `emosae {command} {example}`.")
    for word in words[1:]:
        if "=" not in word:
            raise UserError(f"{word!r} is not a setting. Write key=value, for example preset=phantom.")
    return words[0], list(words[1:])


def _compose(words: list[str]) -> Config:
    from emosae.config import compose

    return compose([*words, *([] if any(word.startswith("norms") for word in words) else ["norms=[]"])])


def _whole(value: str, least: int = 1) -> int:
    if not value.isdigit() or int(value) < least:
        raise UserError(f"A whole number from {least} is needed, got {value!r}. Give e.g. 12.")
    return int(value)
