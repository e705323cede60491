//go:build unix

package deploy_test

import (
	"os/exec"
	"syscall"
)

// inGroup lets the children of cmd end with it, by killGroup.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
