"""The waiting line, the limits, and stopping: one model, several pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs fastapi")
from serve_cases import SITE, WISH, ask, events, served, text_of, the, toy_desk, until

from emosae.errors import UserError
from emosae.serve.config import ServeConfig
from emosae.serve.line import FullError, Job, Line
from emosae.serve.wish import Wish

LIMITS = ServeConfig(prompt_characters=50, new_tokens=30, features=2)
LONG = {**WISH, "new_tokens": 25, "sample": True}


class Page:
    """What one page is told."""

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.found: list[Any] = []
        self.job = Job(work=work, send=self.found.append)

    @property
    def ended(self) -> bool:
        return bool(self.found) and self.found[-1] is None

    def kinds(self) -> list[str]:
        return [each["type"] for each in self.found if each is not None]


def test_jobs_are_done_in_order_and_one_at_a_time() -> None:
    done: list[int] = []
    inside: list[int] = []
    go = threading.Event()

    def work(number: int) -> Callable[[Job], None]:
        def run(job: Job) -> None:
            inside.append(number)
            assert len(inside) == 1
            go.wait(10)
            done.append(number)
            inside.remove(number)
            job.tell("mine", number=number)

        return run

    line = Line(most=8)
    pages = [Page(work(number)) for number in range(5)]
    for page in pages:
        line.put(page.job)
    go.set()
    until(lambda: all(page.ended for page in pages))
    assert done == [0, 1, 2, 3, 4]
    for number, page in enumerate(pages):
        assert [each for each in page.found if each and each["type"] == "mine"] == [
            {"type": "mine", "number": number}
        ]
    ahead = [each["ahead"] for each in pages[4].found if each and each["type"] == "queued"]
    assert ahead == sorted(ahead, reverse=True)
    line.close()


def test_a_full_line_refuses_and_a_cancelled_job_leaves_it() -> None:
    go, ran = threading.Event(), list[int]()
    line = Line(most=2)
    first = Page(lambda _job: go.wait(10) and None)
    line.put(first.job)
    until(lambda: line._running is not None)
    waiting = [Page(lambda _job, at=at: ran.append(at)) for at in range(3)]
    line.put(waiting[0].job)
    line.put(waiting[1].job)
    with pytest.raises(FullError, match="2 texts are waiting already"):
        line.put(waiting[2].job)
    line.cancel(waiting[0].job)
    assert waiting[0].ended
    assert waiting[1].found[-1] == {"type": "queued", "ahead": 1}
    line.put(waiting[2].job)
    go.set()
    until(lambda: waiting[1].ended and waiting[2].ended)
    assert ran == [1, 2]
    line.close()


def test_a_job_that_fails_is_told_plainly_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    def mistake(_job: Job) -> None:
        raise UserError("Write   a\nprompt.")

    def fault(_job: Job) -> None:
        raise RuntimeError("inside")

    line = Line(most=8)
    pages = [Page(mistake), Page(fault), Page(lambda job: job.tell("fine"))]
    for page in pages:
        line.put(page.job)
    until(lambda: all(page.ended for page in pages))
    assert pages[0].found[-2] == {"type": "error", "text": "Write a prompt."}
    assert "RuntimeError: inside" in pages[1].found[-2]["text"]
    assert "Traceback" in caplog.text
    assert pages[2].kinds()[-1] == "fine"
    line.close()


def test_closing_lets_all_jobs_go() -> None:
    line = Line(most=8)
    running = Page(lambda job: job.cancelled.wait(10) and None)
    waiting = Page(lambda _job: pytest.fail("it ran"))
    line.put(running.job)
    until(lambda: line._running is not None)
    line.put(waiting.job)
    line.close()
    assert running.ended
    assert waiting.ended


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": ""}, "must be a prompt"),
        ({"prompt": 3}, "must be a prompt"),
        ({"prompt": "w" * 51}, "at most 50 characters, got 51"),
        ({"prompt": "\ud800"}, "valid Unicode"),
        ({"new_tokens": 31}, "new tokens must be a whole number from 1 to 30"),
        ({"new_tokens": 0}, "new tokens"),
        ({"new_tokens": 1.5}, "whole number"),
        ({"new_tokens": True}, "whole number"),
        ({"new_tokens": None}, "whole number"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 0}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"emotions": {"joy": -1}}, "joy"),
        ({"emotions": {"joy": "much"}}, "joy"),
        ({"emotions": ["joy"]}, "names with doses"),
        ({"features": [{"site": SITE, "feature": at, "value": 1} for at in range(3)]}, "At most 2 features"),
        ({"features": {}}, "must be a list"),
        ({"features": [{"site": SITE, "feature": -1, "value": 1}]}, "feature"),
        ({"features": [{"site": SITE, "feature": 1, "op": "sett", "value": 1}]}, "Did you mean 'set'"),
        ({"features": [{"site": SITE, "feature": 1, "op": "set", "unit": "norm", "value": 1}]}, "one of: activation"),
        ({"features": [{"site": SITE, "feature": 1}]}, "finite number"),
        ({"features": [{"site": SITE, "feature": 1, "value": 1, "more": 1}]}, "A feature must have"),
        ({"scope": "everywhere"}, "no scope on the desk 'everywhere'"),
        ({"scope": [0]}, "no scope"),
        ({"op": 3}, "op must be"),
        ({"sample": "yes"}, "true or false"),
        ({"promt": "x"}, "no part of a wish 'promt'. Did you mean 'prompt'"),
    ],
)  # fmt: skip
def test_wishes_are_refused_in_a_plain_sentence(change: dict[str, Any], said: str) -> None:
    import re

    with pytest.raises(UserError, match=re.escape(said)):
        Wish.parse({**WISH, **change}, LIMITS)


def test_a_wish_is_read_back() -> None:
    features = [
        {"site": SITE, "feature": 3, "op": "add", "value": -2.5, "unit": "norm", "only_if_active": True}
    ]
    wish = Wish.parse({**WISH, "emotions": {"joy": 0.5, "fear": 0}, "features": features, "seed": 7}, LIMITS)
    assert wish.emotions == {"joy": 0.5}
    assert Wish.parse(wish.to_dict(), LIMITS) == wish


def test_the_server_refuses_too_much(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path, new_tokens=100, queue=0)
    most = desk.lens.model.config.max_position_embeddings
    assert most <= 100
    with served(desk) as client:

        def refused(body: Any, path: str = "/api/generate") -> tuple[int, str]:
            answer = client.post(path, json=body)
            return answer.status_code, answer.json()["error"]

        assert refused({**WISH, "new_tokens": 101})[0] == 400
        assert refused([1])[0] == 400
        assert "at most 2,000,000 bytes" in refused("w" * 2_100_000, "/api/read")[1]
        broken = client.post("/api/read", content="{", headers={"Content-Type": "application/json"})
        assert "not readable as JSON" in broken.json()["error"]
        long = ask(client, "/api/generate", {**WISH, "new_tokens": most})
        assert f"at most {most} tokens together" in the(long, "error")["text"]  # all that this model reads
        for name in ("nothing", "api/nothing", "browse/", "page/desk.js", "..%2fdesk.css"):
            answer = client.get(f"/{name}")
            assert (answer.status_code, "error" in answer.json()) == (404, True)
        unknown = ask(client, "/api/plan", {**WISH, "emotions": {"jo": 1.0}})
        assert "Did you mean 'joy'" in the(unknown, "error")["text"]
        beyond = ask(client, "/api/plan", {**WISH, "features": [{"site": SITE, "feature": 64, "value": 1}]})
        assert "0 to 63" in the(beyond, "error")["text"]


class Held:
    """Holds a desk's model at its first token until it is let go."""

    def __init__(self, desk: Any) -> None:
        self.reached, self.go, self.passes = threading.Event(), threading.Event(), 0
        self.handle = desk.lens.model.register_forward_pre_hook(self.wait)

    def wait(self, *_args: Any) -> None:
        self.passes += 1
        self.reached.set()
        assert self.go.wait(30)


