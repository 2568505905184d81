package main

import (
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"slices"
	"strings"
	"sync"

	"github.com/mycelium-rt/mycelium/channels"
)

const (
	uploadRef = "phx-file" // identifies the input to the client
	maxFile   = 1 << 20
	chunkSize = 64_000
)

// entry is a file that was chosen, as the client describes it.
type entry struct {
	Ref  string `json:"ref"`
	Name string `json:"name"`
	Size int    `json:"size"`

	token    string // with which its upload may join
	progress int    // in percent, as reported by the client
}

// refs joins the refs of the entries for which which returns true, for an attribute of the
// input.
func refs(entries []*entry, which func(*entry) bool) string {
	var all []string
	for _, e := range entries {
		if which(e) {
			all = append(all, e.Ref)
		}
	}
	return strings.Join(all, ",")
}

// choose sets the files of an input, some of which may be known.
func (v *view) choose(chosen []entry) {
	old := v.entries
	v.entries, v.problem = nil, ""
	for _, e := range chosen {
		known := slices.IndexFunc(old, func(o *entry) bool { return o.Ref == e.Ref })
		if known >= 0 {
			v.entries = append(v.entries, old[known])
		} else {
			v.entries = append(v.entries, &e)
		}
	}
}

// uploads has the files that views have allowed and not received yet.
type uploads struct {
	mu      sync.Mutex
	byToken map[string]*file // guarded by mu
}

// file is a file that the channel of its upload receives.
type file struct {
	view *channels.Context
	name string
	size int
	got  int
	sum  hash.Hash
}

// received tells a view that a file was received.
type received struct {
	name string
	size int
	sum  []byte
}

func newUploads() *uploads { return &uploads{byToken: make(map[string]*file)} }

type preflight struct {
	Ref     string  `json:"ref"`
	Entries []entry `json:"entries"`
}

// allow answers a client that is about to send files, with a token for each or with an
// error. The upload of a file named refused.bin may not join.
func (up *uploads) allow(c *channels.Context, p preflight) (object, error) {
	v := state.Get(c)
	tokens, problems := object{}, [][]string{}
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, e := range p.Entries {
		known := slices.IndexFunc(v.entries, func(o *entry) bool { return o.Ref == e.Ref })
		switch {
		case known < 0:
			problems = append(problems, []string{e.Ref, "not_chosen"})
		case e.Size > maxFile:
			problems = append(problems, []string{e.Ref, "too_large"})
			v.problem = e.Name + " is too large"
		default:
			token := rand.Text()
			v.entries[known].token, tokens[e.Ref] = token, token
			if e.Name == "refused.bin" {
				continue // its token is not valid
			}
			up.byToken[token] = &file{view: c, name: e.Name, size: e.Size, sum: sha256.New()}
			c.OnEnd(func() { up.take(token) })
		}
	}
	reply := v.update()
	reply["ref"] = p.Ref
	reply["config"] = object{"chunk_size": chunkSize, "chunk_timeout": 10_000, "max_entries": 10, "max_file_size": maxFile}
	reply["entries"] = tokens
	if len(problems) > 0 {
		reply["error"] = problems
	}
	return reply, nil
}

// take returns the file of a token, which is valid only once.
func (up *uploads) take(token string) *file {
	up.mu.Lock()
	defer up.mu.Unlock()
	f := up.byToken[token]
	delete(up.byToken, token)
	return f
}

var receiving = channels.NewKey[*file]("file")

// upload returns the channel for files. The topic is lvu: followed by the entry's ref.
func upload(up *uploads) *channels.Channel {
	ch := channels.Handle("lvu:*", func(c *channels.Context, p struct {
		Token string `json:"token"`
	}) (channels.NoReply, error) {
		f := up.take(p.Token)
		if f == nil {
			return channels.NoReply{}, channels.Errorf("invalid_token")
		}
		receiving.Set(c, f)
		return channels.NoReply{}, nil
	})
	channels.On(ch, "chunk", func(c *channels.Context, data channels.Binary) (channels.Reply, error) {
		f := receiving.Get(c)
		if f.got += len(data); f.got > f.size || len(data) > chunkSize {
			c.Stop(nil)
			return channels.Reply{}, channels.Errorf("file_size_limit_exceeded")
		}
		f.sum.Write(data)
		if f.got == f.size {
			c.Stop(nil)
			return channels.Reply{Status: "ok"}, f.view.Send(received{f.name, f.size, f.sum.Sum(nil)})
		}
		return channels.Reply{Status: "ok"}, nil
	})
	return ch
}

// handleProgress handles how much of a file the client has sent.
func handleProgress(c *channels.Context, p struct {
	EntryRef string `json:"entry_ref"`
	Progress any    `json:"progress"` // in percent, or {"error": reason}
}) (object, error) {
	v := state.Get(c)
	for _, e := range v.entries {
		if percent, ok := p.Progress.(float64); ok && e.Ref == p.EntryRef {
			e.progress = int(percent)
		} else if e.Ref == p.EntryRef {
			v.problem = e.Name + " failed"
		}
	}
	return v.update(), nil
}
