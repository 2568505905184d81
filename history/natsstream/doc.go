// Package natsstream stores the messages of durable rules of package history in a stream
// of NATS JetStream. It implements [history.Durable].
//
//	store := history.NewStore(history.Options{})
//	stream := natsstream.New(store, natsstream.Options{Open: transport.OpenJetStream, Replicas: transport.Replicas})
//
// All nodes of a cluster publish to the same stream, and each follows it with a consumer
// of its own. So the stream's order is that of all nodes, and its numbers are good in
// positions on every node and after every restart. The topics of a space are subjects of
// the stream:
//
//	PREFIX.s<space>.t<topic>     both in base64url
//
// A message is stored when JetStream has said so, which is when its sender is told; it
// is delivered when it comes back from the stream.
package natsstream
