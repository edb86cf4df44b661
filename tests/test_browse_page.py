"""The page in Chromium, opened from its file: search, sort, cards, reload, and text that would break it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browse_cases import HOSTILE, bytes_tokenizer, lens_of, read_call, unpack, wide_llama

from emosae.browse.cards import Cards
from emosae.browse.collect import collect
from emosae.browse.config import BrowseConfig
from emosae.browse.corpus import texts_corpus
from emosae.browse.facts import Facts
from emosae.browse.site import About, write_site

pytestmark = pytest.mark.browser
CONFIG = BrowseConfig(contexts=5, examples=2, context_tokens=40, logit_lens=4, neighbours=3, tokens=None)
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
READY = "() => document.body.dataset.ready === 'yes'"


def facts() -> Facts:
    """Features 3, 9 and 20 read joy and fear; 3 weighs in valence."""
    rows = [(3, "joy", 0.7), (20, "joy", 0.9), (9, "fear", 0.95), (3, "fear", 0.99)]
    scores = pl.DataFrame(
        [
            {
                "language": "en", "concept": concept, "feature": feature, "auroc": auroc, "mean_difference": 0.1,
                "p_adjusted": 0.01, "rank": 1, "significant": True, "selected": True,
            }
            for feature, concept, auroc in rows
        ]
    )  # fmt: skip
    weights = {"language": ["en"], "target": ["valence"], "feature": [3], "weight": [1.0], "stability": [1.0]}
    return replace(
        Facts(),
        concepts=("joy", "fear", "self_hate"),
        scores=scores,
        words=pl.DataFrame(
            {"language": ["en"], "feature": [3], "word": ["<b>glad</b>"], "activation": [1.5]}
        ),
        weights=pl.DataFrame(weights | {"importance": [0.5], "rank": [1]}),
        output={3: 0.25},
    )


def hostile_sites() -> tuple[list[Cards], About]:
    """Two sites whose corpus is hostile, the second without emotions."""
    tokenizer = bytes_tokenizer()
    sites = []
    for seed, hook in enumerate(("blocks.1.hook_resid_post", "blocks.2.hook_resid_post")):
        from steering_cases import make_sae

        sae = make_sae(seed=seed, hook=hook)
        sae.cfg = sae.cfg.replace(neuronpedia_id="toy/1-res")
        lens = lens_of(tokenizer, model=wide_llama(len(tokenizer)), sae=sae)
        texts = [*HOSTILE, *["مرحبا بالعالم " * 15] * 8]  # enough Arabic to compare its rate with Latin's
        corpus = texts_corpus(texts, "hostile </script>", len(texts))
        found = collect(lens.model, lens.tokenizer, lens.saes, corpus, CONFIG)[sae.site]
        sites.append(Cards(lens, sae.site, found, facts() if seed == 0 else None, CONFIG))
    return sites, About(title="<i>toy</i>", phantom=True, notes={sites[0].site: ("<b>note</b>",)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two sites whose corpus is hostile."""
    root = tmp_path_factory.mktemp("browser page")  # a space in the path
    sites, about = hostile_sites()
    write_site(root, sites, about)
    return root


@pytest.fixture
def visit(chromium: Any, folder: Path) -> Iterator[Callable[..., Any]]:
    """Open the page; at the end nothing was complained of, nothing left the machine, nothing hostile ran."""
    pages, said, asked = [], [], []

    def go(address: str = "", size: str = "wide", **options: Any) -> Any:
        page = chromium.new_page(viewport=SIZES[size], **options)
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "index.html").as_uri() + address)
        page.wait_for_function(READY)
        pages.append(page)
        return page

    yield go
    for page in pages:
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        page.close()
    assert said == []
    assert asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def numbers(page: Any) -> list[int]:
    """The features of the list, in its order."""
    return [int(text) for text in page.locator("#table tbody th").all_inner_texts()]


def search(page: Any, query: str) -> list[int]:
    page.fill("#q", query)
    page.wait_for_function(
        "q => new URLSearchParams(location.hash.slice(1)).get('q') === (q || null)", arg=query
    )
    page.wait_for_timeout(50)
    return numbers(page)


def index_of(folder: Path) -> dict[str, Any]:
    return unpack(read_call(folder / "data" / "blocks-1-hook-resid-post" / "index.js")[1])


def test_the_first_view_lists_the_features(visit, folder: Path) -> None:
    page = visit()
    assert page.locator("h1").inner_text() == "<i>toy</i>"
    assert page.locator("#status").inner_text() == "64 features"
    assert "hostile </script>" in page.locator("#subtitle").inner_text()
    assert "<b>note</b>" in page.locator("#notes").inner_text()
    assert len(numbers(page)) == 50
    assert numbers(page)[:3] == [3, 9, 20]  # by the best AUROC, .99 for fear
    page.click("#more")
    assert sorted(numbers(page)) == list(range(64))
    assert page.evaluate("document.activeElement.textContent") == str(numbers(page)[50])
    assert not page.is_visible("#more")


