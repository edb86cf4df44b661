"""What the desk writes: the texts of lens.generate, plans that come back, Python that does the same, measures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

pytest.importorskip("fastapi", reason="needs fastapi")
from browse_cases import HOSTILE, bytes_tokenizer
from lens_cases import RESIDUAL_NORM, SELECTED, tiny_lens
from serve_cases import SITE, WISH, ask, config_of, desk_of, served, text_of, the, toy_desk
from steering_cases import make_sae

import emosae
from emosae.errors import UserError
from emosae.lens import Lens
from emosae.serve.config import ServeConfig
from emosae.serve.measures import Measures, read_affect
from emosae.serve.moved import Mover
from emosae.serve.plans import read_sets
from emosae.serve.python import lens_call
from emosae.serve.stream import Pieces, prompt_pieces
from emosae.serve.wish import Wish
from emosae.steering import Clamp, Plan

STEERED = {**WISH, "features": [{"site": SITE, "feature": 3, "op": "set", "value": 30.0}]}
LIMITS = ServeConfig()


def test_both_texts_are_those_of_the_lens(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    plain = desk.lens.generate("Once joy", max_new_tokens=12, do_sample=False)
    steered = desk.lens.generate(
        "Once joy",
        [Clamp(3, "set", 30.0)],
        steering={"scope": "generated"},
        max_new_tokens=12,
        do_sample=False,
    )
    assert plain != steered
    with served(desk) as client:
        found = ask(client, "/api/generate", STEERED)
    assert the(found, "text", side="unsteered")["full"] == plain == text_of(found, "unsteered")
    assert the(found, "text", side="steered")["full"] == steered == text_of(found, "steered")
    assert found[-1]["type"] == "end"


def test_emotions_are_those_of_the_lens_and_features_join_them(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    features = {"joy": {3: 4.0, 17: 2.0}}
    desk.planner.sets = features
    wish = {**WISH, "emotions": {"joy": 1.5, "fear": 0}, "op": "at_least", "scope": "all"}
    with served(desk) as client:
        found = ask(client, "/api/generate", wish)
        own = {"site": SITE, "feature": 17, "op": "add", "value": 5.0}
        both = the(ask(client, "/api/plan", {**wish, "features": [own]}), "plan")
    block = desk.lens.steer({"joy": 1.5}, features=features, op="at_least", scope="all")
    saved = the(found, "plan")["plan"]
    assert {name: value for name, value in saved.items() if name != "desk"} == block.plan.to_dict()
    assert the(found, "text", side="steered")["full"] == desk.lens.generate(
        "Once joy", block.plan, max_new_tokens=12, do_sample=False
    )
    clamps = {each["feature"]: (each["op"], each["value"], each["of"]) for each in both["clamps"]}
    assert clamps == {3: ("at_least", 6.0, "joy"), 17: ("add", 5.0, "yours")}
    assert "Feature 17 goes by your own setting" in both["note"]


def test_words_choose_features_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = toy_desk(tmp_path)
    scored: list[int] = []
    original = Lens.output_scores

    def counting(self: Lens, features: Any, site: Any) -> np.ndarray:
        new = [
            int(each) for each in features if int(each) not in self.memory.get(("output scores", site), {})
        ]
        scored.extend(new)
        return original(self, features, site)

    monkeypatch.setattr(Lens, "output_scores", counting)
    wish = {**WISH, "emotions": {"joy": 1.0}}
    with served(desk) as client:
        first, second = (
            ask(client, "/api/plan", wish),
            ask(client, "/api/plan", {**wish, "emotions": {"joy": 2.0}}),
        )
    assert sorted(scored) == SELECTED["joy"]
    assert "features of joy" in the(first, "status")["text"]
    assert not [each for each in second if each["type"] == "status"]
    values = [[each["value"] for each in the(found, "plan")["clamps"]] for found in (first, second)]
    assert values[1] == pytest.approx([2 * value for value in values[0]])


def test_sampling_is_the_preset_s_and_repeats(tmp_path: Path) -> None:
    config = config_of()
    config.steering.decoding = {"do_sample": True, "temperature": 0.5, "top_k": 7, "max_new_tokens": 5}
    desk = desk_of(tiny_lens(tmp_path), config)
    wish = {**STEERED, "sample": True, "temperature": 1.5, "seed": 3}
    with served(desk) as client:
        one, two = ask(client, "/api/generate", wish), ask(client, "/api/generate", {**wish, "seed": 4})
        again = ask(client, "/api/generate", wish)
    wanted = desk.lens.generate(
        "Once joy", seed=3, do_sample=True, temperature=1.5, top_k=7, max_new_tokens=12
    )
    assert the(one, "text", side="unsteered")["full"] == wanted
    assert the(two, "text", side="unsteered")["full"] != wanted
    assert [text_of(again, side) for side in ("unsteered", "steered")] == [
        text_of(one, side) for side in ("unsteered", "steered")
    ]


def test_the_python_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    desk = toy_desk(tmp_path)
    with served(desk) as client:
        found = ask(client, "/api/generate", STEERED)
        bare = ask(client, "/api/generate", WISH)
    plan = the(found, "plan")
    assert len(plan["python"].splitlines()) == 4
    (tmp_path / "steering-plan.json").write_text(json.dumps(plan["plan"]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(emosae, "load", lambda **given: opened.append(given) or desk.lens)
    exec(compile(plan["python"], "python", "exec"), {})
    assert capsys.readouterr().out == the(found, "text", side="steered")["full"] + "\n"
    exec(compile(the(bare, "plan")["python"], "python", "exec"), {})
    assert capsys.readouterr().out == the(found, "text", side="unsteered")["full"] + "\n"
    assert opened == [{"model": "MODEL", "sae": ["SAE"]}] * 2
    assert the(bare, "plan")["plan"] is None


def test_hostile_prompts_survive_the_python(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    for text in [each for each in HOSTILE if each and len(each) < 4000 and "\ud800" not in each]:
        wish = Wish.parse({**WISH, "prompt": text}, LIMITS)
        lines = the_plan_lines(desk, wish)
        called: list[str] = []
        lens = SimpleNamespace(generate=lambda prompt, called=called, **_options: called.append(prompt))
        package = SimpleNamespace(load=lambda lens=lens, **_given: lens)
        code = compile(lines.replace("import emosae\n", ""), "python", "exec")
        exec(code, {"emosae": package, "print": lambda _text: None})
        assert called == [text]


def the_plan_lines(desk: Any, wish: Wish) -> str:
    from emosae.serve.python import python_lines

    return python_lines(desk.config, wish.prompt, desk.options(wish), steered=False)


def test_the_call_that_opens_the_lens_names_what_was_opened() -> None:
    from emosae.config import compose

    assert lens_call(compose(["preset=phantom"])) == "emosae.load('phantom')"
    assert (
        lens_call(compose(["preset=phantom", "model.device=cuda"])) == "emosae.load('phantom', device='cuda')"
    )
    other = lens_call(compose(["preset=phantom", "sae=FOLDER", "serve.sets=null"]))
    assert other == "emosae.load(model='phantom:weights/model', sae=['FOLDER'])"
    released = lens_call(compose(["model=a/b", "sae.release=r", "sae.sae_id=[x,y]", "model.dtype=bfloat16"]))
    assert released == "emosae.load(model='a/b', release='r', sae_id=['x', 'y'], dtype='bfloat16')"
    repo = lens_call(compose(["model=a/b", "sae.repo=c/d", "sae.sae_id=x"]))
    assert repo == "emosae.load(model='a/b', sae=[emosae.SparseAutoencoder.from_hf('c/d', 'x')])"


def test_a_saved_plan_brings_the_sliders_back(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    own = {"site": SITE, "feature": 9, "op": "add", "value": 2.0, "unit": "max", "only_if_active": True}
    wish = {**WISH, "emotions": {"joy": 1.25, "fear": 0.5}, "features": [own], "scope": "all", "op": "add"}
    with served(desk) as client:
        saved = the(ask(client, "/api/plan", wish), "plan")["plan"]
        back = the(ask(client, "/api/read", saved), "wish")
        changed = json.loads(json.dumps(saved))
        changed["rows"][0][0]["value"] += 1.0  # the sliders no longer say what the plan does
        other = the(ask(client, "/api/read", changed), "wish")
        again = the(ask(client, "/api/plan", other["wish"]), "plan")["plan"]
    assert back["note"] == ""
    assert back["wish"]["emotions"] == wish["emotions"]
    assert back["wish"]["features"] == [own]
    assert other["wish"]["emotions"] == {}
    assert "feature of its own" in other["note"]
    assert Plan.from_dict(again).rows == Plan.from_dict(changed).rows
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(saved), encoding="utf-8")
    assert Plan.load(path).to_dict() == {name: value for name, value in saved.items() if name != "desk"}


def test_a_plan_from_python_is_read_with_all_it_says(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    plan = desk.lens.steer(
        [Clamp(3, "scale", 2.0), Clamp(5, "ablate"), Clamp(7, "add", 0.1, "norm")],
        scope="prompt", skip_special=False, error="drop",
    ).plan  # fmt: skip
    with served(desk) as client:
        back = the(ask(client, "/api/read", plan.to_dict()), "wish")["wish"]
        again = the(ask(client, "/api/plan", back), "plan")["plan"]
    assert {name: value for name, value in again.items() if name != "desk"} == plan.to_dict()


def test_plans_that_the_desk_has_no_place_for_are_refused(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    make = desk.lens.steer
    cases = {
        "rows": (make([[Clamp(3, "set", 1.0)], None]).plan.to_dict(), "2 rows"),
        "scope": (make([Clamp(3, "set", 1.0)], scope=[0, 1]).plan.to_dict(), "positions or a mask"),
        "kind": ({"format": "something else"}, "must say format"),
        "list": ([1, 2], "must say format"),
        "sae": (
            emosae.steer(desk.lens.model, make_sae(seed=5), [Clamp(3, "set", 1.0)]).plan.to_dict(),
            "made for",
        ),
    }
    with served(desk) as client:
        for plain, said in cases.values():
            found = ask(client, "/api/read", plain)
            assert said in the(found, "error")["text"]
            assert not [each for each in found if each["type"] == "wish"]


def test_how_far_tokens_were_moved(tmp_path: Path) -> None:
    """The oracle: the change of the residual itself, read by a hook."""
    desk = toy_desk(tmp_path)
    lens, sae = desk.lens, next(iter(desk.lens.saes.values()))
    clamps = [Clamp(3, "set", 30.0), Clamp(5, "set", 0.5), Clamp(17, "add", -4.0)]
    ids = torch.tensor([lens.tokenizer("Once joy w20 w31")["input_ids"]])
    found: list[torch.Tensor] = []
    layer = lens.model.model.layers[1]
    with torch.no_grad():
        handle = layer.register_forward_hook(lambda _m, _a, out: found.append(_first(out).clone()))
        lens.model(input_ids=ids)
        handle.remove()
        with lens.steer(clamps, scope="all") as applied:
            handle = layer.register_forward_hook(lambda _m, _a, out: found.append(_first(out).clone()))
            lens.model(input_ids=ids)
            handle.remove()
    wanted = (found[1] - found[0])[0].norm(dim=1) / RESIDUAL_NORM
    moved = Mover({sae.site: sae}).read(applied.trace)
    assert sorted(moved) == [1, 2, 3, 4]  # BOS is special and stays
    for place, value in moved.items():
        assert value == pytest.approx(float(wanted[place]), rel=1e-4)
    bare = tiny_lens(tmp_path / "elsewhere", with_stats=False)
    mover = Mover(bare.saes)
    assert (mover.unit, Mover({sae.site: sae}).unit) == ("activation units", "residual norms")
    assert mover.read(applied.trace)[2] == pytest.approx(RESIDUAL_NORM * moved[2], rel=1e-5)


def _first(out: Any) -> torch.Tensor:
    return out if isinstance(out, torch.Tensor) else out[0]


@pytest.mark.parametrize("scope", ["generated", "prompt", "all", "from_last_prompt_token"])
def test_the_page_is_told_which_tokens_were_moved(tmp_path: Path, scope: str) -> None:
    desk = toy_desk(tmp_path)
    with served(desk) as client:
        found = ask(client, "/api/generate", {**STEERED, "scope": scope, "new_tokens": 40})
    n = the(found, "text", side="steered")["tokens"]
    moved: dict[int, float] = {}
    parts = [each["moved"] for each in found if each["type"] == "moved"]
    for part in parts:
        moved |= {int(place): value for place, value in part.items()}
    first = {"generated": 3, "prompt": 1, "all": 1, "from_last_prompt_token": 2}[scope]
    last = 3 if scope == "prompt" else 3 + n - 1  # the last token is written and not read
    plan = Plan.from_dict(the(found, "plan")["plan"])
    prompt = torch.tensor([desk.lens.tokenizer("Once joy")["input_ids"]])
    with desk.lens.steer(plan):
        out = desk.lens.model.generate(input_ids=prompt, max_new_tokens=40, pad_token_id=1, do_sample=False)
    ids = out[0].tolist()
    special = set(desk.lens.tokenizer.all_special_ids)
    assert sorted(moved) == [place for place in range(first, last) if ids[place] not in special]
    assert all(value > 0 for value in moved.values())
    if scope == "all" and n > 20:
        assert len(parts) > 1  # the colours come while the text is written


def test_pieces_are_the_text_whatever_the_tokens() -> None:
    tokenizer = bytes_tokenizer()
    for text in HOSTILE:
        whole = text.encode("utf-8", "replace").decode("utf-8")
        if not 0 < len(whole) < 1000:
            continue
        ids = tokenizer(whole)["input_ids"]
        half = len(ids) // 2
        pieces = Pieces(tokenizer, ids[:half])
        given = [each for each in (*(pieces.add(token) for token in ids[half:]), pieces.rest()) if each]
        decoded = [tokenizer.decode(part, skip_special_tokens=True) for part in (ids[:half], ids)]
        if decoded[1].startswith(decoded[0]):
            assert "".join(text for text, _ in given) == decoded[1][len(decoded[0]) :]
        assert not any("\ufffd" in text for text, _ in given[:-1])
        places = [place for _, own in given for place in own]
        assert places == sorted(set(places))
        shown = prompt_pieces(tokenizer, whole)
        assert "".join(text for text, _ in shown) == whole


def test_measures_are_those_of_the_package_or_say_why_not(tmp_path: Path) -> None:
    desk = toy_desk(tmp_path)
    with served(desk) as client:
        found = ask(client, "/api/generate", STEERED)
    by_side: dict[str, dict[str, Any]] = {"unsteered": {}, "steered": {}}
    for each in found:
        if each["type"] == "measures":
            by_side[each["side"]] |= each["measures"]
    ids = desk.lens.tokenizer("Once joy")["input_ids"]
    for side, measures in by_side.items():
        full = the(found, "text", side=side)["full"]
        row = torch.tensor([desk.lens.tokenizer(full)["input_ids"]])
        with torch.no_grad():
            logp = torch.log_softmax(desk.lens.model(input_ids=row).logits[0].double(), -1)
        own = [-float(logp[at - 1, row[0, at]]) for at in range(len(ids), row.shape[1])]
        assert measures["perplexity"]["value"] == pytest.approx(math.exp(sum(own) / len(own)), rel=1e-4)
        assert measures["valence"]["value"] is None
        assert "norms=" in measures["valence"]["why"]
        assert set(measures) == {"valence", "arousal", "perplexity", "emotion"}
    order = [each["type"] for each in found]
    assert order.index("written") > order.index("text")


def test_valence_is_the_mean_of_rated_words(tmp_path: Path) -> None:
    from emosae.steering.evaluation.affect import AffectLexicon
    from emosae.steering.generate import Written

    table = pl.DataFrame(
        {"word": ["glad", "calm"], "valence_scaled": [0.8, 0.4], "arousal_scaled": [0.2, -0.6]}
    )
    lens = tiny_lens(tmp_path)
    measures = Measures(lens, config_of(), AffectLexicon.of([table]))
    made = Written(
        prompts=[[2, 8]], answers=[[9, 10]], texts=["Glad and calm."], full=["Once Glad and calm."]
    )
    found = measures.at_once(made)
    assert found["valence"]["value"] == pytest.approx(0.6)
    assert found["arousal"]["value"] == pytest.approx(-0.2)
    empty = Written(prompts=[[2, 8]], answers=[[]], texts=[""], full=["Once"])
    assert measures.at_once(empty)["valence"]["why"] == "the text has no rated word"
    assert measures.at_once(empty)["perplexity"]["value"] is None
    measures.close()


def test_a_classifier_that_fails_costs_its_measure_alone(tmp_path: Path) -> None:
    config = config_of()
    config.steering.classifier = "norms"  # without any ratings
    desk = desk_of(tiny_lens(tmp_path), config)
    with served(desk) as client:
        found = ask(client, "/api/generate", WISH)
    last = [each for each in found if each["type"] == "measures"][-1]["measures"]
    assert "norms" in last["emotion"]["why"]
    assert read_affect(config).score("glad")[0] != read_affect(config).score("glad")[0]  # NaN


def test_sets_of_other_saes_and_broken_sets_are_refused(tmp_path: Path) -> None:
    sae = make_sae()
    path = tmp_path / "sets.json"
    own = {"joy": {"features": [3, 5, 7], "targets": [2.0, 0.0, 1.5]}}
    path.write_text(json.dumps({"sae": sae.name, "sets": own}))
    assert read_sets(str(path), sae) == {"joy": {3: 2.0, 7: 1.5}}
    for broken, said in [
        ({"sae": "another", "sets": own}, "sets of the SAE 'another'"),
        ({"sae": sae.name}, "must hold"),
        ({"sae": sae.name, "sets": {"joy": {"features": [3]}}}, "must hold"),
        ({"sae": sae.name, "sets": {"joy": {"features": [999], "targets": [1.0]}}}, "must hold"),
        ({"sae": sae.name, "sets": {"joy": {"features": [3], "targets": [-1.0]}}}, "must hold"),
    ]:
        path.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=said):
            read_sets(str(path), sae)
    with pytest.raises(UserError, match=r"serve\.sets=null"):
        read_sets(str(tmp_path / "nowhere.json"), sae)
