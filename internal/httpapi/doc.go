// Package httpapi is the HTTP interface to instances, at /api: create, look,
// change, delete, publish. Its document is served at /api/openapi.json.
//
// Every error is a problem (RFC 9457) that says what was wrong and what would
// be right. Who may do what is decided by keys: see [Key]. Without any key the
// API answers programs on the same machine only.
package httpapi
