import {subscribe} from "/events/sse-edge.js";

// One stream carries everything, to all tabs of this browser.  What is below it only shows what arrived.

const $ = id => document.getElementById(id);
const MOST_ROWS = 80;
const MOST_NOTES = 30;
const RETRY_SECONDS = 2;
const LOST = ["cut", "network", "silent"];  // it ended without a word of the server's

let session = null;      // what /session said when the page was loaded, or after a reset
let stream = null;       // what subscribe gave
let lastId = "";         // where the page is: what it was loaded with, and then the newest event's id
let skew = Infinity;     // this clock minus the server's, as the fastest answer or event so far shows it
let openedAt = 0;        // when the present connection began
let away = null;         // {since, reason, caught, numbers} from the end of one connection on

// ---- small things

const seconds = ms => (ms / 1000).toFixed(1) + " s";
const clock = ms => new Date(ms).toLocaleTimeString([], {hour12: false});

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function set(id, text) {
  const place = $(id);
  if (place.textContent === String(text)) return;
  place.textContent = text;
  place.classList.remove("fresh");
  void place.offsetWidth;               // so that the animation begins anew
  place.classList.add("fresh");
}

function complain(id, message) {
  $(id).textContent = message || "";
  $(id).hidden = !message;
}

async function post(path, fields) {
  let response;
  try {
    response = await fetch(path, {method: "POST", body: new URLSearchParams(fields)});
  } catch {
    return {message: "The server cannot be reached."};
  }
  const content = await response.json().catch(() => ({}));
  return response.ok ? content : {message: content.message || "That did not work."};
}

// ---- the stream

// What each event does, and how the list of all says it; figures are not listed.
const EVENTS = {
  status: [showOrder, data => data.status],
  progress: [showJob, data => `${data.percent} %`],
  note: [showNote, data => data.text],
  away: [data => away?.numbers.push(data.number), data => `${data.number} of ${data.of} while you were away`],
  figures: [showFigures],
  message: [showPlainNote, data => data, text => text],
};

function connect() {
  stream = subscribe(`/events/orders/${session.order}`, {place: lastId, onEvent: hear, onReset: reset, onState: turnTo});
}

function hear({name, data, id}) {
  const [show, describe, parse = JSON.parse] = EVENTS[name] ?? [];
  if (!show) return;
  const now = Date.now();
  const publishedAt = Number(id.split("-")[0]);
  if (publishedAt) skew = Math.min(skew, now - publishedAt);
  lastId = id || lastId;
  if (away && away.until === undefined) opened();  // what was missed is there before the rest
  const content = parse(data);
  show(content);
  if (!describe) return;
  // Published before this connection began: it was kept for us and has been caught up on.
  const caught = away !== null && publishedAt > 0 && publishedAt + skew < openedAt;
  if (caught) away.caught += 1;
  row(publishedAt ? publishedAt + skew : now, id, name, describe(content), caught ? "caught" : "");
  if (caught) showTrip();
}

function reset({reason}) {
  turn(`Events may be missing (${reason}); the page loads what holds now`);
  reload();
}

function turnTo({state, code, reason}) {
  if (state === "live") opened();
  if (state === "waiting" || state === "refused" || state === "ended") lost(code ?? reason);
  if (state === "refused" || state === "ended") setTimeout(recover, RETRY_SECONDS * 1000);
}

function opened() {
  openedAt ||= Date.now();
  document.body.classList.remove("away");
  if (away && away.until === undefined) {
    openedAt = away.until = Date.now();
    turn(`Reconnected after ${seconds(away.until - away.since)}, asking for everything after ${lastId}`);
    showTrip();
    if (away.asked) setTimeout(() => { $("drop").disabled = false; sayTrip(); }, 600);
  }
  showLink();
}

function lost(code) {
  if (away && away.until === undefined) return;
  const said = !LOST.includes(code);
  turn(said ? `The server ends this connection: ${code}` : "The connection was lost");
  leave(said ? code : "connection lost");
}

function leave(reason) {
  const asked = $("drop").disabled;
  away = {since: Date.now(), reason, asked, caught: 0, numbers: [], until: undefined};
  document.body.classList.add("away");
  showLink();
  showTrip();
}

// The client asks no more where asking would not help, so the page has to find out what is the matter.
async function recover() {
  stream.close();
  const before = session.user;
  if (!await load()) {
    setTimeout(recover, RETRY_SECONDS * 1000);
  } else if (session.user !== before) {
    if (!session.user) sessionStorage.setItem("notice", "Your sign-in is not valid any more. Please sign in again.");
    location.reload();
  } else {
    showState();
    connect();
  }
}

async function load() {
  try {
    const response = await fetch("/session");
    if (!response.ok) return false;
    session = await response.json();
    skew = Math.min(skew, Date.now() - session.now);
    return true;
  } catch {
    return false;
  }
}

async function reload() {
  if (await load() && session.user) showState();
}

// ---- the boxes

function showState() {
  showOrder(session.state);
  showFigures(session.figures);
  if (session.job !== null) showJob({percent: session.job});
}

