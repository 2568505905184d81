package hooks

import "context"

// AskAccess asks what a client may do in a private channel of Supabase's dialect, of which the topic is the name without
// "realtime:". claims are those of the client's token; nil: it has none. asked is false if no hook decides about the
// topic. With an error the client may do nothing.
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
