package channels

// assigns are the values that an application keeps with a socket or a channel.
// There are few of them, and a map costs ten times the bytes.
type assigns []assign

type assign struct {
	key   string
	value any
}

func (a assigns) get(key string) (value any, ok bool) {
	for i := range a {
		if a[i].key == key {
			return a[i].value, true
		}
	}
	return nil, false
}

func (a *assigns) set(key string, value any) {
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
		all[v.key] = v.value
	}
}
