package deploy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// TestManifestSidecar creates two network namespaces, a pod and its outside, so that the network
// of this machine is not changed. In the pod the application listens on 127.0.0.1, and dinggate
// listens on the pod's address. From the outside dinggate responds, and the application is not
// reachable without passing dinggate.
func TestManifestSidecar(t *testing.T) {
	const pod = "198.18.0.2"
	if os.Getenv(sidecarOutside) != "" {
		checkFromOutside(t, pod)
		return
	}
	ip := realtool.Path(t, "ip")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: making a network namespace needs root")
	}
	in, out := fmt.Sprintf("dgpod%d", os.Getpid()), fmt.Sprintf("dgout%d", os.Getpid())
	sidecarNamespaces(t, ip, in, out, pod)
	binary := realtool.Dinggate(t)
	inside := func(args ...string) { // the simulator serves as the application
		cmd := exec.Command(ip, append([]string{"netns", "exec", in, binary}, args...)...)
		cmd.Env = append(os.Environ(), "DINGGATE_DINGTALK_CLIENT_SECRET=x", "DINGGATE_COOKIE_SECRETS="+firstSecret)
		var log bytes.Buffer // read after Wait only
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
			if t.Failed() {
				t.Logf("the output of %s:\n%s", args, &log)
			}
		})
	}
	config := changedExample(t, "kubernetes/sidecar/config.yaml",
		"  client_secret_file: /run/secrets/dinggate/dingtalk-secret\n", "",
		"cookie:\n  secrets_file: /run/secrets/dinggate/cookie-secret\n", "", "path: /healthz",
		"path: /_simulator/clock")
	inside("simulate", "--listen", "127.0.0.1:8080")
	inside("simulate", "--listen", ":8081") // forbidden for an application: shows that this test can fail
	inside("serve", "--config", config)
	check := exec.Command(ip, "netns", "exec", out, os.Args[0], "-test.run=^TestManifestSidecar$")
	check.Env = append(os.Environ(), sidecarOutside+"=1")
	if output, err := check.CombinedOutput(); err != nil {
		t.Errorf("from outside: %v\n%s", err, output)
	}
}

// sidecarOutside is set in the environment of the process that runs outside of the pod.
const sidecarOutside = "SIDECAR_TEST_OUTSIDE"

func checkFromOutside(t *testing.T, pod string) {
	waitForListener(t, pod+":4180")
	waitForListener(t, pod+":8081")
	if status := sidecarStatus(t, "http://"+pod+":4180/_simulator/clock"); status != http.StatusOK {
		t.Errorf("the public route through dinggate = %d, want the application's 200", status)
	}
	if status := sidecarStatus(t, "http://"+pod+":4180/"); status != http.StatusUnauthorized {
		t.Errorf("/ without a session = %d, want 401", status)
	}
	if conn, err := net.DialTimeout("tcp", pod+":8080", 2*time.Second); err == nil {
		conn.Close()
		t.Error("the application's port answers from outside: a path past dinggate")
	}
}

// sidecarNamespaces creates both namespaces and a veth pair between them.
func sidecarNamespaces(t *testing.T, ip, in, out, pod string) {
	t.Helper()
	for _, line := range []string{
		"netns add " + in, "netns add " + out, "-n " + in + " link add cable type veth peer name cable netns " + out,
		"-n " + in + " addr add " + pod + "/30 dev cable", "-n " + out + " addr add 198.18.0.1/30 dev cable",
		"-n " + in + " link set cable up", "-n " + out + " link set cable up", "-n " + in + " link set lo up",
	} {
		output, err := exec.Command(ip, strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Skipf("SKIPPED: no network namespaces here: ip %s: %v: %s", line, err, output)
		}
		if name, made := strings.CutPrefix(line, "netns add "); made {
			t.Cleanup(func() { exec.Command(ip, "netns", "del", name).Run() })
		}
	}
}

// sidecarStatus repeats a request until the application behind dinggate has started.
func sidecarStatus(t *testing.T, address string) int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = publicHost
		res, err := simulationClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusBadGateway || time.Now().After(deadline) {
			return res.StatusCode
		}
	}
}

func waitForListener(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing listens on %s: %v", address, err)
		}
	}
}
