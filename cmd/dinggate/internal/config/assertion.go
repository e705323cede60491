package config

import (
	"io/fs"

	"dinggate/internal/conf"
	"dinggate/proxy/assertion"
)

// checkAssertionKeys reads the keys, so that `check` reports what is wrong with them.
func (c *Config) checkAssertionKeys(p *conf.Problems, read func(string) ([]byte, fs.FileMode, error)) {
	for i, name := range c.Assertion.KeyFiles {
		at := p.At("assertion.key_files[%d]", i)
		text, mode, err := read(name)
		at.If(err != nil, "cannot be read: %s", cause(err))
		if err != nil {
			continue
		}
		at.Warn(mode&0o004 != 0, "refers to a file that every user of this machine can read (mode %04o); chmod 600",
			mode.Perm())
		_, err = assertion.ParseKey(text)
		at.Fault(err)
	}
}
