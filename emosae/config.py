"""The typed schema of conf/, and composing it; with cli.py the only module that knows Hydra."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emosae.browse.config import BrowseConfig
from emosae.concepts import ConceptsConfig
from emosae.errors import UserError, unknown_name
from emosae.geometry import GeometryConfig
from emosae.norms import NormEntry
from emosae.paths import cache_root, conf_dir
from emosae.ratings import RatingsConfig
from emosae.selection import SelectionConfig
from emosae.serve.config import ServeConfig
from emosae.steering.config import SteeringConfig

__all__ = [
    "Config",
    "FeaturesConfig",
    "ModelConfig",
    "SAESource",
    "as_dict",
    "compose",
    "from_dict",
    "load_preset",
    "plain_error",
    "register_schema",
    "search_path",
    "spell_out",
]

_LISTS = {"language"}  # keys whose single value may be written without brackets
# `model=FOLDER` where FOLDER is no option of the group
_SHORT = {"model": "model.name", "sae": "sae.path", "corpus": "browse.corpus", "run": "browse.run"}


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Which transformers model is read, and how."""

    name: str = "???"
    """Hub name or folder; `phantom:weights/model` is the one in the package."""
    revision: str | None = None
    """Revision on the hub; None means the newest."""
    dtype: str = "auto"
    """Number format: auto (as stored), float32, bfloat16, float16."""
    device: str = "cpu"
    """Where it runs: cpu, cuda, cuda:1, mps."""
    device_map: Any = None
    """Passed on to transformers, for a model over several devices."""


@dataclass(kw_only=True, slots=True)
class SAESource:
    """Which SAEs read the model: a release of SAELens' registry, folders, or a Hugging Face repository."""

    release: str | None = None
    """Release, as SAELens names it."""
    sae_id: Any = None
    """One id of the release (or path in the repository), or a list of them."""
    path: Any = None
    """One SAELens folder, or a list of them; `phantom:weights/sae_layer_2` is in the package."""
    repo: str | None = None
    """Hugging Face repository in SAELens' layout."""
    revision: str | None = None
    """Revision of the repository."""


@dataclass(kw_only=True, slots=True)
class FeaturesConfig:
    """How words are read."""

    pooling: str = "mean"
    """Over the word's own tokens: mean, max, last."""
    templates: Any = "all"
    """Readings of a concept's word: all (bare and in every template), framed, bare, or a list by language."""
    rating_templates: Any = "bare"
    """Readings of a rated word, likewise."""
    max_tokens: int = 4096
    """Bound on a batch's tokens, padding included; part of what determines the numbers."""
    use_cache: bool = True
    """Keep readings in sae_cache/ and look for them there."""
    min_coverage: float = 0.5
    """Share of a set's words that the tokenizer must know; below it the study refuses."""


@dataclass(kw_only=True, slots=True)
class Config:
    """One study."""

    name: str | None = None
    """Title of the report; None means the model's name."""
    stage: str = "run"
    """The stage that was asked for; set by the command line."""
    preset: str = "custom"
    """The preset that set the other groups."""
    experiment: str | None = None
    """The experiment file that changed them, if any."""
    model: ModelConfig = field(default_factory=ModelConfig)
    sae: SAESource = field(default_factory=SAESource)
    concepts: ConceptsConfig = field(default_factory=ConceptsConfig)
    norms: dict[str, NormEntry] = field(default_factory=dict)
    """Human data by name: word ratings and similarity judgements."""
    language: list[str] = field(default_factory=lambda: ["en"])
    """Languages whose words are read."""
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    ratings: RatingsConfig = field(default_factory=RatingsConfig)
    browse: BrowseConfig = field(default_factory=BrowseConfig)
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    output: str = "outputs"
    """Folder of the runs."""
    reuse: str | None = None
    """Folder of an earlier run whose finished stages are taken over."""


