package wire

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// both are the serializers, for tests that hold for each of them.
var both = []Serializer{V1{}, V2{}}

func text(s string) Payload    { return Payload{Data: []byte(s)} }
func bytesOf(s string) Payload { return Payload{Data: []byte(s), Binary: true} }
