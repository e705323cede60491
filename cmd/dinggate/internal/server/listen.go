package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
)

var errAnswers = errors.New("another process answers there")

// listen opens host:port or unix:/path. The socket file of a terminated process is
// replaced, but not one that still answers.
func listen(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen unix %s: %w", path, errAnswers)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

// ListenError explains why the address of a key ("" for the --listen of a command
// without a configuration) cannot be listened on, and what to do.
func ListenError(key, address string, err error) error {
	set := i18n.Message{"choose another one by --listen", "或用 --listen 另选一个"}
	if key != "" {
		set = i18n.Message{fmt.Sprintf("choose another one: %s (%s, --%s)", key, config.EnvName(key), key),
			fmt.Sprintf("或另选一个：%s（%s、--%s）", key, config.EnvName(key), key)}
	}
	port := ""
	if !strings.HasPrefix(address, "unix:") {
		_, port, _ = net.SplitHostPort(address)
	}
	switch {
	case errors.Is(err, errInUse) || errors.Is(err, errAnswers):
		who := i18n.Message{}
		if port != "" {
			who = i18n.Message{fmt.Sprintf(" (`ss -ltnp sport = :%s` or `lsof -i :%s` names it)", port, port),
				fmt.Sprintf("（用 `ss -ltnp sport = :%s` 或 `lsof -i :%s` 查看）", port, port)}
		}
		return cli.UserError{Message: i18n.Message{
			fmt.Sprintf("%s is in use: another program, perhaps another dinggate, listens there%s; end it, or %s",
				address, who[i18n.English], set[i18n.English]),
			fmt.Sprintf("%s 已被占用：另一个程序（也可能是另一个 dinggate）正在监听%s；请结束它，%s", address, who[i18n.Chinese],
				set[i18n.Chinese])}, Err: err}
	case errors.Is(err, syscall.EACCES) && port != "":
		return cli.UserError{Message: i18n.Message{
			fmt.Sprintf(
				"%s: a port below 1024 takes root or CAP_NET_BIND_SERVICE; give that (systemd: "+
					"AmbientCapabilities, or a socket unit), or %s", address, set[i18n.English],
			),
			fmt.Sprintf(
				"%s：监听 1024 以下的端口需要 root 或 CAP_NET_BIND_SERVICE；请授予该权限（systemd：AmbientCapabilities 或 socket 单元），%s",
				address, set[i18n.Chinese],
			)}, Err: err}
	}
	if key == "" {
		return err
	}
	return fmt.Errorf("%s: %w", key, err)
}
