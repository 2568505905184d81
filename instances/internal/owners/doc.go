// Package owners decides which node of a cluster runs an instance that has a single
// owner, and lets no other node save its state.
//
// Each node holds one lease, which it renews in the store that all nodes share, and
// owns instances under it. Owning an instance means holding a key of the store, taken
// by compare-and-set; the key's revision is the fence for everything that is saved
// (Ownership, Store.PutIf). If a node is suspended for a while, it and its successor
// may both believe for some seconds that they own the same instance; whatever the old
// owner then saves is refused.
//
// The others judge a node dead when they have seen no renewal of its lease for
// LeaseTime by their own clocks; clocks of different machines are never compared. The
// node that judges first removes the lease from the store, which fails if it has just
// been renewed. The dead node itself gives up sooner, GiveUpAfter after the start of
// its last successful renewal. Its instances then go to the live nodes: each to the
// one that rendezvous hashing ranks first, or to the next if that one does not take it.
//
// Where the store cannot be reached, no node becomes an owner, and leases expire: the
// side of a partition without a majority runs no such instances.
package owners
