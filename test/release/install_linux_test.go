package release_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestInstallPage does what the page on installing says, in both languages, on a copy
// of this machine: from the deb to a person who is signed in against the simulator.
// It logs what each step takes.
func TestInstallPage(t *testing.T) {
	needTools(t)
	share := packages(t)
	for _, page := range []string{"install.md", "install.zh-CN.md"} {
		t.Run(page, func(t *testing.T) {
			m := newMachine(t, share)
			install, blocks := installPage(t, page)
			if !strings.Contains(install, "apt install ./dinggate_1.0.0_amd64.deb") || len(blocks) != 3 {
				t.Fatalf("the page installs by %q, and signs in by %d blocks, want 3:\n%s", install, len(blocks),
					strings.Join(blocks, "\n"))
			}
			install = strings.NewReplacer("sudo ", "", "apt install", "apt-get install -y -q", "1.0.0_amd64", "1.0.0_*").Replace(install)
			m.run("install the deb", "cd /mnt && "+install)

			// Three terminals in one folder; what does not end is a service here.
			m.run("a folder", "mkdir /root/try")
			background := func(what, script string) {
				m.run(what, "systemd-run --quiet --working-directory=/root/try --setenv=PATH=$PATH /bin/sh -ec '"+script+"'")
			}
			ready := func(what, address string) {
				m.run(what, "for i in $(seq 300); do curl -s -o /dev/null "+address+" && exit; sleep 0.1; done; exit 1")
			}
			background("the first terminal", blocks[0])
			background("the second terminal", blocks[1])
			ready("the simulator answers", "http://127.0.0.1:4190/")
			ready("the application answers", "http://127.0.0.1:8080/")
			serve := strings.LastIndex(strings.TrimSpace(blocks[2]), "\n") + 1
			if !strings.HasPrefix(blocks[2][serve:], "dinggate serve ") {
				t.Fatalf("the third terminal ends with %q, want serve", blocks[2][serve:])
			}
			printed := m.run("the third terminal", "cd /root/try\n"+blocks[2][:serve])
			if !strings.Contains(printed, "no mistakes") {
				t.Errorf("dinggate check says\n%s", printed)
			}
			background("serve", blocks[2][serve:])
			ready("dinggate answers", "http://127.0.0.1:4180/")
			m.want("without a session", "curl -si http://127.0.0.1:4180/ | head -1 | cut -d' ' -f2", "401")
			if who := m.run("sign in", signIn); !strings.Contains(who, `"zhangsan"`) {
				t.Errorf("after the sign-in userinfo says %s", who)
			}
			m.want("the page of the application", "curl -s -b /tmp/jar http://127.0.0.1:4180/", "It works")
		})
	}
}

// installPage is the line that installs the deb, and the blocks of the section on the
// first sign-in.
func installPage(t *testing.T, page string) (install string, blocks []string) {
	t.Helper()
	data, err := os.ReadFile(repository + "/docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	install = regexp.MustCompile(`(?m)^sudo apt install [^#\n]*`).FindString(text)
	sections := strings.Split(text, "\n## ")
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(sections[len(sections)-1], -1) {
		blocks = append(blocks, regexp.MustCompile(`(?m)\s+# .*$`).ReplaceAllString(m[1], ""))
	}
	return strings.TrimSpace(install), blocks
}
