"""A desk on a tiny random model behind a real server, and readers of what it streams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from lens_cases import tiny_lens

from emosae.config import Config
from emosae.serve.app import make_app
from emosae.serve.config import ServeConfig
from emosae.serve.desk import Desk
from emosae.serve.guard import Gate
from emosae.serve.measures import Measures, read_affect
from emosae.serve.run import listen

SITE = "blocks.1.hook_resid_post"
WISH = {"prompt": "Once joy", "new_tokens": 12, "op": "set", "scope": "generated"}


def config_of(**limits: Any) -> Config:
    """A study without ratings whose emotions are told by words."""
    config = Config(serve=ServeConfig(**limits))
    config.model.name, config.sae.path = "MODEL", "SAE"
    return config


def desk_of(lens: Any, config: Config | None = None) -> Desk:
    """A desk on a lens."""
    config = config or config_of()
    return Desk(lens, config, Measures(lens, config, read_affect(config)))


def toy_desk(home: Path, **limits: Any) -> Desk:
    """A desk on the tiny lens."""
    return desk_of(tiny_lens(home), config_of(**limits))


@contextmanager
def served(desk: Desk, gate: Gate | None = None) -> Iterator[httpx.Client]:
    """Serve a desk on a free port; gives a client that speaks as the desk's own page does."""
    import uvicorn

    listening = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = make_app(desk, gate or Gate(host="127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        with httpx.Client(base_url=address, headers={"Origin": address}, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listening.close()
        assert not thread.is_alive()


def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def events(client: httpx.Client, path: str, body: Any) -> Iterator[dict[str, Any]]:
    """Ask, and give the events one by one."""
    with client.stream("POST", path, json=body) as response:
        if response.status_code != 200:
            response.read()
            raise AssertionError(response.text)
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def ask(client: httpx.Client, path: str, body: Any) -> list[dict[str, Any]]:
    """Ask, and give all events."""
    return list(events(client, path, body))


def the(found: list[dict[str, Any]], kind: str, **values: Any) -> dict[str, Any]:
    """Give the one event of a kind."""
    fitting = [each for each in found if {"type": kind, **values}.items() <= each.items()]
    assert len(fitting) == 1, (kind, values, found)
    return fitting[0]


def text_of(found: list[dict[str, Any]], side: str) -> str:
    """Put one side's pieces together, prompt and answer."""
    start = the(found, "start", side=side)
    tokens = [each["text"] for each in found if each["type"] == "token" and each["side"] == side]
    return "".join([text for text, _ in start["pieces"]] + tokens)
