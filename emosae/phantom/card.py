"""The model card: what the phantom is and what it measured, written from its figures.

`python -m emosae.phantom.card --weights DIR` reads `training.json`, `figures.json` (from `measure`) and
`steering.json` (from `measure_steering`) and writes `MODEL_CARD.md` beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from emosae.artifacts import atomic_path
from emosae.phantom import PHANTOM, WEIGHTS

__all__ = ["card", "detected", "steered_well", "write_card"]

_LANGUAGES = {"en": "English", "zh": "Chinese"}
_SHOWN = (
    "joy", "sadness", "anger", "fear", "disgust", "surprise", "gratitude", "pride", "curiosity", "remorse",
)  # fmt: skip


def detected(figures: dict[str, Any], language: str, sae: str, key: str = "auroc") -> tuple[int, float]:
    """Return how many emotions have a feature with AUROC of at least .9, and the median AUROC."""
    values = [row[key] for row in figures["detection"][language][sae]["emotions"].values()]
    return sum(v >= 0.9 for v in values), float(np.median(values))


def steered_well(steering: dict[str, Any]) -> list[str]:
    """Return the emotions that reach 80 %, random features at most 10 %, within the bounds of fluency, in both."""
    parts = [steering[language] for language in _LANGUAGES]
    return [
        name
        for name in steering["dose"]
        if all(
            part["rate"][name] >= 0.8 and part["random_rate"][name] <= 0.1 and part["fluent"][name]
            for part in parts
        )
    ]


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _text_rows(figures: dict[str, Any]) -> list[str]:
    fit, neutral = figures["perplexity"], figures["neutrality"]
    accuracy = figures["classifier_accuracy"]
    return [
        _row(
            "held-out perplexity / exp(entropy of the grammar per token), both languages together",
            f"{fit['ratio']:.3f} ({fit['perplexity']:.2f} against {np.exp(fit['entropy']):.2f})", "", "at most 1.25",
        ),
        _row(
            "unsteered continuations of two neutral sentences that stay neutral (200)",
            f"{neutral['en']:.3f}", f"{neutral['zh']:.3f}", "at least .80",
        ),
        _row(
            "continuations of a passage that has just turned to an emotion that keep to it (216)",
            *(f"{figures['going_on'][language]['share']:.3f}" for language in _LANGUAGES), "",
        ),
        _row(
            "the grammar's own classifier on held-out passages, accuracy",
            f"{accuracy['en']:.3f}", f"{accuracy['zh']:.3f}", "",
        ),
    ]  # fmt: skip


def _feature_rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for sae in figures["detection"]["en"]:
        for key, what in (("auroc", "held-out passages"), ("auroc_silent", "passages that never name it")):
            cells = []
            for language in _LANGUAGES:
                n, median = detected(figures, language, sae, key)
                cells.append(f"{n} of 27 (median {median:.3f})")
            rows.append(
                _row(f"`{sae}`: emotions whose best feature has AUROC .9, {what}", *cells, "25 of 27")
            )
        shuffled = [figures["detection"][language][sae]["shuffled"] for language in _LANGUAGES]
        rows.append(
            _row(
                f"`{sae}`: the same under shuffled labels, 95th percentile",
                *(f"{each['n_at_0.9']:.0f} (median {each['median']:.3f})" for each in shuffled), "",
            )
        )  # fmt: skip
        spread = figures["control_valence_spread"]
        rows.append(
            _row(
                f"`{sae}`: spread of the control categories along valence, the emotions' own being 1",
                *(f"{spread[language][sae]:.2f}" for language in _LANGUAGES), "",
            )
        )  # fmt: skip
    return rows


_GEOMETRY = {
    "planted": ("emotion space against planted distance, rho", "at least .7"),
    "axis1_valence": ("axis 1 against planted valence, size of r", "at least .9"),
    "axis23_arousal": ("axis 2 or 3 against planted arousal, size of r", "at least .7"),
}


def _geometry_rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for space in figures["detection"]["en"]:
        own = figures["geometry"][space]
        for key, (what, goal) in _GEOMETRY.items():
            cells = [_beside_chance(own, f"{key}_{language}") for language in _LANGUAGES]
            rows.append(_row(f"`{space}`: {what}", *cells, goal))
        both = _beside_chance(own, "en_zh")
        rows.append(_row(f"`{space}`: English against Chinese space, rho", both, "", "at least .7"))
    return rows


def _beside_chance(figures: dict[str, float], name: str) -> str:
    return f"{figures[name]:.3f} (by chance {figures[f'chance_{name}']:.2f})"


def _recovery_rows(recovery: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = []
    for site, found in recovery.items():
        for row in found:
            chance = f", by chance {row['chance']:.2f}" if row["chance"] is not None else ""
            p = "" if row["p"] is None else ", p < .001" if row["p"] < 0.001 else f", p {row['p']:.3f}"
            languages = " and ".join(_LANGUAGES.get(code, code) for code in row["language"].split(", "))
            rows.append(
                _row(
                    f"{row['question']}, {languages}", site, f"{row['found']:.2f}{chance}{p}",
                    f"{row['goal']:g}", "yes" if row["met"] else "no",
                )
            )  # fmt: skip
    return rows


def _steering_rows(steering: dict[str, Any]) -> list[str]:
    parts = [steering[language] for language in _LANGUAGES]

    def cells(value: Any) -> list[str]:
        return [value(part) for part in parts]

    n_draws = len(next(iter(parts[0]["random_draws"].values())))
    rate = cells(lambda p: f"{sum(v >= 0.8 for v in p['rate'].values())} of 27")
    return [
        _row("emotions to which at least 80 % of the openings turn", *rate, "24 of 27"),
        _row("mean rate", *cells(lambda p: f"{np.mean(list(p['rate'].values())):.3f}"), ""),
        _row(
            f"mean rate of random features of the same size and norm, {n_draws} draws",
            *cells(lambda p: f"{np.mean(list(p['random_rate'].values())):.3f}"), "at most .10",
        ),
        _row(
            "emotions within the bounds of fluency",
            *cells(lambda p: f"{sum(p['fluent'].values())} of 27"), "",
        ),
        _row(
            "largest rate of random features, of 27 emotions (in one draw)",
            *cells(lambda p: f"{max(p['random_rate'].values()):.2f} ({_largest_draw(p):.2f})"), "at most .10",
        ),
        _row(
            "perplexity under the unsteered model over unsteered text's, median",
            *cells(lambda p: f"{np.median(list(p['perplexity_ratio'].values())):.2f}"), ".67 to 1.5",
        ),
        _row(
            "distinct pairs over unsteered text's, median",
            *cells(lambda p: f"{np.median(list(p['distinct_2_ratio'].values())):.2f}"), "at least .8",
        ),
        _row(
            "emotions at 80 % under shuffled intentions, 95th percentile",
            *cells(lambda p: f"{p['shuffled_n_at_0.8']:.0f}"), "",
        ),
    ]  # fmt: skip


def _largest_draw(part: dict[str, Any]) -> float:
    return max(rate for draws in part["random_draws"].values() for rate in draws)


def card(training: dict[str, Any], figures: dict[str, Any], steering: dict[str, Any]) -> str:
    """Write the card's text.

    Args:
        training: What `train` reported.
        figures: What `measure` found, with `recovery` by site.
        steering: What `measure_steering` found.
    """
    recipe = training["recipe"]
    lessons = [lesson for each in recipe["model"]["rounds"] for lesson in each["lessons"]]
    template = (PHANTOM / "model_card.md").read_text(encoding="utf-8")
    well = steered_well(steering)
    samples = []
    for language, name in _LANGUAGES.items():
        samples += [f"### {name}", ""]
        samples += [
            f"- *{emotion}*: {figures['going_on'][language]['samples'][emotion]}" for emotion in _SHOWN
        ]
        samples.append("")
    return template.format(
        layers=recipe["model"]["n_layers"],
        width=recipe["model"]["d_model"],
        heads=recipe["model"]["n_heads"],
        parameters=f"{training['parameters'] / 1e6:.1f}M",
        vocabulary=f"{recipe['vocab_size']:,}",
        d_sae=f"{recipe['saes'][0]['d_sae']:,}",
        k=recipe["saes"][0]["k"],
        prefixes=" and ".join(map(str, recipe["saes"][0]["prefixes"])),
        drills=f"{lessons[0]['n_passages']:,}",
        early=f"{lessons[1]['n_passages']:,}",
        early_share=f"{lessons[1]['emotional_share']:.0%}",
        natural=f"{sum(x['n_passages'] for x in lessons[2:-1]):,}",
        states=f"{recipe['model']['rounds'][-1]['n_passages']:,}",
        state_layer=recipe["model"]["rounds"][-1]["layer"],
        tokens=f"{training['tokens'] / 1e6:.0f} million",
        sae_passages=f"{recipe['sae_text']['n_passages']:,}",
        minutes=f"{training['seconds']['total'] / 60:.0f}",
        threads=training["threads"],
        torch=training["torch"],
        explained=", ".join(f"`{n}` {s['explained_variance']:.2f}" for n, s in training["saes"].items()),
        text_rows="\n".join(_text_rows(figures)),
        feature_rows="\n".join([*_feature_rows(figures), *_geometry_rows(figures)]),
        recovery_rows="\n".join(_recovery_rows(figures["recovery"])),
        steering_sae=steering["sae"],
        steering_features=steering["n_features"],
        steering_rows="\n".join(_steering_rows(steering)),
        steered=f"{len(well)} of 27",
        not_steered=", ".join(n for n in steering["dose"] if n not in well) or "none",
        steered_samples="\n".join(
            f"- *{emotion}*: {steering[language]['samples'][emotion][0]}"
            for language in _LANGUAGES
            for emotion in _SHOWN[:2]
        ),
        samples="\n".join(samples).strip(),
    )


def write_card(weights: Path) -> Path:
    """Write `MODEL_CARD.md` from the figures beside it."""
    training, figures, steering = (
        json.loads((weights / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("training", "figures", "steering")
    )
    path = weights / "MODEL_CARD.md"
    with atomic_path(path) as part:
        part.write_text(card(training, figures, steering), encoding="utf-8")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write the card from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.card", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    sys.stdout.write(f"{write_card(parser.parse_args(arguments).weights)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
