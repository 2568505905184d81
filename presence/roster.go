package presence

import (
	"strings"
	"unicode/utf8"
)

// Roster holds the presences of one node, by topic, outside of any tracker. The zero Roster is empty. It is not safe
// for use by several goroutines.
type Roster struct {
	topics map[string]map[refKey]listed
}

// listed is a presence in a list.
type listed struct{ key, meta string }

// refKey is a phx_ref as a map key that does not keep a meta alive.
type refKey [refSize]byte

func refKeyOf(ref string) (k refKey) {
	copy(k[:], ref)
	return k
}

// Join adds a presence. It replaces the one that its meta names as phx_ref_prev. A presence that no tracker could have
// made is ignored.
func (r *Roster) Join(topic, key, meta string) {
	if !wellFormed(key, meta) {
		return
	}
	if r.topics == nil {
		r.topics = make(map[string]map[refKey]listed)
	}
	list := r.topics[topic]
	if list == nil {
		list = make(map[refKey]listed)
		r.topics[topic] = list
	}
	delete(list, refKeyOf(prevOf(meta)))
	list[refKeyOf(refOf(meta))] = listed{key, meta}
}

// Leave removes a presence if it exists.
func (r *Roster) Leave(topic, _, ref string) {
	list := r.topics[topic]
	delete(list, refKeyOf(ref))
	if len(list) == 0 {
		delete(r.topics, topic)
	}
}

// Empty reports whether the roster has no presences.
func (r *Roster) Empty() bool { return len(r.topics) == 0 }

// wellFormed reports whether a meta has the form that buildMeta produces. Other nodes have validated the rest before
// they sent it.
func wellFormed(key, meta string) bool {
	if len(meta) < refEnd+len(`"}`) || !strings.HasPrefix(meta, refPrefix) || meta[refEnd] != '"' || !strings.HasSuffix(meta, "}") {
		return false
	}
	if strings.HasPrefix(meta[refEnd+1:], prevPrefix) && (len(meta) < prevStart+refSize+len(`"}`) || meta[prevStart+refSize] != '"') {
		return false
	}
	return utf8.ValidString(key)
}
