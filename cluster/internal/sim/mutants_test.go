package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	mutants = flag.Bool("mutants", false, "plant each of the known bugs and look for it")
	rewrite = flag.Bool("rewrite", false, "with -mutants: write the table of the seeds that find them anew")
)

// tableFile has the table of the planted bugs and the seeds that find them.
const tableFile = "MUTANTS.md"

// row is one of its rows.
type row struct{ invariant, bug, file, seed string }

// mutant is a bug that the seeds must find: a change of a source file.
type mutant struct {
	invariant string // that it breaks
	bug       string
	file      string // from the folder of package cluster
	old, new  string
}

var plantedBugs = []mutant{
	{"view", "a kind is not told that a peer is down", "peer.go",
		"		k.Down(p)\n", "		_ = k.Down\n"},
	{"view", "a peer is shown before its entries have arrived", "peer.go",
		"p.target == 0 || p.next < p.target || p.arrives != nil {", "p.target == 0 {"},
	{"view", "a peer is shown before its snapshot has arrived", "peer.go",
		"p.target == 0 || p.next < p.target || p.arrives != nil {", "p.target == 0 || p.next < p.target {"},
	{"balance", "a peer that is up comes up again", "peer.go",
		"if p.up || p.leaving", "if p.leaving"},
	{"no ghosts", "the lost end of a log is not noticed", "receive.go",
		"p.head = max(p.head, h.head)", "p.head += 0 * h.head"},
	{"no ghosts", "a peer that is silent stays up", "tick.go",
		"	case silent >= DownAfter:\n		p.fall()\n", ""},
	{"no ghosts", "a log stays although its node has begun a new one", "receive.go",
		"	if old := n.named[h.name]; old != nil {\n\t\told.loseName()", "	if old := n.named[h.name]; old != nil {\n		_ = old.loseName"},
	{"no flapping", "a pause of this node counts as silence of its peers", "tick.go",
		"p.heard = min(now, p.heard+pause)", "_ = p.heard"},
	{"no flapping", "a snapshot loses one of its parts", "snapshot.go",
		"for _, part := range a.parts {", "for _, part := range a.parts[:max(1, len(a.parts)-1)] {"},
	{"no flapping", "late packets of its own former life make a node give way", "limits.go",
		"conflictAfter = 8 * time.Second", "conflictAfter = 0 * time.Second"},
	{"convergence", "the first number that arrives is taken for the next one", "peer.go",
		"case n == p.next && p.applies():\n", "case p.applies():\n			p.next = n\n"},
	{"convergence", "missing entries are asked for only once", "catchup.go",
		"p.asked != 0 && now-p.asked < askEvery", "p.asked != 0"},
	{"convergence", "lost parts of a snapshot are not asked for", "snapshot.go",
		"	case a.left > 0:\n", "	case a.left > 0:\n		return\n	case a.left < 0:\n"},
	{"convergence", "a tail longer than what may be held is awaited for ever", "snapshot.go",
		"case now-a.whole > holdFor:", "case false && now-a.whole > holdFor:"},
	{"convergence", "changes during a snapshot are left out", "snapshot.go",
		"s.until = n.head()", "s.until = s.at"},
	{"convergence", "a node writes a version that a peer cannot read", "tick.go",
		"version = min(version, p.newest)", "_ = min(version, p.newest)"},
	{"convergence", "a log that lost its name to a dead one never gets it back", "receive.go",
		"if p == nil || p.ended && !n.revive(p) {", "if p == nil || p.ended {"},
	{"updates never go back", "entries that arrive twice are applied twice", "peer.go",
		"case n < p.next:", "case n < p.next:\n			p.next--\n			p.apply(e)"},
	{"updates never go back", "a snapshot is older than what it replaces", "snapshot.go",
		"	if at+1 < p.next {", "	if false {"},
	{"bounds", "the entries kept for resending are not bounded", "log.go",
		"(l.bytes > l.limits.Keep || now-l.kept[n].at > keepFor)", "now-l.kept[n].at > keepFor"},
	{"bounds", "the entries held behind a gap are not bounded", "window.go",
		"w.bytes+len(e) > w.limit || ", ""},
	{"losses are reported", "lost entries are not reported", "snapshot.go",
		"				kind.Lost(p, missed)\n", ""},
	{"order", "entries after a snapshot are applied before those within it", "snapshot.go",
		"p.applyHeld(to)\n	p.next = max(p.next, to+1)", "p.next = max(p.next, to+1)"},

	{"view", "the presences of a peer that is down are shown", "presences/kind.go",
		"eachReplica(p, false, (*presence.Replica).Down)", "eachReplica(p, false, (*presence.Replica).Up)"},
	{"view", "a tracker that starts later has no presences of peers", "presences/kind.go",
		"	s.replica.Replace(s.roster)\n", ""},
	{"view", "the presences of peers are forgotten with the tracker", "presences/kind.go",
		"s.roster, s.replica = s.replica.Roster(), nil", "s.roster, s.replica = &presence.Roster{}, nil"},
	{"balance", "a snapshot repeats joins", "../presence/replica.go",
		"if sh.presences[ref] != nil {", "if false {"},
	{"balance", "an update adds a presence instead of replacing one", "../presence/replica.go",
		"p = sh.presences[prev]", "p = sh.presences[ref]"},
	{"no ghosts", "a presence that leaves a hidden peer is back when the peer is", "../presence/replica.go",
		"	r.dropPresence(topic, sh, p, refKeyOf(ref))\n	if p.shown {\n", "	if p.shown {\n		r.dropPresence(topic, sh, p, refKeyOf(ref))\n"},
	{"no ghosts", "topics without presences in a snapshot keep theirs", "../presence/replica.go",
		"		var left []*presence\n", "		var left []*presence\n		if by.topics[topic] == nil {\n			continue\n		}\n"},
	{"no ghosts", "a space without presences in a snapshot keeps its own", "presences/kind.go",
		"		rosters.of(space) //", "		_ = space //"},
	{"no ghosts", "other nodes are not told that a tracker has ended", "../presence/tracker.go",
		"r.Leave(topic, key, refOf(meta))", ""},
	{"no flapping", "a snapshot removes presences that it has", "../presence/replica.go",
		"if _, stays := by.topics[topic][ref]; !stays {", "if _, stays := by.topics[topic][ref]; !stays || topic == \"room:7\" {"},
	{"convergence", "changes during a snapshot are left out of it", "presences/kind.go",
		"		e.change(typ, rosters.of(e.space))\n", "		_, _ = typ, e\n"},
	{"convergence", "a record split over two parts of a snapshot is lost", "../internal/records/records.go",
		"rest = append(rest, part...)", "rest = append([]byte(nil), part...)"},
	{"convergence", "a node's snapshot has presences of other nodes", "../presence/replicator.go",
		"if meta := sent(tp, p); meta != \"\" && p.holder.isOwn() {", "if meta := sent(tp, p); meta != \"\" {"},
	{"convergence", "a node replicates presences of other nodes", "../presence/replicator.go",
		"p.meta != \"\" && p.holder.isOwn() {", "p.meta != \"\" {"},

	{"convergence", "a log counts only if its id is larger than that of its node's last one", "receive.go",
		"		n.meet(pk.log, h)\n", "		if old := n.named[h.name]; old == nil || old.log < pk.log {\n			n.meet(pk.log, h)\n		}\n"},
	{"marks keep their promises", "the position moves to the end with the first page of a replay", "../history/read.go",
		"	if !p.More {\n", "	if p.More || !p.More {\n"},
	{"marks keep their promises", "positions include a snapshot before it is delivered", "../history/snapshot.go",
		"		sp.logs.Store(l)\n		for _, r := range *sp.rules.Load() {\n", "		sp.logs.Store(l)\n		for _, m := range st.heads {\n			l.raise(m.log, m.number)\n		}\n		for _, r := range *sp.rules.Load() {\n"},
	{"marks keep their promises", "the topic is not locked between a page and its position", "../history/read.go",
		"	read(sp.page(st, topic, &ask))\n", "	p := sp.page(st, topic, &ask)\n	st.mu.Unlock()\n	sp.lock(st)\n	if !p.More {\n		p.Next = sp.position()\n	}\n	read(p)\n"},
	{"marks keep their promises", "a mark comes before the message that it includes", "../history/space.go",
		"	deliver(recorded)\n	if recorded {\n		sp.mark(r, m.Time)\n	}\n", "	if recorded {\n		sp.mark(r, m.Time)\n	}\n	deliver(recorded)\n"},
	{"marks keep their promises", "positions include a message before its topic is locked", "../history/share.go",
		"func (sp *Space) receive(topic string, m *Message) {\n", "func (sp *Space) receive(topic string, m *Message) {\n	sp.logs.Load().raise(m.Log, m.Number)\n"},
	{"marks keep their promises", "clients are not told what a snapshot could not bring", "../history/snapshot.go",
		"		(*one).Lost(topics, NodeLost)\n", "		_ = (*one).Lost\n"},
	{"no false recovered", "what a ring drops is not noted", "../history/ring.go",
		"	r.floor.raise(k.log, k.number)\n", "	_ = r.floor\n"},
	{"no false recovered", "what removed rings have lost is not noted", "../history/space.go",
		"	rule.forget(r.floor, r.lost)\n", "	_ = rule\n"},
	{"no false recovered", "snapshots do not say what rings have lost", "../history/snapshot.go",
		"appendMarks(nil, x.floor(r.floor))", "nil"},
	{"no false recovered", "what removed rings of another node have lost is not noted in rings", "../history/snapshot.go",
		"			sp.restoreFloor(l, one)\n", ""},
	{"no false recovered", "a join is answered before the node is as far as the client", "../history/logs.go",
		"			why, wait = Unknown, true\n", "			_ = wait\n"},
	{"nothing comes twice", "a node's entries are applied again", "../history/share.go",
		"ok && k.number <= head {", "ok && k.number < head {"},
	{"nothing comes twice", "a snapshot is sent to clients that have it", "../history/snapshot.go",
		"m.Number <= known ||", "m.Number <= 0*known ||"},
	{"nothing comes twice", "a replay begins with what the client has", "../history/read.go",
		"return k.number > a.After.marks.of(k.log)", "return k.number+1 > a.After.marks.of(k.log)"},
	{"nothing comes twice", "clients get in a replay what they have sent", "../history/read.go",
		"a.Without != 0 && k.sender == a.Without, ", ""},
	{"order", "a ring with a snapshot in it is sorted backwards", "../history/snapshot.go",
		"cmp.Compare(a.Number, b.Number)", "cmp.Compare(b.Number, a.Number)"},
	{"nodes agree", "snapshots do not have what dead nodes have left", "../history/snapshot.go",
		"append(l.silent(), mark{l.id, l.published()})", "marks{{l.id, l.published()}}"},
	{"nodes agree", "a node says what another lacks, and does not send it", "../history/tail.go",
		"		s.shared.state(entry)\n", "		_ = entry\n"},
	{"nodes agree", "a node that hears of a longer log does not ask for the rest", "../history/tail.go",
		"		s.tellHeads(behind...)\n", "		_ = s.tellHeads\n"},
	{"nodes agree", "a tail with a gap before it is applied", "../history/tail.go",
		"	case head < t.from:", "	case false:"},
	{"erased for good", "snapshots do not say what was erased", "../history/snapshot.go",
		"	for _, topic := range topics {\n		sp.writeErasures(w, topic)\n	}\n", "	_ = sp.writeErasures\n"},
	{"erased for good", "what was erased is taken from another node", "../history/share.go",
		"	if st.isErased(topic, m) {\n", "	if false {\n"},
	{"erased for good", "erasures are not kept", "../history/erase.go",
		"old := all || e.at < oldest.UnixMilli()", "old := all || e.at <= now.UnixMilli()"},
	{"erased for good", "an erasure erases what was recorded later", "../history/erase.go",
		"	return number <= e.upTo.of(log) && (", "	return ("},
	{"bounds", "no room is made for what other nodes record", "../history/share.go",
		"	s.shared.raise(log, m.Number)\n	s.makeRoom()\n", "	s.shared.raise(log, m.Number)\n"},
	{"bounds", "messages of snapshots are not counted", "../history/snapshot.go",
		"			sp.store.stats.messages.Add(1)\n", ""},

	{"sessions keep their promises", "a position counts before its probe is answered", "../history/sessions.go",
		"	case heard || one.guesses():\n		s.probe", "	case heard && one.rest != nil && one.rest.waits:\n		s.probe"},
	{"sessions keep their promises", "a topic counts before its replay is acknowledged", "../history/sessions.go",
		"		t.probe = s.nextProbe()\n", "		t.probe = max(1, s.probe)\n"},
	{"sessions keep their promises", "a position that two sessions share nothing of asks for nothing", "../history/handover.go",
		"		m.marks = append(m.marks, mark{one.log, min(one.number, b.marks.of(one.log))})\n", "		if b.marks.has(one.log) {\n			m.marks = append(m.marks, mark{one.log, min(one.number, b.marks.of(one.log))})\n		}\n"},
	{"sessions are not lost", "a node that keeps a session does not ask the others", "../history/sessions.go",
		"	if asks { // others", "	if asks && before == nil { // others"},
	{"sessions are not lost", "a session without a connection dies with its node", "../history/sessions.go",
		"	if s.keep(one, now) {\n		s.hand(one)", "	if s.keep(one, now) {\n		_ = s.hand"},
	{"sessions are not lost", "the death of a node does not count", "../history/handover.go",
		"		died := !p.up", "		died := false && !p.up"},
	{"sessions are not lost", "a node that does not answer does not count", "../history/handover.go",
		"(died || slices.Contains(silent, log))", "(died || false && slices.Contains(silent, log))"},
	{"sessions are not lost", "a node that stops does not hand over the sessions of its clients", "histories/kind.go",
		"		n.Append(cluster.TypeSession, entry) //", "		_ = n //"},
	{"nothing comes twice", "a topic keeps the position of its join", "../history/session.go",
		"t.probe != 0 && int32(number-t.probe) >= 0 &&", "t.probe != 0 && int32(number-t.probe) > 1000 &&"},
	{"bounds", "the sessions that are kept are not bounded", "../history/sessions.go",
		"	for s.bytes > s.most && s.oldest != nil {", "	for s.bytes > 100*s.most && s.oldest != nil {"},
	{"bounds", "sessions are kept for ever", "../history/sessions.go",
		"	for s.oldest != nil && now.Sub(s.oldest.rest.ended) > SessionAge {", "	for s.oldest != nil && now.Sub(s.oldest.rest.ended) > 100*SessionAge {"},
}

