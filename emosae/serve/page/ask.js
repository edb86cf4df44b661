// Asking the server. An answer is a stream of server-sent events; when the page lets go of it, its work is dropped.

const refused = async (response) => {
  const text = await response.text();
  let sentence = text;
  try {
    sentence = JSON.parse(text).error ?? text;
  } catch {
    // a plain sentence already
  }
  return new Error(sentence || `The desk answered ${response.status}. Reload the page.`);
};

export const get = async (path) => {
  const response = await fetch(path);
  if (!response.ok) throw await refused(response);
  return response.json();
};

// Gives the events one by one, the last one of type "end".
export async function* events(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  if (!response.ok) throw await refused(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
  }
}

export const stop = (name) => fetch(`api/stop/${encodeURIComponent(name)}`, { method: "POST" });
