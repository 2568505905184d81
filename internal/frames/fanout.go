package frames

import "github.com/mycelium-rt/mycelium/internal/netloop"

// Fanout hands out the frames of a set to many sockets. For each key it asks the set
// once, and takes references for all sockets in one atomic addition; Done gives
// back the rest. It is for one goroutine, and begins with Begin.
type Fanout struct {
	set     *Set
	sockets int32
	common  int32 // references to the frame of the common key that are left
	count   int
	other   [3]portion // the first keys that came up; more are looked up for each socket
}

// portion is the frame of a key and the references to it that are left.
type portion struct {
	keyed
	left int32
}

// Begin is for a set and at most so many sockets.
func (o *Fanout) Begin(s *Set, sockets int) {
	o.set, o.sockets, o.common = s, int32(sockets), int32(sockets)
	s.common.Retain(o.sockets)
}

// TakeFrame returns the frame for a socket with the key, with a reference to be
// released; nil if the socket cannot get the message.
func (o *Fanout) TakeFrame(k Key) *netloop.Frame {
	if k.isCommon() {
		o.common--
		return o.set.common
	}
	return o.takeOtherFrame(k)
}

func (o *Fanout) takeOtherFrame(k Key) *netloop.Frame {
	for i := range o.other[:o.count] {
		if p := &o.other[i]; p.key == k {
			p.left--
			return p.frame
		}
	}
	f := o.set.Frame(k)
	switch {
	case o.count < len(o.other):
		if f != nil {
			f.Retain(o.sockets)
		}
		o.other[o.count] = portion{keyed{k, f}, o.sockets - 1}
		o.count++
	case f != nil:
		f.Retain(1)
	}
	return f
}

// Done gives back what was not taken.
func (o *Fanout) Done() {
	o.set.common.Retain(-o.common)
	for _, p := range o.other[:o.count] {
		if p.frame != nil {
			p.frame.Retain(-p.left)
		}
	}
}
