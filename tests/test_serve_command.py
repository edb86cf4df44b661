"""`emosae serve`: plain sentences before anything is opened, and what the terminal shows."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emosae import cli
from emosae.serve import run
from emosae.serve.config import ServeConfig


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["serve", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_help_answers_without_heavy_imports() -> None:
    code = (
        "import sys; from emosae import cli; assert cli.main(['serve', '--help']) == 0; "
        "print([name for name in ('torch', 'fastapi', 'uvicorn', 'transformers', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "emosae serve preset=phantom" in done.stdout


@pytest.mark.parametrize("lacking", ["fastapi", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(
    lacking: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    beside = {"fastapi", "uvicorn"} - {lacking}  # there, whatever is installed
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == lacking else sys if name in beside else found(name, *rest),
    )
    assert f"needs {lacking}, which" in (said := refused(["preset=phantom"], capsys))
    assert "pip install 'emosae[serve]'" in said


def test_mistakes_are_one_sentence_before_the_model_is_opened(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="needs fastapi")
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    assert "'phantom' is not a setting" in refused(["phantom"], capsys)
    assert "Did you mean 'phantom'" in refused(["preset=fantom"], capsys)
    assert "Did you mean 'serve.port'" in refused(["serve.prt=3"], capsys)
    assert "serve.port must be 0 to 65535" in refused(["serve.port=65536"], capsys)
    assert "at least 16 characters" in refused(["serve.token=short"], capsys)
    assert "Build one with `emosae browse`" in refused([f"browse={tmp_path}/it's, no"], capsys)
    assert "index.html" in refused([f"browse={tmp_path}"], capsys)  # a folder, and no browser in it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "serve.port=0" in refused([f"serve.port={taken.getsockname()[1]}"], capsys)
    assert "cannot listen on 203.0.113.1" in refused(["serve.host=203.0.113.1", "serve.port=0"], capsys)


def test_the_address_that_is_printed() -> None:
    assert run.addresses("127.0.0.1", 8765, None)[0] == "desk: http://127.0.0.1:8765/"
    assert run.addresses("::1", 80, None)[0] == "desk: http://[::1]:80/"
    lines = run.addresses("10.0.0.7", 80, "abc")
    assert lines[0] == "desk: http://10.0.0.7:80/?token=abc"
    assert "Other machines can reach it" in lines[1]
    assert run.addresses("0.0.0.0", 80, "abc")[0] == f"desk: http://{socket.gethostname()}:80/?token=abc"


def test_another_address_gets_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs fastapi")
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    gates = []
    monkeypatch.setattr(run, "open_desk", lambda _config, gate: gates.append(gate))
    monkeypatch.setattr(run, "_run", lambda _app, _listening: None)
    said: list[str] = []
    for words in (["serve.host=0.0.0.0"], ["serve.host=0.0.0.0"], ["serve.host=127.0.0.1"]):
        run.serve(["preset=phantom", "serve.port=0", *words], said.append)
    run.serve(["preset=phantom", "serve.port=0", "serve.token=0123456789abcdef"], said.append)
    tokens = [gate.token for gate in gates]
    assert len(tokens[0]) >= 32
    assert tokens[0] != tokens[1]
    assert tokens[2:] == [None, "0123456789abcdef"]
    assert any(line.endswith(f"/?token={tokens[0]}") for line in said)
    assert len({gate.cookie for gate in gates}) == 4  # a port each


SERVER = """
from emosae.serve import run
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
listening = run.listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
run._run(app, listening)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_it_serves_without_a_word_and_ctrl_c_ends_it() -> None:
    httpx = pytest.importorskip("httpx", reason="needs httpx")
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        answer = httpx.get(f"http://127.0.0.1:{int(server.stdout.readline())}/secret", timeout=60)
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)
    finally:
        server.kill()
    assert answer.status_code == 204
    assert "server" not in answer.headers
    assert said == ("", "")  # neither what was asked for nor a traceback
    assert server.returncode == 0


def test_limits_must_be_sensible() -> None:
    from emosae.errors import UserError

    for wrong in ({"queue": -1}, {"new_tokens": 0}, {"features": 0}, {"prompt_characters": 0}, {"port": -1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            ServeConfig(**wrong)
