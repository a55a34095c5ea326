import {argument, hear, load, say} from "./speaking.js"

await load("/node_modules/htmx2/dist/htmx.js")
await load("/node_modules/htmx-ext-sse/dist/sse.js")

const {url, lines, names} = argument
if (lines) {
    // lines
    htmx.createEventSource = url => {
        const source = new EventSource(url, {withCredentials: true})
        source.addEventListener("edge-close", ({data}) => {
            if (JSON.parse(data).reason === "finished") source.close()
        })
        return source
    }
    // to here
}
addEventListener("htmx:sseOpen", () => say({open: true}))
addEventListener("htmx:sseError", () => say({error: "htmx:sseError"}))
addEventListener("htmx:sseBeforeMessage", ({detail}) => hear(detail))
const element = document.createElement("div")
element.innerHTML = `<div hx-ext="sse"><div><p sse-swap="${["message", ...names].join()}"></p></div></div>`
element.firstChild.setAttribute("sse-connect", url)
document.body.append(element)
htmx.process(element)