def test_search_by_emotion_language_number_and_word(visit, folder: Path) -> None:
    page = visit()
    assert search(page, "joy") == [20, 3]  # by the AUROC for joy
    assert search(page, "fear") == [3, 9]
    assert search(page, "self hate") == []
    assert search(page, "17")[0] == 17
    assert search(page, "joy 20") == [20]
    assert search(page, "999") == []
    assert "There is no feature 999; the last is 63" in page.locator("#status").inner_text()
    index = index_of(folder)
    arabic = index["languages"].index("Arabic script")
    members = [feature for feature in range(64) if index["language"][feature] >> arabic & 1]
    assert members
    assert sorted(search(page, "arabic"))[:50] == sorted(members)[:50]
    word = next(word for words in index["words"] for word in words.split("\t") if word.isalpha())
    own = [feature for feature, words in enumerate(index["words"]) if word.lower() in words.lower()]
    assert sorted(search(page, word)) == sorted(own)[:50] or len(own) > 50
    assert search(page, "no-such-word") == []
    assert page.locator("#status").inner_text() == "0 of 64 features"
    assert len(search(page, "")) == 50


@pytest.mark.parametrize("column", ["selectivity", "density", "maximum", "valence", "output_score", "number"])
def test_sorting_is_by_value_and_what_has_none_comes_last(visit, folder: Path, column: str) -> None:
    page = visit()
    page.select_option("#sort", column)
    values = list(range(64)) if column == "number" else index_of(folder)["columns"][column]
    for order, sign in (("down", -1), ("up", 1)):
        page.select_option("#order", order)
        page.wait_for_timeout(100)
        if page.is_visible("#more"):
            page.click("#more")
        expected = sorted(range(64), key=lambda at: (values[at] is None, sign * (values[at] or 0), at))
        assert numbers(page) == expected
    head = page.locator("th[aria-sort=ascending]")
    assert head.count() == 1
    head.locator("button").click()
    assert page.locator("th[aria-sort=descending]").count() == 1


def test_a_column_without_values_is_not_shown(visit) -> None:
    page = visit("#site=blocks-2-hook-resid-post")
    heads = " ".join(page.locator("#table thead th").all_inner_texts())
    assert "Density" in heads
    assert "Valence" not in heads
    assert "Selectivity" not in heads
    assert not page.is_visible("#emotions")


def test_a_card_shows_the_text_as_it_was_written(visit, folder: Path) -> None:
    page = visit()
    stored = read_call(folder / "data" / "blocks-1-hook-resid-post" / "00000.js")[2]
    readable = set()
    for feature in (3, 9, 20, *range(30, 64)):
        page.evaluate("f => { location.hash = `#f=${f}` }", feature)
        page.wait_for_function(
            "f => document.getElementById('card-title')?.textContent === `Feature ${f}`", arg=feature
        )
        shown = page.locator(".context").evaluate_all("all => all.map(one => one.textContent)")
        contexts = [
            *stored[feature]["top"],
            *(each for group in stored[feature]["groups"] for each in group[2]),
        ]
        texts = [
            "".join(piece if isinstance(piece, str) else piece[0] for piece in each[2]) for each in contexts
        ]
        assert shown == [text.replace("\n", "↵").replace("\r", "").replace("\t", "⇥") for text in texts]
        readable |= set(shown)
        assert page.locator("#card script, #card img, #card b").count() == 0
    every = " ".join(readable)
    assert "<script>" in every
    assert "👩" in every or "🙂" in every
    assert re.search("[\u0600-\u06ff]", every)
    page.evaluate("location.hash = '#f=3'")
    page.wait_for_selector("text=<b>glad</b>")
    assert "valence" in page.locator("#card").inner_text()
    link = page.locator("#card a[target=_blank]")
    assert link.get_attribute("href") == "https://www.neuronpedia.org/toy/1-res/3"
    assert "noreferrer" in link.get_attribute("rel")


def test_a_card_is_opened_stepped_through_and_left_by_keyboard(visit) -> None:
    page = visit()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("joy")
    page.wait_for_timeout(80)
    page.keyboard.press("Enter")
    page.wait_for_selector("#card-title:has-text('Feature 20')")
    assert page.evaluate("document.activeElement.id") == "card"
    page.get_by_role("button", name="Next feature of the list").press("Enter")
    page.wait_for_selector("#card-title:has-text('Feature 3')")
    page.locator("#card").focus()
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.getElementById('card').hidden")
    assert page.evaluate("document.activeElement.textContent") == "3"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == "20"


