package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

func r3labs() {
	handle := func(event *sse.Event) { heard(string(event.Event), string(event.Data), string(event.ID)) }
	client := sse.NewClient(asked.URL)
	client.Headers = asked.Headers
	client.OnConnect(func(*sse.Client) { opened() })
	if !asked.Lines {
		failed(client.SubscribeRaw(handle))
		return
	}
	// lines
	over := false
	sse.ClientMaxBufferSize(1 << 20)(client)
	client.ReconnectStrategy = &backoff.StopBackOff{} // whatever ends, it comes back here
	client.ResponseValidator = func(_ *sse.Client, response *http.Response) error {
		if over = final(response.StatusCode); response.StatusCode == 200 {
			return nil
		}
		response.Body.Close()
		return errors.New(response.Status)
	}
	for failed(client.SubscribeRaw(handle)); !over; failed(client.SubscribeRaw(handle)) {
		time.Sleep(time.Second)
	}
	// to here
}
