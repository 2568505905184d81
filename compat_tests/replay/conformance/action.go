package conformance

import (
	"encoding/hex"
	"fmt"
	"time"
)

// act does the action of a step. It skips what a client cannot do because its
// connection is closed.
func (p *play) act(s *Step) error {
	p.trace("client %d: %s", s.Client, s.action())
	switch {
	case s.Open != nil:
		return p.open(s)
	case s.HTTP != nil:
		return nil // block does it, because it knows whether to wait
	case s.Wait != nil:
		return p.pause(time.Duration(*s.Wait) * time.Millisecond)
	case s.Listen != nil:
		return nil // observe does it
	}
	c := p.clients[s.Client]
	if c == nil {
		return fmt.Errorf("client %d has no connection", s.Client)
	}
	if s.Drop {
		c.dropTCP()
		return nil
	}
	data, err := p.sending(s, c)
	if err != nil || !c.canSend() {
		return err
	}
	c.write(data)
	return nil
}

// open connects a client.
func (p *play) open(s *Step) error {
	if old := p.clients[s.Client]; old != nil {
		old.closeAndWait(0)
	}
	request, err := handshakeRequest(p.addr, s.Open, p.matcher.fill)
	if err != nil {
		return err
	}
	c, err := dialClient(p.ctx, p.addr, s.Client, s.Open.Method, request, p.inbox)
	if err != nil {
		return err
	}
	p.clients[s.Client] = c
	p.seen[s.Client] = &seen{}
	return nil
}

// sending returns the bytes that an action sends.
func (p *play) sending(s *Step, c *client) ([]byte, error) {
	switch {
	case s.Send != nil:
		return p.texts([]string{*s.Send})
	case s.SendMany != nil:
		return p.texts(s.SendMany)
	case s.SendBin != nil:
		payload, err := hex.DecodeString(*s.SendBin)
		return plainFrame(opBinary, payload).appendTo(nil), err
	case s.Ping != nil:
		return plainFrame(opPing, []byte(*s.Ping)).appendTo(nil), nil
	case s.Raw != nil:
		return hex.DecodeString(*s.Raw)
	case s.Close != nil:
		return closeBytes(s.Close, c)
	}
	var data []byte
	for _, f := range s.Frames {
		raw, err := f.raw(p.matcher.fill)
		if err != nil {
			return nil, err
		}
		if raw.opcode == opClose && c.canSend() {
			c.sentClose.Store(true)
		}
		data = raw.appendTo(data)
	}
	return data, nil
}

// texts returns text frames for one write.
func (p *play) texts(messages []string) ([]byte, error) {
	var data []byte
	for _, text := range messages {
		filled, err := p.matcher.fill(text)
		if err != nil {
			return nil, err
		}
		data = plainFrame(opText, []byte(filled)).appendTo(data)
	}
	return data, nil
}

func closeBytes(s *SendClose, c *client) ([]byte, error) {
	payload := closePayload(s.Code, s.Reason)
	if s.Hex != nil {
		var err error
		if payload, err = hex.DecodeString(*s.Hex); err != nil {
			return nil, err
		}
	}
	c.sentClose.Store(true)
	return plainFrame(opClose, payload).appendTo(nil), nil
}

// start makes the request of a step without waiting for the answer, which may take
// Patience longer than recorded.
func (p *play) start(s *Step, recordedMs int) (*exchange, error) {
	head := &requestHead{
		line:    s.HTTP.Method + " " + target(s.HTTP.Path, s.HTTP.Query) + " HTTP/1.1",
		headers: Headers{{Name: "Host", Value: p.addr}, {Name: "Connection", Value: "close"}},
	}
	head.apply(s.HTTP.Headers)
	request, err := head.bytes(s.HTTP.Body, p.matcher.fill)
	if err != nil {
		return nil, err
	}
	limit := time.Duration(recordedMs)*time.Millisecond + p.options.Patience
	ex := startExchange(p.ctx, p.addr, s.HTTP.Method, request, limit)
	if s.HTTP.Method == "GET" {
		ex.session = pollSession(s)
	}
	for _, other := range p.exchanges {
		if ex.session != "" && other.session == ex.session && other.underWay() {
			ex.overlapped, other.overlapped = true, true
		}
	}
	p.exchanges = append(p.exchanges, ex)
	return ex, nil
}
