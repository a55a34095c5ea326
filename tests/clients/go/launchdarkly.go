package main

import (
	"errors"
	"time"

	"github.com/launchdarkly/eventsource"
)

func launchDarkly() {
	var options []eventsource.StreamOption
	if asked.Lines {
		// lines
		onError := func(err error) eventsource.StreamErrorHandlerResult {
			failed(err)
			var refused eventsource.SubscriptionError
			return eventsource.StreamErrorHandlerResult{CloseNow: errors.As(err, &refused) && final(refused.Code)}
		}
		options = []eventsource.StreamOption{
			eventsource.StreamOptionErrorHandler(onError),
			eventsource.StreamOptionCanRetryFirstConnection(-1),
			eventsource.StreamOptionReadTimeout(40 * time.Second),
			eventsource.StreamOptionUseJitter(0.5),
		}
		// to here
	}
	stream, err := eventsource.SubscribeWithRequestAndOptions(request(), options...)
	if err != nil {
		failed(err)
		return
	}
	opened()
	if stream.Errors != nil {
		go func() {
			for err := range stream.Errors {
				failed(err)
			}
		}()
	}
	for event := range stream.Events {
		heard(event.Event(), event.Data(), event.(eventsource.EventWithLastID).LastEventID())
	}
}
