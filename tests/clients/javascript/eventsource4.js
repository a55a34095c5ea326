import {EventSource} from "eventsource4"
import {argument, listen} from "./speaking.js"

listen(new EventSource(argument.url))
