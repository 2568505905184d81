// Package arrows holds which packages of this module may import which, and a
// check of it for go test. The list of arrows in ARCHITECTURE.md is made from the
// same table.
package arrows

import "strings"

// Module is the path of this module.
const Module = "github.com/mycelium-rt/mycelium"

// Rule forbids imports to the files of some folders. Folders are relative to
// the module's root, are meant with all below them, and need not exist yet.
type Rule struct {
	// Name is what a broken rule is called.
	Name string
	// In are the folders that the rule is for; none: the whole module.
	In []string
	// NotIn are folders that the rule is not for.
	NotIn []string
	// TestsToo extends the rule to files that end with _test.go.
	TestsToo bool
	// Deny are prefixes of import paths.
	Deny []string
	// Allow are folders of this module that may be imported in spite of Deny:
	// each alone, without those below it. What a rule is for may always import
	// itself.
	Allow []string
	// Why is what the author of a forbidden import is told.
	Why string
}

// Rules are the arrows of ARCHITECTURE.md.
var Rules = []Rule{
	layer("wire", nil,
		"wire turns bytes into messages and back; it knows no socket, topic or transport"),
	layer("units", nil,
		"units reads and writes quantities; what they are of is known to whoever has them"),
	layer("fielderr", nil,
		"fielderr says which field is wrong, whatever the value is of"),
	layer("internal/topics", nil,
		"topics matches topics against patterns"),
	layer("internal/bearer", nil,
		"bearer reads a header field"),
	layer("internal/callback", nil,
		"callback is below everything that calls an application"),
	layer("internal/hooks", nil,
		"hooks is below channels, which sets them, and below those that call them"),
	layer("pubsub", nil,
		"pubsub is what a bus has to do; who publishes comes in"),
	layer("internal/dispatch", []string{"pubsub", "internal/callback"},
		"dispatch never learns a wire format: it is given a dispatcher"),
	layer("internal/records", nil,
		"records cuts bytes; what they mean is known to those who read and write them"),
	except(layer("history", []string{"internal/records", "internal/topics"},
		"history keeps messages; who sends them, and to whom, comes in"), "history/natsstream"),
	layer("history/natsstream", []string{"history"},
		"natsstream is where history and JetStream meet; who connects to JetStream comes in"),
	layer("internal/goapi", nil,
		"goapi reads source files"),
	except(layer("cluster", []string{"pubsub"},
		"cluster replicates entries whose meaning its kinds know"), "cluster/presences", "cluster/histories", "cluster/revocations", "cluster/natscluster"),
	layer("cluster/natscluster", []string{"cluster", "internal/nodekey"},
		"natscluster carries packets; what is in them is not its concern"),
	layer("cluster/revocations", []string{"auth", "cluster"},
		"cluster/revocations is where revoked tokens and the log of a node meet: neither knows the other"),
	layer("cluster/histories", []string{"cluster", "history"},
		"cluster/histories is where history and the log of a node meet: neither knows the other"),
	layer("cluster/presences", []string{"cluster", "internal/records", "presence"},
		"cluster/presences is where presence and the log of a node meet: neither knows the other"),
	layer("presence", []string{"internal/callback", "internal/prepared", "pubsub", "wire"},
		"presence is a pure state: who tracks and who broadcasts comes in; of wire it takes the checks of JSON"),
	layer("internal/netloop", []string{"internal/callback"},
		"netloop knows bytes and file descriptors only"),
	layer("internal/websocket", nil,
		"websocket is a state machine fed with bytes: no loop, no topics"),
	layer("internal/packet", []string{"internal/websocket"},
		"packet is a state machine fed with bytes, which reports to a handler of WebSockets"),
	layer("internal/longpoll", nil,
		"transports know bytes and a small session interface, never topics"),
	layer("internal/admission", []string{"internal/share", "internal/websocket"},
		"admission counts and compares; connections and the application's decisions come in"),
	layer("internal/prepared", nil,
		"prepared is what presence and channels have in common, and no more"),
	layer("internal/frames", []string{"wire", "internal/netloop", "internal/packet", "internal/prepared", "internal/websocket"},
		"frames knows messages and bytes; sockets and topics stand on it"),
	layer("internal/nodekey", nil,
		"nodekey turns bytes into keys"),
	layer("internal/forward", []string{"internal/netloop", "internal/nodekey"},
		"forward takes requests to another node; what is served where comes in"),
	layer("internal/front", []string{"internal/admission", "internal/forward", "internal/logging", "internal/netloop", "internal/packet", "internal/websocket"},
		"front admits connections; what becomes of them is their endpoint's"),
	layer("channels", []string{"history", "wire", "pubsub", "internal/admission", "internal/callback", "internal/dispatch", "internal/forward", "internal/frames", "internal/front", "internal/hooks", "internal/logging", "internal/netloop", "internal/packet", "internal/prepared", "internal/share", "internal/topics", "internal/websocket", "internal/longpoll"},
		"channels stands on wire, pubsub and the transports; servers, pages and configuration stand on it"),
	layer("internal/netguard", nil,
		"netguard knows addresses, not why they are asked"),
	layer("internal/webhook", []string{"internal/logging", "internal/netguard"},
		"webhook sends bytes; what is asked and told comes in"),
	layer("hooks", []string{"channels", "fielderr", "internal/hooks", "internal/logging", "internal/netguard", "internal/topics", "internal/webhook", "presence", "units", "wire"},
		"hooks asks about clients of channels; which instance they are of is its caller's concern"),
	layer("auth", []string{"channels", "fielderr", "internal/logging", "internal/netguard", "internal/topics", "units"},
		"auth guards the sockets of channels; servers and configuration stand on it"),
	except(layer("instances", []string{"channels", "fielderr", "history", "presence", "pubsub", "internal/callback", "internal/logging", "internal/nearest", "internal/share", "internal/topics", "units"},
		"instances stands on channels; servers, pages and configuration stand on it"), "instances/realtime"),
	layer("instances/realtime", []string{"auth", "channels", "history", "instances", "internal/logging", "presence", "units", "wire"},
		"the type for Supabase's clients takes tokens in messages, so it verifies them itself"),
	layer("httpapi", []string{"auth", "channels", "fielderr", "history", "hooks", "instances", "internal/bearer", "internal/events", "internal/hooks", "internal/logging", "internal/strictjson"},
		"the API is a face of the manager: what it can do, an embedder can"),
	layer("internal/strictjson", []string{"fielderr", "internal/nearest", "units", "wire"},
		"strictjson decodes what it is told to; of wire it takes the checks of JSON"),
	layer("internal/bench", []string{"internal/nearest"},
		"the load generator is a client of its own: it must not share the faults of what it measures"),
	layer("internal/nearest", nil,
		"nearest compares words"),
	layer("internal/observer", []string{"channels", "history", "instances", "internal/logging", "internal/membership", "internal/webhook"},
		"the observer is an application of channels like any other, and looks at the manager"),
	layer("internal/apiclient", nil,
		"the client of the API knows what its document says, as clients in other languages do"),
	layer("internal/keyfile", nil,
		"a key's file is found by those who know nothing else of the server"),
	layer("internal/config", []string{"channels", "internal/logging", "internal/nearest", "internal/topics", "units"},
		"config is plain values: cmd hands them on; of channels it takes the limits"),
	layer("internal/logging", nil,
		"logging is below everything that logs"),
	layer("internal/share", nil,
		"share divides what clients have in common; it knows counts and names"),
	layer("internal/site", []string{"internal/config", "internal/logging"},
		"the pages speak the protocol from the browser, not through our packages"),
	layer("internal/events", []string{"channels", "instances", "internal/logging", "internal/outbox", "internal/topics", "internal/webhook", "wire"},
		"events observes instances and tells; who may ask, and with what configuration, comes in"),
	layer("internal/outbox", nil,
		"outbox keeps records; what they mean is known to whoever appends them"),
	layer("internal/membership", []string{"cluster", "internal/logging"},
		"membership looks at a node; what clients do is not its concern"),
	layer("internal/metrics", []string{"channels", "history", "presence", "internal/bearer", "internal/membership"},
		"metrics reads what others count"),
	layer("metrics", []string{"channels", "history", "presence", "internal/metrics"},
		"the collector for embedders shows what the server's own metrics do"),
	layer("internal/bind", nil,
		"bind asks the system about an address"),
	layer("internal/doctor", []string{"internal/bind"},
		"the doctor looks at the machine, not at a server"),
	{
		Name: "cmd", NotIn: []string{"cmd"}, TestsToo: true,
		Deny: []string{Module + "/cmd"},
		Why:  "cmd only wires; what others need belongs into a package",
	},
	{
		Name: "easygo", NotIn: []string{"internal/netloop"}, TestsToo: true,
		Deny: []string{"github.com/mailru/easygo"},
		Why:  "the poller stands behind internal/netloop, which has a portable form too",
	},
	{
		Name: "gobwas", NotIn: []string{"internal/websocket", "compat_tests"},
		Deny: []string{"github.com/gobwas"},
		Why:  "RFC 6455 stands behind internal/websocket; its wstest is the client for tests",
	},
	{
		Name: "nats", NotIn: []string{"cluster/natscluster", "history/natsstream", "internal/natstest", "instances/natsstore"}, TestsToo: true,
		Deny: []string{"github.com/nats-io"},
		Why:  "a program that joins no cluster does not link NATS",
	},
	{
		Name: "templates", NotIn: []string{"compat_tests"},
		Deny: []string{"text/template", "html/template"},
		Why:  "they call methods by name: the linker then keeps every method, 5.5 MB of the server",
	},
	{
		Name: "jwt", NotIn: []string{"auth"}, TestsToo: true,
		Deny: []string{"github.com/golang-jwt"},
		Why:  "tokens are verified by auth, which knows what else is to be checked",
	},
	{
		Name: "tests", NotIn: append([]string{"compat_tests"}, TestOnly...),
		Deny: append([]string{"testing", "net/http/httptest", "go.uber.org/goleak", "pgregory.net/rapid"}, inModule(TestOnly)...),
		Why:  "what is for tests stays out of the programs",
	},
}

// TestOnly are the packages that only tests import. A folder whose name ends
// with "test" must be here.
var TestOnly = []string{
	"channels/channelstest",
	"internal/natstest",
	"cluster/internal/sim",
	"compat_tests/replay/conformance/conformancetest",
	"instances/internal/linktest",
	"instances/internal/typetest",
	"instances/storetest",
	"internal/addrtest",
	"internal/arrows",
	"internal/certtest",
	"internal/heaptest",
	"internal/hubtest",
	"internal/leaktest",
	"internal/logging/logtest",
	"internal/race",
	"internal/waittest",
	"internal/websocket/wstest",
	"pubsub/pubsubtest",
}

// except is a rule without some folders, which have rules of their own.
func except(r Rule, folders ...string) Rule {
	r.NotIn = append(r.NotIn, folders...)
	return r
}

// layer is the rule of a folder that imports of this module what allow has.
// Test helpers in it are held to what tests are held to.
func layer(folder string, allow []string, why string) Rule {
	return Rule{
		Name:  strings.ReplaceAll(folder, "/", "-"),
		In:    []string{folder},
		NotIn: below(folder, TestOnly),
		Deny:  []string{Module},
		Allow: allow,
		Why:   why,
	}
}
