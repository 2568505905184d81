//go:build linux

package main

import (
	"fmt"
	"strings"
)

// scenario is a load for which each tool has a file of this name.
type scenario struct {
	name  string
	title string
	share int // the number of users is that of the command line divided by share
	// fill completes the plan.
	fill func(p *plan, seconds int)
	// deliveries returns how often a message is delivered to a user; nil if that varies.
	deliveries func(p plan) int
	// bench returns the arguments of mycelium bench for the same load; nil if it has none.
	bench func(p plan, url string) []string
}

// plan holds the variables of a scenario's files, where their names are in lower case. Times
// are in seconds.
type plan struct {
	Users    int
	Rate     int // users that arrive each second
	Arrival  int // how long users arrive
	Gather   int // when all users have arrived, from the first one on
	Rooms    int // or instances
	Speakers int // users who send messages
	Messages int // of each speaker
	Pause    int // between two messages of a speaker
	Wave     int // connections are lost when the clock shows a multiple of it
	Night    int // how much longer a few users stay
	Owls     int // users who stay through the night
	Beats    int // heartbeats of users who only listen
	Beat     int // time between two heartbeats
}

const (
	roomSize = 20
	// arrival is how long users arrive, in seconds.
	arrival = 5
)

// plan returns the scenario's variables.
func (c *scenario) plan(s settings) plan {
	users := max(1, (s.users+99)/100) * 100 / c.share
	p := plan{
		Users: users, Rate: (users + arrival - 1) / arrival, Arrival: arrival, Gather: arrival + 3,
		Rooms: max(1, users/roomSize), Speakers: users, Pause: 5,
	}
	if s.seconds < p.Pause { // a trial
		p.Pause = 1
	}
	p.Messages = max(2, s.seconds/p.Pause)
	if c.fill != nil {
		c.fill(&p, s.seconds)
	}
	talk := max(1, p.Messages*p.Pause)
	p.Beat = min(15, talk)
	p.Beats = talk / p.Beat
	return p
}

// inRooms returns the number of deliveries to the users of rooms.
func inRooms(p plan) int { return p.Speakers * p.Messages * (p.Users/p.Rooms - 1) }

// benchTalk has the flags of mycelium bench for messages with as much text as in the tools'
// files.
const benchTalk = " --event=say --size=64 --settle=1s --heartbeat=15s"

// talk returns the arguments of mycelium bench for users in rooms. In each room one user
// sends as many messages as all users do in the tools' scenarios.
func talk(p plan, topic string, urls []string) []string {
	speakers := max(1, p.Speakers/p.Users) // in each room
	if p.Rooms == 1 {
		speakers = p.Speakers
	}
	args := fmt.Sprintf("broadcast --connections=%d --topics=%d --topic=%s --publishers=%d --rate=%.2f --duration=%ds --connect-rate=%d",
		p.Users-p.Rooms*speakers, p.Rooms, topic, speakers, float64(p.Speakers)/float64(p.Pause), p.Messages*p.Pause, p.Rate)
	return append(strings.Fields(args+` --publisher-payload={"self":false}`+benchTalk), urls...)
}

var scenarios = []*scenario{
	{
		name: "rooms", title: "chat rooms", share: 1, deliveries: inRooms,
		bench: func(p plan, url string) []string { return talk(p, "room:{n}", []string{url}) },
	},
	{
		name: "big", title: "one big room", share: 1, deliveries: inRooms,
		fill: func(p *plan, seconds int) {
			p.Rooms, p.Speakers, p.Pause = 1, 5, 1
			p.Messages = max(2, seconds)
		},
		bench: func(p plan, url string) []string { return talk(p, "room:0", []string{url}) },
	},
	{
		name: "presence", title: "presence", share: 5,
		fill: func(p *plan, _ int) { p.Rooms, p.Messages = 1, 0 },
		bench: func(p plan, url string) []string {
			return strings.Fields(fmt.Sprintf("presence --connections=%d --topic=lobby:0 --connect-rate=%d --settle=2s %s", p.Users, p.Rate, url))
		},
	},
	{
		name: "instances", title: "instances", share: 1, deliveries: inRooms,
		bench: func(p plan, url string) []string {
			var urls []string
			for i := range p.Rooms {
				urls = append(urls, fmt.Sprintf("%s/%s", url, instanceName(i)))
			}
			return talk(p, "room:{n}", urls)
		},
	},
	{name: "polls", title: "long polling", share: 5},
	{
		name: "day", title: "a day in the life", share: 1,
		fill: func(p *plan, seconds int) {
			p.Arrival = max(arrival, seconds)
			p.Rate = (2*p.Users + p.Arrival - 1) / p.Arrival // Tsung starts no users after the phase
			p.Messages, p.Wave, p.Night, p.Owls = max(1, seconds/2/p.Pause), max(10, seconds), seconds, p.Users/20
		},
	},
}

// instanceName returns the id of instance i, as in the tools' files.
func instanceName(i int) string { return fmt.Sprintf("room-%d", i) }

// names returns the scenarios' names.
func names() (list []string) {
	for _, c := range scenarios {
		list = append(list, c.name)
	}
	return list
}
