/** One event: `name` is "message" where it was given none, `id` the place that it leads to. */
export interface EdgeEvent {
  name: string
  data: string
  id: string
}

/** Something of a channel is missing for good, or is not heard any more: load it again. */
export interface Reset {
  channel: string
  reason: string
}

export type State =
  | {state: "connecting"}
  /** `polling`: the network holds streams back, so it asks again and again. */
  | {state: "live"; polling: boolean}
  /** It tries again by itself: at `until`, or (code "hidden") when a tab is looked at. */
  | {state: "waiting"; until?: Date; code: string}
  /** It tries again only when a tab is looked at, or the network is back. */
  | {state: "refused"; code: string; status: number}
  /** For good: "finished", "closed", or "other-user" where the browser's user has changed. */
  | {state: "ended"; reason: string}

export interface Options {
  /** Every event but the edge's own. */
  onEvent?(event: EdgeEvent): void
  onReset?(reset: Reset): void
  onState?(state: State): void
  /** Where the page was rendered: an id that a publish returned, or a cursor. */
  place?: string | null
  /** Sent with each request; a function is asked before each, and once to know who may share it. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>)
  /** With the tabs of the same headers (true), of the same name (a text), or with none (false). */
  share?: boolean | string
  /** Seconds until a stream counts as held back, and polling begins: 5; 0 is never. */
  firstByte?: number
  /** Seconds that a stream is kept while no tab is seen: 300; 0 is for ever. */
  hidden?: number
}

export interface Stream {
  readonly state: State
  /** How many tabs hear it, this one too. */
  readonly tabs: number
  /** This tab hears no more; with `true` no tab does, of all that it shares a connection with. */
  close(everywhere?: boolean): void
}

/** Hears a stream of the edge. TypeError for an option that cannot be, by name. */
export function subscribe(url: string | URL, options?: Options): Stream

/** A function that reads a stream's text in pieces of any size. */
export function parser(on: {
  block(block: {id?: string; name?: string; data?: string}): void
  comment(text: string): void
  retry(ms: number): void
}): (text: string) => void

type ListenerOptions = boolean | AddEventListenerOptions

/** `<sse-edge src="…" place="…">`: a stream for as long as it is in a page, each event a `CustomEvent<EdgeEvent>`. */
export interface EdgeElement extends HTMLElement {
  /** What else `subscribe` takes; set it before `src`. */
  options?: Options
  /** What `subscribe` gave, while there is one. */
  readonly stream?: Stream
  addEventListener(name: "edge-reset", hear: (event: CustomEvent<Reset>) => void, options?: ListenerOptions): void
  addEventListener(name: "edge-state", hear: (event: CustomEvent<State>) => void, options?: ListenerOptions): void
  addEventListener(name: string, hear: (event: CustomEvent<EdgeEvent>) => void, options?: ListenerOptions): void
  addEventListener(name: string, hear: EventListenerOrEventListenerObject | null, options?: ListenerOptions): void
}

declare global {
  interface HTMLElementTagNameMap {
    "sse-edge": EdgeElement
  }
}
