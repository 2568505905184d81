package main

// reading reads files of the configuration on a goroutine of its own: they may be on a network
// file system that hangs, and a server that is told to stop must drain all the same. Its methods
// belong to the goroutine of serve.
type reading struct {
	done <-chan func()        // the result: what is to be done on the goroutine of serve; nil: nothing is being read
	next func() (then func()) // what is to be read afterwards; nil: nothing
}

// begin has read called on another goroutine. It returns false if another call is under way.
func (r *reading) begin(read func() (then func())) bool {
	if r.done != nil {
		return false
	}
	done := make(chan func(), 1)
	go func() { done <- read() }()
	r.done = done
	return true
}

// end is called with what came from done.
func (r *reading) end(then func()) {
	then()
	next := r.next
	r.done, r.next = nil, nil
	if next != nil {
		r.begin(next)
	}
}
