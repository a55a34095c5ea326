// One stream says what is asked; for each question there is a stream of its own that has the answer.

const chat = location.pathname; // /chats/42
const turns = document.getElementById("turns");
const ask = document.getElementById("ask");
const link = document.getElementById("link");

const NOTES = {
  failed: "The model failed.",
  stopped: "Stopped.",
  abandoned: "Cut off: the worker that wrote this is gone.",
  refused: "This cannot be read.",
};

function post(path, content = {}) {
  return fetch(path, {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify(content),
  });
}

const questions = new EventSource("/events" + chat);
questions.addEventListener("turn", event => show(JSON.parse(event.data)));
questions.onopen = () => link.textContent = "";
questions.onerror = () =>
  link.textContent = questions.readyState === EventSource.CLOSED ? "not connected" : "connecting again …";

function show({turn, by, prompt}) {
  if (document.getElementById(turn)) return;
  document.getElementById("empty")?.remove();
  const article = document.getElementById("turn").content.cloneNode(true).firstElementChild;
  article.id = turn;
  article.querySelector(".question b").textContent = by;
  article.querySelector(".question span").textContent = prompt;
  article.querySelector(".stop").onclick = () => post(`${chat}/${turn}/stop`);
  article.querySelector(".again").onclick = () => post(chat, {prompt});
  follow(() => turns.append(article));
  listen(article);
}

function listen(article) {
  const text = article.querySelector(".text");
  const state = (name, note = "") => {
    article.dataset.state = name;
    article.querySelector("[role=status]").textContent = note;
    follow(() => {});
  };
  // The whole answer so far, and then what is said next, over as many connections as it takes.
  const stream = new EventSource(`/events${chat}/${article.id}`);
  stream.addEventListener("token", event => {
    if (article.dataset.state !== "speaking") state("speaking");
    follow(() => text.append(event.data));
  });
  // What follows is everything from its beginning.
  stream.addEventListener("edge-reset", () => text.textContent = "");
  for (const end of ["complete", "failed", "stopped", "abandoned"]) {
    stream.addEventListener(end, () => {
      stream.close(); // without this it asks once more, and is told that there is nothing
      state(end, NOTES[end]);
    });
  }
  stream.onerror = () => stream.readyState === EventSource.CLOSED && state("refused", NOTES.refused);
}

// Who reads the end goes on reading the end.
function follow(change) {
  const page = document.scrollingElement;
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 40;
  change();
  if (atEnd) page.scrollTop = page.scrollHeight;
}

ask.onsubmit = async event => {
  event.preventDefault();
  const prompt = ask.elements.prompt.value;
  ask.elements.prompt.value = "";
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  const answer = await post(chat, {prompt}).catch(() => null);
  if (answer?.ok) return;
  ask.elements.prompt.value = prompt;
  link.textContent = "not sent";
};
