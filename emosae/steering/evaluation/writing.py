"""Texts of a study: what is asked for, and writing it in batches whose rows are steered each in its own way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.artifacts import read_json, write_json
from emosae.paths import cache_root
from emosae.progress import progress
from emosae.steering.block import steer
from emosae.steering.clamp import Clamp
from emosae.steering.emotions import special_ids
from emosae.steering.evaluation.noise import decoding_options
from emosae.steering.generate import write

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.saes import SparseAutoencoder

__all__ = ["Ask", "Text", "Writer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A text that is to be written.

    Attributes:
        method: How it is steered.
        emotion: Towards what; empty for unsteered text.
        language: Of the opening.
        dose: How hard; 0 where there is no dose.
        prompt: Number of the opening.
        seed: Seed of the decoding.
        opening: The opening.
        before: What stands before the opening; an instruction.
        clamps: What is done to the model.
    """

    method: str
    emotion: str
    language: str
    dose: float
    prompt: int
    seed: int
    opening: str
    before: str = ""
    clamps: tuple[Clamp, ...] = ()

    @property
    def key(self) -> tuple[str, int, int]:
        """What texts that are compared have in common: language, opening and seed."""
        return self.language, self.prompt, self.seed


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text that was written.

    Attributes:
        prompt: Token ids of what stood before it.
        answer: Its token ids.
        text: It, without what stood before.
    """

    prompt: list[int]
    answer: list[int]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Writes texts, each batch kept in the cache, so that a study that was cut off goes on where it was.

    Attributes:
        lens: The lens.
        saes: The SAEs whose features clamps name, directions included.
        scope: Which tokens are steered.
        decoding: Options of `generate`.
        batch_rows: Texts that are written at once.
        use_cache: Whether batches are kept and looked for.
    """

    lens: Lens
    saes: Sequence[SparseAutoencoder]
    scope: str
    decoding: Mapping[str, Any]
    batch_rows: int
    use_cache: bool = True

    def write(self, asks: Sequence[Ask], what: str) -> list[Text]:
        """Write texts; those that would be the same are written once.

        Args:
            asks: The texts.
            what: What they are, for the progress bar.
        """
        same: dict[Any, int] = {}
        place = [same.setdefault((ask.key, ask.before, ask.opening, ask.clamps), len(same)) for ask in asks]
        own: list[Ask] = [asks[place.index(number)] for number in range(len(same))]
        order = sorted(range(len(own)), key=lambda at: len(own[at].before + own[at].opening))
        found: dict[int, Text] = {}
        with progress(what, len(own)) as step:
            for first in range(0, len(order), self.batch_rows):
                rows = order[first : first + self.batch_rows]
                found |= zip(rows, self._batch([own[at] for at in rows]), strict=True)
                step(len(rows))
        return [found[number] for number in place]

    def _batch(self, asks: list[Ask]) -> list[Text]:
        path = self._path(asks)
        if self.use_cache and path.is_file():
            return [Text(**each) for each in read_json(path)]
        rows = [list(ask.clamps) for ask in asks]
        block = (
            steer(
                self.lens.model,
                self.saes,
                rows,
                self.scope,
                special_ids=special_ids(self.lens),
                trace=False,
            )
            if any(rows)
            else nullcontext()
        )
        options = decoding_options(self.decoding, [ask.key for ask in asks])
        with block:
            written = write(
                self.lens.model, self.lens.tokenizer, [ask.before + ask.opening for ask in asks], **options
            )
        texts = [
            Text(prompt=prompt, answer=answer, text=text)
            for prompt, answer, text in zip(written.prompts, written.answers, written.texts, strict=True)
        ]
        if self.use_cache:
            write_json(path, [{"prompt": t.prompt, "answer": t.answer, "text": t.text} for t in texts])
        return texts

    def _path(self, asks: Sequence[Ask]) -> Path:
        what = {
            "model": self.lens.model_id(),
            "saes": [sae.fingerprint for sae in self.saes],
            "scope": self.scope,
            "decoding": dict(self.decoding),
            "rows": [
                [*ask.key, ask.before, ask.opening, [[str(c.sae), c.to_dict()] for c in ask.clamps]]
                for ask in asks
            ],
        }
        key = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=12).hexdigest()
        return cache_root() / "steering" / "texts" / f"{key}.json"
