"""Run folders made by hand, for the tests of the report."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emosae.artifacts import save_result, write_json

SITE = "blocks.3.hook_resid_post"
VALENCE = {"joy": 0.9, "love": 0.7, "anger": -0.6, "fear": -0.8, "calm": 0.4}
AROUSAL = {"joy": 0.3, "love": 0.1, "anger": 0.8, "fear": 0.7, "calm": -0.9}
VOID = {"meta", "br", "img", "input", "link", "hr", "path", "use", "rect", "image"}
NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }}",
    "שלום עולם",
    "\u202egnp.exe",
    "😀👩‍👩‍👧",
    "a" * 10_240,
    "bell\x07 and nul\x00",
    "$x^2$ & <b>",
    "two\nlines",
]


@dataclasses.dataclass
class Tables:
    """A stage's result with whatever tables a test wants."""

    scores: pl.DataFrame | None = None
    sets: pl.DataFrame | None = None
    words: pl.DataFrame | None = None
    summary: pl.DataFrame | None = None
    rsa: pl.DataFrame | None = None
    between: pl.DataFrame | None = None
    rdms: pl.DataFrame | None = None
    axes: pl.DataFrame | None = None
    coordinates: pl.DataFrame | None = None
    attributes: pl.DataFrame | None = None
    tests: pl.DataFrame | None = None
    notes: Any = None
    predictions: pl.DataFrame | None = None
    comparisons: pl.DataFrame | None = None
    weights: pl.DataFrame | None = None
    data_sets: pl.DataFrame | None = None
    agreement: pl.DataFrame | None = None
    comparator: str | None = None
    reference: str | None = None
    dissimilarity: str | None = None
    n_features: int | None = None
    alpha: float | None = None


def selection(languages: list[str], concepts: list[str], words: list[str] | None = None) -> Tables:
    """Two features a concept: one significant, one not."""
    words = words or ["happy", "glad"]
    scores, fired = [], []
    for language in languages:
        for number, concept in enumerate(concepts):
            for rank in (1, 2):
                feature = 10 * number + rank
                scores.append(
                    {
                        "language": language,
                        "concept": concept,
                        "feature": feature,
                        "auroc": 0.9 - 0.1 * rank,
                        "mean_difference": 1.25,
                        "mutual_information": 0.1,
                        "p": 0.001,
                        "p_adjusted": 0.0123 if rank == 1 else 0.4,
                        "support": 5,
                        "density": 0.0625,
                        "rank": rank,
                        "significant": rank == 1,
                        "selected": True,
                    }
                )
                fired += [
                    {
                        "language": language,
                        "concept": concept,
                        "feature": feature,
                        "word": word,
                        "activation": 9.0 - place,
                        "in_concept": place == 0,
                    }
                    for place, word in enumerate(words)
                ]
    table = pl.DataFrame(scores)
    space = table.select(pl.lit("space").alias("set"), "concept", "feature").unique(maintain_order=True)
    summary = [
        {"language": language, "concept": concept, "n_words": 12, "n_selected": 2, "note": ""}
        for language in languages
        for concept in concepts
    ]
    return Tables(
        scores=table,
        words=pl.DataFrame(fired),
        sets=space,
        summary=pl.DataFrame(summary),
        n_features=4096,
        alpha=0.05,
        notes=pl.DataFrame({"topic": ["space"], "note": ["Half of the selections fill up."]}),
    )


def _rdm_rows(space: str, concepts: list[str], values: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"space": space, "concept_a": a, "concept_b": b, "dissimilarity": float(values[i, j])}
        for i, a in enumerate(concepts)
        for j, b in enumerate(concepts)
        if i < j
    ]


def geometry(languages: list[str], concepts: list[str]) -> Tables:
    """Spaces that differ a little from people's map, which is that of valence and arousal."""
    spaces = [f"features_{language}" if len(languages) > 1 else "features" for language in languages]
    values = [VALENCE.get(concept, 0.1 * i) for i, concept in enumerate(concepts)]
    place = np.array([values, [AROUSAL.get(concept, 0.0) for concept in concepts]]).T
    place = place - place.mean(axis=0)
    coordinates, rdms, rsa = [], [], []
    for number, space in enumerate([*spaces, "human"]):
        own = (
            place
            if space == "human"
            else place + 0.05 * (number + 1) * np.sin(np.arange(place.size)).reshape(-1, 2)
        )
        coordinates += [
            {"space": space, "concept": c, "axis_1": x, "axis_2": y, "aligned_1": x, "aligned_2": y}
            for c, (x, y) in zip(concepts, own.tolist(), strict=True)
        ]
        rdms += _rdm_rows(space, concepts, np.linalg.norm(own[:, None] - own[None], axis=2))
    for name, column in (("valence", 0), ("arousal", 1)):
        rdms += _rdm_rows(name, concepts, np.abs(place[:, None, column] - place[None, :, column]))
    common = {
        "comparator": "rho-a",
        "ceiling_lower": 0.7411,
        "ceiling_upper": 0.7522,
        "ceiling_mean_rdm": 0.9933,
        "n_concepts": len(concepts),
        "n_raters": 40,
    }
    for number, space in enumerate(spaces):
        score = {"score": 0.5811 - 0.01 * number, "ci_low": 0.42, "ci_high": 0.66, "p": 0.0123}
        rsa.append(
            common
            | {"space": space, "role": "model", "share_of_ceiling": 0.77, "score_mean_rdm": 0.71}
            | score
        )
    rsa.append(common | {"space": "residual", "role": "baseline", "score": 0.5555, "score_mean_rdm": 0.69})
    rsa.append(common | {"space": "valence", "role": "attribute", "score": 0.6144, "score_mean_rdm": 0.806})
    rsa.append(common | {"space": "ceiling_upper", "role": "ceiling", "score": 0.7522})
    axes = [
        {
            "space": space,
            "method": "mds",
            "axis": axis,
            "explained": 0.5,
            "attribute": attribute,
            "r": 0.8,
            "ci_low": 0.6,
            "ci_high": 0.9,
            "p": 0.01,
        }
        for space in [*spaces, "human"]
        for axis in (1, 2)
        for attribute in ("valence", "arousal")
    ]
    tests = [
        {
            "test": "beyond_valence",
            "space": spaces[0],
            "other": "human",
            "statistic": 0.58,
            "expected": 0.5,
            "p": 0.03,
            "n_permutations": 1000,
        }
    ]
    return Tables(
        rsa=pl.DataFrame(rsa, infer_schema_length=None),
        rdms=pl.DataFrame(rdms),
        coordinates=pl.DataFrame(coordinates),
        axes=pl.DataFrame(axes),
        tests=pl.DataFrame(tests),
        between=pl.DataFrame(schema={"space_a": pl.String, "space_b": pl.String, "score": pl.Float64}),
        notes=pl.DataFrame({"topic": ["human"], "note": ["English words were judged."]}),
        comparator="rho-a",
        reference="human",
        dissimilarity="correlation",
    )


