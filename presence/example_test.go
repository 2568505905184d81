package presence_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// visitor is a channel of somebody on topic room:1. In a program this is the
// *channels.Context that callbacks get.
type visitor struct{ ended []func() }

func (v *visitor) Topic() string                      { return "room:1" }
func (v *visitor) Push(string, any) error             { return nil }
func (v *visitor) OnEnd(f func())                     { v.ended = append(v.ended, f) }
func (v *visitor) leave()                             { v.ended[0]() }
func keys(entries map[string]presence.Entry) []string { return slices.Sorted(maps.Keys(entries)) }

// Who is present leaves with its channel. HandleMetas tells the program of it.
func Example() {
	endpoint, err := channels.NewEndpoint(channels.Options{Loops: 1})
	if err != nil {
		panic(err)
	}
	changes := make(chan presence.Change, 3)
	who := presence.New(endpoint, presence.Options{HandleMetas: func(c presence.Change) { changes <- c }})

	ada, bob := new(visitor), new(visitor)
	if _, err := who.Track(ada, "ada", map[string]string{"device": "phone"}); err != nil {
		panic(err)
	}
	c := <-changes
	fmt.Println(c.Topic, "joined:", keys(c.Joins))
	if _, err := who.Track(bob, "bob", map[string]string{"device": "laptop"}); err != nil {
		panic(err)
	}
	c = <-changes
	fmt.Println(c.Topic, "joined:", keys(c.Joins))
	fmt.Println("present:", keys(who.List("room:1")))
	ada.leave()
	c = <-changes
	fmt.Println(c.Topic, "left:", keys(c.Leaves))

	who.Close()
	if err := endpoint.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// room:1 joined: [ada]
	// room:1 joined: [bob]
	// present: [ada bob]
	// room:1 left: [ada]
}
