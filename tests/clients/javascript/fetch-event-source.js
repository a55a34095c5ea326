import {fetchEventSource} from "@microsoft/fetch-event-source"
import {argument, hear, say} from "./speaking.js"

const {url, lines, place} = argument
const bare = {onmessage: hear, onerror: error => say({error: String(error)})}

const withLines = (place, handle) => {
    // lines
    class Final extends Error {}
    let finished = false

    const options = {
        openWhenHidden: true,
        fetch: (url, init) => fetch(url, {...init, headers: {...init.headers, "last-event-id": place}}),
        async onopen({status}) {
            if ([204, 401, 403, 404].includes(status)) throw new Final(`${status}: asking again is of no use`)
            if (status !== 200) throw new Error(`${status}: asks again`)
        },
        onmessage(event) {
            place = event.id || place
            if (event.event === "edge-close") finished = JSON.parse(event.data).reason === "finished"
            if (event.event !== "edge-position") handle(event)
        },
        onclose() { if (!finished) throw new Error("a planned end: asks again, from its place") },
        onerror(error) { if (error instanceof Final) throw error },
    }
    // to here
    return options
}

fetchEventSource(url, lines ? withLines(place, hear) : bare).then(
    () => say({closed: true}),
    error => say({raised: String(error)}),
)
