import EventSource from "eventsource2"
import {argument, listen} from "./speaking.js"

listen(new EventSource(argument.url))
