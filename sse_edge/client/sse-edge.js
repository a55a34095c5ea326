// The page's half of sse_edge: one stream for all tabs of a browser; docs/CLIENT.md says what it does.
//
// subscribe() makes a Tab.  Its Hub lives in a SharedWorker (this file again), in the tab that holds a Web Lock, or in
// the tab itself, and has a Line for each URL and a Wire for each open response.  A tab keeps the place of what it was
// given and joins each hub with it, so that whichever of the two dies, nothing is lost and nothing comes twice.

const SILENCE = 15e3  // ms an edge is silent, until it shows that it is longer
const LONGEST = 60e3  // ms from one attempt to the next, at most
const AGAIN = 180e3  // ms until a network that holds streams back is tried again
const KEPT = 300  // events kept for tabs that come later
const OTHER = {state: "ended", reason: "other-user"}
const ROOM = 6000  // characters of URLs in one response; of each PART at least, so 16 of them
const PART = 375

const now = () => performance.now()
const name = Math.random
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const read = text => { try { return JSON.parse(text) } catch { return {} } }

/** How place a lies to b, as a number: NaN where there is no order, in other data and over several partitions. */
function compare(a, b) {
  const [x, y] = [a, b].map(place => /^(\d+)-(\d+)\.([a-z]{5})$/.exec(place))
  return x && y && x[3] === y[3] ? x[1] - y[1] || x[2] - y[2] : NaN
}

const ordered = place => compare(place, place) === 0

// ---- Parser

/** A function that reads pieces of text (WHATWG HTML, 9.2.6) and calls on.block({id, name, data}), comment, retry. */
export function parser(on) {
  let rest = "", block = {}
  function take(line) {
    if (!line) {
      if (Object.keys(block).length) on.block(block)
      return block = {}
    }
    const [, field, value] = /^([^:]*):? ?([^]*)$/.exec(line)
    if (!field) on.comment(value)
    else if (field === "data") block.data = "data" in block ? `${block.data}\n${value}` : value
    else if (field === "event") block.name = value
    else if (field === "id" && !value.includes("\0")) block.id = value
    else if (field === "retry" && /^\d+$/.test(value)) on.retry(+value)
  }
  return text => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/)  // a CR at the end may be half of a line's
    rest = lines.pop()
    lines.forEach(take)
  }
}

/** Whether a status may be another in a while. */
const passes = status => /200|429|5../.test(status)

const said = (name, list) => list.map(one => ({name, data: JSON.stringify(one)}))

/** A poll's answer as the blocks of a stream. */
const polled = ({resets, dropped, events, next, close}) => [
  ...said("edge-reset", resets),
  ...events.map(({id, event, data}) => ({id, name: event, data})),
  ...said("edge-dropped", dropped),
  {id: next || ""},
  ...said("edge-close", close ? [close] : []),
]

/** A block as tabs get it: with the place that it leads to, and whether it says that itself. */
const item = ({id = "", name, data}, place) =>
  ({id: id || place, own: Boolean(id) && id !== place, name: name || "message", data})

// ---- Hub

/** One URL, and the ports of the tabs that want it. */
class Line {
  ports = new Map()
  state = {state: "connecting"}
  kept = []  // what was heard after base
  fresh = []  // of that, what the tabs have not been given
  retry = 3000
  failures = 0
  streams = 0  // the moment when streaming is tried again

  constructor(hub, url) {
    this.hub = hub
    this.url = url
  }

  join(id, port) {
    if (!this.asked && (!this.ports.size || compare(this.place, port.place) > 0)) this.place = this.base = port.place
    if (port.who && (this.who ??= port.who) !== port.who) return this.hub.reach([id], {state: OTHER})
    this.firstByte = port.firstByte * 1e3
    this.over = false
    this.ports.set(id, port)
    this.ready(id, port)
    if (!port.ready) this.catchUp(id, port)
    this.count()
    this.hub.open()
  }

