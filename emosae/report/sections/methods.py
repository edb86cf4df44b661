"""Methods and citations as text that can be pasted: what the manifest says was done, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.report.names import language_name
from emosae.report.page import Block, Copy, Paragraph, References, Section
from emosae.report.sections.about import model_name
from emosae.report.sections.references import references
from emosae.report.sections.space import several_raters
from emosae.report.sections.steering_summary import steering_methods
from emosae.report.source import Run, part
from emosae.report.text import count, shorten, words_of

__all__ = ["methods_section"]


def methods_section(run: Run) -> Section:
    """Build the section with the methods and the works to cite."""
    done = {name for stages in run.stages.values() for name in stages}
    texts = [
        text
        for text in (
            _reading(run),
            _selection(run, done),
            _geometry(run, done),
            _ratings(run, done),
            steering_methods(run),
        )
        if text
    ]
    blocks: list[Block] = [
        Paragraph(
            "The text below describes what this run did and may be pasted into a paper. Check it against "
            "your own words.",
            True,
        ),
        Copy(title="Methods", texts=texts),
        Paragraph("Works that these results rest on, the human data among them:", True),
        References(references(run)),
    ]
    return Section(anchor="methods", title="Methods and citations", blocks=blocks)


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
    if _holds(run, "select", "stability"):
        splits = settings.get("stability_splits")
        times = f" {count(splits)} times" if splits else ""
        text += f" The words were halved at random{times} and each half selected on its own; agreement is the Jaccard "
        text += "index beside that of random sets of the same sizes."
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
    return text + "." + _geometry_controls(run, settings)


def _geometry_controls(run: Run, settings: Mapping[str, Any]) -> str:
    text = ""
    if _holds(run, "geometry", "rsa", "n_draws"):
        draws = settings.get("n_random")
        text += f" Beside them stand {f'the mean of {count(draws)} ' if draws else ''}random sets of as many features, "
        text += "drawn from all that fire, and a control set matched in number, density and mean activation."
    if _holds(run, "geometry", "control"):
        text += " Concepts without feeling went through the same steps; the direction of valence was learnt from the "
        text += "emotions by ridge regression and compared with directions learnt from shuffled valence."
    if len(run.stages) > 1 and _holds(run, "geometry", "sites"):
        text += (
            " Over sites, p was corrected by the maximum statistic, and the choice of a site was checked by "
        )
        text += "choosing on one half of the emotions and scoring on the other."
    geometry = [stages["geometry"] for stages in run.stages.values() if "geometry" in stages]
    if any(stage.table("raters_summary", "p").drop_nulls("p").height for stage in geometry):
        text += " Each rater's likeness to a space was held against the rater's agreement with the others, and the "
        text += "spread of the raters about that line against simulations in which all share one truth."
    if _holds(run, "geometry", "runs"):
        text += (
            " Spaces were compared with those of the same kind in other runs, on the emotions that both have."
        )
    if _holds(run, "geometry", "cebra", "labels"):
        text += " CEBRA latents were fitted to the labels and, as a control, to shuffled labels."
    return text


def _ratings(run: Run, done: set[str]) -> str:
    if "ratings" not in done:
        return ""
    settings = part(run.config, "ratings")
    pls = settings.get("model") == "pls"
    text = "Valence and arousal of words were predicted separately by "
    text += "partial least squares" if pls else "ridge regression"
    text += " with nested cross-validation"
    if settings.get("folds") and settings.get("inner_folds"):
        chose = "the number of components" if pls else "the penalty"
        most = f", at most {count(settings['components'])}" if pls and settings.get("components") else ""
        inner = f"{count(settings['inner_folds'])} inner folds that chose {chose}{most}"
        text += f" ({count(settings['folds'])} outer folds, {inner})"
    if settings.get("transform") not in {None, "none"}:
        text += f" from feature values after {settings['transform']}"
    text += "; words of one stem stayed in one fold, and every correlation is between ratings and "
    text += "held-out predictions."
    if settings.get("bootstrap"):
        resamples = f"{count(settings['bootstrap'])} resamples of the words."
        text += f" Intervals{_percent(settings.get('confidence'))} are from {resamples}"
    text += " Ceilings are the square root of the ratings' reliability, where the norms give deviations and raters."
    if _holds(run, "ratings", "agreement"):
        text += " Every data set of ratings was a study of its own, on the same readings of the words."
    return text + _transfer(run) + _groups(run, settings)


def _transfer(run: Run) -> str:
    if not _holds(run, "ratings", "transfer"):
        return ""
    return (
        " For transfer between languages the model of each outer fold was fitted in one language alone and predicted "
        "the other language's words of the same fold."
    )


def _groups(run: Run, settings: Mapping[str, Any]) -> str:
    if not _holds(run, "ratings", "groups"):
        return ""
    n = settings.get("group_simulations")
    times = f" in {count(n)} simulations" if n else ""
    # by ridge whatever the model of the study is: every simulation fits it again
    return (
        " Groups of raters were compared by ridge regression on the same words and folds, by correlations divided by "
        f"the root of each group's reliability, against the difference found{times} in which both groups share one "
        "truth."
    )


def _holds(run: Run, stage: str, table: str, *columns: str) -> bool:
    """Tell whether a stage wrote rows of a table, with these columns, at any site."""
    return any(
        stages[stage].table(table, *columns).height for stages in run.stages.values() if stage in stages
    )


def _percent(confidence: Any) -> str:
    return f" ({confidence:.0%})" if isinstance(confidence, float) else ""


def _several(noun: str, n: int) -> str:
    return f"{n} {noun}s" if n > 1 else f"a {noun}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
