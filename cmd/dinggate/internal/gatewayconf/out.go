package gatewayconf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
)

var Flags = []cli.Flag{
	{Name: "out", Value: "DIR",
		Help: i18n.Message{
			"write the files there instead of to standard output; if a file exists with other content, nothing " +
				"is written", "写入该目录，而不是标准输出；已有内容不同的文件时保留它，且不写入任何文件",
		}},
	{Name: "force", Value: "",
		Help: i18n.Message{"with --out: replace files with other content", "与 --out 合用：替换内容不同的文件"}},
}

// writeFiles writes all files into c.own["out"] and prints their paths. It writes nothing
// if a file exists with other content: the operator may have inserted the path of a
// certificate or an address.
func writeFiles(c cli.Invocation, files []File) int {
	dir := c.Given["out"]
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		there, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && (bytes.Equal(there, []byte(f.Text)) || c.Has("force")):
		case err != nil:
			fmt.Fprintf(c.Stderr, "dinggate gen: %v\n", err)
			return 1
		default:
			fmt.Fprintf(c.Stderr,
				c.Say(
					i18n.Message{
						"dinggate gen: %q is there with another content; nothing is written. Take another " +
							"directory, or --force\n",
						"dinggate gen：%q 已存在且内容不同，未写入任何文件。请换一个目录，或使用 --force\n",
					},
				), path)
			return 1
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		fmt.Fprintf(c.Stderr, "dinggate gen: %v\n", err)
		return 1
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := replaceFile(path, f.Text); err != nil {
			fmt.Fprintf(c.Stderr, "dinggate gen: %v\n", err)
			return 1
		}
		fmt.Fprintln(c.Stdout, path)
	}
	return 0
}

// replaceFile writes a file atomically: a gateway may read it at any time.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".dinggate-gen-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails if it was renamed
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