  /** From here on a tab is given what is heard, if it is of the same user, and has all that was before base. */
  ready(id, port) {
    const {who, state, place, base} = this
    const level = compare(port.place, base) >= 0 || !this.asked && port.place === base
    port.ready = port.who === who && (port.place ? level : !place)
    if (port.ready) this.hub.reach([id], {items: port.place ? this.kept : [], again: true, state, who})
    else if (state.state !== "live") this.hub.reach([id], {state})
  }

  /** Gives one tab what it lacks of what the others had, as whose it is, and then lets it hear what they hear. */
  async catchUp(id, port) {
    for (let wait = 100; ; wait *= 2) {
      try {
        const answer = await this.fetch("poll=0", port.place)
        const told = answer.status === 200 && await answer.json()
        if (this.ports.get(id) !== port) return
        if (!passes(answer.status)) break
        if (told) {
          if (told.next && !ordered(told.next)) break
          const items = polled(told).map(block => {
            const one = item(block, port.place)
            port.place = one.id
            return one
          })
          this.hub.reach([id], {items})
          port.who = this.who
          this.ready(id, port)
          if (port.ready) return
        }
      } catch {}
      await sleep(wait)
      if (this.ports.get(id) !== port) return
    }
    this.hub.reach([id], {alone: true})  // nothing tells how its place lies to this stream's
  }

  /** What a response says. */
  hear(block) {
    const {name, data} = block
    if (name === "edge-refused") return this.refused(read(data))
    if (name !== "edge-close") return this.keep(block)
    this.keep({id: block.id})
    const {reason} = read(data)
    this.failures = 0
    return reason === "finished" ? this.end({state: "ended", reason}) : this.later(reason)  // or is refused, if it may not
  }

  keep(block) {
    const one = item(block, this.place)
    if (one.own && !(compare(one.id, this.place) > 0)) {  // its first place, or other data than before
      this.flush()
      this.kept = []
      this.base = one.id
    }
    this.place = one.id
    if (!one.own && one.data === undefined) return
    this.fresh.push(one)
    this.kept.push(one)
    if (this.kept.length > KEPT) this.base = this.kept.shift().id
  }

  flush() {
    if (this.fresh.length) this.hub.reach(this.names(port => port.ready), {items: this.fresh})
    this.fresh = []
  }

  names(fits = () => true) {
    return [...this.ports].filter(([, port]) => fits(port)).map(([id]) => id)
  }

  say(state) {
    this.flush()
    this.state = state
    this.hub.reach(this.names(port => port.ready || state.state !== "live"), {state})
  }

  live(polling) {
    this.failures = 0
    if (this.state.polling !== polling) this.say({state: "live", polling})
  }

  /** Leaves its response, and wants another after so many ms. */
  later(code, ms = this.retry * 2 ** this.failures, vary = Math.random()) {
    this.leave()
    this.failures++
    const wait = Math.min(ms, LONGEST) * (0.75 + vary / 2)
    this.timer = setTimeout(() => this.soon(), wait)
    if (code) this.say(ms ? {state: "waiting", until: new Date(Date.now() + wait), code} : {state: "connecting"})
  }

  /** Why there is no stream; what may pass is tried again, and a 400 without others. */
  refused({error: code, status = 429}, wait) {
    if (passes(status)) this.later(code, wait)
    else if (status === 400 && !this.solo) {
      this.solo = true
      this.later(code, 0)
    } else this.end(status === 204 ? {state: "ended", reason: "finished"} : {state: "refused", code, status})
  }

  soon() {
    this.timer = clearTimeout(this.timer)
    this.hub.open()
  }

  /** Nothing more by itself; what has a reason is so for good, but a tab that was not level begins anew. */
  end(state) {
    this.leave()
    this.over = true
    const anew = /^[fo]/.test(state.reason) ? this.names(port => !port.ready) : []  // finished, other-user
    anew.forEach(id => this.ports.delete(id))
    this.say(state)
    if (state.reason) {
      this.ports.clear()
      this.count()
      this.hub.reach(anew, {anew})
    }
  }

  leave() {
    const wire = this.wire
    this.wire = undefined
    this.timer = clearTimeout(this.timer)
    if (wire && !wire.here.length) wire.stop.abort()
  }

  /** A tab is looked at, or the network is back. */
  wake() {
    this.over = false
    this.failures = 0
    if (now() - this.wire?.last > 1.2 * this.hub.silence) this.later("cut", 0)
    this.soon()
  }

