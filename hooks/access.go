package hooks

import "context"

// AskAccess asks what a client may do in a private channel of Supabase's dialect. The topic is the channel's name without
// "realtime:". claims are those of the client's token, or nil. asked is false if no hook decides about the topic. If err
// is not nil, the client may do nothing.
func (d *Decider) AskAccess(ctx context.Context, topic string, claims any) (read, write, asked bool, err error) {
	t := d.target(Access, topic, "")
	if t == nil {
		return false, false, false, nil
	}
	q := d.begin(Access)
	q.str("topic", topic)
	q.json("claims", claims)
	q.end()
	a, err := t.ask(ctx, d, Access, q.id, q.text)
	if err != nil || !a.allows() {
		return false, false, true, err
	}
	return true, a.Write == nil || *a.Write, true, nil
}
