// A fetch() for clients that read an answer's stream with a parser of their own, such as the AI SDK and AG-UI:
//
//     new DefaultChatTransport({api: "/api/chat", fetch: edgeFetch})
//     new HttpAgent({url: "/api/agent", fetch: edgeFetch})
//
// Those parsers take the data of every event for one of theirs, and the end of a response for the end of the
// answer.  So this leaves out what the edge itself says (edge-close, edge-refused), and goes on where it was when
// the connection ends before the answer does.

export async function edgeFetch(input, init = {}) {
  const response = await fetch(input, init);
  if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
  const answer = blocks(response, init);
  const body = new ReadableStream({
    async pull(controller) {
      const {value, done} = await answer.next();
      if (done) controller.close();
      else controller.enqueue(new TextEncoder().encode(value + "\n\n"));
    },
    cancel: () => answer.return(),
  });
  const headers = new Headers(response.headers);
  headers.set("x-vercel-ai-ui-message-stream", "v1");
  return new Response(body, {headers});
}

// The blocks of an answer, over as many connections as it takes.
async function* blocks(response, {headers, credentials, signal}) {
  const url = response.url; // where the request was sent on to
  let place, wait = 3000;
  for (;;) {
    try {
      for await (const block of split(response.body)) {
        const field = name => block.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
        place = field("id") ?? place;
        wait = field("retry") ?? wait;
        const event = field("event") ?? "";
        if (event === "edge-reset") throw new Lost("a part of the answer is not there any more");
        if (!event.startsWith("edge-")) yield block;
        else if (event === "edge-close" && JSON.parse(field("data")).reason === "finished") return;
      }
    } catch (error) {
      if (error instanceof Lost || signal?.aborted) throw error;
    }
    do {
      await new Promise(resolve => setTimeout(resolve, wait));
      signal?.throwIfAborted();
      const onward = new Headers(headers);
      onward.delete("content-type"); // what was posted is not posted again
      if (place) onward.set("last-event-id", place);
      response = await fetch(url, {headers: onward, credentials, signal}).catch(() => null);
    } while (!response || response.status === 429 || response.status >= 500);
    if (response.status === 204) return; // all of it was read
    if (!response.ok) throw new Lost(`the stream is refused: ${response.status}`);
  }
}

class Lost extends Error {}

// What is between blank lines; the edge ends lines with LF alone.
async function* split(body) {
  let text = "";
  for await (const piece of pieces(body.pipeThrough(new TextDecoderStream()))) {
    const parts = (text + piece).split("\n\n");
    text = parts.pop();
    yield* parts;
  }
}

// Safari's streams are no async iterators.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (let read; !(read = await reader.read()).done; ) yield read.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}