  /** The tabs have changed. */
  count() {
    const ports = [...this.ports.values()]
    clearTimeout(this.rest)
    if (!ports.length) {
      const {wire} = this
      this.leave()
      setTimeout(() => {  // its part goes on, while others want theirs
        if (wire?.here.every(line => ordered(line.place))) for (const line of wire.here) line.later("", 0)
      }, 1000)
      return this.hub.lines.delete(this.url)
    }
    this.hub.reach(this.names(), {tabs: new Set(ports.map(port => port.page)).size})
    const longest = Math.max(...ports.map(port => port.hides && port.hidden || Infinity)) * 1e3
    if (longest < Infinity && !this.over) {
      this.rest = setTimeout(() => this.end({state: "waiting", code: "hidden"}), longest)
    }
  }

  get joins() {
    return !(this.solo || this.streams > now() || this.hub.apart > now())
  }

  /** What asks for it beside another. */
  get also() {
    const path = this.url.replace(/.*?:..[^/]*/, "")
    return "also=" + encodeURIComponent(this.place ? joined(path, "last_event_id=" + encodeURIComponent(this.place)) : path)
  }

  async fetch(query, place, signal) {
    const headers = {accept: "text/event-stream;identity=1", ...await this.hub.headers()}
    if (place) headers["last-event-id"] = unescape(encodeURIComponent(place))  // its bytes
    const answer = await fetch(joined(this.url, query), {headers, signal, credentials: "include", cache: "no-store"})
    const who = answer.headers.get("edge-identity") ?? undefined
    if (who || !signal && answer.status === 401) this.hub.belong(who)
    return answer
  }
}

const joined = (url, query) => query ? url + (url.includes("?") ? "&" : "?") + query : url

/** One response, of one line or several. */
class Wire {
  stop = new AbortController()
  last = now()

  constructor(hub, lines, polls) {
    this.hub = hub
    this.lines = lines
    for (const line of lines) {
      line.wire = this
      line.heard = !(line.asked = true)
      if (line.state.state !== "live") line.say({state: "connecting"})
    }
    this.run(polls)
  }

  /** The lines that are still on it. */
  get here() {
    return this.lines.filter(line => line.wire === this)
  }

  async run(polls) {
    const watch = setInterval(() => {  // its other end may be gone without a word
      if (now() - this.last < 3 * this.hub.silence) return
      this.hub.silence = Math.min(2 * this.hub.silence, 300e3)
      for (const line of this.here) line.later("cut", 0)
    }, 1000)
    const code = await (polls ? this.poll() : this.stream()).catch(() => "network")
    clearInterval(watch)
    const vary = Math.random()  // the same for all, so that they come back on one again
    for (const line of this.here) line.later(code, code ? undefined : 0, vary)
    this.stop.abort()
  }

  async stream() {
    const [first, ...others] = this.lines
    const held = first.firstByte && setTimeout(() => {
      for (const line of this.here) {
        line.streams = now() + AGAIN
        line.later("cut", 0)
      }
    }, first.firstByte)
    const answer = await first.fetch(others.map(line => line.also).join("&"), first.place, this.stop.signal)
    const type = answer.headers.get("content-type")
    if (answer.status !== 200 || !/^text\/event-stream/i.test(type)) return this.refused(answer)
    const reader = answer.body.getReader(), decoder = new TextDecoder()
    const feed = parser(this.strands(first, others))
    while (this.here.length) {
      const {done, value} = await reader.read()
      clearTimeout(held)
      if (done) break
      this.hub.silence = Math.max(this.hub.silence, now() - this.last)
      this.last = now()
      feed(decoder.decode(value, {stream: true}))
      for (const line of this.here) {
        if (!others.length || line.heard) line.live(false)
        line.flush()
      }
    }
    return "cut"
  }

