import {EventSourceParserStream} from "eventsource-parser/stream"
import {argument, hear, say} from "./speaking.js"

const {url, lines, place} = argument

async function once() {
    const response = await fetch(url, {headers: {accept: "text/event-stream"}})
    if (!response.ok) throw new Error(response.status)
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
    for await (const event of events) hear(event)
}

async function always(place, handle) {
    // lines
    let wait = 3000
    while (true) {
        try {
            const headers = {accept: "text/event-stream", "last-event-id": place}
            const response = await fetch(url, {headers})
            if ([204, 401, 403, 404].includes(response.status)) break
            const events = new EventSourceParserStream({onRetry: ms => wait = ms})
            for await (const event of response.body.pipeThrough(new TextDecoderStream()).pipeThrough(events)) {
                place = event.id ?? place
                handle(event)
            }
        } catch { /* cut: asks again */ }
        await new Promise(later => setTimeout(later, wait))
    }
    // to here
}

(lines ? always(place, hear) : once()).then(() => say({closed: true}), error => say({raised: String(error)}))
