import {argument, listen} from "./speaking.js"

listen(new EventSource(argument.url))
