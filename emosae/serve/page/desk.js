// The page: what is asked for, what comes back, plans, and the feature browser beside it.
import { events, get, stop } from "./ask.js";
import { at, make, number, plain } from "./make.js";
import { Side } from "./side.js";
import { Controls } from "./wish.js";

const KEPT = "emosae desk";
const sides = { unsteered: new Side("unsteered"), steered: new Side("steered") };
let desk;
let controls;
let running = null; // the name of the job that can be stopped
let turn = 0; // what an earlier stream still has to say is not shown

const say = (text, wrong = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
};
const keep = () => {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(controls.read()));
  } catch {
    // a browser that keeps nothing loses the settings on reload, and nothing else
  }
};
const busy = (now) => {
  at("generate").disabled = now;
  at("save").disabled = now;
  at("load").disabled = now;
  at("stop").disabled = !now;
  document.body.dataset.busy = now ? "yes" : "no";
};

// What the events of a stream do to the page.
const on = {
  job: (event) => { running = event.name; },
  queued: (event) => say(event.ahead ? `Waiting: ${event.ahead} before this one.` : "Beginning…"),
  status: (event) => say(event.text),
  start: (event) => { sides[event.side].start(event); say(`Writing the ${event.side} text…`); },
  token: (event) => sides[event.side].token(event),
  moved: (event) => sides[event.side].move(event.moved),
  text: (event) => sides[event.side].done(event),
  note: (event) => sides[event.side].note(event.text),
  measures: (event) => sides[event.side].measure(event.measures, event.side === "steered" ? sides.unsteered : null),
  written: () => { running = null; busy(false); say(desk.steering ? "Both texts are written." : "The text is written. Move a slider or add a feature to steer it."); },
  stopped: () => say("Stopped."),
  error: (event) => say(event.text, true),
  plan: (event) => showPlan(event),
  wish: (event) => { controls.write(event.wish); keep(); say("The plan was read."); at("plan-note").textContent = event.note; },
};

const follow = async (path, body) => {
  const mine = ++turn;
  running = null;
  busy(true);
  say("Asking…");
  let plan = null;
  try {
    for await (const event of events(path, body)) {
      if (mine !== turn) continue;
      if (event.type === "plan") plan = event;
      on[event.type]?.(event);
    }
  } catch (error) {
    if (mine === turn) say(error instanceof TypeError ? "The desk does not answer. Is emosae serve still running?" : error.message, true);
  } finally {
    if (mine === turn) {
      running = null;
      busy(false);
    }
  }
  return plan;
};

const showPlan = (event) => {
  desk.steering = event.plan !== null;
  at("plan-note").textContent = event.note;
  at("python").textContent = event.python;
  at("python").hidden = at("python-help").hidden = false;
  at("python-help").textContent = event.plan ? `The steered text in Python, with the plan saved as ${desk.file} beside it:` : "The text in Python:";
  at("copy").disabled = false;
  at("clamps").hidden = !event.clamps.length;
  at("clamps").querySelector("summary").textContent = event.clamps.length === 1 ? "1 clamp" : `${event.clamps.length} clamps`;
  at("clamps").querySelector("tbody").replaceChildren(...event.clamps.map((each) => make("tr", {}, [
    make("th", { scope: "row", text: String(each.feature) }), make("td", { text: plain(each.of) }), make("td", { text: each.site }),
    make("td", { text: plain(each.op) + (each.only_if_active ? ", only where active" : "") }),
    make("td", { class: "n", text: each.op === desk.no_value ? "" : number(each.value) }),
  ])));
  if (!event.plan) sides.steered.clear();
};

