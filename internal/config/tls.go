package config

import (
	"net"
	"strings"
)

// checkTLS reports settings of TLS that do not fit together.
func (l *loader) checkTLS(c *Config) {
	cert, key := l.origins["tls.cert"], l.origins["tls.key"]
	wrong := l.bad["tls.cert"] || l.bad["tls.key"] || l.bad["tls.acme_hosts"]
	switch {
	case wrong:
	case c.TLS.ACME() && (c.TLS.Cert != "" || c.TLS.Key != ""):
		l.problem("tls.acme_hosts (from %s) and tls.cert or tls.key are both set; certificates come either from an authority or from files", l.origins["tls.acme_hosts"])
	case c.TLS.Cert != "" && c.TLS.Key == "":
		l.problem("tls.cert is set (from %s) and tls.key is not; TLS needs both, for example --tls-key=/etc/mycelium/key.pem", cert)
	case c.TLS.Cert == "" && c.TLS.Key != "":
		l.problem("tls.key is set (from %s) and tls.cert is not; TLS needs both, for example --tls-cert=/etc/mycelium/cert.pem", key)
	}
	if wrong {
		return
	}
	if c.TLS.Clear == "refuse" && !c.TLS.Enabled() && c.TLS.Key == "" {
		l.problem("tls.clear is set (from %s) but TLS is not configured, so all connections are unencrypted; set tls.cert and tls.key, or tls.acme_hosts", l.origins["tls.clear"])
	}
	if c.TLS.ClientCA != "" && !c.TLS.Enabled() && c.TLS.Key == "" {
		l.problem("tls.client_ca is set (from %s) but TLS is not configured, so no client is asked for a certificate; set tls.cert and tls.key, or tls.acme_hosts", l.origins["tls.client_ca"])
	}
	if origin := l.origins["tls.client_cert"]; c.TLS.ClientCert == "request" && c.TLS.ClientCA == "" && !l.bad["tls.client_ca"] {
		l.problem("tls.client_cert is set (from %s) and tls.client_ca is not, so no client is asked for a certificate; set both, for example --tls-client-ca=/etc/mycelium/clients.pem", origin)
	}
	l.checkACME(c)
}

// checkACME reports what an authority needs.
func (l *loader) checkACME(c *Config) {
	if !c.TLS.ACME() {
		l.withoutEffectIn("tls", c, func(key string) bool { return strings.HasPrefix(key, "tls.acme_") },
			"tls.acme_hosts is not", "name the hosts to obtain certificates for, for example --tls-acme-hosts=rt.example.com")
		return
	}
	if c.Data == "" && c.TLS.ACMECache == "" && !l.bad["data"] && !l.bad["tls.acme_cache"] {
		l.problem("tls.acme_hosts is set (from %s) and neither data nor tls.acme_cache is; authorities issue only a few certificates a week, so they must be kept over restarts, "+
			"for example --data=/var/lib/mycelium", l.origins["tls.acme_hosts"])
	}
	l.checkPorts(c, "tls.acme_listen", c.TLS.ACMEListen)
}

// warnOfTLS warns of clients that get in without a certificate, and of an authority that
// may not reach the server.
func (c *Config) warnOfTLS(warn warner) {
	if c.TLS.ClientCA != "" && c.TLS.ClientCert == "require" && c.TLS.Clear == "allow" {
		warn("tls.clear", "allow serves clients without TLS, and so without a certificate, which tls.client_cert requires")
	}
	_, port, _ := net.SplitHostPort(c.Listen)
	if c.TLS.ACME() && c.TLS.ACMEListen == "" && port != "443" {
		warn("tls.acme_hosts", "the authority connects to port 443, and listen is %s: forward that port, or set tls.acme_listen to :80", c.Listen)
	}
}