def test_reload_and_links_bring_the_view_back(visit) -> None:
    page = visit()
    search(page, "fear")
    page.select_option("#sort", "density")
    page.select_option("#order", "up")
    page.locator("#table tbody a").first.click()
    page.wait_for_selector("#card-title")
    before = (numbers(page), page.locator("#card-title").inner_text(), page.url)
    page.reload()
    page.wait_for_function(READY)
    assert (numbers(page), page.locator("#card-title").inner_text(), page.url) == before
    assert (page.input_value("#q"), page.input_value("#sort"), page.input_value("#order")) == (
        "fear",
        "density",
        "up",
    )
    page.go_back()
    page.wait_for_function("() => document.getElementById('card').hidden")
    other = visit("#site=blocks-2-hook-resid-post&f=63")
    other.wait_for_selector("#card-title:has-text('Feature 63')")
    assert "blocks.2" in other.locator("#subtitle").inner_text()


@pytest.mark.parametrize("address", ["#f=64", "#f=-1", "#f=x&sort=nothing&site=<b>&q=%", "#f=99999999999999"])
def test_an_address_that_means_nothing_breaks_nothing(visit, address: str) -> None:
    page = visit(address)
    assert page.is_visible("#table")


def test_a_file_that_is_gone_is_said(visit, folder: Path, tmp_path: Path, chromium: Any) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "data")
    page = chromium.new_page()
    page.goto((tmp_path / "copy" / "index.html").as_uri())
    page.wait_for_selector("text=Keep the folder data beside this page")
    page.close()
    visit()


def test_on_a_small_screen_the_card_takes_the_place_of_the_list(visit) -> None:
    page = visit(size="narrow")
    assert page.is_visible("#table")
    page.locator("#table tbody a").first.click()
    page.wait_for_selector("#card-title")
    assert not page.is_visible("#table")
    page.get_by_role("button", name="Back to the list").click()
    page.wait_for_selector("#table")
    assert not page.is_visible("#card")


def test_a_dragged_feature_says_which_it_is(visit, folder: Path) -> None:
    page = visit("#f=9")
    page.wait_for_selector("#card-title")
    given = page.evaluate(
        """() => {
            const data = new DataTransfer();
            document.getElementById("card-title").dispatchEvent(new DragEvent("dragstart", { dataTransfer: data }));
            return data.getData("application/x-emosae-feature");
        }"""
    )
    what = json.loads(given)
    index = index_of(folder)
    assert (what["feature"], what["site"], what["fingerprint"]) == (9, index["site"], index["fingerprint"])
    assert what["maximum"] == pytest.approx(index["columns"]["maximum"][9])


def _luminance(colour: np.ndarray) -> float:
    part = colour / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shaded_text_keeps_its_contrast(visit, scheme: str) -> None:
    page = visit("#f=3", color_scheme=scheme)
    page.wait_for_selector(".token.peak")
    colours = page.evaluate(
        """() => {
            const draw = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const body = getComputedStyle(document.body);
            return [...document.querySelectorAll(".token")].map((token) => {
                const own = getComputedStyle(token);
                draw.fillStyle = body.backgroundColor; draw.fillRect(0, 0, 1, 1);
                draw.fillStyle = own.backgroundColor; draw.fillRect(0, 0, 1, 1);
                const back = [...draw.getImageData(0, 0, 1, 1).data].slice(0, 3);
                draw.fillStyle = own.color; draw.fillRect(0, 0, 1, 1);
                return [back, [...draw.getImageData(0, 0, 1, 1).data].slice(0, 3)];
            });
        }"""
    )
    assert len({tuple(back) for back, _ in colours}) > 2  # the shades differ
    for back, front in colours:
        light, dark = sorted((_luminance(np.array(back)), _luminance(np.array(front))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_benchmark_runs(tmp_path: Path, chromium: Any) -> None:
    import subprocess
    import sys

    benchmark = Path(__file__).resolve().parent.parent / "benchmarks" / "browse.py"
    output = tmp_path / "new" / "browse.json"
    # A process of its own, because playwright runs once in a process
    subprocess.run(
        [sys.executable, str(benchmark), "--quick", "--rounds", "1", "--output", str(output)],
        check=True,
        capture_output=True,
    )
    result = json.loads(output.read_text())
    assert result["workload"]["quick"]
    assert result["build"]["kept_bytes"] <= result["build"]["kept_bytes_expected"]
    assert result["build"]["features_fired"] > 0
    assert result["page"]["search_ms"] > 0
    assert len(result["page"]["first_view_s"]) == 1
