import {argument, say} from "./speaking.js"

const {subscribe} = await import(new URL("/calm/sse-edge.js", argument.url))

subscribe(argument.url, {
    onEvent: ({name, data, id}) => say({event: name, data, id}),
    onReset: reset => say({event: "edge-reset", data: JSON.stringify(reset), id: null}),
    onState: ({state}) => {
        if (state === "live") say({open: true})
        if (state === "refused" || state === "ended") say({closed: true})
    },
})
