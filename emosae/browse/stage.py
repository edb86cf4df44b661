"""The stage `browse`: from a study's settings to the browser's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emosae.artifacts import RunFolder
from emosae.browse.cards import Cards
from emosae.browse.collect import collect
from emosae.browse.corpus import choose_corpus
from emosae.browse.facts import Facts, facts_of_run, facts_of_study, score_outputs
from emosae.browse.one_file import choose_cards
from emosae.browse.site import About, write_file, write_site
from emosae.config import Config
from emosae.errors import UserError
from emosae.lens import Lens, open_lens
from emosae.progress import progress

if TYPE_CHECKING:
    from emosae.models import Site

__all__ = ["open_study", "read_facts", "run", "sites_of"]


def run(config: Config, folder: RunFolder) -> list[str]:
    """Read the corpus, gather what the study knows, write the page.

    Args:
        config: The study; `config.browse` says what is read and shown.
        folder: The run's folder, already entered.

    Returns:
        The lines to print at the end.
    """
    corpus = choose_corpus(config.browse, config.preset)  # a wrong one shows before the model is opened
    lens = open_study(config)
    sites = sites_of(config, lens)
    facts = read_facts(config, lens)
    known = {
        site: score_outputs(facts.get(str(site), Facts()), lens, site, config.browse.output_score)
        for site in sites
    }
    saes = {site: lens.saes[site] for site in sites}
    one_file = config.browse.one_file
    chosen = (
        choose_cards({str(site): sae for site, sae in saes.items()}, facts, one_file)
        if one_file is not None
        else None
    )  # too many show before the corpus is read
    found = collect(
        lens.model, lens.tokenizer, saes, corpus, config.browse, max_tokens=config.features.max_tokens
    )
    cards = [Cards(lens, site, found[site], known[site], config.browse) for site in sites]
    about = About(
        title=lens.name,
        phantom=config.preset == "phantom",
        notes={str(site): each.notes for site, each in known.items()},
    )
    with progress("writing cards", sum(sae.d_sae for sae in saes.values())) as step:
        page = (
            write_site(folder.folder, cards, about, step)
            if chosen is None
            else write_file(folder.folder / "index.html", cards, about, chosen, step)
        )
    folder.manifest |= {
        "inputs": {
            "name": lens.name,
            "saes": {
                str(site): {"name": sae.name, "fingerprint": sae.fingerprint} for site, sae in saes.items()
            },
            "corpus": corpus.name,
        },
        "notes": [note for each in known.values() for note in each.notes],
    }
    lines = []
    for site, each in found.items():
        fired = int((each.stats.maximum > 0).sum())
        lines.append(
            f"{site}: {fired} of {saes[site].d_sae} features fired on {each.stats.n_tokens} tokens of {each.corpus}"
        )
    folder.manifest["headline"] = lines
    folder.finish_stage("browse")
    folder.complete()
    return [*lines, f"browser: {page}"]


def open_study(config: Config) -> Lens:
    """Open the model and the SAEs of a study, with its concepts and languages."""
    return open_lens(
        config.model,
        config.sae,
        name=config.name or (config.preset if config.preset != "custom" else None),
        concepts=config.concepts.path or config.concepts.name,
        languages=config.language,
        preset=config.preset,
    )


def sites_of(config: Config, lens: Lens) -> list[Site]:
    """Give the sites that are browsed, the one that the preset steers at first."""
    if config.browse.site is not None:
        return [lens.site(config.browse.site)]
    try:
        first = lens.steering_site()
    except UserError:  # several, and the preset names none
        return list(lens.saes)
    return [first, *(site for site in lens.saes if site != first)]


def read_facts(config: Config, lens: Lens) -> dict[str, Facts]:
    """Take the selection and the ratings from the run that is named, else select now."""
    if config.browse.run is not None:
        return facts_of_run(Path(config.browse.run), lens)
    return facts_of_study(config, lens)
