"""conf/: every option composes, and what people write is spelt out for Hydra."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from emosae.config import Config, as_dict, compose, from_dict, load_preset, options, spell_out
from emosae.errors import UserError
from emosae.paths import conf_dir

APART = {"templates"}
"""Read by their own rooms, not composed."""
GROUPS = sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in APART)


@pytest.mark.parametrize(
    ("group", "option"),
    [(group, option) for group in GROUPS for option in options(group) if group != "norms"],
)
def test_every_option_composes(group: str, option: str, cache: Path) -> None:
    config = compose([f"{group}={option}", *(["model.name=x"] if (group, option) in NEEDS_MODEL else [])])
    assert isinstance(config, Config)
    assert dataclasses.asdict(from_dict(as_dict(config))) == as_dict(config)


NEEDS_MODEL = {("preset", "custom"), ("model", "custom"), ("sae", "custom")}


@pytest.mark.parametrize("name", options("norms"))
def test_every_data_set_composes(name: str, cache: Path) -> None:
    config = compose([f"norms=[{name}]"])
    assert config.norms[name].name == name


def test_several_data_sets_and_a_path(cache: Path) -> None:
    config = compose(["norms=[warriner,human27]", "norms.warriner.path=my file.csv"])
    assert list(config.norms) == ["warriner", "human27"]
    assert config.norms["warriner"].path == "my file.csv"


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        (["language=en"], ["language=[en]"]),
        (["language=en,zh"], ["language=[en],[zh]"]),
        (["language=[en,zh]"], ["language=[en,zh]"]),
        (["model=gpt9"], ["preset=custom", "model.name=gpt9"]),
        (["model=phantom"], ["model=phantom"]),
        (["sae=../a/b"], ["preset=custom", "sae.path=../a/b"]),
        (["sae=a b=(c)"], ["preset=custom", "sae.path='a b=(c)'"]),
        (["sae=[a,b]"], ["preset=custom", "sae.path=[a,b]"]),
        (["preset=phantom", "sae=x"], ["preset=phantom", "sae.path=x"]),
        (["seed"], ["seed"]),
    ],
)
def test_spelling_out(written: list[str], spelt: list[str], cache: Path) -> None:
    assert spell_out(written) == spelt


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=30))
def test_any_path_reaches_hydra_unchanged(name: str) -> None:
    path = f"/models/{name}x"
    if "," in path or "\\" in path or "$" in path:
        return  # a comma sweeps, a backslash escapes and a dollar refers, in Hydra's own grammar
    spelt = spell_out([f"model={path}"])[-1]
    assert OverridesParser.create().parse_override(spelt).value() == path


def test_a_preset_of_no_such_name_lists_them() -> None:
    with pytest.raises(UserError, match=r"no preset 'fantom'. Did you mean 'phantom'"):
        load_preset("fantom")


def test_a_manifest_with_a_strange_key_is_refused() -> None:
    with pytest.raises(UserError, match="no setting 'colour'"):
        from_dict({"colour": 3})