def register_schema() -> None:
    """Tell Hydra the schema; safe to call again."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)


def options(group: str) -> list[str]:
    """List the options of a group of conf/, the user's own norms included."""
    folders = [conf_dir() / group, cache_root() / "conf" / group]
    return sorted(path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml"))


def search_path() -> list[str]:
    """Make the override that lets Hydra see the user's own norms."""
    own = cache_root() / "conf"
    return [f"hydra.searchpath=['file://{own}']"] if own.is_dir() else []


def spell_out(overrides: Sequence[str]) -> list[str]:
    """Turn what people write into what Hydra reads.

    `model=FOLDER` and `sae=FOLDER` become `model.name` and `sae.path`, `corpus=` and `run=` settings of the browser;
    `language=en` becomes a list; a study
    that names its own model starts from `preset=custom`.

    Example:
        >>> spell_out(["language=en"])
        ['language=[en]']
    """
    spelt = [_spell_out(text) for text in overrides]
    keys = {text.partition("=")[0] for text in spelt}
    if "preset" not in keys and any(key.split(".")[0] in _SHORT for key in keys - set(_SHORT)):
        spelt.insert(0, "preset=custom")
    return spelt


def _spell_out(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals or not value:
        return text
    if key in _SHORT and not any(part in options(key) for part in value.split(",")):
        plain = value if value[0] in "[{" else ",".join(map(_quoted, value.split(",")))
        return f"{_SHORT[key]}={plain}"
    if key in _LISTS and not value.startswith("["):
        return f"{key}={','.join(f'[{part}]' for part in value.split(','))}"
    return text


def _quoted(value: str) -> str:
    """Quote a path for Hydra's override grammar, which otherwise trips over spaces, brackets and equal signs."""
    if re.fullmatch(r"[A-Za-z0-9_./:@-]+", value) or value[0] in "\"'":
        return value
    escaped = value.replace("'", "\\'")
    return f"'{escaped}'"


def compose(overrides: Sequence[str] = ()) -> Config:
    """Compose conf/ with overrides into a typed study.

    Args:
        overrides: `key=value` as on the command line.

    Returns:
        The study's configuration.

    Raises:
        UserError: An unknown key, option or type, with the nearest match.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    register_schema()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            composed = hydra_compose("config", overrides=[*spell_out(overrides), *search_path()])
        return to_config(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise plain_error(error) from error


def to_config(composed: Any) -> Config:
    """Turn a composed configuration into the dataclass; the one place where OmegaConf ends."""
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise plain_error(error) from error
    assert isinstance(config, Config)
    return config


def load_preset(name: str) -> Config:
    """Compose a preset by name."""
    if name not in options("preset"):
        raise unknown_name("preset", name, [each for each in options("preset") if each != "custom"])
    return compose([f"preset={name}"])


def as_dict(config: Config) -> dict[str, Any]:
    """Turn a study into plain values, for the manifest."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """Read back what `as_dict` gave, from a manifest."""
    try:
        return to_config(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create(dict(values))))
    except OmegaConfBaseException as error:
        raise plain_error(error) from error


def _keys(kind: type, prefix: str = "") -> list[str]:
    found = []
    for each in dataclasses.fields(kind):
        found.append(prefix + each.name)
        default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        if dataclasses.is_dataclass(default):
            found += _keys(type(default), f"{prefix}{each.name}.")
    return found


def plain_error(error: Exception) -> UserError:
    """Say in one sentence what Hydra or OmegaConf found wrong."""
    text = str(error)
    missing = re.search(r"Could not (?:find|load) '([^'/]+)/([^']+)'", text)
    if missing:
        group, name = missing.groups()
        return unknown_name(f"{group} option", name, options(group))
    key = re.search(r"(?:Could not override|Key) '([^']+)'|full_key: (\S+)", text)
    name = next((part for part in key.groups() if part), "") if key else ""
    known = _keys(Config)
    if name and name.split("[")[0] not in known and not name.startswith("norms."):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        guess = (
            f" Did you mean {near[0]!r}?"
            if near
            else f" There are: {', '.join(k for k in known if '.' not in k)}."
        )
        return UserError(f"There is no setting {name!r}.{guess}")
    cause = str(error.__cause__ or "").split("\n")[0]
    reason = ": ".join(part.rstrip(".") for part in (text.split("\n", maxsplit=1)[0], cause) if part)
    where = f" of {name!r}" if name and name not in reason else ""
    if "Missing mandatory value" in reason or (isinstance(error, OmegaConfBaseException) and "???" in reason):
        return UserError(
            f"The setting {name or 'model.name'!r} has no value. Give one, for example {name or 'model.name'}=…"
        )
    return UserError(
        f"The setting{where} cannot be used: {reason}. See `emosae run --help` for what there is."
    )


def list_of(value: Any) -> list[Any]:
    """Read a setting that is one value or a list of them; None is no value."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def is_path(value: Any) -> bool:
    """Tell whether a setting names a file rather than holding an object."""
    return isinstance(value, (str, Path))
