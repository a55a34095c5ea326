import {EventSource} from "eventsource4"
import {argument, listen} from "./speaking.js"

const {url, lines, place} = argument
const withPlace = () => {
    // lines
    const source = new EventSource(`${url}?last_event_id=${place}`)
    // to here
    return source
}
listen(lines ? withPlace() : new EventSource(url))
