package channels

// channelTable holds the channels of one socket by topic. Most sockets join
// one or two: a map for each would cost more than all the rest of a socket.
type channelTable struct {
	list  []*Context
	index map[string]*Context // nil while the list is short
}

// indexAbove is the number of channels from which on a map finds one faster
// than a walk.
const indexAbove = 8

func (t *channelTable) find(topic []byte) *Context {
	if t.index != nil {
		return t.index[string(topic)]
	}
	for _, c := range t.list {
		if c.topic == string(topic) {
			return c
		}
	}
	return nil
}

func (t *channelTable) add(c *Context) {
	t.list = append(t.list, c)
	if t.index == nil && len(t.list) > indexAbove {
		t.index = make(map[string]*Context, 2*indexAbove)
		for _, c := range t.list {
			t.index[c.topic] = c
		}
	} else if t.index != nil {
		t.index[c.topic] = c
	}
}

// remove takes c out; a channel that is not in the table is no error.
func (t *channelTable) remove(c *Context) {
	for i := range t.list {
		if t.list[i] != c {
			continue
		}
		last := len(t.list) - 1
		t.list[i], t.list[last] = t.list[last], nil
		t.list = t.list[:last]
		delete(t.index, c.topic)
		return
	}
}

func (t *channelTable) len() int { return len(t.list) }
