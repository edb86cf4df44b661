"""What a lens does to its model: steer it towards emotions, let it write, find the dose."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from emosae.models import Site
    from emosae.saes import SparseAutoencoder
    from emosae.steering.block import Steering
    from emosae.steering.emotions import Recipe
    from emosae.steering.plan import Plan
    from emosae.steering.stored import Calibration

    Emotions = Mapping[str, float | str] | str | Path | Plan | Sequence[Any]

__all__ = ["Steerer"]


class Steerer:
    """The part of `emosae.Lens` that steers; it has the lens' attributes."""

    model: Any
    tokenizer: Any
    saes: Mapping[Site, SparseAutoencoder]
    name: str
    preset: str
    languages: tuple[str, ...]
    memory: dict[Any, Any]

    if TYPE_CHECKING:

        def site(self, site: Site | str | None = None) -> Site:
            """Find one of the lens' sites."""

    def steer(
        self,
        emotions: Emotions,
        language: str = "universal",
        site: Site | str | None = None,
        *,
        n_features: int = 8,
        op: str = "set",
        scope: Any = None,
        skip_special: bool | None = None,
        features: Mapping[str, Any] | None = None,
        output_score: bool = True,
        corpus: str | None = None,
        error: str | None = None,
        prompt_lengths: Any = None,
        trace: bool = True,
    ) -> Steering:
        """Steer the model towards emotions for the length of a `with` block.

        Each emotion's features are those that its words select in every language asked for and that write what they
        read (output score). Their targets are in proportion to what is usual for them in running text, and are scaled
        together: dose 1 pushes by half of the median norm of the residual. The targets of several emotions add up.

        Args:
            emotions: Emotion -> dose, a number above 0, or `"calibrated"` for what `calibrate` found; a name alone
                means that too. Or a list with such a mapping, clamps or None for each row of the batch; or a list of
                `Clamp`; or a `Plan`, or the JSON file of one.
            language: The feature set: `universal` (selected in all of the lens' languages), a language, `space`
                (selected in any), or `en_only` and the like (in that language alone).
            site: Where; None means the only site, or the one that the preset names.
            n_features: Most features of each emotion.
            op: `set`, `add`, `at_least` or `at_most` the targets; `ablate` takes the emotion away, whatever the dose.
            scope: Which tokens (`emosae.steer`); None means `generated`, or the plan's.
            skip_special: Leave special tokens; None means true, or the plan's.
            features: Emotion -> features to take instead of the selected ones: their numbers, or number -> target at
                dose 1 in activation units. The emotion may then have any name.
            output_score: False takes features by AUROC alone.
            corpus: The corpus that doses are measured on; None takes the preset's, else the only one there is.
            error: `keep` or `drop` what the SAE does not explain; None means keep, or the plan's.
            prompt_lengths: As for `emosae.steer`.
            trace: Keep a record of every steered token in `Applied.trace`.

        Returns:
            A context manager that gives `Applied`: `plan` (absolute values; `plan.save` writes it), `chosen` (features,
            targets, doses, and how they were chosen), `trace`.

        Raises:
            UserError: An unknown emotion, language or site, an encoder, a dose that is not above 0, several sites and
                none named, or no feature that steers.
            MissingFileError: No statistics to measure a dose by, or no calibration; the message says what makes them.

        Example:
            >>> with lens.steer({"joy": 1.0}) as applied:  # doctest: +SKIP
            ...     lens.model.generate(**inputs)
            >>> print(applied.chosen)  # doctest: +SKIP
        """
        from emosae.steering.emotions import steer_lens

        recipe = self._recipe(
            features, corpus, language=language, n_features=n_features, op=op, output_score=output_score
        )
        return steer_lens(
            self,  # type: ignore[arg-type]
            emotions,
            site,
            recipe,
            scope=scope,
            skip_special=skip_special,
            error=error,
            prompt_lengths=prompt_lengths,
            trace=trace,
        )

    def generate(
        self,
        prompts: str | Sequence[str],
        steer: Emotions | None = None,
        *,
        steering: Mapping[str, Any] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Let the model go on from prompts, steered or not.

        Args:
            prompts: A text, or a list of texts, which are run in one batch.
            steer: What `Lens.steer` takes as emotions; None leaves the model as it is.
            steering: More options of `Lens.steer`, e.g. `{"language": "en", "scope": "all"}`.
            seed: Seed of the sampling; the process' own random state is left as it was.
            options: Options of transformers' `generate`: `max_new_tokens` (40 unless given), `do_sample`,
                `temperature`, …

        Returns:
            Prompt and answer as one text; a list of such for a list. With `num_return_sequences` above 1 always a list,
            each prompt's answers one after another.

        Raises:
            UserError: No prompt, or what `Lens.steer` refuses.

        Example:
            >>> lens.generate("Once", steer={"joy": 1.0}, max_new_tokens=40)  # doctest: +SKIP
        """
        from emosae.steering.generate import check_prompts, write

        texts = check_prompts(prompts)
        if misplaced := sorted(options.keys() & inspect.signature(self.steer).parameters.keys()):
            name = misplaced[0]
            raise UserError(
                f"{name}= is an option of the steering, not of generate. Pass steering={{{name!r}: {options[name]!r}}}."
            )
        if steer is None and steering:
            raise UserError(
                f"steering= goes with steer=, got {dict(steering)!r} alone. Add steer={{'joy': 1.0}}."
            )
        block = nullcontext() if steer is None else self.steer(steer, **{"trace": False, **(steering or {})})
        with block:
            full = write(self.model, self.tokenizer, texts, seed=seed, **options).full
        return full[0] if isinstance(prompts, str) and len(full) == 1 else full

    def calibrate(
        self,
        emotion: str,
        language: str = "universal",
        site: Site | str | None = None,
        *,
        n_features: int = 8,
        op: str = "set",
        scope: Any = "generated",
        features: Mapping[str, Any] | None = None,
        output_score: bool = True,
        corpus: str | None = None,
        doses: Sequence[float] | None = None,
        prompts: Mapping[str, Sequence[str]] | None = None,
        classifier: Any = None,
        seed: int = 0,
        store: bool = True,
        **options: Any,
    ) -> Calibration:
        """Find the dose of an emotion with the best harmonic mean of concept, content and fluency.

        The prompts are neutral openings of its own (conf/steering/), in the languages that the feature set is made of.
        What is found is kept in the cache, and `{"joy": "calibrated"}` uses it; dose 1 stays what it is.

        Args:
            emotion: The emotion.
            language: As for `steer`.
            site: As for `steer`.
            n_features: As for `steer`.
            op: As for `steer`; not `ablate`.
            scope: As for `steer`.
            features: As for `steer`.
            output_score: As for `steer`.
            corpus: As for `steer`.
            doses: The doses to try; None means those of conf/steering/.
            prompts: Language -> openings in place of its own.
            classifier: What tells the concept: `lexicon` (the concept set's words), `phantom` (its grammar's own), a
                Hugging Face text-classification model, or a function from texts to labels; None means that of
                conf/steering/: the phantom's own for the phantom, else the lexicon.
            seed: Seed of the sampling.
            store: Keep what is found.
            options: Options of `generate`, in place of those of conf/steering/.

        Returns:
            The dose, its score, the stable range around it, and the table of all doses.

        Raises:
            UserError: What `steer` refuses, or a score of 0 at every dose.
        """
        from emosae.steering.calibrate import calibrate_lens

        recipe = self._recipe(
            features, corpus, language=language, n_features=n_features, op=op, output_score=output_score
        )
        return calibrate_lens(
            self,  # type: ignore[arg-type]
            emotion,
            site,
            recipe,
            scope=scope,
            doses=doses,
            prompts=prompts,
            classifier=classifier,
            seed=seed,
            store=store,
            **options,
        )

    def _recipe(self, features: Mapping[str, Any] | None, corpus: str | None, **choices: Any) -> Recipe:
        """How features are chosen and dosed; what the caller leaves open is the preset's."""
        from emosae.steering.emotions import Recipe
        from emosae.steering.settings import steering_settings

        corpus = corpus or steering_settings(self.preset).corpus
        return Recipe(features=features or {}, corpus=corpus, **choices)

    def steering_site(self, site: Site | str | None = None) -> Site:
        """Find where emotions are steered: the site asked for, the only one, or the one that the preset names.

        Raises:
            UserError: No SAE reads that site, or None while there are several and the preset names none of them.
        """
        from emosae.models import Site
        from emosae.steering.settings import steering_settings

        own = steering_settings(self.preset).site
        if site is None and len(self.saes) > 1 and own is not None and Site.parse(own) in self.saes:
            return Site.parse(own)
        return self.site(site)

    def output_scores(self, features: Sequence[int], site: Site) -> np.ndarray:
        """Give features' output scores at a site, each computed once (`emosae.steering.output_score`)."""
        import numpy as np

        from emosae.steering.output_score import output_scores

        known: dict[int, float] = self.memory.setdefault(("output scores", site), {})
        new = [feature for feature in dict.fromkeys(map(int, features)) if feature not in known]
        if new:
            scores = output_scores(self.model, self.tokenizer, self.saes[site], new)
            known.update(zip(new, scores.tolist(), strict=True))
        return np.array([known[int(feature)] for feature in features])

    def model_id(self) -> str:
        """Give the fingerprint of the model and its tokenizer."""
        from emosae.features import model_fingerprint

        if "model" not in self.memory:
            self.memory["model"] = model_fingerprint(self.model, self.tokenizer)
        return str(self.memory["model"])
