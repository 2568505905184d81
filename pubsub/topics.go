package pubsub

// topicMap is a map by topic that gives memory back after a peak: Go's own maps keep the room that they once had. Its
// zero value is ready. m is for reading; set and delete change it.
type topicMap[V any] struct {
	m    map[string]V // nil until there is a topic
	peak int          // the most topics since m was made
}

// rebuildAbove is the peak from which on a map that is down to a quarter of it is made anew. Copying a quarter after as
// many deletions as three keeps the cost of each constant.
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
