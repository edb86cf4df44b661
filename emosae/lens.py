"""The lens: a model, its tokenizer and its SAEs, ready to be read and steered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.errors import UserError
from emosae.paths import embedded
from emosae.steering.lens import Steerer

if TYPE_CHECKING:
    from emosae.config import ModelConfig, SAESource
    from emosae.features import FeatureMatrix
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["Lens", "load", "open_lens"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lens(Steerer):
    """A language model seen through its sparse autoencoders.

    Attributes:
        model: A transformers model, in evaluation mode.
        tokenizer: Its fast tokenizer.
        saes: The SAEs, by the site that each reads.
        name: What reports call it: the preset's or the model's name.
        concepts: Name or file of the concept set that `select` and `steer` read.
        languages: Languages in which a feature must be selected to be universal.
        preset: The preset it was loaded as, for how words are read; `custom` for none.
        memory: What was computed once and is kept: selections, output scores.
    """

    model: Any
    tokenizer: Any
    saes: Mapping[Site, SparseAutoencoder]
    name: str = ""
    concepts: str = "goemotions27"
    languages: tuple[str, ...] = ("en",)
    preset: str = "custom"
    memory: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        return f"Lens({self.name!r}, {', '.join(str(site) for site in self.saes)})"

    def _repr_html_(self) -> str:
        from emosae.notebook import lens_html

        return lens_html(self)

    def site(self, site: Site | str | None = None) -> Site:
        """Find one of the lens' sites.

        Args:
            site: A site or its name; None means the only one there is.

        Raises:
            UserError: No SAE reads that site, or None while there are several.
        """
        from emosae.models import Site

        names = ", ".join(str(each) for each in self.saes)
        if site is None:
            if len(self.saes) == 1:
                return next(iter(self.saes))
            raise UserError(f"This lens reads {len(self.saes)} sites, so say which: site= one of {names}.")
        found = Site.parse(site) if isinstance(site, str) else site
        if found not in self.saes:
            raise UserError(f"No SAE of this lens reads {found}. It reads: {names}.")
        return found

    def encode(
        self,
        texts: Sequence[str],
        pooling: str | None = "mean",
        site: Site | str | None = None,
        *,
        max_tokens: int = 4096,
    ) -> FeatureMatrix:
        """Read texts through the model and one SAE.

        Args:
            texts: The texts.
            pooling: `mean`, `max` or `last` over a text's tokens, special tokens left out; None gives a row a token.
            site: Where to read; None means the only site there is.
            max_tokens: Bound on a batch's tokens, padding included.

        Returns:
            Sparse activations, one row a text (or a token), with the table of items.

        Raises:
            UserError: An unknown pooling or site, or a single string instead of a list.

        Example:
            >>> import emosae
            >>> lens = emosae.load("phantom")  # doctest: +SKIP
            >>> lens.encode(["I won!", "She is gone."], site="blocks.2.hook_resid_post").shape  # doctest: +SKIP
            (2, 1024)
        """
        from emosae.features import encode_tokens, extract, text_items

        where = self.site(site)
        saes = {where: self.saes[where]}
        items = text_items(texts)
        if pooling is None:
            return encode_tokens(self.model, self.tokenizer, saes, items, max_tokens=max_tokens)[where]
        reading = extract(self.model, self.tokenizer, saes, items, pooling=pooling, max_tokens=max_tokens)
        return reading[where].features

    def select(
        self,
        concept: str,
        language: str = "en",
        site: Site | str | None = None,
        *,
        output_score: str = "selected",
    ) -> pl.DataFrame:
        """Rank the features that respond to a concept's words.

        The concept is compared with all others of the lens' concept set and with the neutral words, each word read
        bare and in the language's templates; the readings are cached.

        Args:
            concept: A concept of the lens' concept set, for example `joy`.
            language: A language of the set.
            site: Where to read; None means the only site, or the one that the preset steers at.
            output_score: Which rows get an output score, on decoders: the `selected` ones, `all`, or `none`.

        Returns:
            A row a feature, best first, with the columns of `emosae.selection.Selection.scores`, among them
            `feature`, `auroc`, `mean_difference`, `p`, `p_adjusted`, `support`, `density`, `selected`, and
            `output_score`: 0 to 1, whether the feature writes what its decoder points to; null where not computed.

        Raises:
            UserError: An unknown concept, language or site.
        """
        from emosae.steering.words import rank_features

        return rank_features(self, concept, language, self.steering_site(site), output_score)


def load(
    preset: str | None = None,
    *,
    model: str | Path | None = None,
    release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    sae: Any = None,
    revision: str | None = None,
    device: str = "cpu",
    dtype: str = "auto",
    device_map: Any = None,
    concepts: str | None = None,
    languages: str | Sequence[str] | None = None,
) -> Lens:
    """Load a model with its SAEs.

    Args:
        preset: A name in `conf/preset/`, for example `phantom`; or leave it out and give `model` and an SAE.
        model: Hub name or folder of a transformers model.
        release: The SAEs' release, as SAELens names it.
        sae_id: One id of the release, or a list of ids.
        sae: A SAELens folder, a `SparseAutoencoder`, or a list of these; instead of `release`.
        revision: The model's revision on the hub.
        device: Where the model and the SAEs live, for example `cpu`, `cuda`.
        dtype: The model's number format: `auto` (as stored), `float32`, `bfloat16`, `float16`.
        device_map: Passed on to transformers, for a model over several devices.
        concepts: Concept set that `Lens.select` and `Lens.steer` read, by name or file; None means the preset's,
            else `goemotions27`.
        languages: Languages in which a feature must be selected to be universal; None means the preset's, else
            English.

    Returns:
        The lens.

    Raises:
        UserError: An unknown preset, a model or SAE that is not there, or an SAE that does not fit the model.

    Example:
        >>> lens = load("phantom")  # doctest: +SKIP
    """
    from emosae.config import ModelConfig, SAESource, load_preset

    if preset is None:
        if model is None:
            raise UserError(
                'Nothing to load: name a preset, as in emosae.load("phantom"), or give model= and sae=.'
            )
        which = ModelConfig(name=str(model), revision=revision)
        source = SAESource(release=release, sae_id=sae_id, path=sae)
    else:
        if any(value is not None for value in (model, release, sae_id, sae, revision)):
            raise UserError("Give either a preset or a model with its SAE, not both. Leave out one of them.")
        chosen = load_preset(preset)
        which, source = chosen.model, chosen.sae
        concepts = concepts or chosen.concepts.path or chosen.concepts.name
        languages = languages or chosen.language
    which.device, which.device_map = device, device_map
    which.dtype = which.dtype if dtype == "auto" else dtype
    return open_lens(
        which,
        source,
        name=preset,
        concepts=concepts or "goemotions27",
        languages=languages or ("en",),
        preset=preset or "custom",
    )


def open_lens(
    which: ModelConfig,
    source: SAESource,
    *,
    name: str | None,
    concepts: str,
    languages: str | Sequence[str] = ("en",),
    preset: str = "custom",
) -> Lens:
    """Load a model and its SAEs from their configuration, and check that they fit each other.

    A decoder is prepared at the SAEs' sites (`emosae.prepare`), so that it may be compiled and steered afterwards.

    Args:
        which: The model.
        source: The SAEs.
        name: What reports call the pair; None takes the model that the SAE was trained on, else the folder.
        concepts: Concept set that `Lens.select` and `Lens.steer` read.
        languages: Languages in which a feature must be selected to be universal.
        preset: The preset that says how words are read.

    Raises:
        UserError: No SAE named, two for one site, or one whose width is not the site's.
    """
    from emosae.models import check_width, is_decoder, load_model
    from emosae.steering import prepare

    saes = _open_saes(source, which.device)
    model, tokenizer = load_model(
        embedded(which.name),
        revision=which.revision,
        dtype=which.dtype,
        device=which.device,
        device_map=which.device_map,
    )
    by_site: dict[Site, SparseAutoencoder] = {}
    for sae in saes:
        if sae.site in by_site:
            raise UserError(
                f"Two SAEs read {sae.site}: {by_site[sae.site].name} and {sae.name}. Name one SAE for each site."
            )
        check_width(model, sae.site, sae.cfg.d_in, f"The SAE {sae.name}")
        by_site[sae.site] = sae
    if is_decoder(model):  # these sites alone: a question at every place would cost each token a little
        prepare(model, {site for sae in saes for site in (sae.site, sae.site_out)})
    return Lens(
        model=model,
        tokenizer=tokenizer,
        saes=dict(sorted(by_site.items())),
        name=name or saes[0].cfg.model_name or Path(which.name).name,
        concepts=concepts,
        languages=(languages,) if isinstance(languages, str) else tuple(languages),
        preset=preset,
    )


def _open_saes(source: SAESource, device: str) -> list[SparseAutoencoder]:
    from emosae.config import is_path, list_of
    from emosae.saes import SparseAutoencoder

    ids, paths = list_of(source.sae_id), list_of(source.path)
    if sum(bool(each) for each in (source.release, source.repo, paths)) != 1:
        raise UserError("Name the SAEs one way: sae.release with sae.sae_id, or sae.path, or sae.repo.")
    if source.release and not ids:
        raise UserError(
            f"The release {source.release!r} holds several SAEs. Say which with sae_id, one or a list."
        )
    if source.release:
        return [SparseAutoencoder.from_pretrained(source.release, each, device=device) for each in ids]
    if source.repo:
        return [
            SparseAutoencoder.from_hf(source.repo, each, revision=source.revision, device=device)
            for each in ids or [None]
        ]
    return [
        SparseAutoencoder.load_from_disk(embedded(str(each)), device=device) if is_path(each) else each
        for each in paths
    ]
