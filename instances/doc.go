// Package instances runs isolated servers that are created while the program
// runs: each has its own topics, presence, limits, counters and supervisor, and
// clients connect to each at a path of its own.
//
// What an instance does is its type: logic under a name, made of channels and
// of whichever hooks it wants. A type that counts, whole:
//
//	type config struct {
//		Step int `json:"step,omitempty" jsonschema:"minimum=1"`
//	}
//
//	type counter struct {
//		in   *instances.Instance
//		step int64
//		n    atomic.Int64
//	}
//
//	func newCounter(in *instances.Instance, c config) (instances.Logic, error) {
//		return &counter{in: in, step: int64(max(1, c.Step))}, nil
//	}
//
//	func (c *counter) Channels() []*channels.Channel {
//		ch := channels.Handle("counter", func(*channels.Context, channels.Payload) (map[string]int64, error) {
//			return map[string]int64{"n": c.n.Load()}, nil
//		})
//		channels.On(ch, "count", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
//			return channels.NoReply{}, c.in.Broadcast("counter", "counted", map[string]int64{"n": c.n.Add(c.step)})
//		})
//		return []*channels.Channel{ch}
//	}
//
//	manager := instances.New(endpoint, instances.Options{})
//	manager.Register(instances.Define("counter", "Counts.", newCounter))
//	err := manager.Open(ctx)
//	info, created, err := manager.Create(ctx, instances.Spec{ID: "visits", Type: "counter"})
//
// A client connects with new Socket("/socket/visits").
//
// Hooks are small interfaces that the logic may implement: [Starter],
// [Stopper], [Ticker], [Signaler] and others, see [Logic]. What fails in an
// instance is counted, and it is restarted; what fails too often is stopped as
// failed. Nothing of that is seen in another instance.
package instances
