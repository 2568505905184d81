package dispatch

// topicMap is a map by topic that gives memory back after a peak, unlike Go's own maps. The zero topicMap is ready to
// use. Read m directly; set and delete change it.
type topicMap[V any] struct {
	m    map[string]V // nil until there is a topic
	peak int          // the most topics since m was created
}

// rebuildAbove is the peak above which a map is rebuilt when it is down to a quarter. Copying a quarter after three
// quarters were deleted keeps the cost of each deletion constant.
const rebuildAbove = 128

func (t *topicMap[V]) set(topic string, v V) {
	if t.m == nil {
		t.m = make(map[string]V)
	}
	t.m[topic] = v
	t.peak = max(t.peak, len(t.m))
}

func (t *topicMap[V]) delete(topic string) {
	delete(t.m, topic)
	if t.peak < rebuildAbove || len(t.m) > t.peak/4 {
		return
	}
	m := make(map[string]V, len(t.m))
	for topic, v := range t.m {
		m[topic] = v
	}
	t.m, t.peak = m, len(m)
}
