// A feature's card. All text is set as text: nothing that a corpus or a model wrote is read as HTML.
"use strict";
window.emosae = window.emosae || {};

emosae.make = (tag, options = {}, children = []) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
};

(() => {
  const { make, number } = emosae;
  const percent = (share) => (share >= 0.01 ? `${Math.round(100 * share)} %` : `${number(100 * share)} %`);
  const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\r", "").replaceAll("\t", "⇥");
  const section = (title, children, level = "h3") => make("section", {}, [make(level, { text: title }), ...children]);

  const context = ([value, at, pieces], maximum) => {
    const tokens = pieces.map((piece, place) => {
      if (typeof piece === "string") return document.createTextNode(visible(piece));
      const [text, own] = piece;
      const token = make("span", { class: place === at ? "token peak" : "token", text: visible(text), title: `activation ${number(own)}` });
      token.style.setProperty("--heat", `${Math.round(50 * Math.min(1, maximum > 0 ? own / maximum : 0))}%`);
      return token;
    });
    return make("li", {}, [
      make("span", { class: "value" }, [make("span", { class: "unseen", text: "activation " }), number(value)]),
      make("p", { class: "context", dir: "auto" }, tokens),
    ]);
  };
  const contexts = (list, maximum) => make("ol", { class: "contexts" }, list.map((each) => context(each, maximum)));

  const histogram = (card) => {
    const bins = card.histogram;
    const most = Math.max(...bins.map((bin) => bin[2]));
    const [width, height] = [320, 96];
    const draw = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const label = `Histogram of ${card.n_active} activations from ${number(bins[0][0])} to ${number(card.maximum)}; half lie below ${number(card.quartiles[1])}`;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "histogram" });
    bins.forEach(([low, high, count], at) => {
      const tall = count ? Math.max(1, (count / most) * height) : 0;
      const step = width / bins.length;
      const bar = draw("rect", { x: at * step + 0.5, y: height - tall, width: Math.max(1, Math.min(step, 28) - 1), height: tall });
      const title = draw("title", {});
      title.textContent = `${number(low)} to ${number(high)}: ${count}`;
      bar.append(title);
      svg.append(bar);
    });
    return make("figure", {}, [svg, make("figcaption", { class: "axis" }, [
      make("span", { text: number(bins[0][0]) }), make("span", { text: "activation, logarithmic" }), make("span", { text: number(bins[bins.length - 1][1]) }),
    ])]);
  };

  const table = (caption, heads, rows) =>
    make("div", { class: "table-box", role: "group", tabindex: "0", "aria-label": caption }, [
      make("table", {}, [
        make("caption", { text: caption }),
        make("thead", {}, [make("tr", {}, heads.map(([text, numeric]) => make("th", { scope: "col", class: numeric ? "n" : "", text })))]),
        make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell, at) => {
          const node = make(at ? "td" : "th", { class: heads[at][1] ? "n" : "", scope: at ? null : "row" });
          node.append(cell instanceof Node ? cell : document.createTextNode(cell));
          return node;
        })))),
      ]),
    ]);

  const tokens = (title, list) =>
    make("div", {}, [make("h4", { text: title }), make("ul", { class: "tokens" }, list.map(([text, logit]) =>
      make("li", {}, [make("bdi", { class: "spelt", text: visible(text) || " " }), make("span", { class: "value", text: number(logit) })])))]);

  const setName = (name, languages) => {
    if (name === "universal") return "universal (every language)";
    if (name === "space") return "emotion space (any language)";
    if (name === "control") return "control, outside the emotion space";
    return name.endsWith("_only") ? `${name.slice(0, -5)} only` : name;
  };

  const emotions = (card) => {
    const parts = [];
    if (card.concepts.length) {
      parts.push(table("Emotions whose words it tells from others", [["Emotion"], ["Language"], ["Place", 1], ["AUROC", 1], ["q", 1], ["Selected"]],
        card.concepts.map((each) => [each.concept.replaceAll("_", " "), each.language, String(each.rank), number(each.auroc),
          each.p_adjusted < 0.001 ? "< .001" : number(each.p_adjusted), each.selected ? (each.significant ? "yes" : "yes, q not passed") : "no"])));
    }
    if (card.sets.length) {
      const bySet = new Map();
      for (const [name, concept] of card.sets) bySet.set(name, [...(bySet.get(name) || []), ...(concept ? [concept.replaceAll("_", " ")] : [])]);
      parts.push(make("p", { text: "Sets: " + [...bySet].map(([name, own]) => setName(name) + (own.length ? ` (${own.join(", ")})` : "")).join("; ") + "." }));
    }
    if (card.concept_words.length) {
      parts.push(make("p", {}, ["Of the words of emotions, these fire it most: ", ...card.concept_words.slice(0, 12).flatMap(([language, word], at) =>
        [at ? ", " : "", make("bdi", { text: word, lang: language })])]));
    }
    if (!parts.length) parts.push(make("p", { class: "missing", text: "It is no candidate of any emotion." }));
    return section("Emotions", parts);
  };

  emosae.card = (card, options) => {
    const missing = (text) => make("p", { class: "missing", text });
    const link = (feature) => make("a", { href: options.href(feature), text: String(feature) });
    const facts = [["density", number(card.density)], ["active tokens", card.n_active.toLocaleString("en")], ["maximum", number(card.maximum)],
      ["median when active", card.n_active ? number(card.quartiles[1]) : ""], ["universality", number(card.universality)], ["output score", number(card.output_score)]];
    const head = make("div", { class: "card-head" }, [
      make("h2", { id: "card-title", draggable: "true", title: "Drag this feature to where it is wanted", text: `Feature ${card.feature}` }),
      make("p", { class: "buttons" }, [
        make("button", { type: "button", class: "back", text: "Back to the list", onclick: options.close }),
        make("button", { type: "button", text: "Previous", "aria-label": "Previous feature of the list", onclick: () => options.step(-1) }),
        make("button", { type: "button", text: "Next", "aria-label": "Next feature of the list", onclick: () => options.step(1) }),
      ]),
    ]);
    head.querySelector("h2").addEventListener("dragstart", (event) => emosae.drag(event, card.feature));
    const parts = [head, make("p", { class: "subtitle", text: card.site }),
      make("dl", { class: "facts" }, facts.filter(([, value]) => value !== "").map(([name, value]) => make("div", {}, [make("dt", { text: name }), make("dd", { text: value })])))];
    if (card.neuronpedia && card.neuronpedia.startsWith("https://www.neuronpedia.org/")) {
      parts.push(make("p", {}, [make("a", { href: card.neuronpedia, rel: "noreferrer noopener", target: "_blank", text: "This feature on Neuronpedia" }), " (opens the network)"]));
    }
    if (!card.top.length) parts.push(missing("It did not fire in this corpus."));
    else {
      parts.push(section("Top contexts", [make("p", { class: "help", text: "One a text, the strongest first. The colour is the activation on each token; the framed token is the one meant." }), contexts(card.top, card.maximum)]));
      const words = [make("ul", { class: "tokens" }, card.words.map(([word, value]) => make("li", {}, [make("bdi", { text: word }), make("span", { class: "value", text: number(value) })])))];
      if (card.languages.length) {
        words.push(table("Languages, told by their writing", [["Language"], ["of its active tokens", 1], ["of the language's tokens", 1]],
          card.languages.map(([name, share, rate]) => [name, percent(share), percent(rate)])));
      }
      parts.push(section("Words and languages that fire it", words));
    }
    parts.push(emotions(card));
    if (card.weights.length) {
      parts.push(section("Weight in the ratings", [table("Ridge on all features, mean over folds", [["Rating"], ["Language"], ["Weight", 1], ["times its spread", 1], ["Place", 1]],
        card.weights.map((each) => [each.target, each.language, number(each.weight), number(each.importance), String(each.rank)]))]));
    }
    if (card.top.length) parts.push(section("Activations", [histogram(card)]));
    if (card.promoted.length) parts.push(section("Logit lens", [make("div", { class: "two" }, [tokens("Promoted", card.promoted), tokens("Suppressed", card.suppressed)])]));
    if (card.neighbours.length) {
      parts.push(section("Nearest decoder rows", [make("ul", { class: "tokens" }, card.neighbours.map(([feature, cosine]) =>
        make("li", {}, [link(feature), " ", make("bdi", { class: "help", text: options.words(feature) }), make("span", { class: "value", text: number(cosine) })])))]));
    }
    if (card.groups.length) {
      const groups = card.groups.map(([low, high, own]) => section(`${Math.round(100 * low)} to ${Math.round(100 * high)} % of its activations`, [contexts(own, card.maximum)], "h4"));
      parts.push(section("Examples from each quarter", [make("p", { class: "help", text: "Active tokens drawn at random, in quarters from the strongest to the weakest." }), ...groups]));
    }
    return parts;
  };
})();
