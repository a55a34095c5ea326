import {argument, hear, load, say} from "./speaking.js"

await load("/node_modules/htmx.org/dist/htmx.js")
await load("/node_modules/htmx.org/dist/ext/hx-sse.js")

const {url, lines, place} = argument
if (lines) {
    // lines
    const finished = new Set()
    addEventListener("htmx:sse:before:message", ({detail: {connection, message}}) => {
        if (message.event !== "edge-close") return
        if (JSON.parse(message.data).reason === "finished") finished.add(connection.url)
    })
    addEventListener("htmx:sse:before:connection", event => {
        if (finished.has(event.detail.connection.url)) event.preventDefault()
    })
    // to here
    document.body.innerHTML = `<div hx-sse:connect="${url}?last_event_id=${place}"></div>`
} else document.body.innerHTML = `<div hx-sse:connect="${url}"></div>`
addEventListener("htmx:sse:after:connection", () => say({open: true}))
addEventListener("htmx:sse:error", ({detail}) => say({error: String(detail.error)}))
addEventListener("htmx:response:error", () => say({closed: true}))
addEventListener("htmx:sse:close", () => say({closed: true}))
addEventListener("htmx:sse:before:message", ({detail}) => {
    const {event, data, id} = detail.message
    hear({event: event || "message", data, id})
})
htmx.process(document.body)
