import {createEventSource} from "eventsource-client"
import {argument, hear, say} from "./speaking.js"

const {url, lines, place} = argument
const onMessage = hear
const ours = {onConnect: () => say({open: true}), onDisconnect: () => say({error: "disconnected"})}
if (lines) {
    // lines
    const source = createEventSource({
        url,
        initialLastEventId: place,
        onMessage,
        async fetch(...request) {
            const response = await fetch(...request)
            if ([401, 403, 404].includes(response.status)) source.close()
            return response
        },
    })
    // to here
} else createEventSource({url, onMessage, ...ours})
