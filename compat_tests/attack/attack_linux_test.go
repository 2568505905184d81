package attack

import (
	"context"
	"testing"
	"time"
)

// attack is something that hostile clients do.
type attack struct {
	name    string
	workers int
	least   int64 // how often it must have been done before the chat begins
	strike  func(x *attacker, worker int)
	check   func(t *testing.T, v *victim) // checks what others can still do; nil if the chat is enough
	audited float64                       // bytes of log each time for actions with a key, which are always logged
}

// TestAttacks runs the attacks one after the other against one server, and measures
// what they cost a chat and the server.
func TestAttacks(t *testing.T) {
	if *length <= 0 {
		t.Skip("only with -for: make attack")
	}
	v := startVictim(t, "")
	t.Logf("without an attack: p99 %v", v.chat(t, *length))
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) { v.withstand(t, a, i+1) })
	}
}

// TestStopUnderAttack stops a server during an attack. Nothing that a client holds open
// or goes on sending may keep it beyond its drain timeout.
func TestStopUnderAttack(t *testing.T) {
	if *length <= 0 {
		t.Skip("only with -for: make attack")
	}
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) { stopUnder(t, startVictim(t, ""), a, i+1) })
	}
}

func stopUnder(t *testing.T, v *victim, a attack, number int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	x := start(ctx, v, number, a)
	defer x.stop()
	defer cancel() // first: stop waits for the workers
	x.underWay(t, a.least)
	v.stop(t)
}

// TestLogIsNotRead attacks a server whose log nobody reads.
func TestLogIsNotRead(t *testing.T) {
	if *length <= 0 {
		t.Skip("only with -for: make attack")
	}
	v := startVictim(t, "")
	v.blockLog(t)
	a := httpAttacks[0] // each handshake is a line
	t.Run(a.name, func(t *testing.T) { v.withstand(t, a, 1) })
	v.stop(t)
}

var attacks = concat(httpAttacks, frameAttacks, channelAttacks, keyAttacks, tcpAttacks)

func concat(lists ...[]attack) (all []attack) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// chats is how often the chat is measured at the most during an attack.
const chats = 6

// withstand measures the chat and the server during an attack, and checks that the
// server is as before when it is over.
func (v *victim) withstand(t *testing.T, a attack, number int) {
	memory, files, logged, began := v.resident(t), v.descriptors(t), v.logged.Load(), time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), chats**length+patience)
	defer cancel()
	x := start(ctx, v, number, a)
	defer x.stop()
	defer cancel() // first: stop waits for the workers
	x.underWay(t, a.least)
	most, stop := v.watchMemory(t)
	latency := v.chat(t, *length)
	for again := chats - 1; again > 0 && latency > maxLatency; again-- {
		// An attack slows down the chat every time; other work on the machine does not.
		t.Logf("p99 %v: repeated", latency)
		latency = v.chat(t, *length)
	}
	if a.check != nil {
		a.check(t, v)
	}
	stop()
	seconds, times := time.Since(began).Seconds(), x.done.Load()
	grown, rate := most.Load()-memory, (float64(v.logged.Load()-logged)-float64(times)*a.audited)/seconds
	t.Logf("%d times in %.1f s: p99 %v, memory %+d KiB, log %.0f bytes/s", times, seconds, latency, grown>>10, rate)
	if latency > maxLatency {
		t.Errorf("the chat's p99 is %v, more than %v", latency, maxLatency)
	}
	if grown > maxMemory {
		t.Errorf("the server grew by %d KiB, more than %d", grown>>10, maxMemory>>10)
	}
	if rate > maxLog {
		t.Errorf("the server logs %.0f bytes a second, more than %d", rate, maxLog)
	}
	cancel()
	x.stop()
	v.awaitRecovery(t, files)
}

// awaitRecovery waits until the server has closed what the attack had opened.
func (v *victim) awaitRecovery(t *testing.T, files int) {
	t.Helper()
	for deadline := time.Now().Add(patience); v.descriptors(t) > files+slackDescriptors; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d descriptors open, %d before the attack", v.descriptors(t), files)
			return
		}
	}
}