@pytest.fixture
def hold() -> Iterator[Callable[[Any], Held]]:
    """Hold a desk's model, which other tests use too, for the length of a test."""
    made: list[Held] = []

    def make(desk: Any) -> Held:
        made.append(Held(desk))
        return made[-1]

    yield make
    for each in made:
        each.handle.remove()


def test_two_pages_do_not_mix(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    wishes = [
        {
            **LONG,
            "prompt": prompt,
            "seed": seed,
            "features": [{"site": SITE, "feature": feature, "value": 25.0}],
        }
        for seed, (prompt, feature) in enumerate([("Once joy", 3), ("my experience", 5), ("From fear", 17)])
    ]
    alone = []
    with served(toy_desk(tmp_path / "alone")) as client:
        for wish in wishes:
            found = ask(client, "/api/generate", wish)
            alone.append([text_of(found, side) for side in ("unsteered", "steered")])
    assert len({text for pair in alone for text in pair}) == 6
    together: dict[int, list[str]] = {}
    with served(desk) as client:

        def page(at: int) -> None:
            found = ask(client, "/api/generate", wishes[at])
            together[at] = [text_of(found, side) for side in ("unsteered", "steered")]

        threads = [threading.Thread(target=page, args=(at,)) for at in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [together[at] for at in range(3)] == alone


def test_stop_ends_the_text_at_the_next_token(tmp_path: Path, hold: Callable[[Any], Held]) -> None:
    desk = toy_desk(tmp_path)
    held = hold(desk)
    with served(desk) as client:
        found = []
        for event in events(
            client, "/api/generate", {**LONG, "features": [{"site": SITE, "feature": 3, "value": 9}]}
        ):
            found.append(event)
            if event["type"] == "start":
                assert client.post(f"/api/stop/{the(found, 'job')['name']}").status_code == 204
                held.go.set()
        kinds = [each["type"] for each in found]
        assert "stopped" in kinds
        assert "written" not in kinds
        assert "measures" not in kinds
        assert the(found, "text", side="unsteered")["stopped"]
        assert held.passes <= 2
        assert client.post("/api/stop/nobody").status_code == 204
        whole = ask(client, "/api/generate", LONG)  # the desk goes on, and kept nothing of the stopped text
        the(whole, "written")
        wanted = desk.lens.generate("Once joy", seed=0, do_sample=True, temperature=0.8, max_new_tokens=25)
        assert the(whole, "text", side="unsteered")["full"] == wanted


def test_a_page_that_goes_away_stops_its_text(tmp_path: Path, hold: Callable[[Any], Held]) -> None:
    desk = toy_desk(tmp_path)
    held = hold(desk)
    with served(desk) as client:
        gone = events(client, "/api/generate", LONG)
        assert next(each for each in gone if each["type"] == "start")
        assert held.reached.wait(10)
        second: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: second.extend(events(client, "/api/plan", WISH)))
        thread.start()
        until(lambda: any(each["type"] == "queued" and each["ahead"] == 1 for each in second))
        gone.close()  # the connection is closed
        waiting = events(client, "/api/plan", WISH)
        assert next(each for each in waiting if each["type"] == "queued")["ahead"] == 2
        waiting.close()
        threading.Event().wait(1.0)  # the server looks four times a second
        held.go.set()
        thread.join(timeout=20)
        the(second, "plan")
    assert held.passes <= 2


def test_a_text_that_did_not_change_is_told_again(tmp_path: Path, hold: Callable[[Any], Held]) -> None:
    desk = toy_desk(tmp_path)
    held = hold(desk)
    held.go.set()
    with served(desk) as client:
        first = ask(client, "/api/generate", WISH)
        before = held.passes
        again = ask(client, "/api/generate", WISH)
        assert held.passes == before + 1  # for its perplexity
        other = ask(client, "/api/generate", {**WISH, "new_tokens": 5})
        assert held.passes > before + 2
    assert text_of(first, "unsteered") == text_of(again, "unsteered")
    assert text_of(other, "unsteered") != text_of(first, "unsteered")
