package config

import (
	"strings"
	"testing"
)

// TestACMEOptions: what an authority could not do is said before it is asked.
func TestACMEOptions(t *testing.T) {
	const hosts = "--tls-acme-hosts=rt.example.com"
	for _, c := range []struct{ args, want string }{
		{hosts, "tls.acme_hosts is set (from flag --tls-acme-hosts) and neither data nor tls.acme_cache is; authorities issue only a few certificates a week, so they must be kept over restarts, for example --data=/var/lib/mycelium"},
		{hosts + " --data=d --tls-cert=c --tls-key=k", "tls.acme_hosts (from flag --tls-acme-hosts) and tls.cert or tls.key are both set; certificates come either from an authority or from files"},
		{hosts + " --data=d --tls-cert=c", "tls.acme_hosts (from flag --tls-acme-hosts) and tls.cert or tls.key are both set; certificates come either from an authority or from files"},
		{hosts + " --data=d --listen=:80 --tls-acme-listen=:80", "tls.acme_listen (from flag --tls-acme-listen) is :80, and listen is :80; each takes a port of its own"},
		{"--tls-acme-email=a@b.example", "tls.acme_email is set (from flag --tls-acme-email) and tls.acme_hosts is not, so it has no effect; name the hosts to obtain certificates for, for example --tls-acme-hosts=rt.example.com"},
		{hosts + " --data=d --tls-acme-email=me", `tls.acme_email: "me" (from flag --tls-acme-email) is not an e-mail address; it takes an e-mail address, for example ops@example.com`},
		{hosts + " --data=d --tls-acme-directory=http://a.example/dir", `tls.acme_directory: "http://a.example/dir" (from flag --tls-acme-directory) does not begin with https://, which ACME needs; it takes an address that begins with https://, for example https://acme-staging-v02.api.letsencrypt.org/directory`},
	} {
		wantProblems(t, problems(t, "", strings.Fields(c.args), nil), c.want)
	}
	for host, want := range map[string]string{
		"*.example.com": "is a wildcard", "192.0.2.1": "is an IP address", "::1": "is an IP address", "localhost": "is not a DNS name",
		"RT.example.com": "is not a DNS name in lower case", "rt.example.com.": "is not a DNS name", "a..b": "is not a DNS name", "münchen.example": "is not a DNS name in lower case, with xn--",
		"rt.example.com:443": "is not a DNS name", "https://rt.example.com": "is not a DNS name", "-a.example": "is not a DNS name", strings.Repeat("a.", 130) + "example": "is not a DNS name",
		"rt.example.com": "", "a-b.xn--mnchen-3ya.example": "", "1.example": "",
	} {
		if got := checkHost(host); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s %s, want %q", host, got, want)
		}
	}
}

func TestTLSWarnings(t *testing.T) {
	const files, authority = "--tls-cert=c --tls-key=k ", "--tls-acme-hosts=rt.example.com --data=d "
	const closed = "tls.acme_hosts (from flag --tls-acme-hosts): the authority connects to port 443, and listen is :4000: forward that port, or set tls.acme_listen to :80"
	for args, want := range map[string]string{
		files + "--tls-client-ca=ca":                                             "",
		files + "--tls-client-ca=ca --tls-clear=allow":                           "tls.clear (from flag --tls-clear): allow serves clients without TLS, and so without a certificate, which tls.client_cert requires",
		files + "--tls-client-ca=ca --tls-clear=allow --tls-client-cert=request": "",
		authority:                           closed,
		authority + "--listen=:443":         "",
		authority + "--tls-acme-listen=:80": "",
	} {
		if got := strings.Join(load(t, strings.Fields(args), nil).Warnings, "\n"); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}
