package main

import (
	"net/http"
	"time"

	"github.com/tmaxmax/go-sse"
)

func goSSE() {
	handle := func(event sse.Event) { heard(event.Type, event.Data, event.LastEventID) }
	if !asked.Lines {
		connection := sse.NewConnection(request())
		connection.SubscribeToAll(handle)
		failed(connection.Connect())
		return
	}
	// lines
	over := false
	client := &sse.Client{ResponseValidator: func(response *http.Response) error {
		over = final(response.StatusCode)
		return sse.DefaultValidator(response)
	}}
	connection := client.NewConnection(request())
	connection.Buffer(nil, 1<<20)
	connection.SubscribeToAll(handle)
	for failed(connection.Connect()); !over; failed(connection.Connect()) {
		time.Sleep(time.Second) // any status but 200 ends it: 429, and a proxy's 502
	}
	// to here
}