  /** Who hears what, of lines in one response: each is named before its blocks. */
  strands(first, others) {
    let line = others.length ? undefined : first
    const alone = () => {  // an edge that knows nothing of several
      line = first
      line.heard = true
      this.hub.apart = now() + AGAIN  // or one that will, when all its workers are the same again
      for (const other of others) other.later("cut", 0)
    }
    return {
      comment: text => {
        const strand = /^strand (\d+)$/.exec(text)
        if (strand) line = this.lines[strand[1]]
        else if (!line && text !== "stream open") alone()
        if (line) line.heard = true
      },
      retry: ms => (line ? [line] : this.lines).forEach(each => { each.retry = ms }),
      block: block => {
        if (!line) alone()
        if (line.wire === this) line.hear(block)
      },
    }
  }

  async poll() {
    const [line] = this.lines
    while (this.here.length) {
      const answer = await line.fetch("poll=20", line.place, this.stop.signal)
      if (answer.status === 400) return line.firstByte = line.streams = 0  // it cannot be polled
      if (answer.status !== 200) return this.refused(answer)
      const told = await answer.json()
      this.last = now()
      line.live(true)
      line.retry = Math.max(told.retry, 1000)
      for (const block of polled(told)) line.hear(block)
      line.flush()
      if (now() > line.streams) return 0
      await sleep(told.retry)
    }
  }

  async refused(answer) {
    const {status} = answer
    const code = read(await answer.text()).error ?? (status === 200 ? "no-stream" : `${status}`)
    const wait = answer.headers.get("retry-after") * 1e3 || undefined
    for (const line of this.here) {
      if (line === this.lines[0] || passes(status) || status === 400) line.refused({error: code, status}, wait)
      else line.later(code, 0)  // the status is the first one's
    }
  }
}

/** All lines that share an edge and headers; reach(ids, message) is how it talks to its tabs, hear how they do. */
class Hub {
  lines = new Map()
  silence = SILENCE
  apart = 0  // until when each URL has a response of its own

  constructor(reach, headers) {
    this.reach = reach
    this.headers = headers
  }

  get all() {
    return [...this.lines.values()]
  }

  /** Whose all is from here on: the tabs of whoever it was before are ended. */
  belong(who) {
    for (const line of this.all) {
      if (line.who && line.who !== who) line.end(OTHER)
      else this.reach(line.names(port => port.ready), {who: line.who = who})
    }
  }

  hear({id, url, join, leave, hides, wake, end}) {
    if (join) {
      if (!this.lines.has(url)) this.lines.set(url, new Line(this, url))
      this.lines.get(url).join(id, join)
      whenFree("sse-edge " + join.page, () => this.hear({id, url, leave: true}))  // its page is gone
    }
    if (end) for (const each of this.all) each.end({state: "ended", reason: "closed"})
    const line = this.lines.get(url)
    const port = line?.ports.get(id)
    if (!port) return
    port.hides = hides ?? port.hides
    if (leave) line.ports.delete(id)
    if (wake) line.wake()
    line.count()
  }

  /** Opens, in a moment, what is wanted: together, and with all there is where there would be more than three. */
  open() {
    this.soon ??= setTimeout(() => {
      this.soon = undefined
      let room = ROOM
      const fits = line => line.joins && (room -= Math.min(ROOM, Math.max(PART, line.also.length))) >= 0
      const wanting = this.all.filter(line => !(line.wire || line.timer || line.over))
      const group = wanting.filter(fits)
      const wires = [...new Set(this.all.flatMap(line => line.wire ?? []))]
      const moved = wires.filter(({here}) => here.every(line => ordered(line.place) && fits(line)))
      const more = +group.some(line => !line.failures)
      if (wires.length + more > 3 && moved.length + more > 1) {
        for (const line of moved.flatMap(wire => wire.here)) {
          line.leave()
          group.unshift(line)
        }
      }
      if (group.length) new Wire(this, group)
      for (const line of wanting) if (!line.joins) new Wire(this, [line], line.streams > now())
      if (wanting.some(line => !line.wire)) this.open()  // what had no room
    }, 20)
  }

  close() {
    for (const line of this.all) {
      line.ports.clear()
      line.count()
    }
  }
}

/** Calls back when nobody holds a lock any more. */
function whenFree(lock, then, signal) {
  navigator.locks?.request(lock, {mode: "shared", signal}, then).catch(() => {})
}

