package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// process is a server, pinned to the first core.
type process struct {
	cmd   *exec.Cmd
	base  string        // http://127.0.0.1:port
	ready time.Duration // from start to the line that names the address
	with  *process      // a process whose CPU time is added; nil: none
}

var address = regexp.MustCompile(`https?://[0-9.]+:[0-9]+`)

// start is startOn the first core.
func start(env []string, name string, args ...string) (*process, error) {
	return startOn("0", env, name, args...)
}

// startOn runs a command on some cores and waits for the first line that names an address.
func startOn(cores string, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command("taskset", append([]string{"-c", cores, name}, args...)...)}
	p.cmd.Env = append(os.Environ(), env...)
	log, err := os.CreateTemp("", "bench-*.log")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name()) // the open descriptor keeps it until the process ends
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if p.base = address.FindString(lines.Text()); p.base != "" {
			p.ready = time.Since(began)
			go func() { // keep reading, so that the process never blocks on its output
				for lines.Scan() {
				}
			}()
			return p, nil
		}
	}
	p.stop()
	text, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("%s named no address: %s", name, text)
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// cpu is the user and system time that the process has used so far.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	var other time.Duration
	if p.with != nil {
		if other, err = p.with.cpu(); err != nil {
			return 0, err
		}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system)*tick + other, nil
}

// memory is the resident set, in bytes.
func (p *process) memory() (int64, error) { return p.status("VmRSS:") }

// status reads one size from the process's /proc/PID/status, in bytes.
func (p *process) status(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s for process %d", name, p.cmd.Process.Pid)
}
