module github.com/mycelium-rt/mycelium/examples/graphql

go 1.26.0

require (
	github.com/graph-gophers/graphql-go v1.11.0
	github.com/mycelium-rt/mycelium v0.0.0
	github.com/vektah/gqlparser/v2 v2.5.64
)

require (
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/ws v1.5.0 // indirect
	github.com/mailru/easygo v0.0.0-20190618140210-3c14a0dc985f // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/mycelium-rt/mycelium => ../..
