package deploy_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"

	"go.yaml.in/yaml/v3"
)

// TestManifestConfigs checks every configuration of dinggate in deploy/ with `dinggate check`.
// Only the locations of the secrets are changed.
func TestManifestConfigs(t *testing.T) {
	binary := realtool.Dinggate(t)
	secrets := t.TempDir()
	writeFile(t, filepath.Join(secrets, "dingtalk-secret"), "x")
	writeFile(t, filepath.Join(secrets, "cookie-secret"), firstSecret)
	for _, file := range []string{"kubernetes/sidecar/config.yaml", "kubernetes/standalone/config.yaml",
		"compose/config.yaml", "kong/config.yaml"} {
		changes, environment := []string{"/run/secrets/dinggate", secrets}, os.Environ()
		switch filepath.Dir(file) {
		case "compose":
			changes[0] = "/run/secrets"
		case "kong":
			changes = nil
			environment = append(environment, "DINGGATE_DINGTALK_CLIENT_SECRET=x",
				"DINGGATE_COOKIE_SECRETS="+firstSecret)
		}
		cmd := exec.Command(binary, "check", "--config", changedExample(t, file, changes...))
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("dinggate check %s = %v:\n%s", file, err, out)
		}
	}
}

// composeFile holds the keys that docker-compose.yaml may contain. Any other key is an error.
type composeFile struct {
	Name     string                       `yaml:"name"`
	Services map[string]composeService    `yaml:"services"`
	Secrets  map[string]map[string]string `yaml:"secrets"`
	Networks map[string]composeNetwork    `yaml:"networks"`
	Volumes  map[string]struct{}          `yaml:"volumes"`
}

type composeNetwork struct {
	Internal bool `yaml:"internal"`
	IPAM     struct {
		Config []struct {
			Subnet  string `yaml:"subnet"`
			Gateway string `yaml:"gateway"`
		} `yaml:"config"`
	} `yaml:"ipam"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Ports       []string          `yaml:"ports"`
	Expose      []string          `yaml:"expose"`
	Volumes     []string          `yaml:"volumes"`
	User        string            `yaml:"user"`
	Environment map[string]string `yaml:"environment"`
	Secrets     []string          `yaml:"secrets"`
	Networks    []string          `yaml:"networks"`
	DependsOn   []string          `yaml:"depends_on"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	ReadOnly    bool              `yaml:"read_only"`
	Restart     string            `yaml:"restart"`
	Build       struct {
		Context string            `yaml:"context"`
		Args    map[string]string `yaml:"args"`
	} `yaml:"build"`
	Healthcheck struct {
		Test        []string      `yaml:"test"`
		Interval    time.Duration `yaml:"interval"`
		Timeout     time.Duration `yaml:"timeout"`
		StartPeriod time.Duration `yaml:"start_period"`
		Retries     int           `yaml:"retries"`
	} `yaml:"healthcheck"`
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
}

func TestManifestCompose(t *testing.T) {
	var c composeFile
	strictYAML(t, "compose/docker-compose.yaml", &c)
	dinggate, app := c.Services["dinggate"], c.Services["app"]
	if !strings.HasPrefix(dinggate.Image, "dinggate:") || strings.HasSuffix(dinggate.Image, ":latest") || app.Image == "" {
		t.Errorf("images are %q and %q, want versions", dinggate.Image, app.Image)
	}
	if len(app.Ports) > 0 {
		t.Errorf("the application publishes %q: a path past dinggate", app.Ports)
	}
	if !slices.Equal(dinggate.Ports, []string{"127.0.0.1:4180:4180"}) {
		t.Errorf("dinggate publishes %q, want 4180 alone and not the admin port", dinggate.Ports)
	}
	if h := dinggate.Healthcheck; len(h.Test) < 3 || h.Test[0] != "CMD" || h.Test[2] != "healthcheck" ||
		h.Timeout >= h.Interval || h.Timeout < 3*time.Second {
		t.Errorf("the health check is %+v", h)
	}
	if dinggate.StopGracePeriod <= 25*time.Second || !dinggate.ReadOnly {
		t.Errorf("dinggate has %v to drain, read_only %v", dinggate.StopGracePeriod, dinggate.ReadOnly)
	}
	for _, name := range dinggate.Secrets {
		if c.Secrets[name]["file"] == "" {
			t.Errorf("secret %s has no file", name)
		}
	}
}

