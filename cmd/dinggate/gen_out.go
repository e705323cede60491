package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

var genFlags = []ownFlag{
	{name: "out", value: "DIR", brief: message{"write the files there, in place of standard output; a file of another content is kept, and nothing is written", "写入该目录，而不是标准输出；已有内容不同的文件时保留它，且不写入任何文件"}},
	{name: "force", value: "", brief: message{"with --out: replace files of another content", "与 --out 合用：替换内容不同的文件"}},
}

// writeOut writes all files into c.own["out"] and prints their paths, or nothing
// when one is there with another content: somebody has put a certificate's path
// or an address into it.
func writeFiles(c call, files []snippetFile) int {
	dir := c.own["out"]
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		there, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && (bytes.Equal(there, []byte(f.text)) || c.has("force")):
		case err != nil:
			fmt.Fprintf(c.trouble, "dinggate gen: %v\n", err)
			return 1
		default:
			fmt.Fprintf(c.trouble, c.say(message{"dinggate gen: %q is there with another content; nothing is written. Take another directory, or --force\n",
				"dinggate gen：%q 已存在且内容不同，未写入任何文件。请换一个目录，或使用 --force\n"}), path)
			return 1
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		fmt.Fprintf(c.trouble, "dinggate gen: %v\n", err)
		return 1
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := replaceFile(path, f.text); err != nil {
			fmt.Fprintf(c.trouble, "dinggate gen: %v\n", err)
			return 1
		}
		fmt.Fprintln(c.out, path)
	}
	return 0
}

// replaceFile writes a file whole, or not at all: a gateway may read it at any time.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".dinggate-gen-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