/** Holds a lock until this context is gone; a promise of its having it. */
const hold = lock => new Promise(resolve => {
  navigator.locks?.request(lock, () => { resolve(); return new Promise(() => {}) }).catch(resolve) ?? resolve()
})

if ("onconnect" in globalThis) {  // it is a SharedWorker
  const ports = new Map(), lock = "sse-edge " + name()
  let headers
  const hub = new Hub((ids, message) => ids.forEach(id => ports.get(id)?.postMessage(message)), () => headers)
  const held = hold(lock)
  self.onconnect = ({source: port}) => {
    port.onmessage = ({data}) => {
      ports.set(data.id, port)
      headers = data.join?.headers ?? headers
      hub.hear(data)
      if (data.leave) ports.delete(data.id)
    }
    held.then(() => port.postMessage({lock}))
  }
}

// ---- Where a tab's hub is: each of these gives the tab send and quit, or throws

function inWorker(tab) {
  const gone = new AbortController()
  const worker = new SharedWorker(import.meta.url, {type: "module", name: tab.key})
  worker.onerror = () => tab.begin(1)
  worker.port.onmessage = ({data}) => {
    if (data.lock) whenFree(data.lock, () => tab.begin(0), gone.signal)
    else tab.hear(data)
  }
  tab.send = message => worker.port.postMessage(message)
  tab.quit = () => {
    gone.abort()
    worker.onerror = worker.port.onmessage = null
    worker.port.close()
  }
}

function inLeader(tab) {
  const gone = new AbortController()
  const channel = new BroadcastChannel(tab.key)
  let hub, release
  channel.onmessage = ({data: {to, leads, message}}) => {
    if (leads) tab.join()
    else if (!to) hub?.hear(message)
    else if (to.includes(tab.id)) tab.hear(message)
  }
  const reach = (to, message) => {
    channel.postMessage({to, message})
    if (to.includes(tab.id)) tab.hear(message)
  }
  navigator.locks.request(tab.key, {signal: gone.signal}, () => {
    hub = new Hub(reach, () => tab.headers())
    channel.postMessage({leads: true})
    tab.join()
    return new Promise(resolve => { release = resolve })
  }).catch(() => gone.signal.aborted || tab.begin(2))
  tab.send = message => hub ? hub.hear(message) : channel.postMessage({message})
  tab.quit = () => {
    hub?.close()
    gone.abort()
    release?.()
    channel.close()
  }
}

function inItself(tab) {
  const hub = new Hub((ids, message) => ids.includes(tab.id) && tab.hear(message), () => tab.headers())
  tab.send = message => hub.hear(message)
  tab.quit = () => hub.close()
}

// ---- Page

const OPTION = /^(on(Event|Reset|State) f|place string [ -\uffff]*$|headers [fo]|share [bs]|(firstByte|hidden) number \d{1,6}(\.|$))/
const page = name()
let held  // by this page for as long as it is there

class Tab {
  state = {state: "connecting"}
  tabs = 1
  gone = new AbortController()

  constructor(url, options) {
    this.url = url
    this.options = options
    this.place = options.place
    const listen = (event, hear) => addEventListener(event, hear, this.gone)
    listen("online", () => this.tell({wake: true}))
    listen("visibilitychange", () => this.tell({hides: document.hidden, wake: !document.hidden}))
    listen("pagehide", () => this.stop())
    listen("pageshow", event => event.persisted && this.begin(this.from))
    this.start()
  }

  /** Finds out whose stream it is, which is who may share it. */
  async start() {
    const {share, headers} = this.options
    this.from = !share ? 2 : +(typeof headers === "function")  // which cannot be given to a worker
    try {
      this.fixed = await this.headers()
      const whose = typeof share === "string" ? share : Object.entries(this.fixed).sort()
      this.key = JSON.stringify(["sse-edge source", import.meta.url, this.url.split("/", 4), whose])
    } catch (error) {
      reportError(error)
      this.from = 2  // it is asked again with each attempt
    }
    await (held ??= hold("sse-edge " + page))
    this.begin(this.from)
  }

  async headers() {
    const {headers} = this.options
    return Object.fromEntries(new Headers(typeof headers === "function" ? await headers() : headers))
  }

