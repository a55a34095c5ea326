// Mercure is a library, and around that a build of Caddy.  This is the library's own example, with a store.
//
//	mercure PORT STORE KEY
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/dunglas/mercure"
)

func main() {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	subscribers := mercure.NewSubscriberList(mercure.DefaultSubscriberListCacheSize)
	store, err := mercure.NewBoltTransport(subscribers, quiet, os.Args[2], "", 100,
		mercure.BoltDefaultCleanupFrequency)
	if err != nil {
		log.Fatal(err)
	}
	hub, err := mercure.NewHub(context.Background(), mercure.WithTransport(store), mercure.WithLogger(quiet),
		mercure.WithPublisherJWT([]byte(os.Args[3]), "HS256"), mercure.WithAnonymous(),
		mercure.WithWriteTimeout(0), mercure.WithHeartbeat(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/.well-known/mercure", hub)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
