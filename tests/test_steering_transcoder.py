"""The evaluation of steering through a transcoder, which writes elsewhere than it reads."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import run, settings, write_passages
from lens_cases import tiny_lens
from steering_cases import make_sae

from emosae.steering.evaluation import SteeringResult
from emosae.steering.vectors import decoder_sum


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SteeringResult:
    home = tmp_path_factory.mktemp("transcoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSAE_CACHE", str(home / "cache"))
        sae = make_sae("jumprelu_transcoder")
        sae.homes = (home,)
        lens = tiny_lens(home, "gpt2", {sae.site: sae}, languages=("en", "zh"))
        return run(lens, settings(write_passages(home / "passages.jsonl")))


def test_what_a_transcoder_reads_is_no_direction_of_what_it_writes(found: SteeringResult) -> None:
    assert "diff_mean" not in set(found.texts["method"]) | set(found.methods["method"])
    assert "diff_mean" not in set(found.doses["method"]) | set(found.scores["method"])
    (note,) = [note for note in found.notes if "DiffMean" in note]
    assert note.startswith(
        "DiffMean was left out: the SAE is a transcoder, which writes elsewhere than it reads"
    )


def test_features_decoder_rows_and_controls_stand(found: SteeringResult) -> None:
    shown = set(found.methods["method"])
    assert {
        "passage_features",
        "word_features",
        "decoder_sum",
        "random_features",
        "random_direction",
    } <= shown
    texts = {
        method: own["text"].to_list()
        for (method,), own in found.texts.filter(emotion="joy").group_by("method", maintain_order=True)
    }
    plain = found.texts.filter(method="unsteered")["text"].to_list()
    assert texts["decoder_sum"] != plain
    assert not found.necessity.is_empty()
    assert not found.sense.is_empty()


def test_decoder_rows_are_of_the_width_that_is_written() -> None:
    sae = make_sae("transcoder")
    np.testing.assert_allclose(decoder_sum(sae, [1, 2]), (sae.W_dec[1] + sae.W_dec[2]).numpy(), rtol=1e-5)
