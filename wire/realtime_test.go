package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// realtimeSerializers are those of the dialect, by what their clients ask for.
func realtimeSerializers(t *testing.T) map[string]Serializer {
	t.Helper()
	all := make(map[string]Serializer)
	for name, o := range map[string]Offer{
		"1.0.0":        {Version: "1.0.0", HasVersion: true},
		"2.0.0":        {Version: "2.0.0", HasVersion: true},
		"2.0.0, polls": {Version: "2.0.0", HasVersion: true, TextOnly: true},
	} {
		s, err := Realtime(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = s
	}
	return all
}

func TestRealtimeVersions(t *testing.T) {
	if s, err := Realtime(Offer{}); err != nil || s.Version() != "1.0.0" {
		t.Errorf("without vsn: %v, %v; want 1.0.0", s, err)
	}
	if _, err := Realtime(Offer{Version: "3.0.0", HasVersion: true}); !errors.Is(err, ErrVersion) {
		t.Errorf("3.0.0: %v; want ErrVersion", err)
	}
}

// kind3 is a message as realtime-js makes it (src/lib/serializer.ts, userBroadcastPush).
func kind3(joinRef, ref, topic, event, meta string, encoding byte, data string) []byte {
	frame := []byte{3, byte(len(joinRef)), byte(len(ref)), byte(len(topic)), byte(len(event)), byte(len(meta)), encoding}
	return append(frame, joinRef+ref+topic+event+meta+data...)
}

// TestUserBroadcastBytes has the frames that were seen between realtime-js and Supabase's server.
func TestUserBroadcastBytes(t *testing.T) {
	all := realtimeSerializers(t)
	var m Message
	frame := []byte("\x03\x01\x01\x0e\x06\x00\x01" + "1" + "7" + "realtime:room1" + "cursor" + `{"x":1}`)
	if err := all["2.0.0"].Decode(frame, true, &m); err != nil {
		t.Fatal(err)
	}
	want := envelope{
		ref: `"7"`, topicJSON: `"realtime:room1"`, topic: "realtime:room1", event: "broadcast",
		payload: "\x06\x00\x01cursor" + `{"x":1}`, binary: true,
	}
	if got := envelopeOf(&m); got != want {
		t.Errorf("decoded to %+v\nwant %+v", got, want)
	}
	for name, want := range map[string]string{
		"2.0.0":        "\x04\x0e\x06\x00\x01realtime:room1cursor" + `{"x":1}`,
		"2.0.0, polls": `[null,null,"realtime:room1","broadcast",{"event":"cursor","payload":{"x":1},"type":"broadcast"}]`,
		"1.0.0":        `{"event":"broadcast","payload":{"event":"cursor","payload":{"x":1},"type":"broadcast"},"ref":null,"topic":"realtime:room1"}`,
	} {
		for _, topic := range []string{"realtime:room1", RealtimePrivate + "realtime:room1"} {
			out, binary, err := all[name].AppendBroadcast([]byte("before"), topic, "broadcast", m.Payload)
			if err != nil || string(out) != "before"+want || binary != (want[0] == 4) {
				t.Errorf("%s, %s: %q, %t, %v\nwant %q", name, topic, out, binary, err, want)
			}
		}
	}
}

// TestConversions is the matrix of what clients of each generation receive from the others.
func TestConversions(t *testing.T) {
	all := realtimeSerializers(t)
	user := func(u UserBroadcast) Payload {
		p, err := u.Payload()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	sent := func(version string, binary bool, frame string) Payload {
		m := new(Message)
		if err := all[version].Decode([]byte(frame), binary, m); err != nil || string(m.Event) != "broadcast" {
			t.Fatalf("%s: %q: event %q, %v", version, frame, m.Event, err)
		}
		return m.Payload
	}
	const (
		topic = "realtime:r"
		v2    = `[null,null,"realtime:r","broadcast",%s]`
		v1    = `{"event":"broadcast","payload":%s,"ref":null,"topic":"realtime:r"}`
		whole = `{"event":"e","payload":{"x":1},"type":"broadcast"}`
		flat  = `{"x":1,"type":"broadcast","event":"e"}` // of Dart's client
		meta  = `{"event":"e","meta":{"id":"7"},"payload":{"x":1},"type":"broadcast"}`
	)
	for name, test := range map[string]struct {
		payload Payload
		want    [3]string // 2.0.0, 2.0.0 by polls, 1.0.0; "" is nothing
	}{
		"kind 3 of JSON": {
			sent("2.0.0", true, string(kind3("1", "2", topic, "e", "", 1, ` { "x" : 1 } `))),
			[3]string{"\x04\x0a\x01\x00\x01realtime:re" + `{"x":1}`, fmt.Sprintf(v2, whole), fmt.Sprintf(v1, whole)},
		},
		"kind 3 of JSON, any encoding but 0": {
			sent("2.0.0", true, string(kind3("1", "2", topic, "e", "", 255, `[1]`))),
			[3]string{"\x04\x0a\x01\x00\x01realtime:re[1]", fmt.Sprintf(v2, strings.Replace(whole, `{"x":1}`, "[1]", 1)), fmt.Sprintf(v1, strings.Replace(whole, `{"x":1}`, "[1]", 1))},
		},
		"kind 3 with meta": {
			sent("2.0.0", true, string(kind3("1", "2", topic, "e", `{"a":1}`, 1, `{"x":1}`))),
			[3]string{"\x04\x0a\x01\x00\x01realtime:re" + `{"x":1}`, fmt.Sprintf(v2, whole), fmt.Sprintf(v1, whole)},
		},
		"kind 3 of bytes": {
			sent("2.0.0", true, string(kind3("1", "2", topic, "e", "", 0, "\x00\xff"))),
			[3]string{"\x04\x0a\x01\x00\x00realtime:re\x00\xff", "", ""},
		},
		"kind 3 of no bytes": {
			sent("2.0.0", true, string(kind3("", "", topic, "", "", 0, ""))),
			[3]string{"\x04\x0a\x00\x00\x00realtime:r", "", ""},
		},
		"text of version 2": {
			sent("2.0.0", false, `["1","2","realtime:r","broadcast",`+whole+`]`),
			[3]string{fmt.Sprintf(v2, whole), fmt.Sprintf(v2, whole), fmt.Sprintf(v1, whole)},
		},
		"text of version 1": {
			sent("1.0.0", false, `{"topic":"realtime:r","event":"broadcast","payload":`+whole+`,"ref":"2"}`),
			[3]string{fmt.Sprintf(v2, whole), fmt.Sprintf(v2, whole), fmt.Sprintf(v1, whole)},
		},
		"flat text": {
			sent("2.0.0", false, `["1","2","realtime:r","broadcast",`+flat+`]`),
			[3]string{fmt.Sprintf(v2, flat), fmt.Sprintf(v2, flat), fmt.Sprintf(v1, flat)},
		},
		"HTTP batch": {
			Payload{Data: []byte(meta)},
			[3]string{fmt.Sprintf(v2, meta), fmt.Sprintf(v2, meta), fmt.Sprintf(v1, meta)},
		},
		"HTTP single of JSON": {
			user(UserBroadcast{Event: "e", Data: []byte(`{"x":1}`), JSON: true}),
			[3]string{"\x04\x0a\x01\x00\x01realtime:re" + `{"x":1}`, fmt.Sprintf(v2, whole), fmt.Sprintf(v1, whole)},
		},
		"HTTP single of bytes": {
			user(UserBroadcast{Event: "e", Data: []byte{0xff}}),
			[3]string{"\x04\x0a\x01\x00\x00realtime:re\xff", "", ""},
		},
		"with the meta of a back end": {
			user(UserBroadcast{Event: "e", Meta: []byte(`{"id":"7"}`), Data: []byte(`{"x":1}`), JSON: true}),
			[3]string{"\x04\x0a\x01\x0a\x01realtime:re" + `{"id":"7"}{"x":1}`, fmt.Sprintf(v2, meta), fmt.Sprintf(v1, meta)},
		},
	} {
		for i, receiver := range []string{"2.0.0", "2.0.0, polls", "1.0.0"} {
			out, binary, err := all[receiver].AppendBroadcast(nil, topic, "broadcast", test.payload)
			want := test.want[i]
			if string(out) != want || binary != strings.HasPrefix(want, "\x04") || (want == "") != errors.Is(err, ErrNotText) {
				t.Errorf("%s: %s receives %q, %v\nwant %q", name, receiver, out, err, want)
			}
			pushed, _, _ := all[receiver].AppendPush(nil, nil, topic, "broadcast", test.payload)
			if !bytes.Equal(pushed, out) {
				t.Errorf("%s: %s is pushed %q; want %q", name, receiver, pushed, want)
			}
		}
	}
}

// TestRealtimeIgnores: a client whose message cannot be read stays connected.
func TestRealtimeIgnores(t *testing.T) {
	all := realtimeSerializers(t)
	frame := kind3("1", "2", "realtime:r", "e", `{"a":1}`, 1, `{"x":1}`)
	var binary [][]byte
	for n := range len(frame) - len(`{"x":1}`) + 1 {
		binary = append(binary, frame[:n]) // also without data, which is no JSON
	}
	binary = append(binary,
		kind3("1", "2", "realtime:r", "e", "", 1, `{"x":`),
		kind3("1", "2", "realtime:r", "e", "{", 1, `{"x":1}`),
		kind3("1", "2", "realtime:\xff", "e", "", 1, `{"x":1}`),
		kind3("1", "2", "realtime:r", "\xff", "", 1, `{"x":1}`),
		[]byte("\x00\x01\x01\x0a\x0912realtime:rbroadcast\xff"), // kind 0 with the event broadcast
		[]byte("\x04\x0a\x01\x00\x01realtime:re{}"),
	)
	for _, frame := range binary {
		if err := all["2.0.0"].Decode(bytes.Clone(frame), true, new(Message)); !errors.Is(err, ErrIgnored) {
			t.Errorf("%q: %v", frame, err)
		}
	}
	for _, text := range []string{"", "nothing", `["1","2","realtime:r","broadcast"]`, `["1","2","realtime:r",5,{}]`, `{"topic":"realtime:r"}`} {
		for name, s := range all {
			if err := s.Decode([]byte(text), false, new(Message)); !errors.Is(err, ErrIgnored) {
				t.Errorf("%s: %q: %v", name, text, err)
			}
		}
	}
}

// TestRealtimeJoinRefs: clients are answered whatever join_ref they send, if it is not a join.
func TestRealtimeJoinRefs(t *testing.T) {
	all := realtimeSerializers(t)
	for frame, want := range map[string]string{
		`["5","6","realtime:r","phx_join",{}]`:                                             `"5"`,
		`["5","6","realtime:r","presence",{}]`:                                             "",
		`["5","6","realtime:r","phx_leave",{}]`:                                            "",
		`{"topic":"realtime:r","event":"phx_join","payload":{},"ref":"6","join_ref":"5"}`:  `"5"`,
		`{"topic":"realtime:r","event":"broadcast","payload":{},"ref":"6","join_ref":"5"}`: "",
	} {
		s, m := all["2.0.0"], new(Message)
		if frame[0] == '{' {
			s = all["1.0.0"]
		}
		if err := s.Decode([]byte(frame), false, m); err != nil || string(m.JoinRef) != want {
			t.Errorf("%s: join_ref %s, %v; want %s", frame, m.JoinRef, err, want)
		}
	}
}

func TestUserBroadcastTooLong(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, u := range []UserBroadcast{{Event: long}, {Event: "e", Meta: []byte(long)}} {
		if _, err := u.Payload(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%v; want ErrTooLong", err)
		}
	}
	all := realtimeSerializers(t)
	p, err := UserBroadcast{Event: "e", Data: []byte("{}"), JSON: true}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	// A topic for which kind 4 has no room is sent as text.
	topic := "realtime:" + long
	want := `[null,null,"` + topic + `","broadcast",{"event":"e","payload":{},"type":"broadcast"}]`
	if out, binary, err := all["2.0.0"].AppendBroadcast(nil, topic, "broadcast", p); string(out) != want || binary || err != nil {
		t.Errorf("%q, %t, %v", out, binary, err)
	}
}

// FuzzUserBroadcast: what is accepted has the fields of the frame, and arrives as kind 4 with the same event and
// the same payload, and as valid JSON at clients of version 1.
func FuzzUserBroadcast(f *testing.F) {
	f.Add(kind3("1", "7", "realtime:room1", "cursor", "", 1, `{"x":1}`))
	f.Add(kind3("1", "7", "realtime:room1", "cursor", `{"m":2}`, 1, ` [ 1 ] `))
	f.Add(kind3("", "", "", "", "1", 0, "\xff"))
	f.Add(kind3("1", "2", "r", "e\"", "{}", 2, `"\u00e9"`))
	v1, v2 := realtimeV1{}, realtimeV2{}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var m Message
		if err := v2.Decode(bytes.Clone(frame), true, &m); err != nil {
			if !errors.Is(err, ErrIgnored) {
				t.Fatalf("%q: %v", frame, err)
			}
			return
		}
		sizes := frame[1:6]
		at := 7 + int(sizes[0]) + int(sizes[1])
		topic, event := string(frame[at:][:sizes[2]]), string(frame[at+int(sizes[2]):][:sizes[3]])
		data := frame[at+int(sizes[2])+int(sizes[3])+int(sizes[4]):]
		if frame[6] != 0 {
			data = compacted(t, data)
		}
		u, ok := ParseUserBroadcast(m.Payload)
		if !ok || u.Event != event || !bytes.Equal(u.Data, data) || u.JSON != (frame[6] != 0) || len(u.Meta) > 0 || string(m.Topic) != topic {
			t.Fatalf("%q: topic %q, %+v", frame, m.Topic, u)
		}
		out, binary, err := v2.AppendBroadcast(nil, topic, string(m.Event), m.Payload)
		want := append([]byte{4, byte(len(realtimeTopic(topic))), sizes[3], 0, m.Payload.Data[2]}, realtimeTopic(topic)+event+string(data)...)
		if err != nil || !binary || !bytes.Equal(out, want) {
			t.Fatalf("%q: %q, %v; want %q", frame, out, err, want)
		}
		out, _, err = v1.AppendBroadcast(nil, topic, string(m.Event), m.Payload)
		if !u.JSON {
			if !errors.Is(err, ErrNotText) {
				t.Fatalf("%q: %v", frame, err)
			}
			return
		}
		if _, invalid := Validate(bytes.Clone(out)); err != nil || invalid != nil {
			t.Fatalf("%q: %q, %v, %v", frame, out, err, invalid)
		}
	})
}
