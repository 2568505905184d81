package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestDebugLog: --log-level=debug shows what 80 clients do.
func TestDebugLog(t *testing.T) {
	const clients = 80
	s := start(t, "serve", "--log-level=debug", "--drain-interval=1ms")
	for i := range clients {
		c := dial(t, s, "")
		for _, text := range []string{
			fmt.Sprintf(`["1","1","room:%d","phx_join",{}]`, i), fmt.Sprintf(`["1","2","room:%d","say",{"n":1}]`, i), `[null,"3","phoenix","heartbeat",{}]`,
		} {
			if err := c.WriteText(text); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, c, `"phoenix"`)
		_ = c.Drop()
	}
	want := map[string]int{"socket connected": clients, "joined": clients, "event handled": clients, "channel ended": clients, "socket closed": clients}
	for message, n := range want {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if got := strings.Count(s.log.String(), `"message":"`+message+`"`); got == n {
				break
			} else if time.Now().After(deadline) {
				t.Errorf("%d lines %q, want %d", got, message, n)
				break
			}
		}
	}
	if !strings.Contains(s.log.String(), `"instance":"default","topic":"room:79","event":"say","took_ms":`) {
		t.Errorf("no line of the last event in\n%.2000s", s.log)
	}
}
