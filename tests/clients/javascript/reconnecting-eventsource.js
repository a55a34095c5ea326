import ReconnectingEventSource from "reconnecting-eventsource"
import {argument, listen} from "./speaking.js"

// By default it is up to three seconds, for which no test likes to wait.
const source = new ReconnectingEventSource(argument.url, {max_retry_time: 600})
if (argument.lines) {
    // lines
    source.addEventListener("edge-close", ({data}) => {
        if (JSON.parse(data).reason === "finished") source.close()
    })
    // to here
}
listen(source)
