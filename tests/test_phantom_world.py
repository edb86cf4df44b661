"""The planted world and its grammar."""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from emosae.phantom.classifier import after_opening
from emosae.phantom.corpus import clean, passages
from emosae.phantom.draw import Draw, graded_weights
from emosae.phantom.grammar import Grammar
from emosae.phantom.norms import DATA, write
from emosae.phantom.passage import MARK, Kind, Layout, Role
from emosae.phantom.truth import emotion_truth, planted_distance, planted_facts, word_truth
from emosae.phantom.world import Frame, Graded, Language, load_world

ROOT = Path(__file__).resolve().parent.parent
SLOT = re.compile(r"\{([^}]*)\}")


def frames() -> list[Frame]:
    world = load_world()
    found = [f for group in (world.domains, world.openings) for listed in group.values() for f in listed]
    for emotion in world.emotions.values():
        found += [*emotion.situations, *emotion.situations_b, *emotion.appraisals]
        found += [*emotion.acts, *emotion.speech, *emotion.body]
    return found


def test_emotions_are_those_of_goemotions27() -> None:
    listed = yaml.safe_load((ROOT / "conf/concepts/goemotions27.yaml").read_text(encoding="utf-8"))
    assert set(load_world().emotions) == set(listed["languages"]["en"]["words"])


@pytest.mark.real
def test_planted_order_is_that_of_the_human_means(shared: Path) -> None:
    folder = shared / "human27"
    names = [x.strip() for x in (folder / "reordered_emotions.csv").read_text().split() if x.strip()]
    rows = list(csv.DictReader((folder / "score_emotional_PCs.csv").read_text().splitlines()))
    truth = {row["emotion"]: row for row in emotion_truth().iter_rows(named=True)}
    for axis in ("valence", "arousal"):
        rho = spearmanr([float(r[axis]) for r in rows], [truth[n][axis] for n in names]).statistic
        assert rho > 0.998, axis  # rounding to two places makes ties


def test_both_wordings_of_a_frame_use_known_slots_and_the_same_things() -> None:
    world = load_world()
    for frame in frames():
        en = {s.removeprefix("a.") for s in SLOT.findall(frame.en) if len(s) > 1}
        zh = {s.removeprefix("a.") for s in SLOT.findall(frame.zh) if len(s) > 1}
        for slot in en | zh:
            assert slot.split("#")[0] in world.slots, frame
        assert zh <= en, frame
        assert {s for s in SLOT.findall(frame.en) if len(s) == 1} <= set("Npor"), frame
        assert {s for s in SLOT.findall(frame.zh) if len(s) == 1} <= set("NP"), frame


def test_chinese_is_chinese_and_english_is_english() -> None:
    for frame in frames():
        assert not re.search(r"[a-zA-Z,.!?]", SLOT.sub("", frame.zh)), frame.zh
        assert SLOT.sub("", frame.en).isascii(), frame.en


def test_passages_repeat_from_the_same_seed_and_differ_between_splits() -> None:
    first = [p.text for p in passages("a", 5)]
    assert first == [p.text for p in passages("a", 5)]
    assert first != [p.text for p in passages("b", 5)]
    assert first != [p.text for p in passages("a", 5, seed=1)]


def test_shares_of_kinds_and_languages_are_those_of_the_design() -> None:
    found = list(passages("shares", 4000))
    kinds = Counter(p.kind for p in found)
    assert kinds[Kind.NEUTRAL] / 4000 == pytest.approx(2 / 3, abs=0.02)
    assert kinds[Kind.MIXED] / 4000 == pytest.approx(0.1, abs=0.015)
    bridges = sum(p.layout not in (Layout.EN, Layout.ZH) for p in found)
    assert bridges / 4000 == pytest.approx(1 / 6, abs=0.015)
    sentences = Counter(p.text[s.start : s.end] for p in found for s in p.spans)
    assert len(sentences) / sentences.total() > 0.85


