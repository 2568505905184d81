package forward

import (
	"testing"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
