package release_test

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

//go:embed testdata/boot
var bootScript string

// machine is a copy of this machine that systemd has booted: the same programs and
// files, below a layer that takes every change and goes with the test; processes,
// network, mounts and control groups of its own.
type machine struct {
	t   *testing.T
	pid int // of its systemd, as seen from here
}

// newMachine boots one. share is a folder of this machine, read-only at /mnt there.
func newMachine(t *testing.T, share string) *machine {
	t.Helper()
	realtool.Path(t, "systemd-analyze") // of the package that has systemd itself
	realtool.Path(t, "curl")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: booting a copy of this machine needs root")
	}
	groups := "/sys/fs/cgroup/unified" // beside the hierarchies of version 1
	if _, err := os.Stat(groups); err != nil {
		groups = "/sys/fs/cgroup"
	}
	group := filepath.Join(groups, fmt.Sprintf("dinggate-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("SKIPPED: no control group can be made here: %v", err)
	}
	opened, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	cmd := exec.Command("/bin/sh", "-c", bootScript, "boot", t.TempDir(), share)
	var printed bytes.Buffer // read after Wait alone
	cmd.Stderr = &printed
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP,
		Pdeathsig:  syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(opened.Fd()),
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: no namespaces here: %v", err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	m := &machine{t, cmd.Process.Pid}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.try("journalctl --no-pager --lines 60 --output short-monotonic")
			t.Logf("the machine's journal:\n%s", out)
		}
		cmd.Process.Kill() // with every process of its namespace
		<-ended
		for range 50 { // leaves first; the kernel takes a moment to empty them
			if exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run() == nil {
				break
			}
		}
	})
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(time.Minute); ; <-again.C {
		state, _ := m.try("systemctl is-system-running")
		if state == "running" || state == "degraded" {
			return m
		}
		select {
		case <-ended:
			t.Skipf("SKIPPED: a copy of this machine does not boot here: %s", &printed)
		default:
		}
		if time.Now().After(limit) {
			t.Fatalf("the copy of this machine is %q after a minute", state)
		}
	}
}

// try runs a shell script in the machine.
func (m *machine) try(script string) (string, error) {
	pid := strconv.Itoa(m.pid)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", pid, "--mount", "--uts", "--ipc", "--net", "--pid",
		"--cgroup",
		"--root=/proc/"+pid+"/root", "--wd=/proc/"+pid+"/root", "/bin/sh", "-ec", script)
	cmd.WaitDelay = time.Second // a child may hold the pipe
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run is try for what must succeed. It logs how long it took.
func (m *machine) run(what, script string) string {
	m.t.Helper()
	begun := time.Now()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", what, err, script, out)
	}
	m.t.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
	return out
}

// want runs a script and compares what it prints.
func (m *machine) want(what, script, want string) {
	m.t.Helper()
	if got, err := m.try(script); got != want {
		m.t.Errorf("%s: %s prints %q, %v, want %q", what, script, got, err, want)
	}
}