// TestManifestComposeTrust checks that dinggate trusts forwarded headers from the host and from no
// container, in particular not from the application.
func TestManifestComposeTrust(t *testing.T) {
	var c composeFile
	strictYAML(t, "compose/docker-compose.yaml", &c)
	var trusted []netip.Prefix
	for _, text := range readExample(t, "compose/config.yaml", "").at("trusted_proxies").texts() {
		network, err := netip.ParsePrefix(text)
		if err != nil || !network.IsSingleIP() {
			t.Fatalf("trusted_proxies has %s, want single addresses: %v", text, err)
		}
		trusted = append(trusted, network)
	}
	if len(trusted) != 1 || len(c.Services["app"].Networks) == 0 {
		t.Fatalf("trusted_proxies = %v, the application's networks = %q, want one and some", trusted,
			c.Services["app"].Networks)
	}
	hosts := 0
	for _, name := range c.Services["dinggate"].Networks {
		for _, config := range c.Networks[name].IPAM.Config {
			subnet := netip.MustParsePrefix(config.Subnet)
			if !subnet.Contains(trusted[0].Addr()) {
				continue
			}
			hosts++
			if config.Gateway != trusted[0].Addr().String() {
				t.Errorf("%s is trusted, but the host on network %s is %s", trusted[0], name, config.Gateway)
			}
			if name != slices.Min(c.Services["dinggate"].Networks) {
				t.Errorf("the published port is on another network than %s", name)
			}
			for service, s := range c.Services {
				if service != "dinggate" && slices.Contains(s.Networks, name) {
					t.Errorf("%s is on network %s with the host", service, name)
				}
			}
		}
	}
	if hosts != 1 {
		t.Errorf("%s is the host on %d networks of dinggate, want 1", trusted[0], hosts)
	}
}

// TestManifestComposeRedis checks that only dinggate can reach Redis, that Redis evicts nothing,
// and that dinggate accepts the settings of the file.
func TestManifestComposeRedis(t *testing.T) {
	var c composeFile
	strictYAML(t, "compose/docker-compose.redis.yaml", &c)
	redis, dinggate := c.Services["redis"], c.Services["dinggate"]
	if len(redis.Ports) > 0 || !slices.Equal(redis.Networks, []string{"store"}) || !c.Networks["store"].Internal ||
		!redis.ReadOnly {
		t.Errorf("Redis is reachable: %+v", redis)
	}
	command := strings.Join(redis.Command, " ")
	if !strings.Contains(command, "--maxmemory-policy noeviction") ||
		!strings.Contains(command, "--appendonly yes") || len(redis.Volumes) != 1 {
		t.Errorf("Redis would lose sign-outs: %s, %v", command, redis.Volumes)
	}
	secrets := t.TempDir()
	writeFile(t, filepath.Join(secrets, "dingtalk-secret"), "x")
	writeFile(t, filepath.Join(secrets, "cookie-secret"), firstSecret)
	cmd := exec.Command(realtool.Dinggate(t), "check", "--config",
		changedExample(t, "compose/config.yaml", "/run/secrets", secrets))
	cmd.Env = os.Environ()
	for name, value := range dinggate.Environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(dinggate.Environment) == 0 {
		t.Errorf("dinggate check with %v = %v:\n%s", dinggate.Environment, err, out)
	}
}

// strictYAML refuses keys that into does not have.
func strictYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(exampleFile(file))
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

func TestManifestSystemd(t *testing.T) {
	analyze := realtool.Path(t, "systemd-analyze")
	// systemd-analyze verify requires that the program exists.
	unit := changedExample(t, "systemd/dinggate.service", "/usr/bin/dinggate serve", "/bin/true serve")
	socket := changedExample(t, "systemd/dinggate.socket", "ListenStream=443", "ListenStream=4180")
	beside := filepath.Join(filepath.Dir(unit), filepath.Base(socket)) // beside its service, as verify requires
	if text, err := os.ReadFile(socket); err != nil || os.WriteFile(beside, text, 0o600) != nil {
		t.Fatal("the socket unit cannot be copied: ", err)
	}
	if out, err := exec.Command(analyze, "verify", beside, unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify = %v:\n%s", err, out)
	}
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20",
		unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security = %v:\n%s", err, out)
	}
}

func TestManifestSchema(t *testing.T) {
	text, err := os.ReadFile(exampleFile("helm/dinggate/values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		AdditionalProperties bool           `json:"additionalProperties"`
		Properties           map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	strictYAML(t, "helm/dinggate/values.yaml", &values)
	for key := range values {
		if schema.Properties[key] == nil {
			t.Errorf("values.schema.json does not know %s of values.yaml", key)
		}
	}
}

// TestManifestHelm checks the chart with helm, if helm is installed.
func TestManifestHelm(t *testing.T) {
	helm, err := exec.LookPath("helm")
	if err != nil {
		t.Skip("SKIPPED: helm is not installed; test/deploy/manifesttest renders the chart without it")
	}
	for _, args := range [][]string{{"lint", "--strict"}, {"template", "gate"}} {
		args = append(args, exampleFile("helm/dinggate"), "--set", "existingSecret=mine")
		if out, err := exec.Command(helm, args...).CombinedOutput(); err != nil {
			t.Errorf("helm %s = %v:\n%s", args, err, out)
		}
	}
}
