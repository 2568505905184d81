package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// The fields of Kubernetes objects that the manifests use. One that is not here is an
// error: Kubernetes takes unknown fields with a warning, or not at all.
type (
	object struct {
		APIVersion                   string `yaml:"apiVersion"`
		Kind                         string
		Metadata                     metadata
		AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
		Spec                         yaml.Node
	}
	metadata struct {
		Name   string
		Labels map[string]string
	}
	labelSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	service struct {
		ClusterIP                string `yaml:"clusterIP"`
		PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
		Selector                 map[string]string
		Ports                    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
	}
	disruptionBudget struct {
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       labelSelector
	}
	networkPolicy struct {
		PodSelector labelSelector `yaml:"podSelector"`
		PolicyTypes []string      `yaml:"policyTypes"`
		Ingress     []struct {
			From []struct {
				PodSelector labelSelector `yaml:"podSelector"`
			}
			Ports []struct{ Protocol, Port string }
		}
	}
	workload struct { // a StatefulSet or a Deployment
		Replicas            int
		ServiceName         string `yaml:"serviceName"`
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Strategy            struct {
			RollingUpdate struct {
				MaxSurge       int `yaml:"maxSurge"`
				MaxUnavailable int `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		}
		Selector labelSelector
		Template struct {
			Metadata metadata
			Spec     pod
		}
		VolumeClaimTemplates []struct {
			Metadata metadata
			Spec     struct {
				AccessModes []string `yaml:"accessModes"`
				Resources   struct{ Requests map[string]string }
			}
		} `yaml:"volumeClaimTemplates"`
	}
	pod struct {
		ServiceAccountName            string `yaml:"serviceAccountName"`
		AutomountServiceAccountToken  *bool  `yaml:"automountServiceAccountToken"`
		TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			RunAsUser      int                   `yaml:"runAsUser"`
			RunAsGroup     int                   `yaml:"runAsGroup"`
			FSGroup        int                   `yaml:"fsGroup"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		TopologySpreadConstraints []struct {
			MaxSkew           int           `yaml:"maxSkew"`
			TopologyKey       string        `yaml:"topologyKey"`
			WhenUnsatisfiable string        `yaml:"whenUnsatisfiable"`
			LabelSelector     labelSelector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Containers []container
		Volumes    []struct {
			Name   string
			Secret struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
			EmptyDir struct {
				Medium    string
				SizeLimit string `yaml:"sizeLimit"`
			} `yaml:"emptyDir"`
		}
	}
	container struct {
		Name, Image string
		Args        []string
		Env         []struct {
			Name, Value string
			ValueFrom   struct {
				FieldRef struct {
					FieldPath string `yaml:"fieldPath"`
				} `yaml:"fieldRef"`
			} `yaml:"valueFrom"`
		}
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		StartupProbe    probe `yaml:"startupProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		PeriodSeconds    int                         `yaml:"periodSeconds"`
		TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
		FailureThreshold int                         `yaml:"failureThreshold"`
	}
)

// manifest is what a file of deploy/ has.
type manifest struct {
	services map[string]service
	budget   disruptionBudget
	policy   *networkPolicy
	kind     string
	workload workload
}

// strict decodes with no field left over.
func strict(t *testing.T, what string, node *yaml.Node, to any) {
	t.Helper()
	text, err := yaml.Marshal(node)
	if err == nil {
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		err = decoder.Decode(to)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func readManifest(t *testing.T, file string) manifest {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest{services: map[string]service{}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	for {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return m
		} else if err != nil {
			t.Fatal(err)
		}
		what := o.Kind + " " + o.Metadata.Name
		switch o.APIVersion + " " + o.Kind {
		case "v1 ServiceAccount":
		case "v1 Service":
			var s service
			strict(t, what, &o.Spec, &s)
			m.services[o.Metadata.Name] = s
		case "policy/v1 PodDisruptionBudget":
			strict(t, what, &o.Spec, &m.budget)
		case "networking.k8s.io/v1 NetworkPolicy":
			m.policy = new(networkPolicy)
			strict(t, what, &o.Spec, m.policy)
		case "apps/v1 StatefulSet", "apps/v1 Deployment":
			m.kind = o.Kind
			strict(t, what, &o.Spec, &m.workload)
		default:
			t.Errorf("%s: %s is not known here", what, o.APIVersion)
		}
	}
}

// configuration is what the server makes of the arguments and variables of a container.
func (c *container) configuration(t *testing.T) *config.Config {
	t.Helper()
	if len(c.Args) == 0 || c.Args[0] != "serve" {
		t.Fatalf("the arguments are %q", c.Args)
	}
	environ := []string{"MYCELIUM_PORT=tcp://10.0.0.1:80"} // as Kubernetes sets it for a Service of this name
	for _, v := range c.Env {
		value := v.Value
		if v.ValueFrom.FieldRef.FieldPath == "metadata.name" {
			value = "mycelium-0"
		}
		environ = append(environ, v.Name+"="+value)
	}
	cfg, err := config.Load(c.Args[1:], environ)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range cfg.Warnings {
		t.Errorf("warning: %s", w)
	}
	if cfg.Cluster.Node != "mycelium-0" {
		t.Errorf("the node is called %q", cfg.Cluster.Node)
	}
	return cfg
}

// TestDeploy: the manifests of deploy/ are such as Kubernetes takes, and agree with the
// options of the server.
func TestDeploy(t *testing.T) {
	for _, name := range []string{"embedded", "external"} {
		t.Run(name, func(t *testing.T) {
			m := readManifest(t, filepath.Join("..", "..", "deploy", name, "mycelium.yaml"))
			pod := m.workload.Template.Spec
			if len(pod.Containers) != 1 {
				t.Fatalf("%d containers", len(pod.Containers))
			}
			c := pod.Containers[0]
			cfg := c.configuration(t)
			listens := map[string]string{"http": cfg.Listen, "metrics": cfg.Metrics.Listen, "forward": cfg.Cluster.ForwardListen}
			if cfg.Cluster.Embedded() {
				listens["cluster"] = cfg.Cluster.Listen
			}
			m.checkPorts(t, &c, listens)
			m.checkLabels(t)
			c.checkProbes(t)
			m.checkFiles(t, cfg)
			m.checkPolicy(t)
			checkSecurity(t, &pod)
			if grace, needed := time.Duration(pod.TerminationGracePeriodSeconds)*time.Second, cfg.Drain.Delay+cfg.Drain.Timeout+2*time.Second; grace <= needed {
				t.Errorf("terminationGracePeriodSeconds: %s, the server takes up to %s", grace, needed)
			}
			if period := time.Duration(c.ReadinessProbe.PeriodSeconds*c.ReadinessProbe.FailureThreshold) * time.Second; period >= cfg.Drain.Delay {
				t.Errorf("drain.delay is %s, and whether the server is ready is noticed after %s", cfg.Drain.Delay, period)
			}
			if m.budget.MaxUnavailable != 1 || m.workload.Replicas != 3 {
				t.Errorf("%d of %d nodes may be away", m.budget.MaxUnavailable, m.workload.Replicas)
			}
			if !cfg.Cluster.SharesInstances() || !cfg.Cluster.Forwards() {
				t.Error("clients do not reach all instances at each node")
			}
			if name == "embedded" {
				m.checkEmbedded(t, cfg)
			} else if m.kind != "Deployment" || len(cfg.Cluster.NATSURL) == 0 || m.workload.Strategy.RollingUpdate.MaxSurge != 1 {
				t.Errorf("%s of %v: %+v", m.kind, cfg.Cluster.NATSURL, m.workload.Strategy)
			}
		})
	}
}

func (m *manifest) checkPorts(t *testing.T, c *container, listens map[string]string) {
	ports := map[string]string{}
	for _, p := range c.Ports {
		ports[p.Name] = fmt.Sprint(p.ContainerPort)
	}
	for name, address := range listens {
		if _, port, _ := net.SplitHostPort(address); port != ports[name] {
			t.Errorf("the port %s is %s, the server listens on %s", name, ports[name], address)
		}
	}
	if len(ports) != len(listens) {
		t.Errorf("the ports are %v, the server listens on %v", ports, listens)
	}
	for name, s := range m.services {
		for _, p := range s.Ports {
			if ports[p.TargetPort] == "" {
				t.Errorf("service %s: the container has no port %q", name, p.TargetPort)
			}
		}
	}
}

func (m *manifest) checkLabels(t *testing.T) {
	const key, value = "app.kubernetes.io/name", "mycelium"
	selectors := map[string]map[string]string{
		"the pods": m.workload.Template.Metadata.Labels, "the workload": m.workload.Selector.MatchLabels, "the budget": m.budget.Selector.MatchLabels,
	}
	for name, s := range m.services {
		selectors["service "+name] = s.Selector
	}
	if m.policy != nil {
		selectors["the policy"] = m.policy.PodSelector.MatchLabels
	}
	for _, s := range m.workload.Template.Spec.TopologySpreadConstraints {
		selectors["the constraint"] = s.LabelSelector.MatchLabels
	}
	for what, labels := range selectors {
		if len(labels) != 1 || labels[key] != value {
			t.Errorf("%s: %v", what, labels)
		}
	}
}

// checkProbes: /healthz and /readyz are served at metrics.listen too, as TestMetrics shows. A
// node that waits for others is alive.
func (c *container) checkProbes(t *testing.T) {
	for what, p := range map[string]struct {
		probe
		path string
	}{
		"startup": {c.StartupProbe, "/healthz"}, "liveness": {c.LivenessProbe, "/healthz"}, "readiness": {c.ReadinessProbe, "/readyz"},
	} {
		if p.HTTPGet.Path != p.path || p.HTTPGet.Port != "metrics" || p.PeriodSeconds < 1 {
			t.Errorf("the %s probe asks %+v", what, p.HTTPGet)
		}
	}
}

// checkFiles: each file of an option is in a Secret that is mounted, and none in the manifest;
// what is written is in a volume.
func (m *manifest) checkFiles(t *testing.T, cfg *config.Config) {
	p := &m.workload.Template.Spec
	secrets, mounted := map[string]bool{}, map[string]bool{}
	for _, v := range p.Volumes {
		secrets[v.Name] = v.Secret.SecretName != ""
		if mode := v.Secret.DefaultMode; secrets[v.Name] && mode != 0o440 {
			t.Errorf("the files of %s have the mode %o", v.Name, mode)
		}
	}
	for _, claim := range m.workload.VolumeClaimTemplates {
		secrets[claim.Metadata.Name] = false
		if claim.Spec.Resources.Requests["storage"] == "" || !slices.Equal(claim.Spec.AccessModes, []string{"ReadWriteOnce"}) {
			t.Errorf("the claim %+v", claim)
		}
	}
	if claims := m.workload.VolumeClaimTemplates; (cfg.Data != "") != (len(claims) == 1) {
		t.Errorf("data is %q, and there are %d claims", cfg.Data, len(claims))
	}
	for _, m := range p.Containers[0].VolumeMounts {
		if _, ok := secrets[m.Name]; !ok {
			t.Errorf("there is no volume %s", m.Name)
		}
		mounted[m.MountPath] = secrets[m.Name] && m.ReadOnly
	}
	k, files := cfg.Cluster, 0
	for _, file := range []string{k.SecretFile, k.NATSCreds, k.NATSCA, k.NATSCert, k.NATSKey} {
		if file == "" {
			continue
		}
		files++
		if !mounted[path.Dir(file)] {
			t.Errorf("%s is not in a secret", file)
		}
	}
	if _, ok := mounted[cfg.Data]; cfg.Data != "" && !ok {
		t.Errorf("%s is no volume", cfg.Data)
	}
	if files == 0 {
		t.Error("nothing proves that a node belongs to the cluster")
	}
}

func checkSecurity(t *testing.T, p *pod) {
	c := &p.Containers[0]
	own, of := c.SecurityContext, p.SecurityContext
	if own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation || !own.ReadOnlyRootFilesystem || !slices.Equal(own.Capabilities.Drop, []string{"ALL"}) ||
		!of.RunAsNonRoot || of.RunAsUser == 0 || of.FSGroup == 0 || of.SeccompProfile.Type != "RuntimeDefault" ||
		p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
		t.Errorf("the pod may more than it needs: %+v %+v", own, of)
	}
	if c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" || c.Resources.Requests["cpu"] == "" {
		t.Errorf("resources: %+v", c.Resources)
	}
}

// checkEmbedded: nodes find each other before they are ready, by the service that the
// route names, and nobody else reaches their port.
func (m *manifest) checkEmbedded(t *testing.T, cfg *config.Config) {
	headless := m.services[m.workload.ServiceName]
	if m.kind != "StatefulSet" || headless.ClusterIP != "None" || !headless.PublishNotReadyAddresses || m.workload.PodManagementPolicy != "Parallel" {
		t.Errorf("%s with the service %+v", m.kind, headless)
	}
	_, port, _ := net.SplitHostPort(cfg.Cluster.Listen)
	if want := "nats://" + m.workload.ServiceName + ":" + port; !slices.Equal(cfg.Cluster.Routes, []string{want}) {
		t.Errorf("the routes are %q, want %s", cfg.Cluster.Routes, want)
	}
	if cfg.Cluster.Size != m.workload.Replicas {
		t.Errorf("cluster.size is %d of %d", cfg.Cluster.Size, m.workload.Replicas)
	}
}

// checkPolicy: the ports between nodes are for nodes alone.
func (m *manifest) checkPolicy(t *testing.T) {
	if m.policy == nil {
		t.Fatal("everybody reaches the ports between nodes")
	}
	for _, rule := range m.policy.Ingress {
		nodesOnly := len(rule.From) == 1 && rule.From[0].PodSelector.MatchLabels["app.kubernetes.io/name"] == "mycelium"
		for _, p := range rule.Ports {
			if (p.Port == "cluster" || p.Port == "forward") && !nodesOnly {
				t.Errorf("a port between nodes: %+v", rule)
			}
		}
	}
}

// TestDeployIsDescribed: docs/cluster.md names each manifest and each Secret that it refers to.
func TestDeployIsDescribed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cluster.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "deploy", "*", "mycelium.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d manifests: %v", len(files), err)
	}
	for _, file := range files {
		words := []string{"deploy/" + filepath.Base(filepath.Dir(file)) + "/mycelium.yaml"}
		for _, v := range readManifest(t, file).workload.Template.Spec.Volumes {
			if v.Secret.SecretName != "" {
				words = append(words, "create secret generic "+v.Secret.SecretName)
			}
		}
		for _, word := range words {
			if !strings.Contains(string(text), word) {
				t.Errorf("docs/cluster.md does not have %q", word)
			}
		}
	}
}
