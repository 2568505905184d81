package netloop

// outbox is the queue of frames for one connection, owned by its loop. The first frame is kept in the connection
// itself, because most connections have none or one waiting. More are kept in a backlog from the loop's pool, which is
// returned as soon as the outbox is empty.
//
// Invariant: size = costs of first and backlog, plus the cost of what a stream's goroutine is writing. The cost of a
// frame without a weight is its bytes, and falls as they are written.
type outbox struct {
	first *Frame
	rest  *backlog
	sent  int32 // bytes of first already written
	size  int32 // what waits, as it counts against the limit
}

// backlog has the frames behind the first.
type backlog = ring[*Frame]

const (
	backlogKeep  = 256 // frames of the largest backlog that is pooled, so that a burst does not stay in memory
	backlogsKept = 1024
)

func (o *outbox) push(l *Loop, f *Frame) {
	o.size += int32(f.Cost(l.group.options.OutboundLimit))
	if o.first == nil {
		o.first = f
		return
	}
	if o.rest == nil {
		o.rest = l.newBacklog()
	}
	o.rest.push(f)
}

// pop removes the first frame and returns it with its reference. Adjusting size is left to the caller, who knows what
// was written.
func (o *outbox) pop(l *Loop) *Frame {
	f := o.first
	o.first, o.sent = nil, 0
	if o.rest != nil {
		o.first = o.rest.pop()
		if o.rest.n == 0 {
			l.freeBacklog(o.rest)
			o.rest = nil
		}
	}
	return f
}

// gather returns what to write next: the first frame's own bytes when it is alone or large, else as many whole frames
// as fit into scratch. Frames with shared parts are large.
func (o *outbox) gather(scratch []byte) []byte {
	if o.first.rest != nil {
		return o.first.gather(int(o.sent), scratch)
	}
	head := o.first.data[o.sent:]
	if o.rest == nil || len(head)+len(o.rest.at(0).data) > cap(scratch) {
		return head
	}
	buf := scratch[:0]
	buf = append(buf, head...)
	for i := range o.rest.n {
		f := o.rest.at(i)
		if f.rest != nil || len(buf)+len(f.data) > cap(scratch) {
			break
		}
		buf = append(buf, f.data...)
	}
	return buf
}

// joins reports whether gather may need scratch.
func (o *outbox) joins() bool { return o.rest != nil || o.first.rest != nil }

// advance removes n written bytes and releases the frames that were written completely.
func (o *outbox) advance(l *Loop, n int) {
	for o.first != nil {
		f, weighed := o.first, o.first.weight > 0
		left := f.Size() - int(o.sent)
		if n < left {
			o.sent += int32(n)
			if !weighed {
				o.size -= int32(n)
			}
			return
		}
		n -= left
		if weighed {
			left = f.Cost(l.group.options.OutboundLimit)
		}
		o.size -= int32(left)
		o.pop(l).Release()
	}
}

// next returns roughly the size of the next write.
func (o *outbox) next() int {
	if o.first != nil && o.first.weight > 0 {
		return o.first.Size() - int(o.sent)
	}
	return int(o.size)
}

// dropOldest drops the longest waiting frame of which nothing has been written, and reports whether there was one.
func (o *outbox) dropOldest(l *Loop) bool {
	if o.first == nil {
		return false
	}
	if o.sent == 0 {
		o.size -= int32(o.first.Cost(l.group.options.OutboundLimit))
		o.pop(l).Release()
		return true
	}
	if o.rest == nil {
		return false
	}
	f := o.rest.pop()
	o.size -= int32(f.Cost(l.group.options.OutboundLimit))
	f.Release()
	if o.rest.n == 0 {
		l.freeBacklog(o.rest)
		o.rest = nil
	}
	return true
}

// clear drops all frames and returns their number.
func (o *outbox) clear(l *Loop) int {
	n := 0
	for o.first != nil {
		o.pop(l).Release()
		n++
	}
	o.size = 0
	return n
}

// newBacklog returns an empty backlog from the loop's pool. The pool needs no lock and, unlike a sync.Pool, is not
// emptied by a garbage collection during a fan-out.
func (l *Loop) newBacklog() *backlog {
	if n := len(l.backlogs); n > 0 {
		b := l.backlogs[n-1]
		l.backlogs[n-1] = nil
		l.backlogs = l.backlogs[:n-1]
		return b
	}
	return new(backlog)
}

func (l *Loop) freeBacklog(b *backlog) {
	if len(b.items) <= backlogKeep && len(l.backlogs) < backlogsKept {
		b.head = 0
		l.backlogs = append(l.backlogs, b)
	}
}
