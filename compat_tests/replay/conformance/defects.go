package conformance

// betterAnswer is a row of DEFECTS.md: an acceptable answer other than the recorded ones,
// and what is still required of it. A row with several better answers is listed once for
// each.
type betterAnswer struct {
	name      string
	scenarios []string
	// reason is why the recorded answer is not required.
	reason string

	// One of the following three says what is required instead.

	// scripts are files in better/, without ".json": scenarios in the format of the
	// recordings. Each is an alternative.
	scripts []string
	// rewrite changes what the recording requires. It returns false if there is nothing
	// to change.
	rewrite func(Recording) (Recording, bool)
	// recorded names the recording that has the better answer.
	recorded string
}

// defects has the answers of Phoenix that lose messages, end sessions or refuse what is
// legal, in the order of DEFECTS.md.
var defects = []betterAnswer{
	{name: "empty lines ignored", scenarios: []string{"lp_ndjson_trailing_newline"},
		reason:  "a newline at the end of a body is not a message; Phoenix takes it for an empty binary one, and the session dies",
		scripts: []string{"lp_ndjson_trailing_newline.empty_line_ignored"}},
	{name: "media type without parameters", scenarios: []string{"lp_ndjson_charset"},
		reason:  "application/x-ndjson with a charset is ndjson (RFC 9110, 8.3.1)",
		scripts: []string{"lp_ndjson_charset.media_type"}},
	{name: "no line lost", scenarios: []string{"lp_ndjson_101_messages"},
		reason:  "lines after the hundredth are dropped with status 200: accept all, or refuse all",
		scripts: []string{"lp_ndjson_101_messages.all_taken", "lp_ndjson_101_messages.refused_http_400", "lp_ndjson_101_messages.refused_status_400"}},
	{name: "bad base64 refused", scenarios: []string{"lp_ndjson_bad_base64"},
		reason:  "an error of a client is not an internal error; the session goes on",
		scripts: []string{"lp_ndjson_bad_base64.http_400", "lp_ndjson_bad_base64.status_400"}},
	{name: "object lines are text", scenarios: []string{"lp_ndjson_v1_object"},
		reason:  "the messages of a 1.0.0 session are objects",
		scripts: []string{"lp_ndjson_v1_object.text_message"}},
	{name: "binary replies over long poll", scenarios: []string{"lp_ndjson_binary_reply", "lp_ndjson_binary_reply_not_utf8"},
		reason: "no client can read raw bytes in a JSON string, and the whole answer is lost: send an error as text, or base64 as for pushes",
		scripts: []string{"lp_ndjson_binary_reply.error_reply", "lp_ndjson_binary_reply.base64",
			"lp_ndjson_binary_reply_not_utf8.error_reply", "lp_ndjson_binary_reply_not_utf8.base64"}},
	{name: "empty body survived", scenarios: []string{"lp_post_empty_body"},
		reason:  "an empty POST must not cost the session",
		scripts: []string{"lp_post_empty_body.ignored", "lp_post_empty_body.refused_http_400", "lp_post_empty_body.refused_status_400"}},
	{name: "bad JSON refused at once", scenarios: []string{"lp_post_invalid_json"},
		reason:  "a POST that is not JSON must not cost the session and its channels",
		scripts: []string{"lp_post_invalid_json.http_400", "lp_post_invalid_json.status_400"}},
	{name: "disconnect wakes the poll", scenarios: []string{"lp_disconnect_waiting"},
		reason:  "a client whose session is gone reconnects only when it is told",
		scripts: []string{"lp_disconnect_waiting.new_token", "lp_disconnect_waiting.status_only"}},
	{name: "join reply that cannot be encoded", scenarios: []string{"binary_join"},
		reason:  "one join that fails must not end the other channels of the socket",
		scripts: []string{"binary_join.join_crashed"}},
	{name: "1.0.0 listener left out", scenarios: []string{"binary_broadcast_with_v1_listener"},
		reason:  "the sender is not responsible for who listens",
		scripts: []string{"binary_broadcast_with_v1_listener.left_out"}},
	{name: "long topics", scenarios: []string{"binary_long_topic"},
		reason:  "a reply that does not fit its frame must not cost the channel",
		scripts: []string{"binary_long_topic.error_reply", "binary_long_topic.join_refused"}},
	{name: "early frames answered", scenarios: []string{"handshake_early_frames"},
		reason: "Bandit drops frames that come in one packet with the handshake", recorded: "cowboy"},

	{name: "both base64 alphabets", scenarios: []string{"handshake_auth_token_url_alphabet"},
		reason:  "the prefix says base64url",
		scripts: []string{"handshake_auth_token_url_alphabet.both_alphabets"}},
	{name: "unreadable token refused", scenarios: []string{"handshake_auth_token_bad_base64"},
		reason:  "an error of a client is not an internal error",
		scripts: []string{"handshake_auth_token_bad_base64.refused"}},
	{name: "bad key refused", scenarios: []string{"handshake_bad_key"},
		reason:  "RFC 6455, 4.2.1",
		scripts: []string{"handshake_bad_key.refused"}},
	{name: "origin in any case", scenarios: []string{"handshake_origin_case"},
		reason:  "hosts are case-insensitive (RFC 3986, 3.2.2)",
		scripts: []string{"handshake_origin_case.accepted"}},
	{name: "percent-encoded path", scenarios: []string{"handshake_percent_path"},
		reason:  "%77 is w (RFC 3986, 6.2.2.2)",
		scripts: []string{"handshake_percent_path.accepted"}},

	{name: "empty fragments", scenarios: []string{"ws_fragment_empty_parts"},
		reason: "Bandit closes with 1008; empty fragments are legal", recorded: "cowboy"},
	{name: "payload counts alone", reason: "Bandit counts the frame header towards the limit", recorded: "cowboy",
		scenarios: []string{"ws_frame_one_over_limit", "ws_frame_payload_at_limit", "ws_frame_default_limit"}},
	{name: "fragments count together", scenarios: []string{"ws_fragments_over_frame_limit"},
		reason: "Bandit lets a message above the limit pass in fragments", recorded: "cowboy"},
	{name: "close code 5000", scenarios: []string{"ws_client_close_5000"},
		reason: "Bandit answers an invalid code with 1000", recorded: "cowboy"},
	{name: "close reason not UTF-8", scenarios: []string{"ws_client_close_bad_utf8"},
		reason: "Bandit answers with 1002 instead of 1007", recorded: "cowboy"},
	{name: "close code 1012", scenarios: []string{"ws_client_close_1012"},
		reason:  "1012 to 1014 are registered with IANA",
		scripts: []string{"ws_client_close_1012.registered"}},
	{name: "phx_ref once", scenarios: []string{"presence_meta_phx_ref_given"},
		reason:  "clients read a JSON object with a duplicate key differently",
		scripts: []string{"presence_meta_phx_ref_given.one_key"}},
}

