package wire_test

import (
	"fmt"
	"strings"

	"github.com/mycelium-rt/mycelium/wire"
)

// loud is a serializer that differs from version 2 in its broadcasts.
type loud struct{ wire.V2 }

func (loud) Version() string { return "loud-1" }

func (s loud) AppendBroadcast(dst []byte, topic, event string, p wire.Payload) ([]byte, bool, error) {
	return s.V2.AppendBroadcast(dst, topic, strings.ToUpper(event), p)
}

// A dialect with a version of its own beside Phoenix's. A socket gets it as
// channels.SocketOptions.Dialect.
func ExampleDialect() {
	var dialect wire.Dialect = func(o wire.Offer) (wire.Serializer, error) {
		if o.Version == "loud-1" {
			return loud{}, nil
		}
		return wire.Phoenix(o)
	}
	for _, vsn := range []string{"1.0.0", "2.0.0", "loud-1", "3.0.0"} {
		s, err := dialect(wire.Offer{Version: vsn, HasVersion: true})
		if err != nil {
			fmt.Println(err)
			continue
		}
		message, _, _ := s.AppendBroadcast(nil, "room:1", "news", wire.Payload{Data: []byte(`{"n":1}`)})
		fmt.Println(string(message))
	}
	// Output:
	// {"event":"news","payload":{"n":1},"ref":null,"topic":"room:1"}
	// [null,null,"room:1","news",{"n":1}]
	// [null,null,"room:1","NEWS",{"n":1}]
	// wire: unsupported protocol version
}
