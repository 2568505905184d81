package channels

// Key is the key of a value of type T that is stored with a joined channel or a
// socket. It is the typed form of [Context.Assign] and [Context.Get]. Make one
// with [NewKey] and store it in a package variable:
//
//	var user = channels.NewKey[string]("user")
//
//	user.Set(c, "ada")
//	name := user.Get(c)
//
// Two keys never share a value, even if they have the same name.
type Key[T any] struct{ id keyName }

// NewKey returns a new key. Its name is for people; [Context.Assigns] has the
// value under it.
func NewKey[T any](name string) *Key[T] { return &Key[T]{keyName{name}} }

// Holder is a [*Context] or a [*Socket], with which values are stored. A
// channel has the values of its socket unless it has set its own.
type Holder interface {
	assign(key, value any)
	lookup(key any) (value any, ok bool)
}

// Set stores value with h. For a Socket it panics outside of
// SocketOptions.Connect, as [Socket.Assign] does.
func (k *Key[T]) Set(h Holder, value T) { h.assign(&k.id, value) }

// Get returns the value that was set, or the zero value of T.
func (k *Key[T]) Get(h Holder) T {
	value, _ := k.Lookup(h)
	return value
}

// Lookup returns the value, and whether one was set.
func (k *Key[T]) Lookup(h Holder) (value T, ok bool) {
	v, ok := h.lookup(&k.id)
	if ok {
		value, _ = v.(T) // no other type can be set; an interface may hold nil
	}
	return value, ok
}

// String returns the key's name.
func (k *Key[T]) String() string { return k.id.name }