  begin(from) {
    this.stop()
    if (this.gone.signal.aborted) return
    this.from = from
    try {
      [inWorker, inLeader, inItself][from](this)
      this.join()
    } catch (error) {
      if (from === 2) throw error
      this.begin(from + 1)
    }
  }

  stop() {
    this.tell({leave: true})
    this.quit?.()
    this.send = this.quit = undefined
  }

  /** Joins under a new name, so that nothing counts that was said to the old one. */
  join() {
    this.tell({leave: true})
    this.id = name()
    const {firstByte, hidden} = this.options
    this.tell({join: {place: this.place, who: this.who, headers: this.fixed, page, firstByte, hidden, hides: document.hidden}})
  }

  tell(message) {
    this.send?.({id: this.id, url: this.url, ...message})
  }

  hear({items = [], again, state, tabs, alone, anew, who}) {
    if (alone) return this.begin(2)
    if (anew) return this.join()
    if (who) this.who = who
    if (tabs) this.tabs = tabs
    if (again) this.ahead = true
    items.forEach(one => this.take(one))
    if (state && JSON.stringify(state) !== JSON.stringify(this.state)) this.say(state)
  }

  take({id, own, name, data}) {
    const isReset = /^edge-(reset|dropped)$/.test(name)
    if (this.ahead && !isReset) {
      const order = compare(id, this.place)
      if (order < 0 || own && order === 0) return
    }
    if (own || isReset) this.ahead = false
    this.place = id
    if (data === undefined) return
    if (isReset) this.call("onReset", read(data))
    else if (!name.startsWith("edge-")) this.call("onEvent", {name, data, id})
  }

  say(state) {
    this.state = state
    if (state.state === "ended") {
      this.gone.abort()
      this.hear = this.take = this.say = () => {}  // it may be in the middle of what it was given
      setTimeout(() => this.stop())  // its hub has more to tell
    }
    this.call("onState", state)
  }

  /** The page's own mistakes are its own. */
  call(option, value) {
    try { this.options[option]?.(value) } catch (error) { reportError(error) }
  }

  close(everywhere) {
    if (everywhere) this.tell({end: true})
    this.say({state: "ended", reason: "closed"})
  }
}

/** Hears url: see sse-edge.d.ts.  TypeError for an option that cannot be. */
export function subscribe(url, options = {}) {
  const must = (fits, option, value) => { if (!fits) throw new TypeError(`subscribe: ${option} cannot be ${value}`) }
  const whole = url && new URL(url, document.baseURI).href
  must(/^http(?!.*[?&](also|last_event_id)=)/.test(whole), "url", url)  // those are its own to say
  const given = {place: "", share: true, firstByte: 5, hidden: 300}
  must(Object(options) === options, "options", options)
  for (const [option, value] of Object.entries(options)) {
    if (value == null) continue
    must(OPTION.test(`${option} ${typeof value} ${value}`), option, value)
    if (option === "headers") new Headers(value)  // TypeError, too
    given[option] = value
  }
  return new Tab(whole, given)
}

// ---- Element

try {
  customElements.define("sse-edge", class extends HTMLElement {
    static observedAttributes = ["src"]
    #last  // the stream that it had last

    connectedCallback() { this.#renew() }
    disconnectedCallback() { this.#renew() }
    attributeChangedCallback() { this.#renew() }

    /** After all that is done to it at once: what is only moved keeps its stream. */
    async #renew() {
      await null
      const src = this.isConnected && this.getAttribute("src") || undefined
      if (src === this.stream?.src) return
      const last = this.#last = this.stream ?? this.#last
      this.stream = this.stream?.close()
      if (!src) return
      const tell = (name, detail) => this.dispatchEvent(new CustomEvent(name, {detail}))
      this.stream = subscribe(src, {
        ...this.options,
        place: last?.src === src ? last.place : this.getAttribute("place"),
        onEvent: event => tell(event.name, event),
        onReset: reset => tell("edge-reset", reset),
        onState: state => tell("edge-state", state),
      })
      this.stream.src = src
    }
  })
} catch {}  // no page, or it has one already
