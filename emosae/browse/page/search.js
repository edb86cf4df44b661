// The index of one SAE: searching and sorting all its features at once. No part of the page is touched here.
"use strict";
window.emosae = window.emosae || {};

emosae.COLUMNS = [
  ["selectivity", "Selectivity", "AUROC over concept words: how well the feature tells its emotion's words from all others, .5 is chance. With an emotion in the search, for that emotion. Blank where it is no candidate of any emotion."],
  ["universality", "Universality", "How often it fires in the language where it fires least, divided by where it fires most; 1 is alike in all. Languages are told apart by their writing."],
  ["density", "Density", "Share of the corpus' tokens on which it is active."],
  ["maximum", "Maximum", "Its largest activation in the corpus."],
  ["valence", "Valence weight", "Its part in the predicted valence of words: weight times its spread over words, mean over languages. Blank without a ratings study."],
  ["output_score", "Output score", "Whether raising it writes the tokens that its decoder row points to, 0 to 1 (Arad, Mueller & Belinkov 2025). Blank where it was not scored."],
];

// Numbers that were written as the base64 of their bytes.
emosae.unpack = (text, Kind) => {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return new Kind(bytes.buffer);
};

emosae.Index = class {
  constructor(data) {
    Object.assign(this, data);
    this.values = {};
    for (const [name, column] of Object.entries(data.columns)) this.values[name] = emosae.unpack(column, Float32Array);
    this.concept = emosae.unpack(data.concept, Int16Array);
    this.language = emosae.unpack(data.language, Int32Array);
    this.words = data.words.split("\n");
    this.orders = new Map();
    this.concept_at = new Map(data.concepts.map((name, at) => [name.toLowerCase(), at]));
    this.language_at = new Map(data.languages.map((name, at) => [name.toLowerCase(), at]));
    this.members = data.concepts.map((name) => new Map(data.sets[name][0].map((f, at) => [f, data.sets[name][1][at]])));
    this.text = null;
  }

  // Feature numbers by one column; those without a value come last, ties by number.
  order(name, up) {
    const key = `${name} ${up}`;
    if (!this.orders.has(key)) {
      const numbers = Int32Array.from({ length: this.features }, (_, at) => at);
      if (name === "number") this.orders.set(key, up ? numbers : numbers.reverse());
      else {
        const value = this.values[name];
        const known = numbers.filter((f) => !Number.isNaN(value[f]));
        known.sort(up ? (a, b) => value[a] - value[b] || a - b : (a, b) => value[b] - value[a] || a - b);
        const all = new Int32Array(this.features);
        all.set(known);
        all.set(numbers.filter((f) => Number.isNaN(value[f])), known.length);
        this.orders.set(key, all);
      }
    }
    return this.orders.get(key);
  }

  // What each word of a query means. An emotion or a language is meant when its whole name is written.
  read(query) {
    const whole = query.trim().toLowerCase();
    const words = this.concept_at.has(whole.replaceAll(" ", "_")) ? [whole.replaceAll(" ", "_")] : whole.split(/\s+/).filter(Boolean);
    const terms = [];
    for (const word of words) {
      const language = this.language_at.get(word) ?? this.language_at.get(`${word} script`);
      if (this.concept_at.has(word)) terms.push({ kind: "concept", at: this.concept_at.get(word), word });
      else if (language !== undefined) terms.push({ kind: "language", at: language, word });
      else if (/^#?\d+$/.test(word)) terms.push({ kind: "number", at: Number(word.replace("#", "")), word: word.replace("#", "") });
      else if (word !== "script") terms.push({ kind: "word", word });
    }
    return terms;
  }

  // Numbers of the features that a query means, in order; selectivity is that of the emotion asked for.
  search(query, sort, up) {
    const terms = this.read(query);
    const order = this.order(sort, up);
    if (!terms.length) return order;
    const marks = terms.map((term) => this.mark(term));
    let found = order.filter((f) => marks.every((mark) => mark[f]));
    const concept = terms.find((term) => term.kind === "concept");
    if (concept && sort === "selectivity") {
      const own = this.members[concept.at];
      found.sort((a, b) => (up ? 1 : -1) * (own.get(a) - own.get(b)) || a - b);
    }
    const number = terms.length === 1 && terms[0].kind === "number" ? terms[0].at : -1;
    if (number >= 0 && number < this.features) found = Int32Array.of(number, ...found.filter((f) => f !== number));
    return found;
  }

  // One byte a feature: whether it is meant by a term.
  mark(term) {
    const mark = new Uint8Array(this.features);
    if (term.kind === "concept") for (const feature of this.members[term.at].keys()) mark[feature] = 1;
    else if (term.kind === "language") this.language.forEach((bits, feature) => { mark[feature] = (bits >> term.at) & 1; });
    else this.mark_word(term.word, mark);
    if (term.kind === "number" && term.at < this.features) mark[term.at] = 1;
    return mark;
  }

  // All words are one text with a line for each feature, so that a search goes through it once.
  mark_word(word, mark) {
    if (this.text === null) {
      this.text = this.words.join("\n").toLowerCase();
      this.starts = new Int32Array(this.features + 1).fill(this.text.length + 1);
      for (let feature = 0, from = 0; feature < this.features; feature++) {
        this.starts[feature] = from;
        from = this.text.indexOf("\n", from) + 1 || this.text.length + 1;
      }
    }
    let feature = 0;
    for (let hit = this.text.indexOf(word); hit >= 0; hit = this.text.indexOf(word, this.starts[feature])) {
      let last = this.features;
      while (last - feature > 1) {
        const middle = (feature + last) >> 1;
        if (this.starts[middle] <= hit) feature = middle;
        else last = middle;
      }
      mark[feature] = 1;
      feature += 1;
      if (feature >= this.features) break;
    }
  }

  // One value of a row; with an emotion asked for, selectivity is for that emotion.
  value(name, feature, concept) {
    if (name === "selectivity" && concept !== undefined) return this.members[concept].get(feature);
    return this.values[name][feature];
  }
};

// Numbers as they are shown: three digits; in the list, shares with three decimals, so that a column can be compared.
emosae.SHARES = new Set(["selectivity", "universality", "output_score"]);
emosae.shown = (column, value) => (emosae.SHARES.has(column) && Number.isFinite(value) ? value.toFixed(3) : emosae.number(value));
emosae.number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 ? Math.round(size).toLocaleString("en") : size >= 0.001 ? String(Number(size.toPrecision(3))) : size.toExponential(1);
  return (value < 0 ? "\u2212" : "") + text;
};