// TestMutants plants each bug, and runs the seed that is known to find it. With -rewrite it
// looks for the first of -seeds that does, and writes the table anew.
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("only with -mutants: make sim")
	}
	known := readTable(t)
	found := slices.Clone(known[:len(plantedBugs)]) // rows that -run leaves out stay
	for i, m := range plantedBugs {
		t.Run(m.invariant+"/"+m.bug, func(t *testing.T) {
			args := []string{"-seeds", strconv.Itoa(*seeds)}
			if !*rewrite {
				args = []string{"-seed", known[i].seed}
			}
			out, err := m.run(t, args)
			failed := regexp.MustCompile(`seed (\d+): (.*)`).FindStringSubmatch(out)
			if err == nil || failed == nil {
				t.Fatalf("not found with %v; if the simulation has changed, other seeds find it: add -rewrite\n%s", args, out)
			}
			t.Logf("found by seed %s: %s", failed[1], failed[2])
			found[i] = row{m.invariant, m.bug, path.Join("cluster", m.file), failed[1]}
		})
	}
	if *rewrite && !t.Failed() {
		writeTable(t, found)
	}
}

// TestMutantsTable: MUTANTS.md has each bug, in the order of the invariants.
func TestMutantsTable(t *testing.T) {
	known := readTable(t)
	for i, m := range plantedBugs {
		want := row{m.invariant, m.bug, path.Join("cluster", m.file), known[i].seed}
		if n, err := strconv.Atoi(known[i].seed); known[i] != want || err != nil || n < 1 {
			t.Errorf("row %d of %s is %q, want %q and a seed", i+1, tableFile, known[i], want)
		}
	}
}

