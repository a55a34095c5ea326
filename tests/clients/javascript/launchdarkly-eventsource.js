import {EventSource} from "launchdarkly-eventsource"
import {argument, listen, say} from "./speaking.js"

const {url, lines, place} = argument
const withLines = () => {
    // lines
    const source = new EventSource(`${url}?last_event_id=${place}`, {
        readTimeoutMillis: 45_000,
        errorFilter: ({status}) => ![204, 401, 403, 404].includes(status),
    })
    // to here
    return source
}
const source = lines ? withLines() : new EventSource(url)
listen(source)
source.addEventListener("closed", () => say({closed: true}))
