// What the controls say, as the server reads it, and back: sliders, added features, choosers.
import { at, fill, make, number, plain } from "./make.js";

const CHOOSERS = ["op", "scope", "language"];
const NUMBERS = ["new_tokens", "temperature", "seed"];
const OPS = { set: "set to", add: "add", at_least: "hold at least at", at_most: "hold at most at", scale: "multiply by", ablate: "take away" };
const UNITS = { activation: "activation", max: "× maximum", norm: "× residual" };
const SCOPES = { all: "all", prompt: "the prompt's", generated: "the new ones", from_last_prompt_token: "the prompt's last and the new ones" };

export class Controls {
  constructor(desk, changed) {
    this.desk = desk;
    this.changed = changed;
    this.added = [];
    this.hidden = {};
    fill(at("op"), desk.ops, (name) => OPS[name]);
    fill(at("scope"), desk.scopes, (name) => SCOPES[name]);
    fill(at("language"), desk.languages);
    fill(at("site"), desk.saes.map((sae) => sae.site), (name) => name);
    at("site").value = desk.site;
    at("site-field").hidden = desk.saes.length < 2;
    at("prompt").maxLength = desk.limits.prompt_characters;
    at("new_tokens").max = desk.limits.new_tokens;
    this.sliders = new Map(desk.emotions.map((name) => [name, this.slider(name)]));
    at("sliders").replaceChildren(...[...this.sliders.values()].map((slider) => slider.row));
    this.listen();
  }

  slider(name) {
    const id = `dose-${name}`;
    const dead = this.desk.why_not !== "" && !this.desk.shipped.includes(name);
    const input = make("input", { id, type: "range", min: 0, max: this.desk.limits.dose, step: 0.05, value: 0, disabled: dead });
    const output = make("output", { for: id, text: "0" });
    const row = make("li", {}, [make("label", { for: id, text: plain(name) }), input, output]);
    const show = () => {
      output.textContent = number(Number(input.value));
      row.className = Number(input.value) > 0 ? "on" : "";
      input.setAttribute("aria-valuetext", `dose ${number(Number(input.value))}`);
    };
    input.addEventListener("input", show);
    show();
    return { row, input, show };
  }

