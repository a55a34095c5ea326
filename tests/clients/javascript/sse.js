import {SSE} from "sse.js"
import {argument, listen, say} from "./speaking.js"

const {url, lines} = argument
const withLines = () => {
    // lines
    const source = new SSE(url, {headers: {Accept: "text/event-stream"}, autoReconnect: true})
    source.addEventListener("open", ({responseCode}) => {
        if ([204, 401, 403, 404].includes(responseCode)) source.close()
    })
    // to here
    return source
}
const source = lines ? withLines() : new SSE(url)
listen(source)
source.addEventListener("readystatechange", ({readyState}) => {
    if (readyState === SSE.CLOSED && !source.autoReconnect) say({closed: true})
})
source.stream()
