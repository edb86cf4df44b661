"""Methods and citations as text that can be pasted: what the manifest says was done, with its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from emosae.report.names import language_name
from emosae.report.page import Block, Copy, Paragraph, Reference, References, Section
from emosae.report.sections.about import model_name
from emosae.report.sections.space import several_raters
from emosae.report.source import Run, part
from emosae.report.text import count, shorten, words_of

__all__ = ["methods_section"]

_BY_STAGE = {
    "select": [
        Reference(
            "Benjamini, Y., & Hochberg, Y. (1995). Controlling the false discovery rate: a practical and "
            "powerful approach to multiple testing. Journal of the Royal Statistical Society B, 57, "
            "289-300.",
            "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
        ),
    ],
    "geometry": [
        Reference(
            "Kriegeskorte, N., Mur, M., & Bandettini, P. (2008). Representational similarity analysis: "
            "connecting the branches of systems neuroscience. Frontiers in Systems Neuroscience, 2, 4.",
            "https://doi.org/10.3389/neuro.06.004.2008",
        ),
        Reference(
            "Nili, H., Wingfield, C., Walther, A., Su, L., Marslen-Wilson, W., & Kriegeskorte, N. (2014). "
            "A toolbox for representational similarity analysis. PLoS Computational Biology, 10, e1003553.",
            "https://doi.org/10.1371/journal.pcbi.1003553",
        ),
        Reference(
            "Schütt, H. H., Kipnis, A. D., Diedrichsen, J., & Kriegeskorte, N. (2023). Statistical "
            "inference on representational geometries. eLife, 12, e82566.",
            "https://doi.org/10.7554/eLife.82566",
        ),
    ],
    "ratings": [
        Reference(
            "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal "
            "problems. Technometrics, 12, 55-67.",
            "https://doi.org/10.1080/00401706.1970.10488634",
        ),
    ],
}
_SAE = Reference(
    "Huben, R., Cunningham, H., Riggs Smith, L., Ewart, A., & Sharkey, L. (2024). Sparse autoencoders "
    "find highly interpretable features in language models. International Conference on Learning "
    "Representations.",
    "https://arxiv.org/abs/2309.08600",
)
_SAFE_URL = re.compile(r"https?://[^\s<>\"']+")


def methods_section(run: Run) -> Section:
    """Build the section with the methods and the works to cite."""
    done = {name for stages in run.stages.values() for name in stages}
    texts = [
        text
        for text in (_reading(run), _selection(run, done), _geometry(run, done), _ratings(run, done))
        if text
    ]
    references = [_own(run), _SAE, *(ref for stage in _BY_STAGE if stage in done for ref in _BY_STAGE[stage])]
    blocks: list[Block] = [
        Paragraph(
            "The text below describes what this run did and may be pasted into a paper. Check it against "
            "your own words.",
            True,
        ),
        Copy(title="Methods", texts=texts),
        Paragraph("Works that these results rest on, the human data among them:", True),
        References([*references, *_data(run)]),
    ]
    return Section(anchor="methods", title="Methods and citations", blocks=blocks)


def _own(run: Run) -> Reference:
    version = part(part(run.manifest, "environment"), "packages").get("emosae")
    return Reference(
        f"The emosae developers. emosae{f' {version}' if version else ''}: emotion in language models, "
        "read through sparse autoencoders and held beside human data [computer software]."
    )


def _data(run: Run) -> list[Reference]:
    """Cite the human data and the concept set, as their own entries say."""
    found = []
    for name, entry in part(run.config, "norms").items():
        if not isinstance(entry, Mapping):
            continue
        text = str(entry.get("citation") or entry.get("title") or name).strip()
        doi = str(entry.get("doi") or "")
        url = f"https://doi.org/{doi}" if doi else str(entry.get("url") or "")
        terms = f" Terms: {entry['license']}." if entry.get("license") else ""
        found.append(Reference(shorten(text + terms, 900), url if _SAFE_URL.fullmatch(url) else ""))
    source = part(run.config, "concepts").get("source")
    if source:
        found.append(Reference(f"Concept words: {shorten(source, 900)}"))
    return found


def _reading(run: Run) -> str:
    config = run.config
    features = part(config, "features")
    concepts = part(config, "concepts")
    saes = [
        str(each.get("name")) if isinstance(each, Mapping) else str(each)
        for each in part(part(run.manifest, "inputs"), "saes").values()
    ]
    text = f"We read the language model {model_name(run)}"
    if run.is_phantom:
        text += (
            ", an embedded test model whose emotions were planted and which is no evidence about real models,"
        )
    text += f" through {_several('sparse autoencoder', len(saes))}"
    text += f" ({', '.join(shorten(name, 80) for name in saes)})" if saes else ""
    text += f" at {', '.join(shorten(site, 60) for site in run.stages)}." if run.stages else "."
    if concepts.get("name"):
        text += (
            f" The emotions were those of the set {shorten(concepts.get('title') or concepts['name'], 80)}"
        )
        text += f", in {_and([language_name(each) for each in run.languages])}." if run.languages else "."
    if features.get("pooling"):
        how = {"all": "bare and in sentence templates", "bare": "bare"}.get(
            str(features.get("templates")), ""
        )
        text += f" Words were read {how}" if how else " Words were read"
        text += f"; activations were pooled over a word's own tokens ({features['pooling']})"
        text += ", special tokens left out"
        text += ", and a word's readings were averaged before anything else."
        if features.get("rating_templates") == "bare" and features.get("templates") == "all":
            text += " Rated words were read bare."
    return text


def _selection(run: Run, done: set[str]) -> str:
    if "select" not in done:
        return ""
    settings = part(run.config, "selection")
    ranked = str(settings.get("rank_by") or "auroc")
    by = "the area under the ROC curve" if ranked == "auroc" else words_of(ranked)
    neutral = " and from neutral words" if part(run.config, "concepts").get("neutral") else ""
    text = f"For each emotion and language the features were ranked by {by} with which they tell the emotion's words "
    text += f"from the words of all others{neutral}, with the word as the unit. Significance is the one-sided exact "
    text += "hypergeometric test on active and inactive words"
    alpha = settings.get("alpha")
    text += (
        f", adjusted by Benjamini and Hochberg over all features and emotions (rate {alpha:g})."
        if alpha
        else "."
    )
    bounds = []
    if settings.get("min_support") is not None:
        bounds.append(f"fired on at least {count(settings['min_support'])} of the emotion's words")
    if settings.get("max_density") is not None:
        bounds.append(f"on at most {settings['max_density']:.0%} of all words")
    if settings.get("min_auroc") is not None:
        bounds.append(f"and had an area of at least {settings['min_auroc']:g}")
    if len(bounds) == 3:
        text += f" Candidates {', '.join(bounds[:2])} {bounds[2]}."
    if settings.get("max_features") is not None:
        text += (
            f" At most {count(settings['max_features'])} features were selected for an emotion and language"
        )
        fill = settings.get("min_features")
        text += (
            f"; where fewer than {count(fill)} were significant, the best others filled the set."
            if fill
            else "."
        )
    return text


def _geometry(run: Run, done: set[str]) -> str:
    if "geometry" not in done:
        return ""
    settings = part(run.config, "geometry")
    text = "Each emotion was described by the mean activation of the selected features over its words"
    measure = settings.get("dissimilarity")
    text += (
        f"; dissimilarities between emotions ({measure}) "
        if measure
        else "; dissimilarities between emotions "
    )
    comparators = settings.get("comparators") or []
    text += f"were compared with {run.voice.judgements}"
    text += f" by {comparators[0]}" if comparators else ""
    if any(several_raters(stages["geometry"]) for stages in run.stages.values() if "geometry" in stages):
        text += ", rater by rater and averaged, for the model, every baseline and the noise ceiling alike"
    text += ". p-values come from permuting the emotions' labels"
    if settings.get("n_permutations"):
        text += f" ({count(settings['n_permutations'])} permutations)"
    if settings.get("n_bootstrap"):
        samples = f"{count(settings['n_bootstrap'])} bootstrap samples of "
        text += f"; intervals{_percent(settings.get('confidence'))} from {samples}"
        text += "the emotions, with pairs of the same emotion removed"
    return text + "."


def _ratings(run: Run, done: set[str]) -> str:
    if "ratings" not in done:
        return ""
    settings = part(run.config, "ratings")
    text = "Valence and arousal of words were predicted separately by ridge regression with nested "
    text += "cross-validation"
    if settings.get("folds") and settings.get("inner_folds"):
        inner = f"{count(settings['inner_folds'])} inner folds that chose the penalty"
        text += f" ({count(settings['folds'])} outer folds, {inner})"
    if settings.get("transform") not in {None, "none"}:
        text += f" from feature values after {settings['transform']}"
    text += "; words of one stem stayed in one fold, and every correlation is between ratings and "
    text += "held-out predictions."
    if settings.get("bootstrap"):
        resamples = f"{count(settings['bootstrap'])} resamples of the words."
        text += f" Intervals{_percent(settings.get('confidence'))} are from {resamples}"
    return text


def _percent(confidence: Any) -> str:
    return f" ({confidence:.0%})" if isinstance(confidence, float) else ""


def _several(noun: str, n: int) -> str:
    return f"{n} {noun}s" if n > 1 else f"a {noun}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
