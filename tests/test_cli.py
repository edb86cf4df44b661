"""The command line: plain sentences, exit status, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emosae import cli
from emosae.help import COMMANDS


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an empty cache."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("EMOSAE_DATA", raising=False)
    return work


def refused(words: list[str], capsys: pytest.CaptureFixture[str], here: Path, status: int = 2) -> str:
    """Run a command that must be refused; give what it said."""
    assert cli.main(words) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert list(here.rglob("*.json")) == []  # no run folder, no status file
    said = captured.err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_no_words_show_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"emosae {command}" in shown for command in COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert "xample" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["selct"], r"no command 'selct'. Did you mean 'select'"),
        (["run", "preset=fantom"], r"no preset option 'fantom'. Did you mean 'phantom'"),
        (["run", "geometri.seed=3"], r"no setting 'geometri(.seed)?'"),
        (["run", "geometry.sed=3"], r"no setting 'geometry.sed'. Did you mean 'geometry.seed'"),
        (["run", "geometry.seed=many"], r"'many'"),
        (["run", "concepts=goemotion27"], r"no concepts option 'goemotion27'. Did you mean 'goemotions27'"),
        (["run", "norms=[warrner]"], r"no norms option 'warrner'. Did you mean 'warriner'"),
        (["run", "language=xx"], r"no language 'xx'"),
        (["run", "phantom"], r"'phantom' is not a setting. Write key=value"),
        (["report", "outputs/nowhere"], r"The run is not at 'outputs/nowhere'. Give the folder of a run"),
        (["run", "--fast"], r"no option '--fast'"),
        (["run", "--from", "nowhere.json"], r"not at 'nowhere.json'"),
        (["run", "model=/nowhere/model", "sae=/nowhere/sae"], r"/nowhere/"),
        (["run", "model=/nowhere/model"], r"Name the SAEs"),
        (["norms"], r"needs one of: list, fetch, add"),
        (["norms", "lst"], r"Did you mean 'list'"),
        (["norms", "fetch", "warrner"], r"Did you mean 'warriner'"),
        (["norms", "add", "nowhere.csv"], r"nowhere.csv"),
        (["cache", "wipe"], r"list, prune, verify"),
        (["run", "preset=custom", "sae=/nowhere"], r"model.name"),
    ],
)
def test_mistakes_are_one_plain_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    import re

    sentence = refused(words, capsys, here)
    assert re.search(said, sentence), sentence


def test_human_data_that_is_not_here_says_where_to_get_it(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    sentence = refused(["run", "norms=[warriner]", "language=en"], capsys, here)
    assert "emosae norms fetch warriner" in sentence
    assert "EMOSAE_DATA" in sentence


def test_a_text_file_is_no_sae(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "notes.txt").write_text("not an SAE")
    assert "notes.txt" in refused(
        ["features", "model=phantom:weights/model", f"sae={here / 'notes.txt'}"], capsys, here
    )


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert cli.main(["run", "preset=fantom", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_our_own_is_not_the_callers(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(words: list[str], debug: bool) -> int:
        raise RuntimeError("wires crossed")

    monkeypatch.setattr(cli, "_dispatch", broken)
    assert "fault of its own (RuntimeError: wires crossed)" in refused(["run"], capsys, here, status=1)


def test_an_interrupt_ends_quietly(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(words: list[str], debug: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert refused(["run"], capsys, here, status=130).startswith("emosae: Interrupted")


def imported(code: str) -> list[str]:
    """List the modules that a fresh process has imported after `code`."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_emosae_imports_nothing_heavy() -> None:
    assert not {"torch", "sae_lens", "transformers", "polars", "hydra", "numpy"} & set(
        imported("import emosae")
    )


def test_help_imports_nothing_heavy() -> None:
    code = "from emosae.cli import main\nmain(['--help'])\nmain(['run', '--help'])"
    assert not {"torch", "sae_lens", "transformers", "polars", "hydra", "numpy"} & set(imported(code))
