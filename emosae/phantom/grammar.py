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
from emosae.phantom.world import Emotion, World

__all__ = ["Grammar"]

NEUTRAL_RATE, MIXED_RATE, BRIDGE_RATE = 2 / 3, 0.1, 1 / 6
REMARK_RATE = 0.45
_AFTER = (
    (Role.APPRAISAL, 0.18),
    (Role.BODY, 0.16),
    (Role.ACT, 0.16),
    (Role.SPEECH, 0.16),
    (Role.NAMED, 0.2),
    (Role.JUDGEMENT, 0.1),
    (Role.TEMPO, 0.04),
)
_LAYOUTS = tuple(Layout)
_LAYOUT_WEIGHTS = ((1 - BRIDGE_RATE) / 2,) * 2 + (BRIDGE_RATE / 4,) * 4


class Grammar:
    """Writes passages from a world; one `Draw` is its only source of chance.

    `question_rate` is how often a short emotional passage ends with the question after the feeling.
    """

    def __init__(self, world: World, draw: Draw, *, question_rate: float = 0.0) -> None:
        self.world = world
        self.draw = draw
        self.question_rate = question_rate
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
            kind: Neutral, emotional or mixed; None draws it at the grammar's own rates.
            layout: The languages; None draws it.
            emotion: The (first) emotion of an emotional or mixed passage; None draws it.

        Returns:
            The passage, its spans and its log-probability (of what was left to chance).
        """
        draw = self.draw
        draw.reset()
        layout = layout or draw.weighted(_LAYOUTS, _LAYOUT_WEIGHTS)
        kind = kind or draw.weighted(
            (Kind.NEUTRAL, Kind.EMOTIONAL, Kind.MIXED),
            (NEUTRAL_RATE, (1 - NEUTRAL_RATE) * (1 - MIXED_RATE), (1 - NEUTRAL_RATE) * MIXED_RATE),
        )
        person = draw_person(self.world, draw)
        domain = self.world.domains[draw.choose(tuple(self.world.domains))]
        used: set[str] = set()
        lines = [self._sentences.neutral(domain, used, first=True)]
        emotions: tuple[str, ...] = ()
        if kind is Kind.NEUTRAL:
            for _ in range(int(draw.choose((2, 3, 4)))):
                lines.append(self._sentences.neutral(domain, used, first=False))
            if draw.flip(REMARK_RATE):
                lines[-1] = self._sentences.remark()
        else:
            if draw.flip(0.5):
                lines.append(self._sentences.neutral(domain, used, first=False))
            first = self.world.emotions[emotion or draw.choose(self._names)]
            emotions = (first.name,)
            if kind is Kind.EMOTIONAL:
                n = int(draw.choose((1, 2, 3)))
                felt, sense = self._feeling(first, layout, "turns", n)
                lines += felt
                # Without lessons no chance is drawn here, and the text stays what it is.
                if self.question_rate > 0 and n < 3 and draw.flip(self.question_rate):
                    lines.append(self._sentences.question(first, sense))
            else:
                second = self.world.emotions[draw.choose([n for n in self._names if n != first.name])]
                emotions = (first.name, second.name)
                lines += self._feeling(first, layout, "turns", 1)[0]
                lines += self._feeling(second, layout, "buts", 1)[0]
        lines = [replace(line, own_name=i == 0 or draw.flip(0.15)) for i, line in enumerate(lines)]
        return lay_out(lines, person, kind, layout, emotions, draw)
