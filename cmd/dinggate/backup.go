package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/session"
	"dinggate/store/boltstore"
)

var backupCommand = cli.Command{
	Name: "backup", Config: true, Operands: []cli.Operand{{Name: "FILE", Path: true}},
	Brief: i18n.Message{
		"copy the content of state_dir to FILE, also while dinggate is running, and verify the copy",
		"把 state_dir 中的数据复制到 FILE（运行中也可以），并校验副本"},
	Examples: []string{"backup --config /etc/dinggate/config.yaml /var/backups/dinggate.db"},
	Run: func(c cli.Invocation) int {
		cfg, problems := c.Load()
		if code := config.ExitCode(problems); code != 0 {
			config.PrintProblems(c.Stderr, c.Language, problems)
			return code
		}
		return c.Until(func(ctx context.Context) error { return runBackup(c, ctx, cfg) })
	},
}

// runBackup writes to a temporary file beside FILE and renames it: an interrupted
// backup leaves the previous one.
func runBackup(c cli.Invocation, ctx context.Context, cfg *config.Config) error {
	switch {
	case cfg.Session.Store == session.StoreRedis:
		return errors.New(c.Say(i18n.Message{
			"session.store is redis: what outlives a restart is there; back Redis up (BGSAVE, or its append-only file)",
			"session.store 为 redis：需要持久的数据都在 Redis 中，请备份 Redis（BGSAVE 或 AOF 文件）"}))
	case cfg.StateDir == "":
		return errors.New(c.Say(i18n.Message{
			"state_dir is not set: everything is in memory, and there is nothing to back up",
			"未设置 state_dir：数据都在内存中，没有可备份的内容"}))
	}
	file := c.Args[0]
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	err = errors.Join(copyState(ctx, config.ControlSocket(cfg, c.Environ), cfg.StateDir, part), part.Sync(), part.Close())
	if err != nil {
		return err
	}
	schema, err := boltstore.Verify(part.Name())
	if err != nil {
		return err
	}
	info, err := os.Stat(part.Name())
	if err != nil {
		return err
	}
	if err := os.Rename(part.Name(), file); err != nil {
		return err
	}
	fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"%s: %d bytes, schema %d, verified\n",
		"%s：%d 字节，schema %d，已通读校验\n"}), file, info.Size(), schema)
	return nil
}

// copyState copies the file through the process that serves, or opens it if none does.
func copyState(ctx context.Context, socket, dir string, w io.Writer) error {
	err := admin.Backup(ctx, socket, w)
	if !errors.Is(err, admin.ErrNoServer) {
		return err
	}
	if !boltstore.Exists(dir) {
		return cli.UserError{Message: i18n.Message{
			fmt.Sprintf("%s: there is no %s", dir, boltstore.FileName),
			fmt.Sprintf("%s：其中没有 %s", dir, boltstore.FileName)}}
	}
	f, err := boltstore.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Backup(ctx, func(int64) {}, w), f.Close())
}