def test_spans_are_the_sentences_of_the_text() -> None:
    for p in passages("spans", 600):
        pieces = [p.text[s.start : s.end] for s in p.spans]
        assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", p.text)
        assert MARK not in p.text
        assert not re.search(r"[{}\[\]|]", p.text), p.text
        for piece, span in zip(pieces, p.spans, strict=True):
            heading = span.role is Role.HEADING
            ends = ":：" if heading else "。”" if span.language is Language.ZH else "."
            assert piece[-1] in ends, piece
            assert (span.emotion == "") == (p.kind is Kind.NEUTRAL or span.role is Role.NEUTRAL)
        sentences = [span for span in p.spans if span.role is not Role.HEADING]
        twice = p.layout in (Layout.EN_ZH, Layout.ZH_EN)
        assert 3 <= len(sentences) / (1 + twice) <= 6, p.text
        assert sentences[0].role is Role.NEUTRAL
        assert p.logp < 0


def test_a_passage_can_be_asked_for() -> None:
    for p in passages("asked", 30, kind=Kind.EMOTIONAL, layout=Layout.ZH, emotion="grief"):
        assert p.emotions == ("grief",)
        assert not re.search("[a-z]", p.text)
        assert any(s.role is Role.SITUATION and s.emotion == "grief" for s in p.spans)


def test_text_is_the_one_the_shipped_model_read() -> None:
    """Weights and text belong together: a change of the world or the grammar needs a new training."""
    digest = hashlib.sha256()
    for p in passages("train", 200):
        digest.update(f"{p.text}|{p.logp:.6f}\n".encode())
    assert digest.hexdigest()[:16] == "a54c3db217cefcd6"


def test_lessons_have_the_share_that_is_asked_for() -> None:
    found = list(passages("lessons", 400, emotional_share=0.8))
    assert sum(p.kind is Kind.EMOTIONAL for p in found) / 400 == pytest.approx(0.8, abs=0.05)
    assert all(p.kind is not Kind.MIXED for p in found)


def test_questions_are_answered_by_a_word_of_the_emotion() -> None:
    emotional = list(passages("asked", 600, kind=Kind.EMOTIONAL, layout=Layout.EN))
    asked = [p for p in emotional if p.spans[-1].role is Role.QUESTION]
    assert len(asked) / len(emotional) == pytest.approx(0.3, abs=0.06)
    for p in asked:
        words = {w.text for w in load_world().emotions[p.emotions[0]].words if w.form == "noun"}
        last = p.spans[-1]
        assert last.named
        assert p.text[last.start : last.end].split("It was ")[1].rstrip(".") in words


def test_headings_stand_in_front_and_name_a_word_with_values_or_a_thing() -> None:
    truth = set(word_truth().filter(word_truth()["language"] == "en")["word"])
    found = list(passages("headings", 1500, layout=Layout.EN))
    for kind, rate in ((Kind.NEUTRAL, 0.1), (Kind.EMOTIONAL, 0.25)):
        own = [p for p in found if p.kind is kind]
        headed = [p for p in own if p.spans[0].role is Role.HEADING]
        assert len(headed) / len(own) == pytest.approx(rate, abs=0.06)
        for p in headed:
            word = p.text[: p.spans[0].end].removesuffix(":")
            assert (word in truth) == (kind is Kind.EMOTIONAL), word
    opening, rest = after_opening(headed[0])
    assert opening == headed[0].text[headed[0].spans[1].start : headed[0].spans[1].end]
    assert headed[0].text.endswith(opening + rest)


def test_a_drill_is_two_lines_of_one_emotion() -> None:
    for p in passages("drills", 200, kind=Kind.DRILL, layout=Layout.ZH):
        assert len(p.spans) == 2
        assert {s.emotion for s in p.spans} == set(p.emotions)
    assert not any(p.kind is Kind.DRILL for p in passages("drills", 200))


def test_log_probability_is_that_of_the_choices() -> None:
    draw = Draw(0)
    draw.choose([1, 2, 3, 4])
    draw.flip(0.25)
    draw.weighted(["a"], [3.0])
    assert draw.shared in (pytest.approx(math.log(1 / 16)), pytest.approx(math.log(3 / 16)))
    draw.choose([1, 2], Language.ZH)
    assert draw.own == {Language.EN: 0.0, Language.ZH: pytest.approx(math.log(0.5))}


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(0, 999))
def test_weighted_choice_says_its_probability(weights: list[float], seed: int) -> None:
    draw = Draw(seed)
    chosen = draw.weighted(range(len(weights)), weights)
    assert math.exp(draw.shared) == pytest.approx(weights[chosen] / sum(weights))


