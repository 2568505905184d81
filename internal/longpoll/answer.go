package longpoll

import "strconv"

// AppendStatus appends an answer that consists of a status: {"status":410}.
func AppendStatus(dst []byte, status int) []byte {
	dst = append(dst, `{"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	return append(dst, '}')
}

// AppendPoll appends the answer to a poll. token is in base64, as Signer.Sign
// returns it. Each of messages appends one message as a JSON string.
func AppendPoll[M interface{ AppendTo(dst []byte) []byte }](dst []byte, status int, token string, messages []M) []byte {
	dst = append(dst, `{"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, `,"token":"`...)
	dst = append(dst, token...)
	dst = append(dst, `","messages":[`...)
	for i, m := range messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.AppendTo(dst)
	}
	return append(dst, "]}"...)
}