def ratings(languages: list[str], words: list[str] | None = None, n_words: int = 60) -> Tables:
    """Predictions that follow the ratings with a wave on top."""
    scores, predictions = [], []
    for language in languages:
        for target, r in (("valence", 0.7211), ("arousal", 0.5622)):
            for predictor, lift in (("features", 0.0), ("residual", 0.0151), ("embedding", -0.1)):
                scores.append(
                    {
                        "predictor": predictor,
                        "target": target,
                        "language": language,
                        "n_words": n_words,
                        "r": r + lift,
                        "r_low": r + lift - 0.02,
                        "r_high": r + lift + 0.02,
                        "ceiling": 0.9544 if target == "valence" else None,
                        "r_disattenuated": (r + lift) / 0.9544 if target == "valence" else None,
                    }
                )
            own = [*(words or []), *(f"word{i}" for i in range(n_words))][:n_words]
            predictions += [
                {
                    "word": word,
                    "language": language,
                    "target": target,
                    "rating": 1 + 8 * i / n_words,
                    "predictor": "features",
                    "predicted": 3 + 4 * i / n_words + float(np.sin(i)),
                    "fold": i % 10,
                }
                for i, word in enumerate(own)
            ]
    weights = pl.DataFrame(
        {
            "target": ["valence"] * 3,
            "language": [languages[0]] * 3,
            "feature": [11, 1, 21],
            "weight": [0.5, -0.7, 0.1],
        }
    )
    return Tables(scores=pl.DataFrame(scores), predictions=pl.DataFrame(predictions), weights=weights)


def manifest(languages: list[str], **changes: Any) -> dict[str, Any]:
    """What a finished run's manifest says."""
    return {
        "stage": "run",
        "command": ["emosae", "run", "model=some folder", "norms=[warriner,human27]"],
        "config": {
            "name": None,
            "model": {"name": "example/model"},
            "language": languages,
            "concepts": {
                "name": "set5",
                "title": "Five emotions",
                "source": "Written for the test.",
                "languages": {"zh": {"labels": {"joy": "快乐", "anger": "愤怒"}}},
            },
            "norms": {
                "warriner": {
                    "kind": "ratings",
                    "language": "en",
                    "scale_min": 1.0,
                    "scale_max": 9.0,
                    "citation": "Warriner et al. (2013).",
                    "doi": "10.3758/s13428-012-0314-x",
                },
            },
            "features": {"pooling": "mean", "templates": "all"},
            "selection": {
                "alpha": 0.05,
                "min_support": 3,
                "max_density": 0.5,
                "min_auroc": 0.6,
                "max_features": 20,
            },
            "geometry": {"dissimilarity": "correlation", "comparators": ["rho-a"], "n_permutations": 10_000},
            "ratings": {"folds": 10, "inner_folds": 5, "bootstrap": 2000, "confidence": 0.95},
        },
        "environment": {"python": "3.11", "packages": {"emosae": "0.1.0"}, "machine": {"cpus": 2}},
        "started": "2026-01-02T03:04:05+00:00",
        "inputs": {
            "name": "example model",
            "model": "f00d",
            "saes": {SITE: {"name": "the-sae", "fingerprint": "beef"}},
        },
        "coverage": {
            "concepts": [
                {"language": each, "n_words": 60, "n_unknown": 7, "coverage": 0.8833} for each in languages
            ]
        },
        "headline": ["selection: 5 of 5 concepts have a feature"],
        "notes": ["The raters judged English words."],
    } | changes


def make_run(
    folder: Path,
    *,
    languages: list[str] | None = None,
    sites: list[str] | None = None,
    stages: tuple[str, ...] = ("select", "geometry", "ratings"),
    concepts: list[str] | None = None,
    words: list[str] | None = None,
    n_words: int = 60,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a run's folder."""
    languages, concepts = languages or ["en"], concepts or list(VALENCE)
    made = {
        "select": lambda: selection(languages, concepts, words),
        "geometry": lambda: geometry(languages, concepts),
        "ratings": lambda: ratings(languages, words, n_words),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        result = made[stage]()
        save_result(folder, stage, dict.fromkeys(sites or [SITE], result))
    write_json(folder / "manifest.json", manifest(languages, **(about or {})))
    return folder


class Page(HTMLParser):
    """A report taken apart: tags, text, and what is wrong with its form."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        if tag in self._open:
            while self._open and self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, spaces collapsed."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def read_page(report: Path) -> Page:
    """Take a report apart."""
    return Page(report.read_text(encoding="utf-8"))
