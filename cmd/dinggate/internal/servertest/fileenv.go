package servertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
)

// FileEnv is the real program with its configuration in files.
type FileEnv struct {
	*Program
	Dir, File string
	Secret    string // a file
}

// Write replaces a file by a rename.
func (s *FileEnv) Write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// FileConfig is the configuration of a FileEnv; %s is the file of its secrets.
const FileConfig = `public_url: http://127.0.0.1:4180
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
dingtalk: {client_id: dingtest, client_secret: x, corp_id: dingcorp, events: false, api_url: "http://127.0.0.1:1", oapi_url: "http://127.0.0.1:1"}
cookie: {secrets_file: %s}
`

// NewFileEnv serves FileConfig with these lines appended.
func NewFileEnv(t *testing.T, more string) *FileEnv {
	s := &FileEnv{Dir: t.TempDir()}
	s.File, s.Secret = filepath.Join(s.Dir, "config.yaml"), filepath.Join(s.Dir, "secrets")
	s.Write(t, "secrets", config.NewSecret())
	s.Configure(t, more)
	s.Program = ServeFile(t, s.File)
	return s
}

// Configure replaces the configuration by FileConfig with these lines appended.
func (s *FileEnv) Configure(t *testing.T, more string) {
	t.Helper()
	s.Write(t, "config.yaml", fmt.Sprintf(FileConfig, s.Secret)+more)
}

// Reloads counts the successful and the failed reloads in the log.
func (s *FileEnv) Reloads() int {
	log := s.Log.String()
	return strings.Count(log, "the changed configuration was loaded") +
		strings.Count(log, "the changed configuration was refused")
}
