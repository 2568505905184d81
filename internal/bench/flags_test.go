package bench

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const someURL = "ws://127.0.0.1:4000/socket"

func TestParse(t *testing.T) {
	o, err := Parse([]string{"broadcast", someURL, "-c", "500", "--topics=10", "--pid", "1,2", "--messages=7", "--param", "a=b,c", "--param=d=e"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Mode != Broadcast || o.Connections != 500 || o.Topics != 10 || len(o.PIDs) != 2 || o.Duration != 0 || o.Messages != 7 ||
		len(o.Params) != 2 || o.Params[0] != "a=b,c" || len(o.URLs) != 1 {
		t.Errorf("%+v", o)
	}
	if o, err = Parse([]string{"presence", someURL}); err != nil || o.JoinPayload != `{"user":"bench-{n}"}` {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = Parse([]string{"echo", "--duration=3s", someURL}); err != nil || o.Event != heartbeatEvent || o.Duration != 3*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
}

// Each error says what would be right.
func TestParseErrors(t *testing.T) {
	tests := []struct{ args, want string }{
		{"brodcast " + someURL, `unknown mode "brodcast"; did you mean broadcast?`},
		{someURL + " --connections=5", "the mode comes first"},
		{"idle", "missing URL of the socket"},
		{"idle " + someURL + " --conections=5", "unknown flag --conections; did you mean --connections?"},
		{"idle " + someURL + " --window=5", "unknown flag --window; mycelium bench idle --help lists the flags"},
		{"idle " + someURL + " --connections=many", `--connections is "many"; it takes a whole number`},
		{"idle " + someURL + " --duration=10", `--duration is "10"; it takes a duration with its unit`},
		{"idle " + someURL + " --connections", "flag --connections has no value"},
		{"idle " + someURL + " --connections=0", "--connections is 0; it takes a number from 1 to"},
		{"idle " + someURL + " -c 10 --topics=20", "each topic needs a connection"},
		{"idle " + someURL + " --topics=5 --topic=room:a", `for example --topic="room:a-{n}"`},
		{"idle " + someURL + " --join-payload=[]", "it takes a JSON object"},
		{"idle " + someURL + " --param=vsn=1.0.0", "bench speaks only version 2.0.0"},
		{"idle http://127.0.0.1:4000/socket", "does not start with ws:// or wss://"},
		{"idle " + someURL + "?vsn=1.0.0", "bench speaks only 2.0.0"},
		{"idle " + someURL + " --insecure", "no URL starts with wss://"},
		{"idle wss://127.0.0.1/socket --insecure --ca=x", "give one of them"},
		{"idle " + someURL + " --param=token", "it takes name=value"},
		{"idle " + someURL + " --header=Origin", `it takes "Name: value"`},
		{"broadcast " + someURL + " --rate=-1", "--rate is -1; it takes a number above 0"},
		{"broadcast " + someURL + " --duration=0", "it takes a duration above 0"},
		{"broadcast " + someURL + " --window=0", "--window is 0; it takes a number from 1"},
		{"echo " + someURL + " --depth=0", "--depth is 0; it takes a number from 1"},
	}
	for _, test := range tests {
		_, err := Parse(strings.Fields(test.args))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.args, err, test.want)
		}
	}
	_, err := Parse(strings.Fields("broadcast " + someURL + " --window=0 --publishers=0 --size=-1"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all errors at once: %v", err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"help"}, {"idle", "--help"}, {"broadcast", someURL, "-h"}} {
		if _, err := Parse(args); !errors.Is(err, ErrHelp) {
			t.Errorf("%v: %v, want ErrHelp", args, err)
		}
	}
	for _, c := range commands {
		if all := Help(nil); !strings.Contains(all, c.summary) {
			t.Errorf("the help text lacks %s", c.mode)
		}
		text := Help([]string{string(c.mode), "--help"})
		for _, example := range c.examples {
			if !strings.Contains(text, example) {
				t.Errorf("the help text of %s lacks its example", c.mode)
			}
			command, _, _ := strings.Cut(example, " #")
			args := strings.Fields(strings.NewReplacer("$(pidof mycelium)", "1", "'", "", `"`, `"`).Replace(command))[2:]
			if _, err := Parse(args); err != nil {
				t.Errorf("the example %s: %v", command, err)
			}
		}
	}
}

// docs/bench.md names every flag of every mode.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		c.set(defaults(c.mode)).VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(string(text), "`--"+f.Name+"`") {
				t.Errorf("docs/bench.md lacks `--%s` of %s", f.Name, c.mode)
			}
		})
	}
}
