package channels

import "slices"

// channelTable holds the channels of one socket by topic. Most sockets join
// one, and a list or map for each would cost more than the rest of a socket.
type channelTable struct {
	first *Context
	more  *channelList // nil while there is at most one
}

// channelList holds the channels of a socket except the first.
type channelList struct {
	list  []*Context
	index map[string]*Context // nil while the list is short
}

// indexAbove is the number of channels above which a map is faster than a
// linear search.
const indexAbove = 8

func (t *channelTable) find(topic []byte) *Context {
	if t.first != nil && t.first.clientTopic() == string(topic) {
		return t.first
	}
	if t.more == nil {
		return nil
	}
	if t.more.index != nil {
		return t.more.index[string(topic)]
	}
	for _, c := range t.more.list {
		if c.clientTopic() == string(topic) {
			return c
		}
	}
	return nil
}

func (t *channelTable) add(c *Context) {
	if t.first == nil {
		t.first = c
		return
	}
	if t.more == nil {
		t.more = new(channelList)
	}
	t.more.add(c)
}

func (l *channelList) add(c *Context) {
	l.list = append(l.list, c)
	switch {
	case l.index != nil:
		l.index[c.clientTopic()] = c
	case len(l.list) > indexAbove:
		l.index = make(map[string]*Context, 2*indexAbove)
		for _, c := range l.list {
			l.index[c.clientTopic()] = c
		}
	}
}

// remove removes c, if it is in the table.
func (t *channelTable) remove(c *Context) {
	if t.first == c {
		t.first = nil
		return
	}
	if t.more == nil {
		return
	}
	if i := slices.Index(t.more.list, c); i >= 0 {
		t.more.list = slices.Delete(t.more.list, i, i+1)
		delete(t.more.index, c.clientTopic())
	}
	if len(t.more.list) == 0 {
		t.more = nil
	}
}

func (t *channelTable) len() (n int) {
	if t.first != nil {
		n++
	}
	if t.more != nil {
		n += len(t.more.list)
	}
	return n
}

// each calls f for each channel. f must not change the table.
func (t *channelTable) each(f func(c *Context)) {
	if t.first != nil {
		f(t.first)
	}
	if t.more != nil {
		for _, c := range t.more.list {
			f(c)
		}
	}
}

// all returns the channels in a new slice.
func (t *channelTable) all() []*Context {
	var all []*Context
	if t.first != nil {
		all = append(all, t.first)
	}
	if t.more != nil {
		all = append(all, t.more.list...)
	}
	return all
}
