package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Step is an action or an observation. Exactly one group of its fields is set. The names
// are those of FORMAT.md.
type Step struct {
	// Number is the position in the file, from 1, for errors.
	Number int `json:"-"`
	Client int `json:"client"`

	// Actions, FORMAT.md section 2.
	Open     *Open      `json:"open"`
	Send     *string    `json:"send"`
	SendMany []string   `json:"send_many"`
	SendBin  *string    `json:"send_bin"`
	Frames   []Frame    `json:"frames"`
	Raw      *string    `json:"raw"`
	Ping     *string    `json:"ping"`
	Close    *SendClose `json:"close"`
	Drop     bool       `json:"drop"`
	Listen   *int       `json:"listen"`
	Wait     *int       `json:"wait"`
	HTTP     *Request   `json:"http"`
	Async    string     `json:"async"`

	// Observations, FORMAT.md section 3.
	Opened       *Answer         `json:"opened"`
	Recv         *string         `json:"recv"`
	Compressed   json.RawMessage `json:"compressed"`
	RecvBin      *string         `json:"recv_bin"`
	Pong         *string         `json:"pong"`
	Closed       *Closed         `json:"closed"`
	AfterMs      *int            `json:"after_ms_about"`
	EOF          json.RawMessage `json:"eof"`
	Reset        json.RawMessage `json:"reset"`
	HTTPResponse *Answer         `json:"http_response"`
	MsAbout      *int            `json:"ms_about"`
	Of           string          `json:"of"`
	SilenceMs    *int            `json:"silence_ms"`
}

// Open is a WebSocket handshake.
type Open struct {
	Path             string  `json:"path"`
	Query            string  `json:"query"`
	Headers          Headers `json:"headers"`
	NoUpgradeHeaders bool    `json:"no_upgrade_headers"`
	Method           string  `json:"method"`
	HTTP             string  `json:"http"`
	Body             *string `json:"body"`
	// Early has text frames to send in the same write as the request.
	Early []string `json:"early"`
}

// Request is an HTTP request on a connection of its own.
type Request struct {
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Query   string  `json:"query"`
	Headers Headers `json:"headers"`
	Body    *string `json:"body"`
}

// Frame is a client's frame. Absent fields have the defaults of FORMAT.md.
type Frame struct {
	Opcode *int    `json:"opcode"`
	Fin    *bool   `json:"fin"`
	RSV    int     `json:"rsv"`
	Masked *bool   `json:"masked"`
	Text   *string `json:"text"`
	Hex    *string `json:"hex"`
}

// SendClose is a client's close frame.
type SendClose struct {
	Code   *int    `json:"code"`
	Reason string  `json:"reason"`
	Hex    *string `json:"hex"`
}

// Answer is the answer to a handshake or to a request. Headers have names in
// lower case. A nil Body is not compared.
type Answer struct {
	Status  Numbers           `json:"status"`
	Reason  string            `json:"reason"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
}

// Closed is a server's close frame.
type Closed struct {
	Code   Numbers `json:"code"`
	Reason string  `json:"reason"`
}

// noCode represents, in Numbers, the null of a close frame without payload.
const noCode = -1

// Numbers has the acceptable values. A recording has one; the alternatives of defects.go
// may have several, written as an array.
type Numbers []int

// UnmarshalJSON reads a number, null or an array of numbers.
func (n *Numbers) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*n = Numbers{noCode}
		return nil
	}
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]int)(n))
	}
	var one int
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*n = Numbers{one}
	return nil
}

// Has reports whether v is one of the numbers.
func (n Numbers) Has(v int) bool {
	for _, have := range n {
		if have == v {
			return true
		}
	}
	return false
}

func (n Numbers) String() string {
	if len(n) == 1 {
		return fmt.Sprint(n[0])
	}
	return fmt.Sprintf("one of %v", []int(n))
}

// Headers are in the order in which they are sent.
type Headers []Header

// Header is a header. Omit is the recorded null, which removes the header.
type Header struct {
	Name, Value string
	Omit        bool
}

// UnmarshalJSON reads an object, keeping the order of its keys.
func (h *Headers) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("headers are not an object")
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value *string
		if err := dec.Decode(&value); err != nil {
			return err
		}
		one := Header{Name: name.(string), Omit: value == nil}
		if value != nil {
			one.Value = *value
		}
		*h = append(*h, one)
	}
	return nil
}

func (s *Step) isAction() bool { return s.action() != "" }

// action returns the name of the action, or "" for an observation.
func (s *Step) action() string {
	switch {
	case s.Open != nil:
		return "open"
	case s.Send != nil:
		return "send"
	case s.SendMany != nil:
		return "send_many"
	case s.SendBin != nil:
		return "send_bin"
	case s.Frames != nil:
		return "frames"
	case s.Raw != nil:
		return "raw"
	case s.Ping != nil:
		return "ping"
	case s.Close != nil:
		return "close"
	case s.Drop:
		return "drop"
	case s.Listen != nil:
		return "listen"
	case s.Wait != nil:
		return "wait"
	case s.HTTP != nil:
		return "http"
	}
	return ""
}

// isEnd reports whether the step is the end of a connection. FORMAT.md does not
// distinguish eof from reset.
func (s *Step) isEnd() bool { return s.EOF != nil || s.Reset != nil }

func (s *Step) isObservation() bool {
	return s.Opened != nil || s.Recv != nil || s.RecvBin != nil || s.Pong != nil || s.Closed != nil ||
		s.isEnd() || s.HTTPResponse != nil || s.SilenceMs != nil
}

// check returns an error for a step that is neither or both.
func (s *Step) check() error {
	if s.isAction() == s.isObservation() {
		return errors.New("neither an action nor an observation")
	}
	return nil
}