  listen() {
    at("zero").addEventListener("click", () => {
      for (const slider of this.sliders.values()) {
        slider.input.value = 0;
        slider.show();
      }
      this.changed();
    });
    at("find").addEventListener("input", () => {
      const wanted = at("find").value.trim().toLowerCase();
      for (const [name, slider] of this.sliders) slider.row.hidden = !plain(name).toLowerCase().includes(wanted);
    });
    at("find").addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
    at("sample").addEventListener("change", () => this.drawn());
    at("desk").addEventListener("input", () => this.changed());
    at("desk").addEventListener("change", () => this.changed());
    at("add").addEventListener("click", () => this.addByNumber());
    at("feature").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.addByNumber();
    });
  }

  drawn() {
    for (const field of document.querySelectorAll(".drawn")) field.hidden = at("sample").value === "no";
  }

  addByNumber() {
    const field = at("feature");
    if (field.value === "" || !field.checkValidity()) {
      this.say(`A feature must be a whole number from 0 to ${this.sae(at("site").value).features - 1}. Write one.`);
      field.focus();
      return;
    }
    if (this.add({ site: at("site").value, feature: Number(field.value) })) field.value = "";
  }

  sae(site) {
    return this.desk.saes.find((sae) => sae.site === site);
  }

  // Takes a feature by number, from the browser, or from a plan; says why not where it cannot.
  add({ site, feature, op, value, unit, only_if_active, maximum, words }) {
    const sae = this.sae(site);
    if (!sae) return this.say(`No SAE here reads ${site}. The desk has: ${this.desk.saes.map((each) => each.site).join(", ")}.`);
    if (!(feature >= 0 && feature < sae.features)) return this.say(`A feature must be 0 to ${sae.features - 1} at ${site}, got ${feature}. Choose another.`);
    if (this.added.some((each) => each.site === site && each.feature === feature)) return this.say(`Feature ${feature} is there already.`);
    if (this.added.length >= this.desk.limits.features) return this.say(`At most ${this.desk.limits.features} features can be added. Take one away.`);
    const usual = maximum > 0 ? { value: maximum, unit: "activation" } : sae.maxima ? { value: 1, unit: "max" } : { value: 1, unit: "activation" };
    const own = { site, feature, op: op ?? "set", value: value ?? usual.value, unit: unit ?? usual.unit, only_if_active: only_if_active ?? false, words };
    this.added.push(own);
    this.draw();
    this.say(`Feature ${feature} was added.`);
    this.changed();
    return true;
  }

  draw() {
    at("features").replaceChildren(...this.added.map((own) => this.row(own)));
  }

  row(own) {
    const called = `Feature ${own.feature}`;
    const op = make("select", { "aria-label": `What is done to feature ${own.feature}` });
    const unit = make("select", { "aria-label": `Unit of feature ${own.feature}` });
    const value = make("input", { type: "number", step: "any", "aria-label": `Value of feature ${own.feature}` });
    const active = make("input", { type: "checkbox" });
    fill(op, Object.keys(this.desk.units), (name) => OPS[name]);
    op.value = own.op;
    value.value = own.value ?? 1;
    active.checked = own.only_if_active;
    const fit = () => {
      fill(unit, this.desk.units[own.op], (name) => UNITS[name]);
      if (!this.desk.units[own.op].includes(own.unit)) own.unit = "activation";
      unit.value = own.unit;
      const bare = own.op === this.desk.no_value;
      value.hidden = bare;
      unit.hidden = bare || own.op === "scale";
    };
    op.addEventListener("change", () => { own.op = op.value; fit(); });
    unit.addEventListener("change", () => { own.unit = unit.value; });
    value.addEventListener("input", () => { own.value = value.value === "" ? null : Number(value.value); });
    active.addEventListener("change", () => { own.only_if_active = active.checked; });
    fit();
    const remove = make("button", { type: "button", text: "Remove", "aria-label": `Remove feature ${own.feature}`, onclick: () => {
      this.added = this.added.filter((each) => each !== own);
      this.draw();
      at("feature").focus();
      this.changed();
    } });
    const about = this.desk.saes.length > 1 ? [` ${own.site}`] : [];
    return make("li", {}, [
      make("p", { class: "what" }, [make("span", {}, [make("b", { text: called }), make("small", { text: [...about, own.words ? ` ${own.words}` : ""].join("") })]), remove]),
      make("div", { class: "how" }, [op, value, unit, make("label", {}, [active, "only where active"])]),
    ]);
  }

  say(text) {
    at("features-help").textContent = text;
    return false;
  }

  read() {
    const wish = { prompt: at("prompt").value, emotions: {}, sample: at("sample").value === "yes", ...this.hidden };
    for (const [name, slider] of this.sliders) if (Number(slider.input.value) > 0) wish.emotions[name] = Number(slider.input.value);
    for (const name of CHOOSERS) wish[name] = at(name).value;
    for (const name of NUMBERS) wish[name] = at(name).value === "" ? null : Number(at(name).value);
    wish.features = this.added.map(({ words, ...own }) => (own.op === this.desk.no_value ? { ...own, value: null, unit: "activation" } : own));
    return wish;
  }

  write(wish) {
    at("prompt").value = wish.prompt;
    at("sample").value = wish.sample ? "yes" : "no";
    for (const name of CHOOSERS) if ([...at(name).options].some((option) => option.value === wish[name])) at(name).value = wish[name];
    for (const name of NUMBERS) at(name).value = wish[name];
    for (const [name, slider] of this.sliders) {
      slider.input.value = wish.emotions?.[name] ?? 0;
      slider.show();
    }
    // What a plan may say and the page has no control for.
    this.hidden = { skip_special: wish.skip_special ?? true, error: wish.error ?? "keep" };
    this.added = (wish.features ?? []).map((own) => ({ ...own }));
    this.draw();
    this.drawn();
  }
}
