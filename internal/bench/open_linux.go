package bench

import (
	"bytes"
	"crypto/tls"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// opener begins the connections of a worker.
type opener struct {
	next     int // the first one that is not begun
	inFlight int // begun and not joined
	rate     schedule
	requests []pattern     // by target
	configs  []*tls.Config // by target; nil: no TLS
	first    int           // the global number of connection 0
	join     pattern       // payload of a join
}

func newOpener(w *worker) opener {
	o := opener{configs: tlsConfigs(w.plan), first: w.share.First, join: newPattern(w.plan.JoinWith)}
	if w.share.Publishing {
		o.join = newPattern(w.plan.PublisherJoinWith)
	}
	for _, t := range w.plan.Targets {
		o.requests = append(o.requests, newPattern(t.Request))
	}
	return o
}

func (o *opener) target(i int) int { return (o.first + i) % len(o.requests) }

// open begins as many connections as may be begun now, and returns how long
// no more may.
func (w *worker) open(now int64) time.Duration {
	o := &w.opener
	for o.next < len(w.conns) && o.inFlight < w.plan.Connecting {
		since := now
		if w.plan.ConnectRate > 0 {
			if o.rate.start == 0 {
				o.rate = schedule{start: now, rate: w.plan.rateOf(w.plan.ConnectRate, len(w.conns))}
			}
			due, wait := o.rate.takeDue(now)
			if wait > 0 {
				return time.Duration(wait)
			}
			since = due
		}
		w.begin(o.next, since)
		o.next++
		now = monotonic()
	}
	return idleWait
}

func (w *worker) begin(i int, since int64) {
	c := &w.conns[i]
	c.since = since
	w.opened.Add(1)
	w.opener.inFlight++
	fd, err := connect(w.plan.Targets[w.opener.target(i)].Addr, w.plan.source(w.share.First+i))
	if err != nil {
		w.endConn(i, "connect: "+err.Error())
		return
	}
	c.fd, c.state, c.blocked = int32(fd), connecting, true
	if err := w.poll.watch(unix.EPOLL_CTL_ADD, fd, int32(i), unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		w.endConn(i, "epoll_ctl: "+err.Error())
	}
}

// greet begins to speak on a connection that has just been made.
func (w *worker) greet(i int) {
	if config := w.opener.configs[w.opener.target(i)]; config != nil {
		w.secure(i, config)
		return
	}
	w.request(i)
}

// request sends the handshake of the WebSocket, or the connect of raw TCP.
func (w *worker) request(i int) {
	w.conns[i].state = handshaking
	request := w.opener.requests[w.opener.target(i)]
	if w.plan.TCP {
		w.text = request.append(w.text[:0], w.share.First+i)
		w.frame = appendPacket(w.frame[:0], packetConnect, w.text)
	} else {
		w.frame = request.append(w.frame[:0], w.share.First+i)
	}
	w.send(i, w.frame)
}

// answered handles the answer to the handshake and joins. It returns what
// follows the answer, or all while it is not whole.
func (w *worker) answered(i int, b []byte, at int64) []byte {
	if w.plan.TCP {
		return w.accepted(i, b, at)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return b
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 101")) {
		status, _, _ := bytes.Cut(b, []byte("\r\n"))
		w.endConn(i, "the server answered "+strconv.Quote(string(status)))
		return nil
	}
	if !bytes.Contains(b[:end], []byte(handshakeAccept)) {
		w.endConn(i, "the Sec-WebSocket-Accept of the answer is wrong")
		return nil
	}
	w.joinTopic(i, at)
	return b[end+4:]
}

// accepted is answered for raw TCP.
func (w *worker) accepted(i int, b []byte, at int64) []byte {
	h, err := readPacketHead(b)
	switch {
	case err != nil:
		w.endConn(i, err.Error())
		return nil
	case h.size == 0 || len(b) < h.size+h.length:
		return b
	case h.op == packetRefused:
		w.endConn(i, refusedReason(b[h.size:h.size+h.length]))
		return nil
	case h.op != packetAccepted:
		w.endConn(i, "the server does not speak raw TCP: its first packet is neither accepted nor refused")
		return nil
	}
	w.joinTopic(i, at)
	return b[h.size+h.length:]
}

// joinTopic joins on a connection that the server has accepted.
func (w *worker) joinTopic(i int, at int64) {
	c := &w.conns[i]
	w.connect.add(at - c.since)
	c.since, c.state = at, joining
	w.text = append(w.text[:0], `["`+joinRef+`","`+joinRef+`","`...)
	w.text = w.appendTopic(w.text, i)
	w.text = append(w.text, `","phx_join",`...)
	w.text = w.opener.join.append(w.text, w.share.First+i)
	w.text = append(w.text, ']')
	w.frame = w.appendFrame(w.frame[:0], opText, w.text)
	w.send(i, w.frame)
}

var statusOK = []byte(`"status":"ok"`)

func (w *worker) joinAnswered(i int, m *message, at int64) {
	c := &w.conns[i]
	if !bytes.Contains(m.payload, statusOK) {
		w.endConn(i, "refused: "+shortened(m.payload))
		return
	}
	w.join.add(at - c.since)
	c.state = joined
	w.opener.inFlight--
	w.joined.Add(1)
	w.last.Store(at)
	if !w.share.Publishing {
		w.topic[c.topic].receivers.Add(1)
	}
}

// shortened is the beginning of a payload, for errors.
func shortened(payload []byte) string {
	const enough = 100
	payload = bytes.TrimSuffix(payload, []byte("]"))
	if len(payload) > enough {
		return string(payload[:enough]) + "…"
	}
	return string(payload)
}