// TestMutantsFit checks that the code that each bug changes is still there.
func TestMutantsFit(t *testing.T) {
	for _, m := range plantedBugs {
		m.read(t)
	}
}

// read returns the file that the bug is planted in.
func (m mutant) read(t *testing.T) (file, source string) {
	file, err := filepath.Abs(filepath.Join("..", "..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Errorf("%s has %q %d times, not once", m.file, m.old, n)
	}
	return file, string(text)
}

// run runs TestSeeds on the package with the bug in it.
func (m mutant) run(t *testing.T, args []string) (string, error) {
	file, source := m.read(t)
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(strings.Replace(source, m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"test", "-count=1", "-timeout", "10m", "-overlay", overlay, "-run", "TestSeeds", "."}, args...)
	out, err := exec.Command("go", args...).CombinedOutput()
	return string(out), err
}

const rule = "|---|---|---|---|\n"

// readTable returns the rows of the table, as many as there are planted bugs.
func readTable(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), rule)
	var rows []row
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 4 {
			t.Fatalf("%s has a row %q, want four cells", tableFile, line)
		}
		rows = append(rows, row{cells[0], cells[1], cells[2], cells[3]})
	}
	if len(rows) != len(plantedBugs) && !*rewrite {
		t.Fatalf("%s has %d rows, want one for each of %d planted bugs: go test ./cluster/internal/sim -run Mutants -mutants -rewrite", tableFile, len(rows), len(plantedBugs))
	}
	return append(rows, make([]row, len(plantedBugs))...)
}

func writeTable(t *testing.T, rows []row) {
	t.Helper()
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), rule)
	var b strings.Builder
	b.WriteString(before + rule)
	for _, r := range rows {
		b.WriteString("| " + strings.Join([]string{r.invariant, r.bug, r.file, r.seed}, " | ") + " |\n")
	}
	if err := os.WriteFile(tableFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
