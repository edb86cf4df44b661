// One of the two texts: its tokens as they come, how far each was moved, and what was measured of it.
import { at, make, number } from "./make.js";

const MEASURES = [["emotion", "emotion"], ["valence", "valence"], ["arousal", "arousal"], ["perplexity", "perplexity"]];
const MOST = 50; // per cent of the colour where a token was moved as far as can be shown

export class Side {
  constructor(name) {
    this.name = name;
    this.box = at(name);
    this.text = this.box.querySelector(".text");
    this.tail = this.box.querySelector(".tail");
    this.facts = this.box.querySelector(".facts");
    this.legend = this.box.querySelector(".legend");
    this.clear();
  }

  clear() {
    this.text.replaceChildren();
    this.text.setAttribute("aria-busy", "false");
    this.tail.textContent = "";
    this.facts.replaceChildren();
    if (this.legend) this.legend.hidden = true;
    this.tokens = new Map();
    this.moved = new Map();
    this.measures = {};
  }

  start(event) {
    this.clear();
    this.unit = event.unit;
    this.text.setAttribute("aria-busy", "true"); // a reader waits for the whole text
    for (const [text, places] of event.pieces) this.token({ text, places }, "token prompt");
  }

  token({ text, places }, kind = "token") {
    const span = make("span", { class: kind, text });
    for (const place of places) this.tokens.set(place, span);
    this.text.append(span);
  }

  // How far tokens were moved; what is unknown was not moved, or not yet read.
  move(moved) {
    for (const [place, value] of Object.entries(moved)) this.moved.set(Number(place), value);
    const most = Math.max(...this.moved.values());
    const full = this.unit === "residual norms" ? 1 : most;
    const spans = new Map();
    for (const [place, value] of this.moved) {
      const span = this.tokens.get(place);
      if (span) spans.set(span, Math.max(value, spans.get(span) ?? 0));
    }
    for (const [span, value] of spans) {
      span.style.setProperty("--heat", `${Math.round(MOST * Math.min(1, full > 0 ? value / full : 0))}%`);
      span.classList.add("moved");
      span.title = `moved by ${number(value)} ${this.unit}`;
    }
    this.legend.hidden = false;
    this.legend.querySelector(".most").textContent = this.unit === "residual norms" ? `moved by a residual norm or more; here at most ${number(most)}` : `moved by ${number(most)} ${this.unit}, the most here`;
  }

  done(event) {
    this.text.setAttribute("aria-busy", "false");
    const tokens = event.tokens === 1 ? "1 token" : `${event.tokens} tokens`;
    this.tail.textContent = event.stopped ? `Stopped after ${tokens}.` : `${tokens} in ${number(event.seconds)} s`;
  }

  note(text) {
    this.tail.textContent = `${this.tail.textContent} ${text}`.trim();
  }

  measure(measures, other) {
    Object.assign(this.measures, measures);
    if (!("emotion" in this.measures)) this.measures.emotion = { value: null, why: "being told; the first time takes a while" };
    this.facts.replaceChildren(...MEASURES.map(([name, title]) => {
      const own = this.measures[name] ?? { value: null, why: "not measured" };
      const value = make("dd");
      if (own.value === null) value.append(make("span", { text: "none" }), make("span", { class: "why", text: own.why }));
      else {
        value.append(make("span", { text: typeof own.value === "number" ? number(own.value) : own.value.replaceAll("_", " ") }));
        value.title = `by ${own.by}`;
        const beside = name === "perplexity" ? other?.measures.perplexity?.value : null;
        if (beside) value.append(make("span", { class: "why", text: `${number(own.value / beside)} times the unsteered` }));
      }
      return make("div", {}, [make("dt", { text: title }), value]);
    }));
  }
}
