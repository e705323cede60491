package release_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
)

// TestQuickStartPage does what the quick start says without a package, in both languages, on
// a copy of this machine: the commands in the header of the unit, the two secrets, the check
// and the start. The service, which is not root, reads every file, and other users read none.
func TestQuickStartPage(t *testing.T) {
	needTools(t)
	share := t.TempDir()
	output(t, "cp", older().file(t, "*_linux_*.tar.gz"), filepath.Join(share, "dinggate.tar.gz"))
	unit := headerCommands(t)
	for _, page := range []string{"quick-start.md", "quick-start.zh-CN.md"} {
		t.Run(page, func(t *testing.T) {
			config, shell := pageBlocks(t, page, "yaml"), pageBlocks(t, page, "sh")
			if len(config) != 2 || len(shell) != 2 || strings.Count(shell[0], "/dev/stdin") != 2 {
				t.Fatalf("%s has %d blocks of YAML and %d of commands, want 2 each, the first with the two secrets",
					page, len(config), len(shell))
			}
			m := newMachine(t, share)
			m.run("unpack", "mkdir /root/new && cd /root/new && tar xf /mnt/dinggate.tar.gz --strip-components=1")
			m.run("write config.yaml", "cat >/root/new/config.yaml <<'END'\n"+simulated(config[0])+"END")
			m.run("the header of the unit", "cd /root/new\n"+unit)
			typed := "echo " + simulator.DemoClientSecret + " | install"
			m.run("the secrets", strings.Replace(shell[0], "\ninstall", "\n"+typed, 1))
			m.want("owners", "stat -c '%a %U %G %n' /etc/dinggate /etc/dinggate/*",
				"750 root dinggate /etc/dinggate\n750 root dinggate /etc/dinggate/conf.d\n"+
					"640 root dinggate /etc/dinggate/config.yaml\n640 root dinggate /etc/dinggate/cookie-secret\n"+
					"640 root dinggate /etc/dinggate/dingtalk-secret")
			m.run("a DingTalk", "systemd-run --quiet --unit simulator /usr/bin/dinggate simulate")
			m.run("it answers", "for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:4190/ && exit; sleep 0.1; done; exit 1")
			start := regexp.MustCompile(`(?m)^systemctl .*dinggate\.socket.*\n`)
			if !start.MatchString(shell[1]) {
				t.Fatalf("the page starts no socket:\n%s", shell[1])
			}
			if printed := m.run("check and start", start.ReplaceAllString(shell[1], "")); !strings.Contains(printed, "no mistakes") {
				t.Errorf("the commands print\n%s", printed)
			}
			if who := m.run("sign in", signIn); !strings.Contains(who, `"zhangsan"`) {
				t.Errorf("after the sign-in userinfo says %s", who)
			}

			m.run("the same with the socket", "systemctl stop dinggate && "+start.FindString(shell[1]))
			m.run("start it", "systemctl start dinggate")
			m.want("port 443", "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:443/", "401")
			m.want("the user of the process", "ps -o user= -p $(systemctl show --value --property MainPID dinggate)", "dinggate")
		})
	}
}

// simulated is the configuration of the page with the simulator in the place of DingTalk.
func simulated(config string) string {
	return strings.NewReplacer("https://app.example.com", "http://127.0.0.1:4180", "dingxxxxxxxx", simulator.DemoClientID,
		"  corp_id: dingcorpxxxxxxxx", "  corp_id: "+simulator.DemoCorpID+"\n  login_url: http://127.0.0.1:4190\n"+
			"  api_url: http://127.0.0.1:4190\n  oapi_url: http://127.0.0.1:4190",
		"http://127.0.0.1:8080", "http://127.0.0.1:4190").Replace(config)
}

// headerCommands are the commands in the header of the unit.
func headerCommands(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(repository + "/deploy/systemd/dinggate.service")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^#   (install .*)$`).FindAllStringSubmatch(string(data), -1) {
		commands = append(commands, m[1])
	}
	if len(commands) != 5 {
		t.Fatalf("the header of the unit has %d commands, want 5:\n%s", len(commands), strings.Join(commands, "\n"))
	}
	return strings.Join(commands, "\n")
}

// pageBlocks are the blocks of a page in a language, without comments and sudo.
func pageBlocks(t *testing.T, page, language string) (blocks []string) {
	t.Helper()
	data, err := os.ReadFile(repository + "/docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`(?m)\s+# .*$|\bsudo `)
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(data), -1) {
		blocks = append(blocks, plain.ReplaceAllString(m[1], ""))
	}
	return blocks
}
