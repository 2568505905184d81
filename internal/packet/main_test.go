package packet

import (
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a handler that writes down what it is given, and answers with what was
// planned for it.
type script struct {
	lines   []string
	answers []error // to the next messages; nil when they are used up
	decoder *Decoder
	ends    bool // end the decoder in the next call
}

func (s *script) note(format string, args ...any) (err error) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
	if s.ends {
		s.decoder.End()
	}
	if len(s.answers) > 0 {
		err, s.answers = s.answers[0], s.answers[1:]
	}
	return err
}

func (s *script) HandleMessage(binary bool, payload []byte) error {
	return s.note("%t %q", binary, payload)
}

func (s *script) HandleControl(op websocket.Op, payload []byte) error {
	return s.note("%d %q", op, payload)
}

func (s *script) HandleOverhead(int) error { return errors.New("packets have no overhead") }

// noBuffersLeft fails the test if a decoder keeps memory at its end.
func noBuffersLeft(t testing.TB) {
	t.Helper()
	before := websocket.LiveBuffers()
	t.Cleanup(func() {
		if n := websocket.LiveBuffers() - before; n != 0 {
			t.Errorf("%d buffers left", n)
		}
	})
}
