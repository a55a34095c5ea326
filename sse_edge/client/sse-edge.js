export function subscribe(url, {onEvent} = {}) {
    const source = new EventSource(url)
    source.onmessage = event => onEvent({name: "message", data: event.data, id: event.lastEventId})
    return {close: () => source.close()}
}
