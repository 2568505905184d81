// Package instances runs isolated servers that are created while the program
// runs: each has its own topics, presence, limits, counters and supervisor, and
// clients connect to each at a path of its own.
//
// What an instance does is its type: logic under a name, made of channels and
// of whichever hooks it wants. One that counts visits, whole:
//
//	type visits struct {
//		Step int `json:"step,omitempty" jsonschema:"minimum=1"`
//	}
//
//	type visitors struct {
//		in   *instances.Instance
//		step int64
//		n    atomic.Int64
//	}
//
//	func newVisitors(in *instances.Instance, c visits) (instances.Logic, error) {
//		return &visitors{in: in, step: int64(max(1, c.Step))}, nil
//	}
//
//	func (v *visitors) Channels() []*channels.Channel {
//		ch := channels.Handle("visits", func(*channels.Context, channels.Payload) (map[string]int64, error) {
//			return map[string]int64{"n": v.n.Load()}, nil
//		})
//		channels.On(ch, "visit", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
//			return channels.NoReply{}, v.in.Broadcast("visits", "visited", map[string]int64{"n": v.n.Add(v.step)})
//		})
//		return []*channels.Channel{ch}
//	}
//
//	manager := instances.New(endpoint, instances.Options{})
//	manager.Register(instances.Define("visits", "Counts visits.", newVisitors))
//	info, created, err := manager.Create(ctx, instances.Spec{ID: "front-page", Type: "visits"})
//
// A client connects with new Socket("/socket/front-page").
//
// Hooks are small interfaces that the logic may implement: [Starter],
// [Stopper], [Ticker], [Signaler] and others, see [Logic]. What fails in an
// instance is counted, and it is restarted; what fails too often is stopped as
// failed. Nothing of that is seen in another instance.
package instances
