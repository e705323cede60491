//go:build unix

package deploy_test

import (
	"os/exec"
	"syscall"
)

// inGroup puts cmd into a process group, so that killGroup also ends its children.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
