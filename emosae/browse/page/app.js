// The page: what is asked for lies in the address after #, so that reloading and links bring it back.
"use strict";

(() => {
  const { make } = emosae;
  const at = (id) => document.getElementById(id);
  const menu = JSON.parse(at("menu").textContent);
  const ROWS = 50;
  const NARROW = window.matchMedia("(max-width: 69.99rem)");
  const indexes = new Map();
  const files = new Map();
  const waiting = new Map();
  let index = null;
  let columns = emosae.COLUMNS;
  let state = {};
  let results = [];
  let shown = 0;

  // Data are scripts, because a page that was opened from a file may fetch nothing; a page in one file holds them itself.
  const load = (path) => {
    if (!waiting.has(path)) {
      waiting.set(path, new Promise((done, failed) => {
        const held = at(path);
        if (held) {
          const [call, ...data] = JSON.parse(held.textContent);
          emosae[call](...data);
          done();
          return;
        }
        const script = make("script", { src: `${path}.js`, onload: done, onerror: () => { waiting.delete(path); failed(new Error(path)); } });
        document.head.append(script);
      }));
    }
    return waiting.get(path);
  };
  emosae.index = (slug, data) => indexes.set(slug, new emosae.Index(data));
  emosae.cards = (slug, file, cards) => files.set(`${slug} ${file}`, cards);
  emosae.site = async (slug) => {
    if (!indexes.has(slug)) await load(`data/${slug}/index`);
    return indexes.get(slug);
  };
  emosae.feature = async (slug, feature) => {
    const own = await emosae.site(slug);
    const file = Math.floor(feature / own.cards_per_file);
    const path = `data/${slug}/${String(file).padStart(5, "0")}`;
    if (own.held !== undefined && !at(path)) return null;
    if (!files.has(`${slug} ${file}`)) await load(path);
    return files.get(`${slug} ${file}`)[feature % own.cards_per_file];
  };
  // A feature that is dragged says which it is; other pages take it from the event's data.
  emosae.drag = (event, feature) => {
    const what = { site: index.site, sae: index.sae, fingerprint: index.fingerprint, feature, maximum: Number(index.values.maximum[feature].toPrecision(4)), words: words(feature) };
    event.dataTransfer.setData("application/x-emosae-feature", JSON.stringify(what));
    event.dataTransfer.setData("text/plain", String(feature));
    event.dataTransfer.effectAllowed = "copy";
  };

  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const feature = given.get("f");
    const sort = given.get("sort");
    return {
      site: menu.some((each) => each.slug === given.get("site")) ? given.get("site") : menu[0].slug,
      q: given.get("q") || "",
      sort: sort === "number" || emosae.COLUMNS.some(([name]) => name === sort) ? sort : null,
      order: given.get("order") === "up" ? "up" : "down",
      f: /^\d+$/.test(feature || "") ? Number(feature) : null,
    };
  };
  const address = (changes = {}) => {
    const next = { ...state, ...changes };
    const given = new URLSearchParams();
    if (next.site !== menu[0].slug) given.set("site", next.site);
    if (next.q) given.set("q", next.q);
    if (next.sort) given.set("sort", next.sort);
    if (next.order !== "down") given.set("order", next.order);
    if (next.f !== null) given.set("f", next.f);
    return `#${given}`;
  };
  const go = (changes, replace) => {
    const next = address(changes);
    if (replace) location.replace(next);
    else location.hash = next;
  };
  const words = (feature) => index.words[feature].split("\t").filter(Boolean).slice(0, 4).join(", ");
  // A column without a value, as valence without a ratings study, is neither shown nor sorted by.
  const usual = () => columns[0][0];
  const sorting = () => (state.sort === "number" || columns.some(([name]) => name === state.sort) ? state.sort : usual());
  const asked = () => index.read(state.q).find((term) => term.kind === "concept");

  const heads = () => {
    const sorted = sorting();
    const heads = [["number", "Feature"], ["", "Emotion"], ["", "Words"], ...columns];
    at("table").tHead.replaceChildren(make("tr", {}, heads.map(([name, title], place) => {
      const own = name && name === sorted;
      const direction = own ? (state.order === "up" ? "ascending" : "descending") : null;
      const cell = make("th", { scope: "col", class: place < 3 ? (own ? "sorted" : title === "Emotion" ? "emotion" : "") : own ? "n sorted" : "n more", "aria-sort": direction });
      if (!name) cell.textContent = title;
      else cell.append(make("button", { type: "button", text: title, onclick: () => go({ sort: name, order: own && state.order === "down" ? "up" : "down" }, true) }));
      return cell;
    })));
    return sorted;
  };
  const row = (feature, sorted, concept) => {
    const first = make("a", { href: address({ f: feature }), draggable: "true", "data-feature": feature, text: String(feature) });
    first.addEventListener("dragstart", (event) => emosae.drag(event, feature));
    const emotion = (index.concepts[concept ?? index.concept[feature]] || "").replaceAll("_", " ");
    return make("tr", { class: feature === state.f ? "own" : "" }, [
      make("th", { scope: "row" }, [first]),
      make("td", { class: "emotion", text: emotion }),
      make("td", { class: "words" }, [make("span", { class: "emotion-too", text: emotion }), make("bdi", { text: words(feature) || "did not fire" })]),
      ...columns.map(([column]) => make("td", { class: column === sorted ? "n sorted" : "n more", text: emosae.shown(column, index.value(column, feature, concept)) })),
    ]);
  };
  const more = () => {
    const sorted = sorting();
    const concept = asked()?.at;
    const part = results.slice(shown, shown + ROWS);
    at("table").tBodies[0].append(...Array.from(part, (feature) => row(feature, sorted, concept)));
    shown += part.length;
    at("more").hidden = shown >= results.length;
    at("more").textContent = `Show ${Math.min(ROWS, results.length - shown)} more`;
  };
  const list = () => {
    const sorted = heads();
    const began = performance.now();
    results = index.search(state.q, sorted, state.order === "up");
    emosae.search_ms = performance.now() - began;
    shown = 0;
    at("table").tBodies[0].replaceChildren();
    more();
    const all = index.features.toLocaleString("en");
    const number = state.q.trim().match(/^#?(\d+)$/);
    const beyond = number && Number(number[1]) >= index.features ? `There is no feature ${number[1]}; the last is ${index.features - 1}. ` : "";
    at("status").textContent = beyond + (state.q.trim() ? `${results.length.toLocaleString("en")} of ${all} features` : `${all} features`);
  };

  const absent = (feature) => [
    make("h2", { id: "card-title", text: `Feature ${feature}` }),
    make("p", { class: "missing", text: `This file holds ${cards_held()}. Its card is in the browser's folder alone.` }),
    make("p", { class: "buttons" }, [make("button", { type: "button", class: "back", text: "Back to the list", onclick: close })]),
  ];
  const cards_held = () => `the cards of ${index.held.toLocaleString("en")} of ${index.features.toLocaleString("en")} features, those that some emotion selects`;
  const close = () => go({ f: null });
  const step = (by) => {
    const place = results.indexOf(state.f);
    const next = results[place < 0 ? 0 : place + by];
    if (next !== undefined) go({ f: next });
  };
  const open = async (focus) => {
    const panel = at("card");
    document.body.classList.toggle("has-card", state.f !== null);
    panel.hidden = state.f === null;
    for (const each of at("table").tBodies[0].rows) each.className = each.querySelector("a").dataset.feature === String(state.f) ? "own" : "";
    if (state.f === null) return;
    const wanted = state.f;
    let parts;
    if (wanted >= index.features) parts = [make("h2", { id: "card-title", text: `There is no feature ${wanted}` }), make("p", { text: `The last is ${index.features - 1}.` })];
    else {
      try {
        const card = await emosae.feature(state.site, wanted);
        parts = card === null ? absent(wanted) : emosae.card(card, { close, step, words, href: (feature) => address({ f: feature }) });
      } catch {
        parts = [make("h2", { id: "card-title", text: `Feature ${wanted}` }), make("p", { class: "missing", text: "Its file cannot be read. Keep the folder data beside this page." })];
      }
    }
    if (wanted !== state.f) return;
    panel.replaceChildren(...parts);
    panel.scrollTop = 0;
    if (focus) {
      panel.focus({ preventScroll: !NARROW.matches });
      if (NARROW.matches) window.scrollTo(0, 0);
    }
  };

  const settle = async (first) => {
    const before = state;
    state = read();
    const moved = before.site !== state.site;
    if (at("q").value !== state.q) at("q").value = state.q;
    if (moved) {
      try {
        index = await emosae.site(state.site);
      } catch {
        at("status").textContent = "The features cannot be read. Keep the folder data beside this page.";
        return;
      }
      furnish();
    }
    at("sort").value = sorting();
    at("order").value = state.order;
    at("site").value = state.site;
    if (moved || ["q", "sort", "order"].some((key) => before[key] !== state[key])) list();
    if (moved || before.f !== state.f) {
      await open(!first && state.f !== null);
      if (!first && state.f === null && before.f !== null) at("table").querySelector(`a[data-feature="${before.f}"]`)?.focus();
    }
    emosae.first_view_ms ??= performance.now(); // since the navigation began
    document.body.dataset.ready = "yes";
  };
  // What depends on the SAE alone.
  const furnish = () => {
    columns = emosae.COLUMNS.filter(([name]) => name in index.values);
    at("sort").replaceChildren(...columns.map(([name, title]) => make("option", { value: name, text: title.toLowerCase() })), make("option", { value: "number", text: "number" }));
    const own = menu.find((each) => each.slug === state.site);
    at("subtitle").textContent = `${own.sae} at ${own.site} · ${index.features.toLocaleString("en")} features · ${own.tokens.toLocaleString("en")} tokens of ${own.corpus}`;
    at("about").textContent = `Contexts come from ${own.texts.toLocaleString("en")} texts, special tokens left out. This page sends nothing anywhere.${index.held < index.features ? ` It holds ${cards_held()}; the search finds all.` : ""}`;
    at("notes").replaceChildren(...own.notes.map((note) => make("p", { class: "missing", text: note })));
    at("known").replaceChildren(...[...index.concepts, ...index.languages].map((name) => make("option", { value: name })));
    at("emotions").hidden = !index.concepts.length;
    at("chips").replaceChildren(...index.concepts.map((name) => make("button", { type: "button", text: name.replaceAll("_", " "), onclick: () => go({ q: name, sort: null, order: "down" }) })));
  };

  at("site").append(...menu.map((each) => make("option", { value: each.slug, text: each.site })));
  at("site-field").hidden = menu.length < 2;
  at("meanings").append(...emosae.COLUMNS.flatMap(([, title, text]) => [make("dt", { text: title }), make("dd", { text })]));
  at("emotions").open = !NARROW.matches;
  // Not by its address: that is where the view is kept.
  at("skip").addEventListener("click", (event) => {
    event.preventDefault();
    at(NARROW.matches && state.f !== null ? "card" : "q").focus();
  });
  at("q").addEventListener("input", () => go({ q: at("q").value }, true));
  at("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    if (results.length && state.q.trim()) go({ f: results[0] });
  });
  at("sort").addEventListener("change", () => go({ sort: at("sort").value }, true));
  at("order").addEventListener("change", () => go({ order: at("order").value }, true));
  at("site").addEventListener("change", () => go({ site: at("site").value, f: null }));
  at("more").addEventListener("click", () => {
    const before = shown;
    more();
    at("table").tBodies[0].rows[before]?.querySelector("a").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      at("q").focus();
    } else if (event.key === "Escape" && state.f !== null && !typing) close();
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.matches?.("tbody a[data-feature]")) {
      const next = event.key === "ArrowDown" ? event.target.closest("tr").nextElementSibling : event.target.closest("tr").previousElementSibling;
      if (next) {
        event.preventDefault();
        next.querySelector("a").focus();
      }
    }
  });
  window.addEventListener("hashchange", () => settle(false));
  settle(true);
})();
