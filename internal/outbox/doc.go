// Package outbox keeps numbered records, in files or in memory, until their readers are
// done with them.
//
// A [Log] is a list of segments. Records are appended to the last one with one write(2)
// each, so a record survives the end of the process, however it ends, as soon as Append
// returns; [Log.Sync] makes it survive a crash of the machine. Old segments are removed
// as a whole. A write to a segment takes 0.8 µs. A transaction of bbolt for each record
// took 22 µs, and 2.8 µs a record in batches of 500.
//
// A [Cursor] is a reader's position, kept in a file.
package outbox
