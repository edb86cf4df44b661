"""`emosae serve`: from settings to a desk that listens."""

from __future__ import annotations

import importlib.util
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.errors import MissingFileError, UserError
from emosae.serve.guard import Gate, Guard, is_loopback

if TYPE_CHECKING:
    from emosae.config import Config

__all__ = ["listen", "open_desk", "serve"]

_NEEDS = ("fastapi", "uvicorn")


def serve(words: Sequence[str], say: Callable[[str], None]) -> None:
    """Open the desk and serve it until it is interrupted.

    Args:
        words: Settings as on the command line; `browse=FOLDER` names the feature browser to show.
        say: Told the lines for the terminal.

    Raises:
        UserError: A package is missing, a setting is wrong, the address is taken, or the model writes no text.
    """
    check_packages()
    from emosae.config import compose

    config = compose([*map(_spell_out, words), "stage=serve"])
    check_browser(config.serve.browse)
    listening = listen(
        config.serve.host, config.serve.port
    )  # a port that is taken shows before the model is opened
    with listening:
        port = listening.getsockname()[1]
        token = config.serve.token
        if token is None and not is_loopback(config.serve.host):
            token = secrets.token_urlsafe(24)
        app = open_desk(config, Gate(host=config.serve.host, token=token, cookie=f"emosae-{port}"))
        for line in addresses(config.serve.host, port, token):
            say(line)
        _run(app, listening)


def check_packages() -> None:
    """Make sure that what the server needs is installed.

    Raises:
        UserError: It is not.
    """
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"The steering desk needs {' and '.join(missing)}, which emosae works without otherwise. Install with: "
            "pip install 'emosae[serve]', or in a checkout with: .venv/bin/python -m pip install -e '.[serve]'"
        )


def check_browser(folder: str | None) -> None:
    """Make sure that a folder holds a feature browser.

    Raises:
        MissingFileError: It does not.
    """
    if folder is not None and not (Path(folder) / "index.html").is_file():
        raise MissingFileError.at(
            "The feature browser",
            Path(folder) / "index.html",
            "Build one with `emosae browse`, and name its folder.",
        )


def listen(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        UserError: It is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise UserError(
            f"The desk cannot listen on {host}, port {port} ({error.strerror or error}). Give another serve.port=, or "
            "serve.port=0 for any that is free."
        ) from error
    return listening


def open_desk(config: Config, gate: Gate) -> Guard:
    """Open the model of a study and make the application.

    Raises:
        UserError: The model is an encoder, or what `emosae.load` refuses.
    """
    from emosae.browse.stage import open_study
    from emosae.models import is_decoder
    from emosae.serve.app import make_app
    from emosae.serve.desk import Desk
    from emosae.serve.measures import Measures, read_affect

    affect = read_affect(config)  # a file that is not there shows before the model is opened
    lens = open_study(config)
    if not is_decoder(lens.model):
        raise UserError(
            f"The steering desk needs a model that writes, got {type(lens.model).__name__}, an encoder. Name a decoder."
        )
    measures = Measures(lens, config, affect)
    desk = Desk(lens, config, measures)
    measures.prepare()
    return make_app(desk, gate)


def addresses(host: str, port: int, token: str | None) -> list[str]:
    """Write what the terminal shows: the address to open, and who else can reach it."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    shown = f"[{shown}]" if ":" in shown else shown
    lines = [f"desk: http://{shown}:{port}/" + (f"?token={token}" if token else "")]
    if not is_loopback(host):
        lines.append(
            "Other machines can reach it; whoever has this address can use it, and nothing is encrypted."
        )
    return [*lines, "Ctrl-C ends it."]


def _run(app: Guard, listening: socket.socket) -> None:
    import uvicorn

    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # prompts stay between the page and the model
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
    try:
        uvicorn.Server(settings).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has closed everything by now
        return


def _spell_out(word: str) -> str:
    """`browse=FOLDER` means the folder to show; elsewhere `browse` is a group of settings."""
    key, equals, value = word.partition("=")
    if key != "browse" or not equals or not value:
        return word
    escaped = value.replace("'", "\\'")
    return f"serve.browse='{escaped}'"
