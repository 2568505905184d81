package compat_tests

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// TestDrain stops the application as an orchestrator does, with a joined client. The
// client is told to reconnect, and the process exits by itself.
func TestDrain(t *testing.T) {
	eachLoopKind(t, func(t *testing.T, app *child.Process) {
		conn, early, _, err := ws.Dial(testContext(t), "ws://"+app.Addr+"/socket/websocket?vsn=2.0.0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() // if the test returns before it is closed below
		if early != nil {
			t.Fatal("the server sent something before the request")
		}
		conn.SetDeadline(time.Now().Add(child.StartTimeout)) // a failed read shows it
		if err := wsutil.WriteClientText(conn, []byte(`["1","1","echo:lobby","phx_join",{}]`)); err != nil {
			t.Fatal(err)
		}
		if _, err := wsutil.ReadServerText(conn); err != nil {
			t.Fatal(err)
		}
		if err := app.Terminate(); err != nil {
			t.Fatal(err)
		}
		frame, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		// There is no phx_close before it: phoenix.js rejoins by itself after a reconnect.
		if code, _ := ws.ParseCloseFrameData(frame.Payload); frame.Header.OpCode != ws.OpClose || code != 1012 {
			t.Errorf("got opcode %d %q, want a close frame with 1012", frame.Header.OpCode, frame.Payload)
		}
		ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "")))) // goes with the connection
		conn.Close()                                                                        // nothing is lost
		select {
		case <-app.Ended:
		case <-time.After(child.EndTimeout):
			t.Error("the process has not exited")
		}
	})
}

// TestOtherPaths checks the answer to a path that has no socket.
func TestOtherPaths(t *testing.T) {
	eachLoopKind(t, func(t *testing.T, app *child.Process) {
		client := http.Client{Timeout: child.StartTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
		for _, path := range []string{"/", "/socket", "/nosuch/websocket", "/socket/other"} {
			response, err := client.Get("http://" + app.Addr + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close() // it was read
			if err != nil || response.StatusCode != http.StatusNotFound || string(body) != "lab: not found" {
				t.Errorf("%s: %d %q, %v; want 404 and lab: not found", path, response.StatusCode, body, err)
			}
		}
	})
}

func readFrame(r io.Reader) (ws.Frame, error) {
	header, err := ws.ReadHeader(r)
	if err != nil || header.Length > 1<<20 {
		return ws.Frame{}, errors.Join(err, errors.New("not a small frame"))
	}
	payload := make([]byte, header.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: header, Payload: payload}, err
}
