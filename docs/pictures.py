"""Make the pictures of the README again, from the phantom, in the system's Chromium.

    python docs/pictures.py                                      runs the phantom and its browser first: some minutes
    python docs/pictures.py --run outputs/run/… --browser outputs/browse/…      of what is there already

Each picture is a function below; they are written to docs/pictures/, none larger than 200 kB.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOST_BYTES = 200_000
EMOSAE = Path(sys.executable).with_name("emosae")


def emotion_map(browser: Any, made: dict[str, Path]) -> bytes:
    """The report's map of emotions in both languages, at the first site."""
    page = browser.new_page(viewport={"width": 1100, "height": 900}, device_scale_factor=1.25)
    page.goto((made["run"] / "report.html").as_uri())
    picture: bytes = page.locator("figure[id$='emotion_map'] svg").first.screenshot()
    page.close()
    return picture


def feature_browser(browser: Any, made: dict[str, Path]) -> bytes:
    """The feature browser: what fires for joy, with the card of the best feature."""
    page = browser.new_page(viewport={"width": 1360, "height": 1000})
    page.goto((made["browser"] / "index.html").as_uri() + "#q=joy")
    page.wait_for_function("() => document.body.dataset.ready === 'yes'")
    page.locator("#table tbody a").first.click()
    page.wait_for_selector("#card .contexts")
    picture: bytes = page.screenshot()
    page.close()
    return picture


def steering_desk(browser: Any, made: dict[str, Path]) -> bytes:
    """The desk: a neutral opening unsteered and turned to joy, its tokens coloured by how far each was moved."""
    command = [str(EMOSAE), "serve", "preset=phantom", "serve.port=0", f"browse={made['browser']}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = next(line.split()[1] for line in server.stdout if line.startswith("desk: "))
            page = browser.new_page(viewport={"width": 1360, "height": 1000})
            page.goto(address)
            page.wait_for_function("() => document.body.dataset.ready === 'yes'")
            page.locator("#dose-joy").fill("1")
            page.click("#generate")
            # the emotion is told last: the phantom's own classifier learns first
            wait = "() => /^emotion(?!none)./.test(document.querySelector('#steered .facts').textContent)"
            page.wait_for_function(wait, timeout=600_000)
            picture: bytes = page.screenshot()
            page.close()
        finally:
            server.terminate()
    return picture


PICTURES = {"emotion_map": emotion_map, "feature_browser": feature_browser, "steering_desk": steering_desk}


def shrink(picture: bytes) -> bytes:
    """Write a picture with 256 colours: flat colours and text lose nothing that is seen."""
    from PIL import Image

    stream = io.BytesIO()
    colours = Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def make(command: str, folder: Path, *settings: str) -> Path:
    """Run a command of emosae on the phantom and give the folder that it wrote."""
    words = [
        str(EMOSAE),
        command,
        "preset=phantom",
        f"output={folder}",
        *settings,
    ]
    subprocess.run(words, check=True)
    return next(path for path in (folder / command).iterdir() if path.is_dir())


def main() -> None:
    """Make what is asked for, and say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a run of the phantom with its report")
    parser.add_argument("--browser", type=Path, help="a feature browser of the phantom")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--output", type=Path, default=HERE / "pictures")
    parser.add_argument("names", nargs="*", default=list(PICTURES), help=f"of {', '.join(PICTURES)}")
    options = parser.parse_args()
    if options.chromium is None:
        parser.error("Chromium is needed; --chromium=FILE says where it is")
    unknown = set(options.names) - set(PICTURES)
    if unknown:
        parser.error(f"there is no picture {min(unknown)!r}; there are {', '.join(PICTURES)}")
    from playwright.sync_api import sync_playwright

    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        run = options.run or make("run", Path(name))
        made = {"run": run, "browser": options.browser or make("browse", Path(name), f"run={run}")}
        made = {each: path.resolve() for each, path in made.items()}
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for each in options.names:
            picture = shrink(PICTURES[each](browser, made))
            if len(picture) > MOST_BYTES:
                sys.exit(f"{each} has {len(picture):,} bytes, more than {MOST_BYTES:,}; make it smaller")
            path = options.output / f"{each}.png"
            path.write_bytes(picture)
            sys.stdout.write(f"{path} ({len(picture) / 1000:.0f} kB)\n")
        browser.close()


if __name__ == "__main__":
    main()
