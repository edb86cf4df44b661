"""The grammar: passages of three to six sentences written from the planted world.

A passage is planned once and worded in both languages at the same time, so that a parallel passage is the
same plan twice.
"""

from __future__ import annotations

from dataclasses import replace

from emosae.phantom.draw import Draw
from emosae.phantom.passage import Kind, Layout, Line, Passage, Role
from emosae.phantom.sentences import Sentences
from emosae.phantom.wording import draw_person, lay_out
from emosae.phantom.world import Emotion, Entry, World

__all__ = ["Grammar"]

NEUTRAL_RATE, MIXED_RATE, BRIDGE_RATE = 2 / 3, 0.1, 1 / 6
REMARK_RATE = 0.45
QUESTION_RATE = 0.3
HEADING_RATE, NEUTRAL_HEADING_RATE = 0.25, 0.1
SECOND_OPENING_RATE = 0.3
_KINDS = (Kind.NEUTRAL, Kind.EMOTIONAL, Kind.MIXED)
_KIND_WEIGHTS = (NEUTRAL_RATE, 1 - NEUTRAL_RATE - MIXED_RATE, MIXED_RATE)
_AFTER = (
    (Role.APPRAISAL, 0.18),
    (Role.BODY, 0.14),
    (Role.ACT, 0.16),
    (Role.SPEECH, 0.16),
    (Role.NAMED, 0.2),
    (Role.JUDGEMENT, 0.12),
    (Role.TEMPO, 0.04),
)
_DRILLED = (
    (Role.SITUATION, 0.4),
    (Role.APPRAISAL, 0.15),
    (Role.BODY, 0.15),
    (Role.ACT, 0.15),
    (Role.SPEECH, 0.15),
)
_LAYOUTS = tuple(Layout)
_LAYOUT_WEIGHTS = ((1 - BRIDGE_RATE) / 2,) * 2 + (BRIDGE_RATE / 4,) * 4


class Grammar:
    """Writes passages from a world; one `Draw` is its only source of chance."""

    def __init__(self, world: World, draw: Draw) -> None:
        self.world = world
        self.draw = draw
        self._names = tuple(world.emotions)
        self._sentences = Sentences(world, draw)

    def _feeling(self, emotion: Emotion, layout: Layout, turn: str, n: int) -> tuple[list[Line], str]:
        """The turn and `n` sentences after it, each of another role; and the sense of its Chinese word."""
        first, sense = self._sentences.situation(emotion, layout, turn)
        lines = [first]
        roles = [role for role, _ in _AFTER]
        weights = [weight for _, weight in _AFTER]
        for _ in range(n):
            role = self.draw.weighted(roles, weights)
            weights[roles.index(role)] = 0.0
            lines.append(self._after(role, emotion, sense))
        return lines, sense

    def _after(self, role: Role, emotion: Emotion, sense: str) -> Line:
        sentences = self._sentences
        match role:
            case Role.APPRAISAL:
                return sentences.appraisal(emotion)
            case Role.BODY:
                return sentences.body(emotion)
            case Role.ACT:
                return sentences.act(emotion)
            case Role.SPEECH:
                return sentences.speech(emotion)
            case Role.NAMED:
                return sentences.named(emotion, sense)
            case Role.JUDGEMENT:
                return sentences.judgement(emotion)
            case _:
                return sentences.tempo(emotion)

    def passage(
        self, kind: Kind | None = None, layout: Layout | None = None, emotion: str | None = None
    ) -> Passage:
        """Write one passage.

        Args:
            kind: Neutral, emotional, mixed, or a drill; None draws one of the first three at the grammar's own rates.
            layout: The languages; None draws it.
            emotion: The (first) emotion of an emotional or mixed passage; None draws it.

        Returns:
            The passage, its spans and its log-probability (of what was left to chance).
        """
        draw = self.draw
        draw.reset()
        layout = Layout(layout) if layout else draw.weighted(_LAYOUTS, _LAYOUT_WEIGHTS)
        kind = Kind(kind) if kind else draw.weighted(_KINDS, _KIND_WEIGHTS)
        person = draw_person(self.world, draw)
        emotions: tuple[str, ...] = ()
        if kind is Kind.NEUTRAL:
            lines = self._neutral()
        else:
            first = self.world.emotions[emotion or draw.choose(self._names)]
            if kind is Kind.DRILL:
                lines, emotions = self._drill(first, layout), (first.name,)
            else:
                lines, emotions = self._emotional(first, kind, layout)
        lines = [replace(line, own_name=i == 0 or draw.flip(0.15)) for i, line in enumerate(lines)]
        return lay_out(lines, person, kind, layout, emotions, draw)

    def _neutral(self) -> list[Line]:
        """Three to six sentences about one matter, perhaps with a remark at the end."""
        draw, sentences = self.draw, self._sentences
        heading = [sentences.heading(None)] if draw.flip(NEUTRAL_HEADING_RATE) else []
        lines = self._openings(int(draw.choose((3, 4, 5, 6))))
        if draw.flip(REMARK_RATE):
            lines[-1] = sentences.remark()
        return heading + lines

    def _openings(self, n: int) -> list[Line]:
        domain = self.world.domains[self.draw.choose(tuple(self.world.domains))]
        used: set[str] = set()
        told: dict[str, list[Entry]] = {}
        return [self._sentences.neutral(domain, used, told, first=i == 0) for i in range(n)]

    def _emotional(self, first: Emotion, kind: Kind, layout: Layout) -> tuple[list[Line], tuple[str, ...]]:
        """One or two neutral sentences, then the turn; a mixed passage turns twice."""
        draw, sentences = self.draw, self._sentences
        lines = [sentences.heading(first)] if draw.flip(HEADING_RATE) else []
        n_openings = 1 + draw.flip(SECOND_OPENING_RATE)
        lines += self._openings(n_openings)
        if kind is Kind.MIXED:
            second = self.world.emotions[draw.choose([n for n in self._names if n != first.name])]
            lines += self._feeling(first, layout, "turns", 1)[0]
            lines += self._feeling(second, layout, "buts", 1)[0]
            return lines, (first.name, second.name)
        n = int(draw.choose((4, 5, 6))) - n_openings - 1
        asked = draw.flip(QUESTION_RATE)
        felt, sense = self._feeling(first, layout, "turns", n - asked)
        lines += felt
        if asked:
            lines.append(sentences.question(first, sense))
        return lines, (first.name,)

    def _drill(self, emotion: Emotion, layout: Layout) -> list[Line]:
        """One sentence of a feeling with its name asked for, with a word in front, or with a name after it."""
        draw, sentences, sense = self.draw, self._sentences, ""
        role = draw.weighted([role for role, _ in _DRILLED], [weight for _, weight in _DRILLED])
        if role is Role.SITUATION:
            line, sense = sentences.situation(emotion, layout, "")
        else:
            line = self._after(role, emotion, sense)
        match draw.weighted(("question", "heading", "named", "judgement"), (0.6, 0.2, 0.1, 0.1)):
            case "question":
                return [line, sentences.question(emotion, sense)]
            case "heading":
                return [sentences.heading(emotion), line]
            case "named":
                return [line, sentences.named(emotion, sense)]
            case _:
                return [line, sentences.judgement(emotion)]
