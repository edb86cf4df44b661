// Small things that every part of the page needs. All text is set as text: nothing that a model wrote is read as HTML.

export const at = (id) => document.getElementById(id);

export const make = (tag, options = {}, children = []) => {
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

// Three digits, as people write them.
export const number = (value) => {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
};

export const plain = (name) => name.replaceAll("_", " ");

export const fill = (select, names, title = plain) => {
  select.replaceChildren(...names.map((name) => make("option", { value: name, text: title(name) })));
};