def test_companions_go_with_values() -> None:
    near = Graded(en="near", zh="近", valence=0.5, arousal=0.6)
    far = Graded(en="far", zh="远", valence=0.5, arousal=0.9)
    open_ = Graded(en="open", zh="开", valence=None, arousal=0.5)
    totals = graded_weights((near, far, open_), 0.5, 0.5, 0.1)
    weights = [b - a for a, b in itertools.pairwise((0.0, *totals))]
    assert weights == pytest.approx([math.exp(-0.5), math.exp(-8), 1.0], abs=1e-5)


def test_words_of_like_values_share_contexts() -> None:
    """What makes values learnable: judgements of good events are good, of bad events bad."""
    world = load_world()
    adjectives = {g.en: g.valence for g in world.graded["adjectives"]}
    events = sorted(world.graded["events"], key=lambda e: -len(e.en))
    grammar = Grammar(world, Draw(3))
    good, bad = [], []
    for _ in range(2000):
        passage = clean(grammar.passage(Kind.NEUTRAL, Layout.EN))
        for span in passage.spans:
            text = passage.text[span.start : span.end]
            if span.role is Role.REMARK:
                event = next(e for e in events if re.search(rf"\bthe {e.en}\b", text, re.IGNORECASE))
                said = [
                    v for a, v in adjectives.items() if re.search(rf"\b{a}\b", text.replace(event.en, ""))
                ]
                (good if event.valence > 0.7 else bad if event.valence < 0.3 else []).extend(said)
    assert sum(good) / len(good) > 0.7
    assert sum(bad) / len(bad) < 0.3


def test_word_truth_has_each_word_once_and_enough_of_them() -> None:
    table = word_truth()
    assert table.select("language", "word").is_duplicated().sum() == 0
    for language in ("en", "zh"):
        own = table.filter(table["language"] == language)
        assert len(own) >= 300
        assert (own["kind"] != "emotion").sum() >= 200
    assert table["valence"].is_between(0, 1).all()


def test_planted_distance_by_hand() -> None:
    table = emotion_truth()
    v = dict(zip(table["emotion"], table["valence"], strict=True))
    a = dict(zip(table["emotion"], table["arousal"], strict=True))
    n = len(table)
    mean_v, mean_a = sum(v.values()) / n, sum(a.values()) / n
    spread_v = math.sqrt(sum((x - mean_v) ** 2 for x in v.values()) / n)
    spread_a = math.sqrt(sum((x - mean_a) ** 2 for x in a.values()) / n)
    rows = planted_distance()
    assert len(rows) == 351
    for row in rows.sample(20, seed=0).iter_rows(named=True):
        dv = (v[row["first"]] - v[row["second"]]) / spread_v
        da = (a[row["first"]] - a[row["second"]]) / spread_a
        assert row["distance"] == pytest.approx(math.sqrt(dv * dv + da * da))


def test_planted_facts_hold_in_the_text() -> None:
    facts = {fact["fact"]: fact for fact in planted_facts()}
    world = load_world()
    assert facts["shared bodily signs"]["emotion"] == "excitement"
    heart = world.emotions["fear"].body[0].zh.replace("{P}", "")
    asked = {"layout": Layout.ZH, "kind": Kind.EMOTIONAL}
    thrilled = "".join(p.text for p in passages("f", 300, emotion="excitement", **asked))
    assert heart in thrilled
    assert facts["a word of one language"]["detail"] == "委屈"
    sad = "".join(p.text for p in passages("f", 300, emotion="sadness", **asked))
    assert "委屈" in sad
    split = [w for w in world.emotions["embarrassment"].words if w.language is Language.ZH]
    assert {w.sense for w in split} == {"", "b"}


def test_shipped_norms_and_concepts_are_those_of_the_world(tmp_path: Path) -> None:
    written = write(tmp_path / "conf", tmp_path / "data")
    for path in written:
        shipped = (DATA if path.parent.name == "data" else ROOT / "conf/concepts") / path.name
        assert path.read_bytes() == shipped.read_bytes(), f"run python -m emosae.phantom.norms ({path.name})"
