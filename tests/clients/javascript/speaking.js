// What a driver is told, and how it says what it hears: in node, and in a frame of a page.
const framed = typeof process === "undefined"
export const argument = JSON.parse(framed ? decodeURIComponent(location.hash.slice(1)) : process.argv[2])
export const say = line => {
    if (framed) parent.postMessage([window.name, line], "*")
    else process.stdout.write(JSON.stringify(line) + "\n")
}
export const names = [...argument.names, "message"]
export const hear = event =>
    say({event: event.type || event.event || "message", data: event.data, id: event.lastEventId ?? event.id ?? null})

// What has the form of an EventSource.
export const listen = source => {
    source.addEventListener("open", () => say({open: true}))
    source.addEventListener("error", event => {
        say({error: String(event?.message ?? event?.type ?? event)})
        if (source.readyState === 2) say({closed: true})
    })
    for (const name of names) source.addEventListener(name, hear)
}

// What is no module.
export const load = async src => {
    const script = document.createElement("script")
    script.src = src
    document.head.append(script)
    await new Promise(loaded => script.onload = loaded)
}
