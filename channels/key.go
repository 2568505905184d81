package channels

// Key is the key of a value of type T that an application keeps with a joined
// channel or a socket, a typed form of [Context.Assign] and [Context.Get]. Make
// one with [NewKey] and keep it in a package variable:
//
//	var user = channels.NewKey[string]("user")
//
//	user.Set(c, "ada")
//	name := user.Get(c)
//
// Two keys never mean the same value, not even if they have the same name.
type Key[T any] struct{ id keyName }

// NewKey returns a new key. The name is for people: [Context.Assigns] shows the
// value under it.
func NewKey[T any](name string) *Key[T] { return &Key[T]{keyName{name}} }

// Holder is what values are kept with: a [*Context] or a [*Socket]. A channel sees
// the values of its socket unless it has set its own.
type Holder interface {
	assign(key, value any)
	lookup(key any) (value any, ok bool)
}

// Set keeps value with h. With a Socket it panics outside of
// SocketOptions.Connect, as [Socket.Assign] does.
func (k *Key[T]) Set(h Holder, value T) { h.assign(&k.id, value) }

// Get returns the value that was set, else the zero value of T.
func (k *Key[T]) Get(h Holder) T {
	value, _ := k.Lookup(h)
	return value
}

// Lookup is Get that reports whether a value was set.
func (k *Key[T]) Lookup(h Holder) (value T, ok bool) {
	v, ok := h.lookup(&k.id)
	if ok {
		value, _ = v.(T) // no other type can be set; an interface may hold nil
	}
	return value, ok
}

// String returns the key's name.
func (k *Key[T]) String() string { return k.id.name }
