"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# time is never tested: a busy machine would fail a test that is right
settings.register_profile("emosae", deadline=None)
settings.load_profile("emosae")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of human data and the real SAE beside the checkout; tests that need it are marked `real`."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder at {SHARED}")
    return SHARED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty sae_cache/ of the test's own."""
    root = tmp_path / "sae_cache"
    monkeypatch.setenv("EMOSAE_CACHE", str(root))
    return root
