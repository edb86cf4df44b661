"""axe-core on the report, the browser and the desk in Chromium: wide and narrow, light and dark.

axe-core comes from npm and is no part of the package: `make test` installs it into .venv/node; `$EMOSAE_AXE` names
another folder that holds axe.min.js.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browse_cases import bytes_tokenizer, lens_of, wide_llama
from report_cases import make_run
from steering_cases import make_sae
from test_browse_page import CONFIG, READY, SIZES, facts

from emosae.browse.cards import Cards
from emosae.browse.collect import collect
from emosae.browse.corpus import texts_corpus
from emosae.browse.site import About, write_site
from emosae.report import draw

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent
FAULTS = {"serious", "critical"}


@pytest.fixture(scope="module")
def axe() -> str:
    """The program that looks for faults."""
    homes = [ROOT / ".venv" / "node" / "node_modules" / "axe-core", ROOT / "node_modules" / "axe-core"]
    named = os.environ.get("EMOSAE_AXE")
    for home in [Path(named)] if named else homes:
        if (home / "axe.min.js").is_file():
            return (home / "axe.min.js").read_text(encoding="utf-8")
    pytest.skip("needs axe-core: npm install --prefix .venv/node axe-core, or EMOSAE_AXE=FOLDER")


@pytest.fixture(scope="module")
def faults(axe: str, chromium: Any) -> Callable[..., list[str]]:
    """Open a page and list what axe-core calls serious or critical."""

    def look(
        address: str,
        ready: str | None = None,
        act: Callable[[Any], None] = lambda _page: None,
        *,
        size: str,
        scheme: str,
    ) -> list[str]:
        # the pages allow no foreign script, which axe-core is
        context = chromium.new_context(viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(address)
        if ready:
            page.wait_for_function(ready)
        act(page)
        page.evaluate(axe)
        found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        context.close()
        assert len(found["passes"]) > 20  # it did look
        return [
            f"{each['id']} ({each['impact']}): {node['target']} {node.get('failureSummary', '')}"
            for each in found["violations"]
            for node in each["nodes"]
            if each["impact"] in FAULTS
        ]

    return look


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two languages at two sites."""
    run = make_run(
        tmp_path_factory.mktemp("run"),
        languages=["en", "zh"],
        sites=["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"],
    )
    return draw(run)


@pytest.fixture(scope="module")
def browser_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A browser of two languages, with emotions, ratings and output scores."""
    tokenizer = bytes_tokenizer()
    sae = make_sae(seed=0, hook="blocks.1.hook_resid_post")
    lens = lens_of(tokenizer, model=wide_llama(len(tokenizer)), sae=sae, languages=("en", "zh"))
    corpus = texts_corpus(["She was glad all day.", "他今天很高兴。"] * 10, "some text", 20)
    found = collect(lens.model, lens.tokenizer, lens.saes, corpus, CONFIG)[sae.site]
    cards = [Cards(lens, sae.site, found, facts(), CONFIG)]
    return write_site(tmp_path_factory.mktemp("page"), cards, About(title="toy", phantom=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_the_report_has_no_serious_fault(faults: Any, report: Path, size: str, scheme: str) -> None:
    assert faults(report.as_uri(), size=size, scheme=scheme) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("address", ["", "#q=joy&f=3"], ids=["list", "card"])
def test_the_browser_has_no_serious_fault(
    faults: Any, browser_page: Path, address: str, size: str, scheme: str
) -> None:
    assert faults(browser_page.as_uri() + address, READY, size=size, scheme=scheme) == []


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A desk on a tiny model."""
    pytest.importorskip("fastapi", reason="needs fastapi")
    from serve_cases import served, toy_desk

    with served(toy_desk(tmp_path_factory.mktemp("desk"))) as client:
        yield str(client.base_url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_the_desk_has_no_serious_fault(faults: Any, desk: str, size: str, scheme: str) -> None:
    def write(page: Any) -> None:
        page.fill("#prompt", "Once joy")
        page.fill("#new_tokens", "6")
        page.fill("#feature", "3")
        page.click("#add")
        page.click("#generate")
        page.wait_for_function("() => document.querySelector('#status').textContent.includes('written')")
        page.click("#clamps summary")

    ready = "() => document.body.dataset.ready === 'yes'"
    assert faults(desk, ready, size=size, scheme=scheme) == []
    assert faults(desk, ready, write, size=size, scheme=scheme) == []


def test_a_fault_is_seen(faults: Any, report: Path, tmp_path: Path) -> None:
    html = report.read_text(encoding="utf-8").replace('<html lang="en">', "<html>")
    (tmp_path / "broken.html").write_text(
        html.replace("--muted:#555e69", "--muted:#c5cec9"), encoding="utf-8"
    )
    found = " ".join(faults((tmp_path / "broken.html").as_uri(), size="wide", scheme="light"))
    assert "html-has-lang" in found
    assert "color-contrast" in found
