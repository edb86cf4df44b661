"""From sliders and features to a plan, and from a saved plan back to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.artifacts import read_json
from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.paths import embedded
from emosae.serve.config import ServeConfig
from emosae.serve.wish import SCOPES, Wish
from emosae.steering.choice import set_names
from emosae.steering.clamp import Clamp
from emosae.steering.dose import dose_stats
from emosae.steering.emotions import read_op
from emosae.steering.plan import Plan, make_plan
from emosae.steering.words import concepts_of

if TYPE_CHECKING:
    from emosae.config import Config
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["Planned", "Planner", "read_sets"]

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, and what the page shows of it.

    Attributes:
        plan: The plan; None where nothing is steered.
        table: For each clamp: site, feature, op, value, unit, and of (the emotions, or "yours").
        note: How the features were chosen, and what was left out, in plain sentences.
    """

    plan: Plan | None
    table: list[dict[str, Any]]
    note: str


class Planner:
    """Turns wishes into plans; an emotion's features are chosen once and kept.

    Args:
        lens: The lens.
        config: The study: `steering` says how emotions are steered, `serve.sets` names features to take instead.

    Raises:
        UserError: `serve.sets` is no such file, or was made for another SAE.
    """

    def __init__(self, lens: Lens, config: Config) -> None:
        self.lens = lens
        self._steering = config.steering
        self.site = self._find_site()
        self.sets = read_sets(config.serve.sets, lens.saes[self.site]) if config.serve.sets else {}
        self._chosen: set[tuple[str, str]] = set()

    def emotions(self) -> list[str]:
        """Name the emotions that have a slider."""
        concepts = concepts_of(self.lens).concepts
        return [*concepts, *(name for name in self.sets if name not in concepts)]

    def languages(self) -> list[str]:
        """Name the sets that words can choose features from."""
        return set_names(self.lens.languages)

    def why_no_dose(self, site: Site) -> str:
        """Say why features of a site have neither dose nor maximum; empty if they have."""
        try:
            dose_stats(self.lens.saes[site], self._steering.corpus)
        except UserError as error:
            return str(error)
        return ""

    def plan(self, wish: Wish, say: Say) -> Planned:
        """Make a plan.

        Args:
            wish: What is asked for.
            say: Told what takes long before it is done.

        Raises:
            UserError: An unknown emotion, site or feature, or what `Lens.steer` refuses.
        """
        clamps: dict[tuple[str, int], tuple[Clamp, str]] = {}
        notes: list[str] = []
        if wish.emotions:
            clamps, note = self._of_emotions(wish, say)
            notes.append(note)
        own: set[tuple[str, int]] = set()
        for added in wish.features:
            sae = self.lens.saes[self.lens.site(added.site)]
            key = (sae.fingerprint, added.feature)
            if key in own:
                raise UserError(
                    f"A feature must be added once, got feature {added.feature} at {added.site} twice. Take one away."
                )
            own.add(key)
            if key in clamps:
                notes.append(f"Feature {added.feature} goes by your own setting, not by {clamps[key][1]}.")
            clamps[key] = (added.clamp(sae), "yours")
        if not clamps:
            return Planned(plan=None, table=[], note="")
        of = [name for _, name in clamps.values()]
        plan = make_plan(
            list(self.lens.saes.values()),
            [clamp for clamp, _ in clamps.values()],
            scope=wish.scope,
            skip_special=wish.skip_special,
            error=wish.error,
            corpus=self._steering.corpus,
            model=self._model_name(),
        )
        return Planned(plan=plan, table=self._table(plan, of), note=" ".join(notes))

    def read(self, plain: Any, limits: ServeConfig) -> tuple[Wish, str]:
        """Read a saved plan back as a wish.

        The sliders come back where the file says how they stood and that makes the same plan; else every clamp becomes
        a feature of its own, with the same effect.

        Returns:
            The wish, and what there is to know of it.

        Raises:
            UserError: It is no plan, was made for other SAEs, or holds what the desk has no place for.
        """
        plan = make_plan(list(self.lens.saes.values()), Plan.from_dict(plain))
        if len(plan.rows) != 1:
            raise UserError(
                f"A plan on the desk must hold for all rows, got {len(plan.rows)} rows. Use it in Python: "
                "lens.steer('FILE')."
            )
        if (scope := plan.scope.to_json()) not in SCOPES:
            raise UserError(
                f"A plan on the desk must have a scope of {', '.join(SCOPES)}, got positions or a mask. Use it in "
                "Python: lens.steer('FILE')."
            )
        desk = plain.get("desk")
        if isinstance(desk, Mapping):
            wish = Wish.parse(desk, limits)
            again = self.plan(wish, lambda _text: None).plan
            if (
                again is not None
                and again.to_dict()["rows"] == plan.to_dict()["rows"]
                and again.scope == plan.scope
            ):
                return wish, ""
        site_of = {sae.fingerprint: str(site) for site, sae in self.lens.saes.items()}
        features = [{"site": site_of[str(clamp.sae)], **clamp.to_dict()} for clamp in plan.rows[0]]
        prompt = desk["prompt"] if isinstance(desk, Mapping) and desk.get("prompt") else "Once"
        given = {"prompt": prompt, "features": features, "scope": scope}
        given |= {"skip_special": plan.skip_special, "error": plan.error.value}
        note = f"The plan holds {len(features)} clamps and not how sliders stood, so each is a feature of its own."
        return Wish.parse(given, limits), note

    def _of_emotions(self, wish: Wish, say: Say) -> tuple[dict[tuple[str, int], tuple[Clamp, str]], str]:
        lens, sae = self.lens, self.lens.saes[self.site]
        known = self.emotions()
        for name in wish.emotions:
            if name not in known:
                raise unknown_name("emotion", name, known)
            if name not in self.sets and (name, wish.language) not in self._chosen:
                more = "" if self._chosen else " The first one reads the words of all emotions."
                say(f"Choosing the features of {name}, which is done once.{more}")
        given = {name: self.sets[name] for name in wish.emotions if name in self.sets}
        block = lens.steer(
            wish.emotions,
            wish.language,
            self.site,
            n_features=self._steering.n_features,
            op=read_op(wish.op).value,
            scope=wish.scope,
            features=given,
            corpus=self._steering.corpus,
            trace=False,
        )
        self._chosen |= {(name, wish.language) for name in wish.emotions if name not in given}
        assert block.chosen is not None
        owners: dict[int, list[str]] = {}
        for name, feature in block.chosen.features.select("concept", "feature").iter_rows():
            owners.setdefault(feature, []).append(name)
        clamps = {
            (sae.fingerprint, clamp.feature): (clamp, ", ".join(owners[clamp.feature]))
            for clamp in block.plan.rows[0]
        }
        how = dict.fromkeys(
            f"{name}: {text}" for name, text in block.chosen.doses.select("concept", "how").rows()
        )
        return clamps, " ".join(how)

    def _table(self, plan: Plan, of: Sequence[str]) -> list[dict[str, Any]]:
        site_of = {sae.fingerprint: str(site) for site, sae in self.lens.saes.items()}
        return [
            {"site": site_of[str(clamp.sae)], **clamp.to_dict(), "of": name}
            for clamp, name in zip(plan.rows[0], of, strict=True)
        ]

    def _find_site(self) -> Site:
        try:
            return self.lens.steering_site(self._steering.site)
        except UserError as error:
            if self._steering.site is not None:
                raise
            names = ", ".join(str(site) for site in self.lens.saes)
            raise UserError(
                f"The sliders steer at one site, so say which of {names}: add steering.site=NAME."
            ) from error

    def _model_name(self) -> str | None:
        return str(getattr(self.lens.model.config, "_name_or_path", "") or "") or None


