"""The output score against a plain hook, one feature and one token at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lens_cases import tokenizer
from models_zoo import VOCABULARY, blocks, build
from steering_cases import LAYER, editing_output, make_sae
from torch import Tensor

from emosae.errors import UserError
from emosae.steering.output_score import PROMPT, final_norm, lens_tokens, output_scores

# final norm and unembedding, written by hand from the modelling files
HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "gpt2": lambda model, row: model.lm_head(model.transformer.ln_f(row)),
    "gpt_neox": lambda model, row: model.lm_head(model.gpt_neox.final_layer_norm(row)),
    "llama": lambda model, row: model.lm_head(model.model.norm(row)),
    "gemma2": lambda model, row: model.lm_head(model.model.norm(row)),
    "gemma3": lambda model, row: model.lm_head(model.model.language_model.norm(row)),
}
FEATURES = [3, 0, 63, 17, 17]


@torch.no_grad()
def by_hand(name: str, sae: Any, feature: int) -> float:
    model, block = build(name), blocks(name, build(name))[LAYER]
    ids = torch.tensor([[2, 4, 5, 6, 7]])  # <s> From my experience ,
    seen: list[Tensor] = []
    with editing_output(block, lambda x: seen.append(x) or x):
        model(input_ids=ids)
    largest = float(sae.encode(seen[0][0, -1]).to_dense().max())

    def raised(x: Tensor) -> Tensor:
        edited = x.clone()
        edited[0, -1] += 10 * largest * sae.W_dec[feature]
        return edited

    with editing_output(block, raised):
        probability = model(input_ids=ids).logits[0, -1].softmax(-1)
    shown = HEADS[name](model, sae.W_dec[feature]).sort(descending=True).indices[:20]
    order = probability.sort(descending=True).indices.tolist()
    return max((1 - order.index(token) / VOCABULARY) * float(probability[token]) for token in shown.tolist())


@pytest.mark.parametrize("name", list(HEADS))
def test_a_plain_hook_gives_the_same_score(name: str) -> None:
    sae = make_sae()
    wanted = [by_hand(name, sae, feature) for feature in FEATURES]
    for max_rows in (1, 2, 64):
        found = output_scores(build(name), tokenizer(), sae, FEATURES, max_rows=max_rows)
        assert found == pytest.approx(np.array(wanted), abs=2e-5)


@pytest.mark.parametrize("name", list(HEADS))
@torch.no_grad()
def test_a_features_tokens_are_the_20_first_after_the_final_norm(name: str) -> None:
    model, sae = copy.deepcopy(build(name)), make_sae()
    weight = final_norm(model).weight
    assert isinstance(weight, Tensor)
    weight.copy_(torch.linspace(-1.0, 2.0, len(weight)))  # weights of one leave the order as it was
    for feature, tokens in zip(FEATURES, lens_tokens(model, sae, FEATURES), strict=True):
        wanted = HEADS[name](model, sae.W_dec[feature]).sort(descending=True).indices[:20]
        assert tokens.tolist() == wanted.tolist()


def test_scores_are_shares_and_the_model_is_left_as_it_was() -> None:
    model, ids = build("llama"), torch.tensor([[2, 4, 5]])
    before = model(input_ids=ids).logits
    found = output_scores(model, tokenizer(), make_sae("topk"), range(64))
    assert ((found >= 0) & (found <= 1)).all()
    assert len(np.unique(found)) > 32
    assert torch.equal(model(input_ids=ids).logits, before)
    assert output_scores(model, tokenizer(), make_sae(), []).shape == (0,)


def test_the_prompt_is_read_with_bos_where_the_sae_asks_for_it() -> None:
    sae = make_sae(metadata=make_sae().cfg and {"hook_name": "blocks.1.hook_resid_post", "prepend_bos": True})
    bare, with_bos = tokenizer(bos=False), tokenizer()
    assert output_scores(build("llama"), bare, sae, [3]) == pytest.approx(
        output_scores(build("llama"), with_bos, make_sae(), [3])
    )
    assert len(with_bos(PROMPT)["input_ids"]) == 5


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match="needs a model that writes, got BertModel"):
        output_scores(build("bert"), tokenizer(), make_sae(), [1])
    with pytest.raises(UserError, match="at least one token, got ''"):
        output_scores(build("llama"), tokenizer(bos=False), make_sae(), [1], prompt="")
    with pytest.raises(UserError, match=r"0 to 63|feature"):
        lens_tokens(build("llama"), make_sae(), [64])
