// Drives the Firefox at an address of WebDriver BiDi: answers each line of JSON on stdin with one on stdout.
import {createInterface} from "node:readline"
import puppeteer from "puppeteer-core"

const [browserWSEndpoint] = process.argv.slice(2)
const browser = await puppeteer.connect({browserWSEndpoint, protocol: "webDriverBiDi", acceptInsecureCerts: true, defaultViewport: null})
let context
let tabs = []

const commands = {
  // Without cookies, storage, workers or tabs.
  async fresh() {
    await context?.close()
    context = await browser.createBrowserContext()
    tabs = []
  },
  async open() {
    return tabs.push(await context.newPage()) - 1
  },
  async get({tab, url}) {
    await tabs[tab].goto(url)
  },
  // Evaluated by the browser and not in the page, so that no policy of the page forbids it.
  async run({tab, script, parameters}) {
    const call = `(async function () { ${script} }).apply(null, ${JSON.stringify(parameters)})`
    return JSON.parse(await tabs[tab].evaluate(`${call}.then(value => JSON.stringify(value) ?? "null")`))
  },
  async show({tab}) {
    await tabs[tab].bringToFront()
  },
  async picture({tab, path, width, height, whole}) {
    await tabs[tab].setViewport({width, height})
    await tabs[tab].screenshot({path, fullPage: whole})
  },
  async close({tab}) {
    await tabs[tab].close()
  },
}

for await (const line of createInterface({input: process.stdin})) {
  const {command, ...values} = JSON.parse(line)
  const answer = await commands[command](values).then(value => ({value: value ?? null}), error => ({error: String(error)}))
  console.log(JSON.stringify(answer))
}
await browser.disconnect()
