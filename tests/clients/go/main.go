// The clients of Go: `clients NAME '{"url": …}'`; see tests/clients/__init__.py.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"time"
)

var asked struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Seconds float64           `json:"seconds"`
	Lines   bool              `json:"lines"`
}

var (
	out     = json.NewEncoder(os.Stdout)
	writing sync.Mutex
)

func say(what map[string]any) {
	writing.Lock()
	defer writing.Unlock()
	if out.Encode(what) != nil {
		os.Exit(0) // nobody hears it any more
	}
}

func opened() { say(map[string]any{"open": true}) }

func heard(name, data, id string) {
	if name == "" {
		name = "message"
	}
	var place any
	if id != "" {
		place = id
	}
	say(map[string]any{"event": name, "data": data, "id": place})
}

func failed(err error) {
	if err != nil {
		say(map[string]any{"error": err.Error()})
	}
}

// final says whether a status is one that another attempt will not change.
func final(status int) bool {
	switch status {
	case 204, 401, 403, 404:
		return true
	}
	return false
}

func request() *http.Request {
	request, err := http.NewRequest("GET", asked.URL, nil)
	if err != nil {
		panic(err)
	}
	for name, value := range asked.Headers {
		request.Header.Set(name, value)
	}
	return request
}

func main() {
	if err := json.Unmarshal([]byte(os.Args[2]), &asked); err != nil {
		panic(err)
	}
	out.SetEscapeHTML(false)
	time.AfterFunc(time.Duration(asked.Seconds*float64(time.Second)), func() { os.Exit(0) })
	clients := map[string]func(){
		"r3labs":       r3labs,
		"go-sse":       goSSE,
		"launchdarkly": launchDarkly,
		"donovanhide":  donovanHide,
	}
	clients[os.Args[1]]()
	say(map[string]any{"closed": true})
}
