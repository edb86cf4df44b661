"""`python -m emosae.phantom.train --out DIR`: from nothing to the shipped phantom, from one seed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from emosae.artifacts import atomic_path
from emosae.phantom.language_model import (
    ModelRecipe,
    Round,
    mean_loss,
    n_tokens,
    new_model,
    text_steps,
    train_model,
)
from emosae.phantom.lessons import Lesson, encode_passages
from emosae.phantom.passage import Kind
from emosae.phantom.sae_training import (
    Architecture,
    SAERecipe,
    collect_activations,
    feature_stats,
    save_sae,
    train_sae,
)
from emosae.phantom.state_lessons import StateRound, teach_states
from emosae.phantom.tokenizer import train_tokenizer
from emosae.saes.stats import stats_path

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["QUICK", "SHIPPED", "Recipe", "load_phantom", "train"]

_LOG = logging.getLogger(__name__)
MODEL_NAME = "emosae-phantom"
_REPORT = "training.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what the phantom becomes."""

    seed: int = 0
    vocab_size: int = 8000
    tokenizer_passages: int = 20_000
    model: ModelRecipe = field(default_factory=ModelRecipe)
    saes: tuple[SAERecipe, ...] = (
        SAERecipe(layer=1, architecture=Architecture.JUMPRELU, prefixes=(64, 256)),
        SAERecipe(layer=2, architecture=Architecture.JUMPRELU, prefixes=(64, 256)),
        SAERecipe(layer=2, architecture=Architecture.TOPK),
    )
    sae_text: Lesson = field(
        default_factory=lambda: Lesson(split="sae", n_passages=12_000, emotional_share=0.5)
    )
    heldout_passages: int = 400


SHIPPED = Recipe(
    model=ModelRecipe(
        rounds=(
            Round(
                lessons=(
                    Lesson(split="drill", n_passages=300_000, kind=Kind.DRILL),
                    Lesson(split="early", n_passages=190_000, emotional_share=0.7),
                    Lesson(split="train", n_passages=220_000),
                ),
                stop_after=4433,
            ),
            Round(
                lessons=(Lesson(split="finish", n_passages=70_000),),
                muon_rate=0.0029,
                adam_rate=1.9e-3,
                cooldown=1.0,
            ),
            StateRound(
                lessons=(Lesson(split="states/plain", n_passages=107_000),),
                n_passages=130_000,
                muon_rate=0.004,
                adam_rate=2.6e-3,
                cooldown=1.0,
            ),
        )
    )
)
"""The recipe of the weights in the package."""

QUICK = Recipe(
    vocab_size=3000,
    tokenizer_passages=1000,
    model=ModelRecipe(
        d_model=64,
        n_layers=3,
        n_heads=2,
        d_mlp=128,
        rounds=(
            Round(lessons=(Lesson(split="train", n_passages=600),)),
            StateRound(
                lessons=(Lesson(split="states/plain", n_passages=100),), n_passages=200, per_emotion=1
            ),
        ),
    ),
    saes=tuple(replace(sae, d_sae=256, k=8, prefixes=(), n_steps=30, batch=512) for sae in Recipe().saes),
    sae_text=Lesson(split="sae", n_passages=200),
    heldout_passages=40,
)
"""A recipe that shows in a minute that everything runs; its model knows next to nothing."""


