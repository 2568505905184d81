package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/membership"
)

// snapshot is the data of one scrape.
type snapshot struct {
	source  Source
	server  channels.Stats
	types   []Type
	cluster *membership.View // nil: a single node
	history *history.Stats   // nil: nothing is recorded
	hooks   *Hooks           // nil: there are none
}

// emit adds one value, with the values of the family's labels. It is in nanoseconds if the
// name of the family ends in _seconds.
type emit func(value int64, labels ...string)

// family is one row of the table: a metric with all its labels.
type family struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(s *snapshot, emit emit)
}

// hasType reports whether the metric has the label type.
func (f *family) hasType() bool { return len(f.labels) > 0 && f.labels[0] == typeLabel }

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// ofServer names the families that only a server of instances has.
var ofServer = map[string]bool{
	"mycelium_ready": true, "mycelium_log_lines_dropped_total": true,
	"mycelium_instances": true, "mycelium_instance_restarts_total": true, "mycelium_instance_crashes_total": true,
}

// families is the table, in the order of the reference.
var families = []family{
	{
		"mycelium_ready", "1 if the server takes clients, as /readyz answers, else 0.", gauge, nil,
		func(s *snapshot, emit emit) {
			emit(truth(s.source.Ready() == nil))
		},
	},

	{
		"mycelium_log_lines_dropped_total", "Log lines dropped because standard error took them too slowly, or failed.", counter, nil,
		func(s *snapshot, emit emit) { emit(s.source.LogDropped()) },
	},

	// The loops: all connections, whatever instance they belong to.
	network("mycelium_connections", "Connections on the event loops now. Those of net/http, long polls among them, are not on a loop.", gauge,
		func(n *channels.NetworkStats) int64 { return n.Connections }),
	network("mycelium_connections_accepted_total", "Connections accepted.", counter,
		func(n *channels.NetworkStats) int64 { return n.Accepted }),
	network("mycelium_connections_adopted_total", "Connections that came to the loops from net/http or after a TLS handshake.", counter,
		func(n *channels.NetworkStats) int64 { return n.Adopted }),
	network("mycelium_connections_lost_total", "Connections lost before their first byte was served: TLS handshakes that failed, no room in epoll.", counter,
		func(n *channels.NetworkStats) int64 { return n.Refused }),
	network("mycelium_connections_to_http_total", "Connections handed to net/http, or to TLS first.", counter,
		func(n *channels.NetworkStats) int64 { return n.Detached }),
	{
		"mycelium_connections_closed_total",
		"Connections closed, by reason. peer: the client closed it. reset: the client reset it. gone: the client could not be reached. " +
			"slow: it took its messages too slowly. shutdown: the server ended. server: any other reason of the server.",
		counter, []string{"reason"},
		func(s *snapshot, emit emit) {
			emit(s.server.Network.ClosedByPeer, "peer")
			emit(s.server.Network.ClosedReset, "reset")
			emit(s.server.Network.ClosedGone, "gone")
			emit(s.server.Network.ClosedSlow, "slow")
			emit(s.server.Network.ClosedByGroup, "shutdown")
			emit(s.server.Network.ClosedForAnother, "server")
		},
	},
	network("mycelium_network_received_bytes_total", "Bytes read from connections, with framing.", counter,
		func(n *channels.NetworkStats) int64 { return n.BytesIn }),
	network("mycelium_network_sent_bytes_total", "Bytes written to connections, with framing.", counter,
		func(n *channels.NetworkStats) int64 { return n.BytesOut }),
	network("mycelium_network_reads_total", "Reads that brought bytes.", counter,
		func(n *channels.NetworkStats) int64 { return n.Reads }),
	network("mycelium_network_writes_total", "Writes that took bytes. One may carry many messages.", counter,
		func(n *channels.NetworkStats) int64 { return n.Writes }),
	{
		"mycelium_frames_dropped_total",
		"Frames that waited for a connection and were dropped, by reason. oldest, newest: the client was too slow, by limits.slow_receiver. " +
			"closed: the connection ended first.",
		counter, []string{"reason"},
		func(s *snapshot, emit emit) {
			emit(s.server.Network.DroppedOldest, "oldest")
			emit(s.server.Network.DroppedNewest, "newest")
			emit(s.server.Network.DroppedClosed, "closed")
		},
	},
	network("mycelium_newcomers_delay_seconds", "How long clients that connect wait at the moment until they are served, to a tenth of a second: 0 unless more come than the loops serve. limits.handshake_wait bounds it.", gauge,
		func(n *channels.NetworkStats) int64 { return int64(n.NewcomerDelay) }),
	network("mycelium_tls_handshakes_delay_seconds", "How long a TLS handshake waits at the moment until it can begin. limits.handshake_wait bounds it.", gauge,
		func(n *channels.NetworkStats) int64 { return int64(n.HandshakeDelay) }),
	network("mycelium_loop_overloads_total", "Times that an instance had too many tasks waiting at an event loop, so that its sockets were not read for a while.", counter,
		func(n *channels.NetworkStats) int64 { return n.Overloads }),

	// The instances, by type.
	{
		"mycelium_instances", "Instances now, by state.", gauge, []string{"type", "state"},
		func(s *snapshot, emit emit) {
			for _, t := range s.types {
				for state, n := range t.Instances {
					emit(int64(n), t.Name, state)
				}
			}
		},
	},
	byType("mycelium_instance_restarts_total", "Times that the logic of an instance was restarted after a crash.", counter,
		func(t *Type) int64 { return t.Restarts }),
	byType("mycelium_instance_crashes_total", "Times that the logic of an instance crashed.", counter,
		func(t *Type) int64 { return t.Crashes }),
	{
		"mycelium_sockets", "Sockets connected now.", gauge, []string{"type", "transport"},
		func(s *snapshot, emit emit) {
			for _, t := range s.types {
				polls, tcp := t.Stats.LongPoll.Sessions, t.Stats.TCP.Sockets
				emit(max(0, t.Stats.Sockets-polls-tcp), t.Name, "websocket") // the counters are not read at one instant
				emit(polls, t.Name, "longpoll")
				emit(tcp, t.Name, "tcp")
			}
		},
	},
	byType("mycelium_sockets_opened_total", "Sockets that ever connected.", counter,
		func(t *Type) int64 { return t.Stats.Opened }),
	{
		"mycelium_handshakes_refused_total",
		"Handshakes and connections refused, by reason. limit: a limit of the configuration. origin: check_origin. " +
			"denied, crashed: by the connect callback. malformed, protocol, version: what the client sent. " +
			"Without a type: refused before the instance was known.",
		counter, []string{"type", "reason"},
		func(s *snapshot, emit emit) {
			emit(s.server.Refused, "", "limit")
			emit(s.server.Handshakes.Malformed, "", "malformed")
			for _, t := range s.types {
				h := t.Stats.Handshakes
				emit(t.Stats.Refused, t.Name, "limit")
				emit(h.Origin, t.Name, "origin")
				emit(h.Denied, t.Name, "denied")
				emit(h.Crashed, t.Name, "crashed")
				emit(h.Malformed, t.Name, "malformed")
				emit(h.Protocol, t.Name, "protocol")
				emit(h.Version, t.Name, "version")
			}
		},
	},
	byType("mycelium_channels", "Channels joined now.", gauge,
		func(t *Type) int64 { return t.Stats.Channels }),
	byType("mycelium_channel_crashes_total", "Channels ended by a panic.", counter,
		func(t *Type) int64 { return t.Stats.Crashes }),
	byType("mycelium_messages_received_total", "Messages from clients, heartbeats and joins included.", counter,
		func(t *Type) int64 { return t.Stats.MessagesIn }),
	byType("mycelium_messages_sent_total", "Messages queued for clients; one that is dropped later is counted.", counter,
		func(t *Type) int64 { return t.Stats.MessagesOut }),
	byType("mycelium_messages_received_bytes_total", "Bytes of the messages from clients, without their framing and before they are inflated.", counter,
		func(t *Type) int64 { return t.Stats.BytesIn }),
	byType("mycelium_messages_sent_bytes_total", "Bytes of the messages queued for clients, with their framing.", counter,
		func(t *Type) int64 { return t.Stats.BytesOut }),
	byType("mycelium_rate_limited_total", "Joins and messages refused by rates.", counter,
		func(t *Type) int64 { return t.Stats.RateLimited }),
	byType("mycelium_socket_bytes_refused_total", "Joins refused by limits.socket_bytes.", counter,
		func(t *Type) int64 { return t.Stats.KeptTooMuch }),
	byType("mycelium_pushes_put_off_total", "Presence states, backlogs, documents and game states that waited until their client had read earlier messages.", counter,
		func(t *Type) int64 { return t.Stats.PutOff }),
	byType("mycelium_sockets_held_up_total", "Times that a socket was not read for a while: it was above limits.heartbeats_per_second or limits.bytes_per_second.", counter,
		func(t *Type) int64 { return t.Stats.HeldUp }),
	byType("mycelium_broadcasts_refused_total", "Broadcasts of an instance's logic or of the API refused because more was broadcast than could be sent.", counter,
		func(t *Type) int64 { return t.Stats.Overloaded }),
	byType("mycelium_mailbox_full_total", "Messages dropped because a channel's mailbox was full.", counter,
		func(t *Type) int64 { return t.Stats.MailboxFull }),
	byType("mycelium_mailbox_depth_max", "The most messages that ever waited for one channel.", gauge,
		func(t *Type) int64 { return t.Stats.MailboxHigh }),
	byType("mycelium_callbacks", "Goroutines that run callbacks of channels now.", gauge,
		func(t *Type) int64 { return t.Stats.Callbacks }),
	{
		"mycelium_longpoll_sessions_ended_total", "Long-poll sessions ended, by reason. expired: the client stopped polling. slow: limits.slow_receiver.",
		counter, []string{"type", "reason"},
		func(s *snapshot, emit emit) {
			for _, t := range s.types {
				emit(t.Stats.LongPoll.Expired, t.Name, "expired")
				emit(t.Stats.LongPoll.Slow, t.Name, "slow")
			}
		},
	},
	{
		"mycelium_longpoll_dropped_total", "Messages that a long-poll session did not get, by reason. slow: limits.slow_receiver. " +
			"binary: long polling cannot carry them.",
		counter, []string{"type", "reason"},
		func(s *snapshot, emit emit) {
			for _, t := range s.types {
				emit(t.Stats.LongPoll.Dropped, t.Name, "slow")
				emit(t.Stats.LongPoll.Binary, t.Name, "binary")
			}
		},
	},
	byType("mycelium_presence_topics", "Topics with presences.", gauge,
		func(t *Type) int64 { return int64(t.Presence.Topics) }),
	byType("mycelium_presence_keys", "Presence keys, counted for each topic.", gauge,
		func(t *Type) int64 { return int64(t.Presence.Keys) }),
	byType("mycelium_presence_bytes", "Bytes of presence keys and metas.", gauge,
		func(t *Type) int64 { return int64(t.Presence.Bytes) }),

	// What is recorded, and what clients were sent of it.
	inHistory("mycelium_history_topics", "Topics with recorded messages.", gauge,
		func(h *history.Stats) int64 { return h.Topics }),
	inHistory("mycelium_history_messages", "Recorded messages.", gauge,
		func(h *history.Stats) int64 { return h.Messages }),
	inHistory("mycelium_history_bytes", "Memory of recorded messages, with all that they need beside their payloads.", gauge,
		func(h *history.Stats) int64 { return h.Bytes }),
	inHistory("mycelium_history_memory_bytes", "The limit of mycelium_history_bytes: history.memory.", gauge,
		func(h *history.Stats) int64 { return h.Memory }),
	inHistory("mycelium_history_recorded_total", "Messages recorded, those of other nodes included.", counter,
		func(h *history.Stats) int64 { return int64(h.Recorded) }),
	{
		"mycelium_history_dropped_total", "Recorded messages dropped, by reason. rule: they were too many, too large together or too old. memory: " +
			"history.memory was reached, so clients may miss messages that the rules would keep.",
		counter, []string{"reason"},
		func(s *snapshot, emit emit) {
			if s.history != nil {
				emit(int64(s.history.Expired), "rule")
				emit(int64(s.history.Evicted), "memory")
			}
		},
	},
	inHistory("mycelium_history_marks_total", "Positions broadcast to the clients of a topic that asked for them (history_mark).", counter,
		func(h *history.Stats) int64 { return int64(h.Marks) }),
	{
		"mycelium_history_sessions", "Sessions of clients that connect with the parameter \"session\", by whether they have a connection or are kept for one.",
		gauge, []string{"state"},
		func(s *snapshot, emit emit) {
			if s.history != nil {
				emit(int64(s.history.Sessions.Connected), "connected")
				emit(int64(s.history.Sessions.Kept), "kept")
			}
		},
	},
	inHistory("mycelium_history_sessions_bytes", "Memory of sessions that are kept without a connection. At most a quarter of mycelium_history_memory_bytes.", gauge,
		func(h *history.Stats) int64 { return h.Sessions.Bytes }),
	inHistory("mycelium_history_sessions_dropped_total", "Sessions without a connection that were dropped before their time, because there were too many: their clients miss messages.", counter,
		func(h *history.Stats) int64 { return int64(h.Sessions.Dropped) }),
	inHistory("mycelium_history_session_probes_total", "Probes sent to clients with a session, which show what they have received.", counter,
		func(h *history.Stats) int64 { return int64(h.Sessions.Probes) }),
	inHistory("mycelium_history_session_confirmed_total", "Probes that these clients have confirmed. If it falls far behind mycelium_history_session_probes_total, they are sent much again when they come back.", counter,
		func(h *history.Stats) int64 { return int64(h.Sessions.Confirmed) }),
	inDurable("mycelium_history_durable_up", "1 if messages of durable rules can be stored and read, else 0.", gauge,
		func(d *history.DurableStats) int64 {
			if d.Trouble == "" {
				return 1
			}
			return 0
		}),
	inDurable("mycelium_history_durable_waiting", "Messages of durable rules that are being stored, and whose senders wait for that.", gauge,
		func(d *history.DurableStats) int64 { return int64(d.Waiting) }),
	inDurable("mycelium_history_durable_waiting_bytes", "Bytes of these messages.", gauge,
		func(d *history.DurableStats) int64 { return int64(d.WaitingBytes) }),
	inDurable("mycelium_history_durable_stored_total", "Messages of durable rules that this node has stored.", counter,
		func(d *history.DurableStats) int64 { return int64(d.Stored) }),
	inDurable("mycelium_history_durable_refused_total", "Messages of durable rules whose senders were told that they are not stored.", counter,
		func(d *history.DurableStats) int64 { return int64(d.Refused) }),
	inDurable("mycelium_history_durable_malformed_total", "Stored messages that could not be read: other software writes to the stream, or a node of another version.", counter,
		func(d *history.DurableStats) int64 { return int64(d.Malformed) }),
	byType("mycelium_replays_total", "Joins that asked for recorded messages, or whose rule has on_join.", counter,
		func(t *Type) int64 { return t.Stats.History.Replays }),
	byType("mycelium_replayed_messages_total", "Recorded messages sent to clients that joined.", counter,
		func(t *Type) int64 { return t.Stats.History.Messages }),
	{
		"mycelium_replays_incomplete_total", "Replays before which messages were missing, by the reason that the client is told: expired, limit, unknown, node_lost.",
		counter, []string{"type", "reason"},
		func(s *snapshot, emit emit) {
			for _, t := range s.types {
				h := t.Stats.History
				emit(h.Expired, t.Name, string(history.Expired))
				emit(h.Limited, t.Name, string(history.Limited))
				emit(h.Unknown, t.Name, string(history.Unknown))
				emit(h.NodeLost, t.Name, string(history.NodeLost))
			}
		},
	},

	// The cluster. A single node does not export these.
	inCluster("mycelium_cluster_connected", "1 if NATS is reached, else 0. A built-in server always is.", gauge,
		func(v *membership.View) int64 { return truth(v.Link.Connected) }),
	inCluster("mycelium_cluster_routes", "Connections to the servers of other nodes, if the node has a built-in server.", gauge,
		func(v *membership.View) int64 { return int64(v.Link.Routes) }),
	inCluster("mycelium_cluster_reconnects_total", "Times that the connection to NATS was restored.", counter,
		func(v *membership.View) int64 { return int64(v.Link.Reconnects) }),
	inCluster("mycelium_cluster_receive_overflows_total", "Times that more waited to be received than is kept; missing entries are asked for.", counter,
		func(v *membership.View) int64 { return int64(v.Link.Dropped) }),
	inCluster("mycelium_cluster_sent_entries_total", "Entries of this node's log sent to the others: broadcasts and changes of presence.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Sent) }),
	inCluster("mycelium_cluster_resent_entries_total", "Entries sent again because another node missed them.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Resent) }),
	inCluster("mycelium_cluster_refused_entries_total", "Broadcasts that did not reach the other nodes because too much waited to be sent.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Busy) }),
	inCluster("mycelium_cluster_send_errors_total", "Batches and heartbeats refused by NATS; batches are sent again.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.SendErrors) }),
	inCluster("mycelium_cluster_asks_total", "Requests of this node for entries that it missed.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Asked) }),
	inCluster("mycelium_cluster_snapshots_total", "Snapshots of this node's state made for others.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Snapshots) }),
	inCluster("mycelium_cluster_malformed_packets_total", "Packets that could not be read.", counter,
		func(v *membership.View) int64 { return int64(v.Stats.Malformed) }),
	inCluster("mycelium_cluster_waiting_bytes", "Bytes that wait to be sent to the other nodes. Above 16 MiB broadcasts are refused.", gauge,
		func(v *membership.View) int64 { return int64(v.Stats.Waiting) }),
	inCluster("mycelium_cluster_kept_bytes", "Bytes kept for sending again.", gauge,
		func(v *membership.View) int64 { return int64(v.Stats.Kept) }),
	inCluster("mycelium_cluster_forwarded_connections", "WebSockets of clients of this node that other nodes serve.", gauge,
		func(v *membership.View) int64 { return v.Forwards.Open }),
	inCluster("mycelium_cluster_forwarded_connections_total", "The same since the start.", counter,
		func(v *membership.View) int64 { return int64(v.Forwards.Connections) }),
	inCluster("mycelium_cluster_forwarded_requests_total", "Requests to this node that others were asked to answer: polls, and calls of the API.", counter,
		func(v *membership.View) int64 { return int64(v.Forwards.Requests) }),
	inCluster("mycelium_cluster_forward_failures_total", "Clients and requests that another node did not take. They were answered with 503, or a new session.", counter,
		func(v *membership.View) int64 { return int64(v.Forwards.Failures) }),
	inCluster("mycelium_cluster_received_connections_total", "WebSockets that other nodes have passed on to this one.", counter,
		func(v *membership.View) int64 { return int64(v.Forwards.ReceivedConnections) }),
	inCluster("mycelium_cluster_received_requests_total", "Requests that other nodes have passed on to this one.", counter,
		func(v *membership.View) int64 { return int64(v.Forwards.ReceivedRequests) }),
	inStore("mycelium_cluster_store_working", "1 if requests to the store of instances succeed, else 0: then instances with a single owner stop, and none "+
		"can be created. Only with cluster.instances=shared.",
		func(s *membership.Store) bool { return s.Trouble == "" }),
	inStore("mycelium_cluster_store_current", "1 if this node has everything of the store of instances that it keeps, else 0: then wait before another node "+
		"is stopped. Only with cluster.instances=shared.",
		func(s *membership.Store) bool { return s.Behind == "" }),
	{
		"mycelium_cluster_node_state", "1 for the present state of another node, else 0. up: its messages arrive. syncing: earlier messages are still " +
			"to come. silent: nothing has come for 6 seconds. left: it has said goodbye. incompatible: it writes a version that this node cannot read.",
		gauge, []string{"node", "state"},
		func(s *snapshot, emit emit) {
			for _, p := range s.peers() {
				for _, state := range membership.States {
					emit(truth(p.State == state), p.Name, string(state))
				}
			}
		},
	},
	byNode("mycelium_cluster_node_sockets", "Sockets connected to another node, by its last heartbeat.", gauge,
		func(p *membership.Peer) int64 { return p.Facts.Sockets }),
	byNode("mycelium_cluster_node_clock_ahead_seconds", "By how much the clock of another node is ahead of this node's.", gauge,
		func(p *membership.Peer) int64 { return int64(p.Ahead) }),
	byNode("mycelium_cluster_node_silent_seconds", "How long nothing has come from another node.", gauge,
		func(p *membership.Peer) int64 { return int64(p.Silent) }),
	byNode("mycelium_cluster_node_resent_entries_total", "Entries that another node has sent again, by its last heartbeat.", counter,
		func(p *membership.Peer) int64 { return int64(p.Facts.Resent) }),
	byNode("mycelium_cluster_applied_entries_total", "Entries of another node's log that have arrived here, counted from its start, lost ones included.", counter,
		func(p *membership.Peer) int64 { return int64(p.Applied) }),
	byNode("mycelium_cluster_behind_entries", "Known entries of another node that have not arrived yet.", gauge,
		func(p *membership.Peer) int64 { return int64(p.Behind) }),
	byNode("mycelium_cluster_held_bytes", "Bytes of another node's entries that wait here for a missing one.", gauge,
		func(p *membership.Peer) int64 { return int64(p.Held) }),
	byNode("mycelium_cluster_lost_entries_total", "Lost entries of another node: broadcasts that clients of this node missed.", counter,
		func(p *membership.Peer) int64 { return int64(p.Lost) }),
}

func truth(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// clusterPrefix begins the names of families of a node in a cluster.
const clusterPrefix = "mycelium_cluster_"

// peers returns the other nodes.
func (s *snapshot) peers() []membership.Peer {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Peers
}

// historyPrefix begins the names of families of what is recorded.
const historyPrefix = "mycelium_history_"

// inHistory returns a family of what is recorded, without labels.
func inHistory(name, help string, kind prometheus.ValueType, value func(*history.Stats) int64) family {
	return family{name, help, kind, nil, func(s *snapshot, emit emit) {
		if s.history != nil {
			emit(value(s.history))
		}
	}}
}

// inDurable returns a family of messages of durable rules. It is exported only if there was
// such a rule.
func inDurable(name, help string, kind prometheus.ValueType, value func(*history.DurableStats) int64) family {
	return family{name, help, kind, nil, func(s *snapshot, emit emit) {
		if s.history != nil && s.history.Durable != nil {
			emit(value(s.history.Durable))
		}
	}}
}

// inCluster returns a family of a node in a cluster, without labels.
func inCluster(name, help string, kind prometheus.ValueType, value func(*membership.View) int64) family {
	return family{name, help, kind, nil, func(s *snapshot, emit emit) {
		if s.cluster != nil {
			emit(value(s.cluster))
		}
	}}
}

// inStore returns a family of a node whose cluster has its instances in common.
func inStore(name, help string, value func(*membership.Store) bool) family {
	return family{name, help, gauge, nil, func(s *snapshot, emit emit) {
		if s.cluster != nil && s.cluster.Store != nil {
			emit(truth(value(s.cluster.Store)))
		}
	}}
}

// byNode returns a family with one value for each other node.
func byNode(name, help string, kind prometheus.ValueType, value func(*membership.Peer) int64) family {
	return family{name, help, kind, []string{"node"}, func(s *snapshot, emit emit) {
		for i := range s.peers() {
			emit(value(&s.cluster.Peers[i]), s.cluster.Peers[i].Name)
		}
	}}
}

// network returns a family of the loops, without labels.
func network(name, help string, kind prometheus.ValueType, value func(*channels.NetworkStats) int64) family {
	return family{name, help, kind, nil, func(s *snapshot, emit emit) { emit(value(&s.server.Network)) }}
}

// byType returns a family with one value for each type.
func byType(name, help string, kind prometheus.ValueType, value func(*Type) int64) family {
	return family{name, help, kind, []string{"type"}, func(s *snapshot, emit emit) {
		for i := range s.types {
			emit(value(&s.types[i]), s.types[i].Name)
		}
	}}
}
