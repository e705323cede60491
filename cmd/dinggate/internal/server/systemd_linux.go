package server

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// notify reports the state to systemd (sd_notify(3)) if it started this process.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if name[0] == '@' { // Linux's abstract sockets
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		_, err = conn.Write([]byte(state))
	}
	if err != nil {
		log.Warn("notifying systemd", "state", state, "err", err.Error())
	}
}

// monotonic is the time on the monotonic clock, which systemd requires with RELOADING=1
// to match the answer with the requested reload.
func monotonic() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return ""
	}
	return fmt.Sprintf("\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// passed returns the listener that systemd opened for us with this name
// (sd_listen_fds(3), FileDescriptorName=), or nil. A socket with another name or none
// replaces the listener of the key listen.
func passed(name string) (net.Listener, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > 16 {
		return nil, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		given := "dinggate"
		if i < len(names) && names[i] == "admin" {
			given = "admin"
		}
		if given != name {
			continue
		}
		const first = 3
		syscall.CloseOnExec(first + i)
		file := os.NewFile(uintptr(first+i), "socket "+name)
		defer file.Close() // the listener has its own descriptor
		l, err := net.FileListener(file)
		if err != nil {
			return nil, fmt.Errorf("the socket that systemd passed: %w", err)
		}
		return l, nil
	}
	return nil, nil
}
