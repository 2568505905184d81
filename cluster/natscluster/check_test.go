package natscluster

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/internal/natstest"
)

// TestCheckJetStream: the check says what a server lacks to keep a bucket, and a server that
// passes can keep one.
func TestCheckJetStream(t *testing.T) {
	t.Parallel()
	const kv, api, inbox = "$KV.bucket.>", "$JS.API.>", "_INBOX.>"
	const room = 2 << 20
	guarded := natstest.StartGuarded(t, "*", room)
	right := natstest.StartStreams(t, room, "mycelium.prod.>", api, kv, inbox, "$JS.FC.>")
	for url, want := range map[string]string{
		"nats://node:pw@" + right:                                                     "",
		"nats://node:pw@" + guarded:                                                   "natscluster: the NATS server has no JetStream, or not for this account: it must be enabled for shared instances",
		"nats://node:pw@" + natstest.StartStreams(t, 1<<20, ">"):                      "natscluster: the NATS server's max_payload is 1048576 bytes, want at least 1052672",
		"nats://node:pw@" + natstest.StartStreams(t, room, kv, inbox):                 "natscluster: the credentials must allow publishing to $JS.API.> and subscribing to _INBOX.>: nats: permissions violation",
		"nats://node:pw@" + natstest.StartStreams(t, room, "$JS.API.INFO", kv, inbox): "natscluster: the credentials must allow publishing to $JS.API.> and subscribing to _INBOX.>: nats: permissions violation",
		"nats://node:pw@" + natstest.StartStreams(t, room, api, kv):                   "natscluster: the credentials must allow publishing to $JS.API.> and subscribing to _INBOX.>: nats: permissions violation",
		"nats://node:pw@" + natstest.StartStreams(t, room, api, "$KV.other.>", inbox): "natscluster: the credentials must allow publishing to $KV.bucket.>: nats: permissions violation",
		"nats://node:no@" + right:                                                     "natscluster: connecting to NATS: nats: Authorization Violation",
	} {
		for range 2 { // without the bucket, and with it
			err := CheckJetStream(t.Context(), url, "bucket")
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
			if want == "" {
				useBucket(t, url)
			}
		}
	}
}

// useBucket does what a store does.
func useBucket(t *testing.T, url string) {
	t.Helper()
	transport, err := Connect("prod", url)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	js, err := transport.OpenJetStream()
	if err != nil {
		t.Fatal(err)
	}
	defer js.Conn().Close()
	ctx := t.Context()
	bucket, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "bucket", Replicas: transport.Replicas()})
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, bucket, "key", "value")
	watch, err := bucket.Watch(ctx, ">")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if e := <-watch.Updates(); e.Key() != "key" {
		t.Errorf("the watch begins with %s", e.Key())
	}
	if keys, err := bucket.Keys(ctx); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if k, err := transport.Keepers(ctx, "bucket"); err != nil || len(k.Away) > 0 {
		t.Errorf("%+v, %v", k, err)
	}
	if err := bucket.Purge(ctx, "key"); err != nil {
		t.Error(err)
	}
}