def load_phantom(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load a phantom's model and tokenizer from its `model` folder, in float32."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), tokenizer


def _save_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Store the weights in float16, to be read as float32."""
    model.half().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _teach(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, each: Round, recipe: Recipe, device: str
) -> int:
    """Train for one round, and say how many tokens it read."""
    size, parts, seed = recipe.model.batch_tokens, recipe.model.parts, recipe.seed
    if isinstance(each, StateRound):
        return teach_states(model, tokenizer, each, size, seed=seed, parts=parts, device=device)
    text = [encode_passages(tokenizer, lesson, seed) for lesson in each.lessons]
    plan = text_steps(text, size, parts, seed)
    train_model(model, plan, each, device=device)
    return n_tokens(plan[: each.stop_after])


def _key(recipe: Recipe, number: int) -> str:
    """Say what a model is after round `number`: all that has gone into it."""
    model = replace(recipe.model, rounds=recipe.model.rounds[:number])
    return json.dumps([recipe.seed, recipe.vocab_size, recipe.tokenizer_passages, asdict(model)])


def train(out: Path, recipe: Recipe, *, device: str = "cpu", keep_model: bool = False) -> dict[str, object]:
    """Make a phantom. A run that was cut off goes on after the last round that it ended, to the same bytes.

    Args:
        out: Folder for `model/`, one folder for each SAE, and `training.json`.
        recipe: What to make.
        device: Where to train.
        keep_model: Use the model that is already in `out` and train the SAEs alone.

    Returns:
        What `training.json` says: the recipe, the losses, the SAEs' figures and the seconds taken.
    """
    start = time.perf_counter()
    model_folder = out / "model"
    before = json.loads((out / _REPORT).read_text(encoding="utf-8")) if keep_model else {}
    seconds: dict[str, float] = {"model": before["seconds"]["model"]} if keep_model else {}
    n_read = before.get("tokens", 0)
    if not keep_model:
        tokenizer = train_tokenizer(
            model_folder, vocab_size=recipe.vocab_size, n_passages=recipe.tokenizer_passages, seed=recipe.seed
        )
        torch.manual_seed(recipe.seed)
        model = new_model(tokenizer, recipe.model)
        before_round = 0.0
        for number, each in enumerate(recipe.model.rounds, start=1):
            stop = out / f"round_{number}.pt"
            made_by = _key(recipe, number)
            if stop.exists() and (stored := torch.load(stop))["made_by"] == made_by:
                model.load_state_dict(stored["model"])
                n_read, before_round = stored["tokens"], stored["seconds"]
                _LOG.info("round %d of %d taken from %s", number, len(recipe.model.rounds), stop)
                continue
            _LOG.info("round %d of %d", number, len(recipe.model.rounds))
            n_read += _teach(model, tokenizer, each, recipe, device)
            taken = before_round + time.perf_counter() - start
            with atomic_path(stop) as part:
                torch.save(
                    {"made_by": made_by, "model": model.state_dict(), "tokens": n_read, "seconds": taken},
                    part,
                )
        _save_model(model.cpu(), model_folder)
        seconds["model"] = before_round + time.perf_counter() - start
        for stop in out.glob("round_*.pt"):
            stop.unlink()
    trained = time.perf_counter()
    # The SAEs are trained on the model as it is stored.
    model, tokenizer = load_phantom(model_folder)
    model.to(device)
    heldout = encode_passages(
        tokenizer, Lesson(split="heldout", n_passages=recipe.heldout_passages), recipe.seed
    )
    loss = mean_loss(model, heldout, device)
    _LOG.info("held-out loss %.4f nats per token", loss)
    rows = encode_passages(tokenizer, recipe.sae_text, recipe.seed)
    data = collect_activations(model, rows, sorted({sae.layer for sae in recipe.saes}), device)
    figures = {}
    for sae_recipe in recipe.saes:
        sae = train_sae(data[sae_recipe.layer], sae_recipe, seed=recipe.seed, device=device)
        save_sae(sae, out / sae_recipe.folder, MODEL_NAME)
        stats = feature_stats(sae, data[sae_recipe.layer], f"{MODEL_NAME}/{recipe.sae_text.split}")
        stats.save(stats_path(out / sae_recipe.folder, stats.corpus))
        figures[sae_recipe.folder] = {
            "explained_variance": round(sae.explained_variance, 4),
            "l0": round(sae.l0, 2),
            "live_features": sae.live,
        }
        _LOG.info("%s %s", sae_recipe.folder, figures[sae_recipe.folder])
    seconds["total"] = seconds["model"] + time.perf_counter() - trained
    report: dict[str, object] = {
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "tokens": n_read,
        "heldout_loss": round(loss, 4),
        "saes": figures,
        "seconds": {name: round(value) for name, value in seconds.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (out / _REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and its SAEs")
    parser.add_argument("--quick", action="store_true", help="a minute's run on a toy recipe")
    parser.add_argument("--saes-only", action="store_true", help="keep the model that is in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's own number")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = replace(QUICK if options.quick else SHIPPED, seed=options.seed)
    train(options.out, recipe, device=options.device, keep_model=options.saes_only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
