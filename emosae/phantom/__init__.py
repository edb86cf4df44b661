"""The phantom: a small bilingual language model whose emotions are planted, and therefore known.

`world/` holds the data; `grammar.py` plans passages from it, `sentences.py` their sentences, `wording.py` their
text; `train.py` turns the text into the shipped model and its SAEs, `truth.py` tells what was planted,
`measure.py` how much of it can be found again.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["PHANTOM", "WEIGHTS"]

PHANTOM = Path(__file__).resolve().parent
"""The folder of the phantom's code and data."""

WEIGHTS = PHANTOM / "weights"
"""The folder of the shipped model (`model/`) and SAEs (`sae_*/`)."""