def read_sets(path: str, sae: SparseAutoencoder) -> dict[str, dict[int, float]]:
    """Read features and targets of emotions.

    Args:
        path: A JSON file: `sae`, the SAE's name, and `sets`, for each emotion `features` and `targets` at dose 1.
        sae: The SAE they are for.

    Returns:
        Emotion -> feature -> target, in activation units.

    Raises:
        UserError: The file holds something else, or sets of another SAE.
    """
    file = Path(embedded(path))
    try:
        plain = read_json(file)
    except MissingFileError as error:
        raise MissingFileError.at(
            "serve.sets", file, "Name a JSON file of sets, or give serve.sets=null."
        ) from error
    wrong = UserError(
        f"{file} must hold `sae` and `sets`, for each emotion `features` and `targets` above 0. Mend it, or give "
        "serve.sets=null."
    )
    if not isinstance(plain, Mapping) or not isinstance(plain.get("sets"), Mapping):
        raise wrong
    held = str(plain.get("sae"))
    if held not in {sae.name, *sae.name.split(), sae.fingerprint}:
        raise UserError(
            f"{file} holds sets of the SAE {held!r}, and the desk steers by {sae.name!r}. Name other sets, or give "
            "serve.sets=null."
        )
    sets: dict[str, dict[int, float]] = {}
    for name, own in plain["sets"].items():
        try:
            pairs = zip(own["features"], own["targets"], strict=True)
            sets[str(name)] = {int(feature): float(target) for feature, target in pairs if target != 0}
        except (KeyError, TypeError, ValueError) as error:
            raise wrong from error
        if not all(0 <= feature < sae.d_sae for feature in sets[name]) or not all(
            math.isfinite(target) and target > 0 for target in sets[name].values()
        ):
            raise wrong
    return sets
