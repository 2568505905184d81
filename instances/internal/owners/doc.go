// Package owners decides which node of a cluster runs an instance that has a single
// owner, and lets nobody else save its state.
//
// Each node holds one lease, which it renews in the store that all nodes have in
// common, and owns instances under it: an owner is a key of the store, taken by
// compare-and-set, and the key's revision is the fence of all that is saved
// (Ownership, Store.PutIf). Two nodes may believe for some seconds that they
// own the same instance, if one of them was stopped meanwhile; what the old one
// saves is refused then.
//
// A node whose lease is not renewed for LeaseTime is judged dead by the others, on
// their own clocks: nobody compares clocks of two machines. The judge first takes the lease
// away in the store, which fails if it has just been renewed. The node itself
// gives up after GiveUpAfter, which is sooner, counted from the start of the last
// renewal that succeeded. Then its instances go to the live nodes, each to the one that
// comes first by rendezvous hashing, or to the next if that one does not take it.
//
// Where the store cannot be reached, nobody becomes an owner and leases end: a part of
// a divided cluster without a majority runs no such instances.
package owners
