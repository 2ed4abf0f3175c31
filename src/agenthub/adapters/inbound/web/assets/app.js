// The dashboard: what the hub knows, live. Server texts are untrusted: textContent only.
const TOKEN = "agenthub-token";
const find = (id) => document.getElementById(id);
const SHOWN_EVENTS = 30;
const SHOWN_TOOLS = 50;
let leaving = new AbortController();

class Refused extends Error {}

function token() {
  return sessionStorage.getItem(TOKEN);
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${token()}`, ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) throw new Refused("This token is not accepted.");
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer;
}

async function list(path) {
  return (await (await ask(path)).json()).items;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function several(counts, kind) {
  const count = counts[`${kind}s`] ?? 0;
  return `${count} ${kind}${count === 1 ? "" : "s"}`;
}

function serverCard(server) {
  const card = element("article", undefined, "card");
  const title = element("h3", server.name);
  title.append(element("span", server.status, `badge ${server.status}`));
  const offers = ["tool", "resource", "prompt"].map((kind) => several(server.counts, kind)).join(", ");
  const { type, command, args, url } = server.transport;
  const place = type === "stdio" ? [command, ...args].join(" ") : url;
  card.append(title, element("p", offers), element("p", place));
  if (server.last_error) card.append(element("p", server.last_error, "fault"));
  return card;
}

async function showServers() {
  const servers = await list("/api/mcp/servers?limit=200");
  const none = element("p", "No server yet. Add one: agenthub add my-server -- command");
  find("servers").replaceChildren(...(servers.length ? servers.map(serverCard) : [none]));
}

async function showTools() {
  const query = find("query").value.trim();
  const asked = query ? `&query=${encodeURIComponent(query)}` : "";
  const tools = await list(`/api/tools?limit=${SHOWN_TOOLS}${asked}`);
  const rows = tools.map((tool) => {
    const row = element("li");
    row.append(element("code", tool.name), " ", element("span", tool.description ?? ""));
    return row;
  });
  if (tools.length === SHOWN_TOOLS) rows.push(element("li", "… search to see others."));
  find("tools").replaceChildren(...(rows.length ? rows : [element("li", "No tool found.")]));
}

const QUESTIONS = {
  approval: { path: "/api/approvals", asks: "wants to be called", no: "deny" },
  elicitation: { path: "/api/elicitation/requests", asks: "asks for input", no: "respond" },
  sampling: { path: "/api/sampling/requests", asks: "asks for a model's answer", no: "reject" },
};

function questionCard(question) {
  const { path, asks, no } = QUESTIONS[question.kind];
  const card = element("article", undefined, "card");
  const place = [question.server, question.tool ?? question.key].filter(Boolean).join(" / ");
  const by = question.agent ? `for ${question.agent}, ` : "";
  const until = new Date(question.expires_at).toLocaleTimeString();
  card.append(element("h3", `${place} ${asks}`), element("p", `${by}until ${until}`));
  const { message, url, arguments: given } = question.question;
  for (const text of [message, url, given && JSON.stringify(given, null, 2)]) {
    if (text) card.append(element("pre", text));
  }
  for (const warning of question.warnings ?? []) card.append(element("p", warning, "fault"));
  const decide = (label, verb, body, className) => {
    const button = element("button", label, className);
    button.addEventListener("click", async () => {
      card.querySelectorAll("button").forEach((one) => (one.disabled = true));
      const headers = { "Content-Type": "application/json" };
      const options = { method: "POST", headers, body: JSON.stringify(body) };
      try {
        await ask(`${path}/${question.id}/${verb}`, options);
      } catch (error) {
        card.append(element("p", error.message, "fault"));
      }
      reloadSoon();
    });
    card.append(button, " ");
  };
  if (question.kind === "approval") decide("Let it pass once", "approve", {});
  else card.append(element("p", `To answer: agenthub inbox answer ${question.id}`));
  decide("Refuse", no, question.kind === "elicitation" ? { action: "decline" } : {}, "quiet");
  return card;
}

async function showQuestions() {
  const kinds = Object.values(QUESTIONS).map(({ path }) => list(`${path}?status=pending&limit=50`));
  const waiting = (await Promise.all(kinds)).flat();
  waiting.sort((one, other) => one.expires_at.localeCompare(other.expires_at));
  find("waiting").hidden = !waiting.length;
  find("questions").replaceChildren(...waiting.map(questionCard));
}

function showConfig() {
  const headers = { Authorization: "Bearer <token or key>" };
  const hub = { type: "http", url: `${location.origin}/mcp`, headers };
  find("config").textContent = JSON.stringify({ mcpServers: { agenthub: hub } }, null, 2);
}

function showEvent(event) {
  const row = element("li");
  const at = element("time", new Date(event.at).toLocaleTimeString());
  at.dateTime = event.at;
  row.append(at, " ", element("code", event.type), " ", describe(event));
  find("events").prepend(row);
  while (find("events").children.length > SHOWN_EVENTS) find("events").lastChild.remove();
}

function describe(event) {
  if (event.type === "server.status") return `${event.server} is ${event.status}`;
  if (event.type === "request.resolved") return `${event.server}: ${event.kind} ${event.status}`;
  if (event.type.endsWith("_request")) return `${event.server} waits for you`;
  if (event.type === "catalog.changed") return `${event.server ?? "a group"}: ${event.kinds.join(", ")}`;
  return "";
}

async function* events(signal) {
  const answer = await ask("/api/events", { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const parts = buffer.split("\n\n");
    buffer = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

async function follow(signal) {
  while (!signal.aborted) {
    try {
      await reload();
      for await (const event of events(signal)) {
        if (!event.type) continue;
        showEvent(event);
        reloadSoon();
      }
    } catch (error) {
      if (error instanceof Refused) return leave(error.message);
    }
    if (signal.aborted) return;
    showConnected(false);
    await new Promise((done) => setTimeout(done, 2000));
  }
}

async function reload() {
  await Promise.all([showServers(), showTools(), showQuestions()]);
  showConnected(true);
}

let reloading;
function reloadSoon() {
  clearTimeout(reloading);
  reloading = setTimeout(() => reload().catch(() => showConnected(false)), 150);
}

function showConnected(isConnected) {
  find("live").hidden = !isConnected;
  find("lost").hidden = isConnected;
}

async function enter() {
  leaving = new AbortController();
  await reload();
  showConfig();
  find("enter").hidden = true;
  find("board").hidden = find("leave").hidden = false;
  follow(leaving.signal);
}

function leave(reason = "") {
  leaving.abort();
  sessionStorage.removeItem(TOKEN);
  find("board").hidden = find("leave").hidden = find("live").hidden = find("lost").hidden = true;
  for (const id of ["servers", "tools", "events", "questions"]) find(id).replaceChildren();
  find("enter").hidden = false;
  find("refusal").textContent = reason;
  find("token").focus();
}

async function tryEnter() {
  try {
    await enter();
  } catch (error) {
    if (error instanceof Refused) leave(error.message);
    else find("lost").hidden = false;
  }
}

find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, find("token").value.trim());
  find("token").value = "";
  tryEnter();
});
find("leave").addEventListener("click", () => leave());
find("query").addEventListener("input", reloadSoon);

// The link that the hub prints carries the token behind '#', which is never sent to a server.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname);
}
if (token()) tryEnter();
else leave();
