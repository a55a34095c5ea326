package main

import (
	"errors"
	"time"

	"github.com/donovanhide/eventsource"
)

func donovanHide() {
	stream, err := eventsource.SubscribeWithRequest("", request())
	if asked.Lines {
		// lines
		over := func(err error) bool {
			var refused eventsource.SubscriptionError
			return errors.As(err, &refused) && final(refused.Code)
		}
		for err != nil && !over(err) { // the first attempt is not repeated
			time.Sleep(time.Second)
			stream, err = eventsource.SubscribeWithRequest("", request())
		}
		if err == nil {
			go func() {
				for err := range stream.Errors { // which has to be read
					if failed(err); over(err) {
						stream.Close()
					}
				}
			}()
		}
		// to here
	} else if err == nil {
		go func() {
			for err := range stream.Errors {
				failed(err)
			}
		}()
	}
	if err != nil {
		failed(err)
		return
	}
	opened()
	for event := range stream.Events {
		heard(event.Event(), event.Data(), event.Id())
	}
}