function showOrder(order) {
  set("status", order.status);
  [...$("steps").children].forEach((step, at) => {
    step.className = at <= order.step ? "done" : "";
    if (at === order.step) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
}

function showJob({percent}) {
  $("bar").value = percent;
  $("percent").textContent = `${percent} %`;
  const done = percent >= 100;
  $("job-text").textContent = done ? "Done" : "Working";
  $("job").disabled = !done;
  $("job").textContent = done ? "Run it again" : "Start the job";
}

function showNote(note) {
  addNote(note.text, note.from, note.to);
}

function showPlainNote(text) {
  addNote(text, "a terminal");
}

function addNote(text, from, to) {
  const notes = $("notes");
  notes.querySelector(".empty")?.remove();
  const item = element("li", undefined, "fresh");
  item.append(element("span", text), element("span", to ? "only you" : "everyone", "to"));
  item.append(element("small", `${from}, ${clock(Date.now())}`));
  notes.prepend(item);
  while (notes.children.length > MOST_NOTES) notes.lastChild.remove();
}

function showFigures(figures) {
  set("streams", figures.streams);
  $("delivered").textContent = figures.delivered.toLocaleString();
  showCodes("refusals", figures.refusals, "nobody yet");
  showCodes("endings", figures.endings, "none yet");
}

function showCodes(id, counts, none) {
  const codes = Object.entries(counts).map(([code, count]) => element("li", `${code} ${count}`));
  $(id).replaceChildren(...(codes.length ? codes : [element("li", none, "empty")]));
}

// ---- the connection, as one sees it

function showLink() {
  const connected = !document.body.classList.contains("away") && openedAt > 0;
  $("link").dataset.state = connected ? "live" : "waiting";
  $("link-text").textContent = connected ? "Live" : away ? "Reconnecting" : "Connecting";
}

function showTrip() {
  if (!away) return;
  const back = away.until !== undefined;
  mark("trip-dropped", true, `${clock(away.since)}, reason: ${away.reason}`);
  mark("trip-waiting", true, `${seconds((back ? away.until : Date.now()) - away.since)}${back ? "" : ", then the page asks again"}`);
  mark("trip-back", back, back ? summary() : "not yet");
}

function mark(id, done, text) {
  $(id).className = done ? "done" : "";
  $(id).querySelector("span").textContent = text;
}

function summary() {
  const events = `${away.caught} event${away.caught === 1 ? "" : "s"} caught up`;
  if (!away.asked) return events;
  const whole = away.numbers.join() === "1,2,3,4,5";
  return whole ? `${events}, none lost` : events;
}

function sayTrip() {
  $("trip-said").textContent = `Connected again. ${summary()}.`;
}

function turn(text) {
  row(Date.now(), "", "connection", text, "turn");
}

function row(time, id, name, text, className) {
  const made = element("tr", undefined, className);
  made.append(element("td", clock(time)), element("td", id), element("td", name), element("td", text));
  $("timeline").prepend(made);
  while ($("timeline").children.length > MOST_ROWS) $("timeline").lastChild.remove();
}

function showTabs() {
  const count = stream?.tabs ?? 1;
  set("tabs", count === 1 ? "one stream, one tab" : `one stream, ${count} tabs`);
}

setInterval(() => {
  showTabs();
  if (away && away.until === undefined) showTrip();
}, 100);

// ---- the buttons

$("job").onclick = async () => {
  $("job").disabled = true;
  const {message} = await post("/job");
  complain("job-problem", message);
  if (message) $("job").disabled = false;
};

$("publish").onsubmit = async event => {
  event.preventDefault();
  const {message} = await post("/publish", new FormData($("publish")));
  complain("publish-problem", message);
  if (!message) $("text").value = "";
};

$("drop").onclick = async () => {
  $("drop").disabled = true;
  $("trip-said").textContent = "";
  const {message} = await post("/drop");
  complain("drop-problem", message);
  if (message) $("drop").disabled = false;
};

$("tries").onclick = async event => {
  const button = event.target.closest("button");
  if (!button) return;
  const answer = await post("/try", {attempt: button.value});
  const verdict = $("verdict");
  if (answer.message) {
    verdict.replaceChildren(element("p", answer.message));
    return;
  }
  const heading = element("strong", `${answer.status} `);
  heading.append(element("span", answer.code));
  const request = element("pre");
  request.append(element("code", answer.request.join("\n")));
  verdict.replaceChildren(heading, element("p", answer.detail, "quiet"), request);
};

// ---- the beginning

function welcome() {
  const notice = sessionStorage.getItem("notice");
  sessionStorage.removeItem("notice");
  complain("welcome-notice", notice);
  $("welcome").hidden = false;
}

function enter() {
  for (const id of ["name", "hello"]) $(id).textContent = session.name;
  $("order-item").textContent = session.item[0].toUpperCase() + session.item.slice(1);
  $("order-number").textContent = session.order;
  $("to").value = "everyone";
  // Cookies belong to a host name, and this machine has two: the second window can be somebody else.
  const other = {"127.0.0.1": "localhost", localhost: "127.0.0.1"}[location.hostname];
  if (other) $("second-link").href = `http://${other}:${location.port}/`;
  else $("second").textContent = "To see both sides, sign in as somebody else in a private window.";
  $("shell").hidden = !session.redis;
  $("shop").hidden = false;
  showState();
  lastId = session.cursor;
  connect();
}

(async () => {
  while (!await load()) await new Promise(resume => setTimeout(resume, RETRY_SECONDS * 1000));
  if (session.user) enter();
  else welcome();
})();
