package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/units"
)

const (
	// hearFor is how long the doctor waits for the first node: enough for routes and a heartbeat.
	hearFor = 4 * time.Second
	// hearMore is how long it listens from then on: longer than a heartbeat takes to come from each.
	hearMore = 1500 * time.Millisecond
	// keepersWithin bounds the request for the servers that keep the store.
	keepersWithin = 3 * time.Second
)

// visit is the doctor's connection to a cluster that it does not join as a node.
type visit struct {
	transport *natscluster.Transport

	mu sync.Mutex

	// Guarded by mu.
	refusal string                   // why a node does not let it in
	ahead   map[string]time.Duration // how far the clock of each node that is heard is ahead
}

// lookAround checks the nodes that run, through addresses that were reached: whether they let this one in, their
// clocks, and who keeps the store.
func lookAround(ctx context.Context, k config.Cluster, files clusterFiles, reached []string) []doctor.Check {
	v := &visit{ahead: make(map[string]time.Duration)}
	if err := v.open(k, files, reached); err != nil {
		return nil // the checks of the servers and of the files have said why
	}
	defer v.transport.Close()
	if err := v.listen(ctx); err != nil {
		return []doctor.Check{{Name: "nodes", Status: doctor.Failed, Why: forPeople(err).Error()}}
	}
	checks := v.nodeChecks()
	if len(v.ahead) > 0 && k.SharesInstances() {
		checks = append(checks, v.storeCheck(ctx, k.Name))
	}
	return checks
}

func (v *visit) open(k config.Cluster, files clusterFiles, reached []string) (err error) {
	if !k.Embedded() {
		v.transport, err = natscluster.Connect(k.Name, strings.Join(reached, ","), natsOptions(k, files)...)
		return err
	}
	v.transport, err = natscluster.Embed(natscluster.EmbedOptions{
		Cluster: k.Name, Name: "doctor-" + rand.Text()[:8], Listen: "127.0.0.1:0", Routes: reached, Secret: files.secret, Insecure: k.Insecure,
		Log: func(line string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if strings.Contains(line, "TLS") || strings.Contains(line, "uthoriz") || strings.Contains(line, "uthentic") {
				v.refusal, _, _ = strings.Cut(line, " (") // what follows is of no use to operators
			}
		},
	})
	return err
}

// listen notes the nodes that are heard.
func (v *visit) listen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hearFor)
	defer cancel()
	return cluster.Observe(ctx, v.transport, func(p cluster.PeerInfo) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.ahead) == 0 {
			time.AfterFunc(hearMore, cancel)
		}
		var f membership.Facts
		json.Unmarshal(p.Info, &f) //nolint:errcheck // a node of another version may send something else
		ahead := time.Duration(0)
		if f.Time != 0 {
			ahead = time.Until(time.UnixMilli(f.Time)).Round(100 * time.Millisecond)
		}
		if best, known := v.ahead[p.Name]; known {
			ahead = max(best, ahead) // a late heartbeat makes the clock look behind
		}
		v.ahead[p.Name] = ahead
	})
}

func (v *visit) nodeChecks() []doctor.Check {
	v.mu.Lock()
	defer v.mu.Unlock()
	nodes := doctor.Check{Name: "nodes", Status: doctor.OK, Value: strings.Join(slices.Sorted(maps.Keys(v.ahead)), ", "), Why: "they are in the cluster now"}
	if len(v.ahead) == 0 {
		nodes.Status, nodes.Value, nodes.Why = doctor.Advice, "none is heard", "none runs yet, or none can be reached"
		if v.refusal != "" {
			nodes.Status, nodes.Why = doctor.Failed, "no node lets this one in; do they have another secret? NATS says: "+v.refusal
		}
	}
	checks := []doctor.Check{nodes}
	for _, name := range slices.Sorted(maps.Keys(v.ahead)) {
		if ahead := v.ahead[name]; ahead.Abs() > membership.ClockTolerance {
			side := "ahead of"
			if ahead < 0 {
				side = "behind"
			}
			checks = append(checks, doctor.Check{
				Name: "clock of " + name, Status: doctor.Failed, Value: fmt.Sprintf("%s %s this machine's", ahead.Abs(), side),
				Why: "tokens begin and expire at other times there, and logs cannot be compared: let NTP set both clocks",
			})
		}
	}
	return checks
}

func (v *visit) storeCheck(ctx context.Context, name string) doctor.Check {
	ctx, cancel := context.WithTimeout(ctx, keepersWithin)
	defer cancel()
	c := doctor.Check{Name: "store of instances", Status: doctor.OK, Why: "it has a majority, so that instances with a single owner run"}
	k, err := v.transport.Keepers(ctx, bucketOf(name))
	switch {
	case err != nil:
		c.Status, c.Value, c.Why = doctor.Failed, "is not reached", forPeople(err).Error()+": a majority of the nodes that keep it must run"
	case len(k.Away)+len(k.Behind) > 0:
		c.Status, c.Value = doctor.Advice, "not on "+strings.Join(slices.Concat(k.Away, k.Behind), ", ")
		c.Why = "these are away, or have not caught up: it may stop with the next node that is stopped"
	default:
		c.Value = "kept by " + cmp.Or(strings.Join(k.Current, ", "), "one server")
	}
	return c
}

const (
	// scarceDisk and littleDisk are what should be free for the states of instances, in bytes, and what must be.
	scarceDisk = 1 << 30
	littleDisk = 100 << 20
)

// dataCheck checks the directory that keeps this node's part of the store.
func dataCheck(dir string) doctor.Check {
	c := doctor.Check{Name: "data", Status: doctor.OK, Value: dir, Why: "this node keeps its part of the instances there"}
	free, known, err := freeDisk(dir)
	if err == nil {
		err = checkData(dir)
	}
	if known {
		unit := int64(1 << 20)
		if free > scarceDisk {
			unit = 1 << 30
		}
		c.Value = fmt.Sprintf("%s: %s free", dir, units.Bytes(int(free/unit*unit)))
	}
	switch {
	case err != nil:
		c.Status, c.Why = doctor.Failed, "the directory "+err.Error()
	case known && free < littleDisk:
		c.Status, c.Why = doctor.Failed, "the disk is full: the states of instances cannot be saved"
	case known && free < scarceDisk:
		c.Status, c.Why = doctor.Advice, "a state takes up to 1 MiB for each instance, and more while it is being written"
	}
	return c
}
