"""The command line: `emosae STAGE key=value …`.

Help and plain mistakes are answered before Hydra, torch or any other heavy import.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emosae.commands import show_selection
from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.help import COMMANDS, OVERVIEW, STAGE_HELP, TOOLS, stage_help

__all__ = ["main"]

Arguments = list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `emosae`; None means those of the process.

    Returns:
        The exit status: 0 done, 1 a fault of emosae's own, 2 something the caller can mend, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words, debug)
    except KeyboardInterrupt:
        return _say(
            "Interrupted. Finished readings are kept in the cache; the same command goes on from them.", 130
        )
    except (UserError, OSError) as error:
        if debug:
            traceback.print_exc()
        return _say(_sentence(error), 2)
    except Exception as error:  # the last line of defence: a sentence, and the traceback on request
        if debug:
            traceback.print_exc()
        kind = type(error).__name__
        return _say(
            f"emosae met a fault of its own ({kind}: {error}). Run again with --debug to see where.", 1
        )


def _say(sentence: str, status: int) -> int:
    print(f"emosae: {sentence}", file=sys.stderr)
    return status


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, UserError):
        about = f" ({error.filename})" if error.filename else ""
        return (
            f"{error.strerror or error}{about}. Check that the path is there and that there is room to write."
        )
    return " ".join(str(error).split())


def _dispatch(words: Arguments, debug: bool) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(OVERVIEW)
        return 0
    if words[0] in {"--version", "version"}:
        from emosae import __version__

        print(f"emosae {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS, hint="`emosae` alone shows what each does.")
    if any(word in {"-h", "--help"} for word in rest):
        print(stage_help(command))
        return 0
    _quiet(debug)
    if command in TOOLS:
        from emosae import commands

        tool: Callable[[Arguments], int] = getattr(commands, f"{command}_command")
        return tool(rest)
    assert command in STAGE_HELP
    return _stage(command, rest)


def _quiet(debug: bool) -> None:
    """Let our own log lines through and keep other libraries' chatter out of the way."""
    logging.captureWarnings(True)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if debug else logging.ERROR)
    logging.getLogger("emosae").setLevel(logging.DEBUG if debug else logging.INFO)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _stage(stage: str, words: Arguments) -> int:
    if "-m" in words or "--multirun" in words:
        return _multirun(stage, [word for word in words if word not in {"-m", "--multirun"}])
    from emosae import pipeline
    from emosae.artifacts import RunFolder, read_json

    if stage == "report" and len(words) == 1 and "=" not in words[0] and not words[0].startswith("-"):
        if not Path(words[0]).is_dir():
            raise MissingFileError.at("The run", words[0], "Give the folder of a run, below outputs/.")
        print(f"report: {pipeline.redraw(Path(words[0]))}")
        return 0
    from emosae.config import as_dict, compose, from_dict

    if "--from" in words:
        if len(words) != 2 or words[0] != "--from":
            raise UserError(
                "--from takes one manifest.json and no other settings. Write `emosae run --from FILE`."
            )
        manifest = read_json(Path(words[1]))
        if not isinstance(manifest, dict) or "config" not in manifest:
            raise UserError(
                f"{words[1]} is not a run's manifest. Name the manifest.json of a folder in outputs/."
            )
        config = from_dict(manifest["config"])
        stage = config.stage
    else:
        _check_words(words)
        config = compose([*words, f"stage={stage}"])
    about: dict[str, Any] = {"stage": stage, "command": ["emosae", stage, *words], "config": as_dict(config)}
    with RunFolder.new(Path(config.output), stage, about) as run:
        if stage == "browse":
            from emosae.browse.stage import run as browse

            lines = browse(config, run)
        else:
            lines = pipeline.run(config, stage, run)
        if stage == "select":
            show_selection(run.folder)
    print("\n".join(lines))
    return 0


def _check_words(words: Arguments) -> None:
    for word in words:
        if word.startswith("-"):
            raise UserError(
                f"There is no option {word!r}. Our own are --from, --debug and --help; -m sweeps."
            )
        if "=" not in word and not word.startswith("~"):
            raise UserError(f"{word!r} is not a setting. Write key=value, for example preset=phantom.")


def _multirun(stage: str, words: Arguments) -> int:
    """Hand a sweep to Hydra; each job writes its own folder and status, a failed one does not stop the others."""
    _check_words(words)
    if stage == "browse":
        raise UserError("`emosae browse` builds one browser at a time. Leave out -m; sweep `emosae run`.")
    import hydra
    from omegaconf.errors import OmegaConfBaseException

    from emosae import sweep
    from emosae.config import compose, plain_error, register_schema, search_path, spell_out
    from emosae.paths import conf_dir

    register_schema()
    root = next(
        (word.removeprefix("output=") for word in words if word.startswith("output=")), compose().output
    )
    folder = sweep.new_folder(root, stage)
    spelt = [*spell_out(words), *search_path(), f"stage={stage}", f"hydra.sweep.dir={folder}"]
    # with full errors Hydra raises instead of printing a traceback and leaving the process
    before, sys.argv = (sys.argv, os.environ.get("HYDRA_FULL_ERROR")), ["emosae", "-m", *spelt]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(sweep.job)()
    except (hydra.errors.HydraException, OmegaConfBaseException) as error:
        raise plain_error(error) from error
    finally:
        sys.argv = before[0]
        os.environ.pop("HYDRA_FULL_ERROR")
        if before[1] is not None:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
    lines, failed = sweep.summary(folder)
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
