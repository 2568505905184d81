package natscluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// systemAccount is the account of nats-server whose users may change its groups.
const systemAccount = "$SYS"

// ErrNoPeer is returned by [RemovePeer] for a name that no group knows.
var ErrNoPeer = errors.New("natscluster: no node of this name keeps anything")

// RemovePeer has the nodes with embedded servers that keep streams forget a node that is
// gone for good. Until then that node still counts when a majority is needed, and streams
// lack its replicas; afterwards another node, if there is one to spare, gets these. A node
// that comes back under its name need not be removed, even with a new disk. RemovePeer
// starts a server for a moment that joins theirs: o has the name, the routes and the secret
// of the cluster. It needs a majority of the nodes, counting the one to be removed.
func RemovePeer(ctx context.Context, o EmbedOptions, name string) error {
	o.StoreDir = ""
	options, err := serverOptions(o)
	if err != nil {
		return err
	}
	system := server.NewAccount(systemAccount)
	options.Accounts, options.SystemAccount = []*server.Account{system}, systemAccount
	options.Users = []*server.User{{Username: options.Username, Password: options.Password, Account: system}}
	options.Username, options.Password = "", ""
	s, err := startServer(options, &o)
	if err != nil {
		return err
	}
	defer (&embedded{server: s}).stop()
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(options.Users[0].Username, options.Users[0].Password), nats.Timeout(startTimeout))
	if err != nil {
		return fmt.Errorf("natscluster: connecting to NATS: %w", err)
	}
	defer conn.Close()
	// A leader that was restarted while the node was away does not know its name, only the
	// identifier that is derived from it.
	for _, peer := range []server.JSApiMetaServerRemoveRequest{{Server: name}, {Peer: peerID(name)}} {
		if err = removePeer(ctx, conn, peer); !errors.Is(err, ErrNoPeer) {
			return err
		}
	}
	return err
}

// removePeer asks until the leader answers, because routes take a moment and an election some
// seconds.
func removePeer(ctx context.Context, conn *nats.Conn, r server.JSApiMetaServerRemoveRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		m, err := conn.RequestWithContext(attempt, server.JSApiRemoveServer, body)
		cancel()
		var answer server.JSApiMetaServerRemoveResponse
		switch {
		case err == nil:
			err = json.Unmarshal(m.Data, &answer)
			if err == nil && answer.Error != nil {
				err = answer.Error
			}
			if server.IsNatsErr(answer.Error, server.JSClusterServerNotMemberErr) {
				return ErrNoPeer
			}
			if err != nil {
				return fmt.Errorf("natscluster: removing a node: %w", err)
			}
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("natscluster: no leader answers; a majority of the nodes must run: %w", ctx.Err())
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// peerID returns the identifier of a server in its groups (events.go of nats-server): eight
// base-62 digits made from the bytes of a hash of its name.
func peerID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	id := sum[:8]
	for i, b := range id {
		id[i] = digits[int(b)%len(digits)]
	}
	return string(id)
}
