"""The browser as one file: which cards it holds, what it refuses, and that it needs nothing beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_browse_page import READY, SIZES, facts, hostile_sites

from emosae.browse import BrowseConfig
from emosae.browse.facts import Facts
from emosae.browse.one_file import MOST_CARDS, choose_cards
from emosae.browse.site import write_file
from emosae.errors import UserError


def sizes(*n: int) -> dict[str, Any]:
    return {f"site{at}": SimpleNamespace(d_sae=each) for at, each in enumerate(n)}


def test_all_features_or_those_that_an_emotion_selects() -> None:
    assert choose_cards(sizes(10, MOST_CARDS - 10), {}, "all") == [None, None]
    known = {"site0": facts()}
    assert choose_cards(sizes(10**6, 10**6), known, "selected") == [[3, 9, 20], []]


def test_what_is_too_much_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"at most 8,192 features .* these are 8,193.*browse.one_file=selected"
    ):
        choose_cards(sizes(10, MOST_CARDS - 9), {}, "all")
    many = facts()
    scores = many.scores[[0] * (MOST_CARDS + 1)].with_row_index("n").drop("feature").rename({"n": "feature"})
    with pytest.raises(UserError, match=r"these are 8,193.*browse.site="):
        choose_cards(sizes(10**6), {"site0": replace(many, scores=scores)}, "selected")
    with pytest.raises(UserError, match="some emotion selects, and there are none"):
        choose_cards(sizes(10), {"site0": Facts()}, "selected")
    with pytest.raises(UserError, match=r"browse\.one_file"):
        BrowseConfig(one_file="some")


@pytest.mark.browser
@pytest.mark.parametrize("which", ["all", "selected"])
def test_the_file_alone_is_the_browser(chromium: Any, tmp_path: Path, which: str) -> None:
    sites, about = hostile_sites()
    chosen = [None, None] if which == "all" else [[3, 9, 20], []]
    made = write_file(tmp_path / "made" / "index.html", sites, about, chosen)
    assert [path.name for path in made.parent.iterdir()] == ["index.html"]
    alone = Path(shutil.copy(made, tmp_path / "one file.html"))
    said: list[str] = []
    asked: list[str] = []
    page = chromium.new_page(viewport=SIZES["wide"])
    page.set_default_timeout(10_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(alone.as_uri() + "#q=joy&f=20")
    page.wait_for_function(READY)
    assert page.locator("#table tbody th").all_inner_texts() == ["20", "3"]
    assert page.locator("#card-title").inner_text() == "Feature 20"
    assert page.locator(".contexts li").count() > 0
    page.evaluate("location.hash = '#f=40'")
    page.wait_for_selector("#card-title:has-text('Feature 40')")
    absent = page.locator("#card .missing")
    if which == "all":
        assert page.locator("#card .facts").count() == 1
    else:
        assert "holds the cards of 3 of 64 features" in absent.inner_text()
        assert "It holds the cards of 3 of 64 features" in page.locator("#about").inner_text()
    page.evaluate("location.hash = '#site=blocks-2-hook-resid-post&f=5'")
    page.wait_for_function("() => document.getElementById('subtitle').textContent.includes('blocks.2')")
    page.wait_for_selector("#card-title:has-text('Feature 5')")
    assert (page.locator("#card .facts").count() == 1) == (which == "all")
    assert page.evaluate("window.hacked") is None
    page.close()
    assert said == []
    assert {url.split("#")[0] for url in asked if not url.startswith("data:")} == {alone.as_uri()}