// peculiar has answers of Phoenix that are not defects, but not better than others
// either.
var peculiar = []betterAnswer{
	{name: "another idle close code", reason: "1002 and 1000 are not true; 1001 is as good",
		scenarios: []string{"ws_idle_timeout", "ws_idle_timeout_no_frames", "ws_idle_kept_by_heartbeat", "ws_idle_kept_by_ping", "ws_idle_after_one_push"},
		rewrite:   allowIdleCodes},
	{name: "upgrade required", reason: "426 names what is missing (RFC 9110, 15.5.22)",
		scenarios: []string{"handshake_plain_get", "handshake_no_upgrade_header", "handshake_no_connection_header", "handshake_upgrade_other", "handshake_no_version", "handshake_version_8"},
		rewrite:   allowStatus(400, 426)},
	{name: "method not allowed", reason: "405 names what is wrong (RFC 9110, 15.5.6)",
		scenarios: []string{"handshake_post", "handshake_post_upgrade", "handshake_head", "handshake_options", "lp_put"},
		rewrite:   allowStatus(400, 405)},
	{name: "version not supported", reason: "505 or 426 names what is wrong", scenarios: []string{"handshake_http_1_0"},
		rewrite: allowStatus(400, 505, 426)},
	{name: "refused origin explained", reason: "a body that says what is allowed helps the page's developers",
		scenarios: []string{"handshake_origin_bad", "handshake_origin_null", "handshake_origin_subdomain"},
		rewrite:   allowStatus(403)},
	{name: "another path", reason: "a path with empty parts is another path, or redirects to this one",
		scenarios: []string{"handshake_double_slash", "handshake_trailing_slash"}, rewrite: refusePath},
	{name: "first of two tokens", reason: "no client sends two", scenarios: []string{"handshake_auth_token_two"}, rewrite: takeFirstToken},
	{name: "two tokens refused", reason: "no client sends two", scenarios: []string{"handshake_auth_token_two"}, rewrite: refuseTokens},
	{name: "last of two keys", reason: "JSON.parse takes the last", scenarios: []string{"payload_duplicate_keys"},
		scripts: []string{"payload_duplicate_keys.last_wins"}},
	{name: "join with join_ref null", reason: "no client does it; one rule throughout is as good",
		scenarios: []string{"join_null_join_ref", "binary_server_push_null_join_ref"},
		scripts: []string{"join_null_join_ref.null_throughout", "join_null_join_ref.ref_throughout",
			"binary_server_push_null_join_ref.null_throughout", "binary_server_push_null_join_ref.ref_throughout"}},
	{name: "joins side by side", reason: "joins of different topics need not wait for each other",
		scenarios: []string{"join_slow_two", "join_too_many_channels"}, rewrite: freeTopics},
	{name: "posts count as life", reason: "a client that posts is alive", scenarios: []string{"lp_posts_do_not_keep_alive"},
		scripts: []string{"lp_posts_do_not_keep_alive.posts_count"}},
	{name: "token renewed", reason: "a session that is polled continuously need not be lost", scenarios: []string{"lp_token_max_age"},
		scripts: []string{"lp_token_max_age.renewed"}},
}
