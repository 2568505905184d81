package front

import (
	"testing"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, leaktest.Count{Name: "frames", Live: netloop.LiveFrames})
}
