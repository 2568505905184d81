// Package realtime is the type of instances for Supabase's clients: @supabase/realtime-js
// and supabase-js, and their siblings for Python, Dart, Kotlin and Swift, connect to it
// unchanged. It has broadcast, presence, private channels and the HTTP endpoints for
// broadcasts of Supabase Realtime, and refuses postgres_changes in a way that
// applications notice.
//
// The messages are those of the dialect [wire.Realtime]. docs/realtime.md is the guide;
// names of files in comments are those of github.com/supabase/realtime, unless they
// name another project.
package realtime