const save = async () => {
  const event = await follow("api/plan", controls.read());
  if (!event) return;
  if (!event.plan) return void say("Nothing is steered, so there is no plan. Move a slider or add a feature.", true);
  const address = URL.createObjectURL(new Blob([`${JSON.stringify(event.plan, null, 1)}\n`], { type: "application/json" }));
  make("a", { href: address, download: desk.file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  say(`The plan was saved as ${desk.file}.`);
};

const copy = async () => {
  try {
    await navigator.clipboard.writeText(at("python").textContent);
    say("The Python was copied.");
  } catch {
    getSelection().selectAllChildren(at("python")); // where a page may not write to the clipboard
    say("The Python is selected. Copy it with the keyboard.");
  }
};

// The browser's page says in its address which feature is open.
const shown = () => {
  const inside = at("frame").contentWindow;
  const given = new URLSearchParams(inside.location.hash.slice(1));
  const menu = JSON.parse(inside.document.getElementById("menu")?.textContent ?? "[]");
  const own = menu.find((each) => each.slug === given.get("site")) ?? menu[0];
  return own && /^\d+$/.test(given.get("f") ?? "") ? { site: own.site, feature: Number(given.get("f")) } : null;
};
const offer = () => {
  const open = shown();
  at("add-shown").disabled = !open;
  at("add-shown").textContent = open ? `Add feature ${open.feature}` : "Add the feature that is open";
};
const listenToBrowser = () => {
  at("browser").hidden = false;
  at("drag-help").hidden = false;
  at("browser").addEventListener("toggle", () => {
    if (at("browser").open && !at("frame").src) at("frame").src = "browse/";
  });
  at("frame").addEventListener("load", () => {
    offer();
    at("frame").contentWindow.addEventListener("hashchange", offer);
  });
  at("add-shown").addEventListener("click", () => {
    const open = shown();
    if (open && !controls.add(open)) say(at("features-help").textContent, true);
    else if (open) say(`Feature ${open.feature} was added.`);
  });
};

const KIND = "application/x-emosae-feature";
const listenToDrops = () => {
  // The whole page takes them, so that the list need not be in sight beside the browser.
  const box = document;
  const over = (now) => at("drop").classList.toggle("over", now);
  box.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes(KIND)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    over(true);
  });
  box.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  box.addEventListener("drop", (event) => {
    over(false);
    const data = event.dataTransfer.getData(KIND);
    if (!data) return;
    event.preventDefault();
    try {
      const { site, fingerprint, feature, maximum, words } = JSON.parse(data);
      const sae = desk.saes.find((each) => each.fingerprint === fingerprint);
      if (!sae) controls.say(`Feature ${Number(feature)} is of another SAE than the desk's. Build the browser for this one.`);
      else controls.add({ site: sae.site ?? site, feature: Number(feature), maximum: Number(maximum), words: String(words ?? "") });
    } catch {
      controls.say("What was dropped is no feature. Drag a feature's number or heading.");
    }
  });
};

const open = async () => {
  desk = await get("api/desk");
  desk.steering = false;
  document.title = `${desk.name} · emosae steering desk`;
  at("title").textContent = desk.name;
  at("subtitle").textContent = `Steered at ${desk.site} · ${desk.emotions.length} emotions of ${desk.concepts} · ${desk.saes.map((sae) => sae.name).join(", ")}`;
  at("phantom").hidden = !desk.phantom;
  const shipped = desk.emotions.every((name) => desk.shipped.includes(name));
  at("language-field").hidden = shipped;
  at("emotions-help").textContent = shipped
    ? "Features and strengths come from a file of sets; 1 is the dose it gives."
    : desk.why_not || "Features are chosen by the emotion's words, once, which takes a while; dose 1 pushes by half of the residual's norm.";
  controls = new Controls(desk, keep);
  let before = null;
  try {
    before = JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    // none
  }
  controls.write({ ...desk.start, ...before });
  if (desk.browser) listenToBrowser();
  listenToDrops();
  at("desk").addEventListener("submit", (event) => {
    event.preventDefault();
    for (const side of Object.values(sides)) side.clear();
    follow("api/generate", controls.read());
  });
  at("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("desk").requestSubmit();
  });
  at("stop").addEventListener("click", () => { if (running) stop(running); });
  at("save").addEventListener("click", save);
  at("copy").addEventListener("click", copy);
  at("load").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", async () => {
    const [file] = at("file").files;
    if (file) await follow("api/read", await file.text());
    at("file").value = "";
  });
  busy(false);
  say("Ready.");
  document.body.dataset.ready = "yes";
};

open().catch((error) => say(error.message, true));
