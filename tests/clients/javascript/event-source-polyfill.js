import {argument, listen, load} from "./speaking.js"

await load("/node_modules/event-source-polyfill/src/eventsource.js")

const {url, lines, place} = argument
const withPlace = () => {
    // lines
    const source = new EventSourcePolyfill(`${url}?lastEventId=${place}`)
    // to here
    return source
}
listen(lines ? withPlace() : new EventSourcePolyfill(url))
