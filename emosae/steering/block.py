"""The steer block: a plan, acting on a model for as long as the block lasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.models import is_decoder
from emosae.models.sites import text_model
from emosae.saes import SparseAutoencoder
from emosae.steering.applied import Applied
from emosae.steering.hooks import act, check_not_compiled, prepared_points, unwrap
from emosae.steering.plan import Plan, as_saes, make_plan
from emosae.steering.run import Run, place_of
from emosae.steering.selection import Chooser
from emosae.steering.session import Session

if TYPE_CHECKING:
    from emosae.steering.chosen import Chosen

__all__ = ["Steering", "steer"]


def steer(
    model: Any,
    sae: Any,
    clamps: Any,
    scope: Any = None,
    *,
    skip_special: bool | None = None,
    error: str | None = None,
    prompt_lengths: int | Sequence[int] | Tensor | None = None,
    special_ids: Iterable[int] | None = None,
    corpus: str | None = None,
    trace: bool = True,
) -> Steering:
    """Steer a model by its features for the length of a `with` block.

    Every clamp is exact: `x' = x + scale(x) * sum (t_i - f_i) W_dec[i]`, what the SAE does not explain is kept,
    and tokens out of scope keep every bit. Whatever runs the model inside the block is steered; `generate` may
    be greedy, sample, search beams, use any cache or none.

    Blocks nest: the inner one reads what the outer one wrote. So do SAEs of one plan at one site, in the order given.

    Args:
        model: A transformers decoder.
        sae: A `SparseAutoencoder`, a list of them, or `{site: SAE}` as `Lens.saes`.
        clamps: A list of `Clamp`; a list with a list of clamps (or None) for each row of the batch; or a `Plan`.
        scope: Which tokens: `all` (None means that, or the plan's), `prompt`, `generated`,
            `from_last_prompt_token`; positions counted from the first token that is no padding; or a mask laid
            out as the ids.
        skip_special: Leave special tokens; None means true, or the plan's. Padding is never steered.
        error: `keep` (None means that, or the plan's) or `drop` what the SAE does not explain.
        prompt_lengths: Tokens of the prompt, without padding, for forward passes outside `generate`, one number
            or one a row; None means that such a pass is all prompt.
        special_ids: Which tokens are special, e.g. `tokenizer.all_special_ids`; None means those that the
            model's config names (BOS, EOS, padding and such).
        corpus: The corpus whose maxima the unit `max` means; None takes the only ones there are.
        trace: Keep a record of every steered token in `Applied.trace`.

    Returns:
        A context manager that gives `Applied`; it may be entered again, and within itself.

    Raises:
        UserError: A clamp, plan or scope that fits neither SAE nor model; on entry, a compiled model that was not
            prepared, or one that another thread steers; while the model runs, a scope that cannot be told.

    Source: the clamp with the error kept: Templeton et al. 2024, Scaling Monosemanticity.

    Example:
        >>> clamps = [emosae.Clamp(feature=12, op="set", value=8.0)]  # doctest: +SKIP
        >>> with emosae.steer(model, sae, clamps, scope="generated") as applied:  # doctest: +SKIP
        ...     model.generate(**inputs)
    """
    saes = as_saes(sae)
    if not is_decoder(unwrap(model)) or getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise UserError(
            f"A model must be a decoder to be steered, got {type(unwrap(model)).__name__}. Encoders are for analysis."
        )
    name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "") or None
    plan = make_plan(
        saes, clamps, scope=scope, skip_special=skip_special, error=error, corpus=corpus, model=name
    )
    special = _special_ids(model, special_ids) if plan.skip_special else frozenset()
    return Steering(model, saes, plan, _lengths(prompt_lengths), special, trace)


class Steering:
    """A plan that is ready to act on a model; `steer` makes it.

    Attributes:
        plan: The plan, in absolute values.
        chosen: For a lens' emotions: their features and doses, and how these were chosen.
    """

    def __init__(
        self,
        model: Any,
        saes: Sequence[SparseAutoencoder],
        plan: Plan,
        prompt_lengths: tuple[int, ...] | None,
        special: frozenset[int],
        trace: bool,
    ) -> None:
        self.plan = plan
        self.chosen: Chosen | None = None
        self._model = model
        held = {sae.fingerprint: sae for sae in saes}
        self._saes = [held[wanted.fingerprint] for wanted in plan.saes]
        self._trace = trace
        self._by_row = tuple(bool(row) for row in plan.rows) if len(plan.rows) > 1 else None
        self._chooser_parts = (plan.scope, special, prompt_lengths, self._by_row)
        self._places = [place_of(model, sae) for sae in self._saes]
        self._entered: list[tuple[ExitStack, Applied]] = []

    def __enter__(self) -> Applied:
        applied = Applied(self.plan, self._saes, [place.written for place in self._places], self._trace)
        applied.chosen = self.chosen
        with ExitStack() as stack:
            session = stack.enter_context(Session.of(self._model))
            # Rows that are read here outlive the caller's inference mode.
            with torch.inference_mode(False), torch.no_grad():
                runs = [self._run(at, session, applied) for at in range(len(self._saes))]
            points = [point for run in runs for point, _ in run.calls()]
            check_not_compiled(self._model, points)
            if not all(map(prepared_points(self._model), points)):
                stack.enter_context(session.without_compile())
            for run in runs:
                for point, call in run.calls():
                    act(self._model, point, call, stack)
            stack.callback(session.wait)
            self._entered.append((stack.pop_all(), applied))
        return applied

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, applied = self._entered.pop()
        stack.__exit__(kind, error, trace)
        if kind is None:
            applied.finish()

    def _run(self, at: int, session: Session, applied: Applied) -> Run:
        sae, place = self._saes[at], self._places[at]
        device = next(place.writes.module.parameters(), next(unwrap(self._model).parameters())).device
        run = Run(at, sae, place, self.plan, session, Chooser(*self._chooser_parts), applied)
        if (
            device.type != "meta"
        ):  # accelerate keeps offloaded weights there; the activation will say where it is
            run.editor(device)
        return run


def _special_ids(model: Any, given: Iterable[int] | None) -> frozenset[int]:
    if given is not None:
        return frozenset(int(each) for each in given)
    root = unwrap(model)
    configs = [getattr(root, "config", None), getattr(root, "generation_config", None)]
    configs += [text_model(root).config] if hasattr(text_model(root), "config") else []
    names = (
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "cls_token_id",
        "sep_token_id",
        "decoder_start_token_id",
    )
    found: set[int] = set()
    for config in configs:
        for name in names:
            value = getattr(config, name, None)
            found.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    return frozenset(int(each) for each in found)


def _lengths(given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    values = given.tolist() if isinstance(given, Tensor) else given
    listed = [values] if isinstance(values, int) else list(values)
    if not listed or any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in listed):
        raise UserError(
            f"prompt_lengths must be whole numbers from 0, got {given!r}. Give one, or one for each row of the batch."
        )
    return tuple(listed)
