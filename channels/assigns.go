package channels

// assigns are the values that an application keeps with a socket or a channel.
// There are few of them, and a map costs ten times the bytes.
type assigns []assign

// assign is one value. Its key is a string, or the identity of a [Key].
type assign struct {
	key   any
	value any
}

// keyName is the identity of a [Key]: a pointer to it is equal to itself alone,
// whatever other keys are called.
type keyName struct{ name string }

func (a assigns) get(key any) (value any, ok bool) {
	for i := range a {
		if a[i].key == key {
			return a[i].value, true
		}
	}
	return nil, false
}

func (a *assigns) set(key, value any) {
	for i := range *a {
		if (*a)[i].key == key {
			(*a)[i].value = value
			return
		}
	}
	*a = append(*a, assign{key, value})
}

func (a assigns) copyTo(all map[string]any) {
	for _, v := range a {
		switch key := v.key.(type) {
		case string:
			all[key] = v.value
		case *keyName:
			all[key.name] = v.value
		}
	}
}
