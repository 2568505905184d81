package config

import (
	"errors"
	"strings"
	"testing"
)

// TestGuards: what is to keep somebody out, and would not, is an error.
func TestGuards(t *testing.T) {
	const noToken = "clients need no token, so it has no effect"
	for _, c := range []struct {
		args, environ, file string
		want                string // none: it is right
	}{
		{args: "--auth-join=room:*", want: "auth.join is set (from flag --auth-join) and " + noToken},
		{args: "--auth-issuer=me", want: "auth.issuer is set (from flag --auth-issuer) and " + noToken},
		{environ: "MYCELIUM_AUTH_PUBLISH=a", want: "auth.publish is set (from environment variable MYCELIUM_AUTH_PUBLISH) and " + noToken},
		{file: "auth: {no_expiry: true}\n", want: "auth.no_expiry is set (from file "},
		{args: "--auth-leeway=5s"}, // the default
		{args: "--auth-join=room:* --auth-jwks=https://a.example/keys"},
		{environ: "MYCELIUM_AUTH_SECRET=", want: "auth.secret: \"\" (from environment variable MYCELIUM_AUTH_SECRET) is empty: leave it out, or give it a value; it takes 32 bytes"},
		{environ: "MYCELIUM_AUTH_PHOENIX_SECRET=", want: `auth.phoenix_secret: ""`},
		{environ: "MYCELIUM_AUTH_JWKS=", want: `auth.jwks: "" (from environment variable MYCELIUM_AUTH_JWKS) is empty: leave it out, or give it a value; `},
		{environ: "MYCELIUM_TLS_CERT=", want: `tls.cert: "" (from environment variable MYCELIUM_TLS_CERT) is empty: leave it out, or give it a value; `},
		{args: "--auth-secret=", want: "auth.secret: \"\" (from flag --auth-secret) is empty: leave it out, or give it a value; "},
		{file: "auth:\n  secret: \"\"\n", want: `auth.secret: "" (from file `},
		{file: "auth: {secret: }\n"},
		{environ: "MYCELIUM_AUTH_ISSUER="},
		{args: "--metrics-allow=127.0.0.1", want: "metrics.allow is set (from flag --metrics-allow) and metrics.listen is not"},
		{args: "--metrics-allow=127.0.0.1 --metrics-listen=:9090"},
		{args: "--tls-clear=refuse", want: "tls.clear is set (from flag --tls-clear) but TLS is not configured"},
		{args: "--tls-clear=redirect"},
		{environ: "MYCELIUM_TLS_CLIENT_CA=", want: `tls.client_ca: "" (from environment variable MYCELIUM_TLS_CLIENT_CA) is empty: leave it out, or give it a value; `},
		{environ: "MYCELIUM_TLS_ACME_HOSTS=", want: `tls.acme_hosts: "" (from environment variable MYCELIUM_TLS_ACME_HOSTS) is empty: leave it out, or give it a value; `},
		{args: "--tls-client-ca=ca", want: "tls.client_ca is set (from flag --tls-client-ca) but TLS is not configured"},
		{args: "--tls-client-cert=request --tls-cert=c --tls-key=k", want: "tls.client_cert is set (from flag --tls-client-cert) and tls.client_ca is not"},
		{args: "--tls-client-cert=request --tls-client-ca=ca --tls-cert=c --tls-key=k"},
		{environ: "MYCELIUM_KEY=mk_x MYCELIUM_SERVER=http://localhost:1"}, // of other commands
	} {
		args := strings.Fields(c.args)
		if c.file != "" {
			args = append(args, "--config="+write(t, "c.yaml", c.file))
		}
		_, err := Load(args, strings.Fields(c.environ))
		var wrong *Error
		switch {
		case c.want == "" && err == nil:
		case !errors.As(err, &wrong) || len(wrong.Problems) != 1 || !strings.HasPrefix(wrong.Problems[0], c.want) || c.want == "":
			t.Errorf("%+v: %v", c, err)
		}
	}
}
