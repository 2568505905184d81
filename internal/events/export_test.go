package events

// WithSnapshots sets after how many events a snapshot is saved.
func WithSnapshots(o Options, after uint64) Options {
	o.snapshotAfter = after
	return o
}
