package instances_test

import (
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) instances.Store { return new(instances.Memory) })
	storetest.RunShared(t, func(*testing.T) (a, b instances.SharedStore) {
		m := new(instances.Memory)
		return m, m
	})
}
