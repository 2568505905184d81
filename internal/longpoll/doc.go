// Package longpoll implements the wire format of Phoenix's long polling: tokens
// that name a session, bodies that clients post, answers to polls, and the
// header fields of both. It is pure: bytes come in, bytes go out; sessions,
// waiting and time are left to the caller.
//
// It follows lib/phoenix/transports/long_poll.ex of Phoenix 1.8 and is read by
// assets/js/phoenix/longpoll.js.
package longpoll
