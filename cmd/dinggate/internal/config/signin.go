package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"
	"dinggate/internal/page"
)

// SignInConfig is the `sign_in` part: the pages that people see.
type SignInConfig struct {
	Page bool `yaml:"page"` // show a page with a button before redirecting to DingTalk
	// draw DingTalk's QR code in that page, with DingTalk's own script; implies page
	EmbedQR  bool   `yaml:"embed_qr"`
	Title    Text   `yaml:"title"`        // name on the pages; empty: the default
	Lead     Text   `yaml:"lead"`         // below the title of the sign-in page; empty: the default
	Note     Text   `yaml:"note"`         // at its foot; empty: the default
	LogoFile string `yaml:"logo_file"`    // picture on the pages
	Accent   string `yaml:"accent_color"` // colour of the buttons, such as #0f62de; empty: the default
	Contact  Text   `yaml:"contact"`      // contact for help: text, an e-mail address or a URL

	// TemplatesDir contains custom pages: each of layout.html, sign_in.html, account.html,
	// silent.html, signed_in.html, signed_out.html, confirm.html, who.html, sessions.html,
	// console.html, error.html, style.css, wide.css replaces the built-in file of that name.
	TemplatesDir string `yaml:"templates_dir"`
}

// Text is one text for both languages, or one for each.
type Text struct {
	Zh string `yaml:"zh"`
	En string `yaml:"en"`
}

// UnmarshalText sets one text for both languages.
func (t *Text) UnmarshalText(text []byte) error {
	*t = BothLanguages(string(text))
	return nil
}

func BothLanguages(s string) Text { return Text{s, s} }

// First reports whether one of our pages is shown before DingTalk's.
func (c SignInConfig) First() bool { return c.Page || c.EmbedQR }

// Check reports the mistakes below key (`sign_in`). It opens nothing.
func (c SignInConfig) Check(p *conf.Problems, key string) {
	for _, text := range []struct {
		name  string
		value Text
	}{{"title", c.Title}, {"contact", c.Contact}, {"lead", c.Lead}, {"note", c.Note}} {
		const long = "is longer than 200 characters"
		tooLong := func(s string) bool { return utf8.RuneCountInString(s) > 200 }
		if text.value.Zh == text.value.En {
			p.At("%s.%s", key, text.name).If(tooLong(text.value.Zh), long)
			continue
		}
		p.At("%s.%s.zh", key, text.name).If(tooLong(text.value.Zh), long)
		p.At("%s.%s.en", key, text.name).If(tooLong(text.value.En), long)
	}
	_, err := page.New(page.Config{Accent: c.Accent})
	p.At("%s.accent_color", key).If(err != nil, "is not a colour such as \"#0f62de\"")
}

// checkFiles reads logo and templates like the pages do.
func (c SignInConfig) checkFiles(p *conf.Problems, key string, read func(string) ([]byte, fs.FileMode, error)) {
	if c.LogoFile != "" {
		logo, _, err := read(c.LogoFile)
		p.At("%s.logo_file", key).If(err != nil, "cannot be read: %s", cause(err))
		_, bad := page.New(page.Config{Logo: logo})
		p.At("%s.logo_file", key).If(err == nil && bad != nil, "is not a suitable picture: %s", pageFault(bad))
	}
	if c.TemplatesDir != "" {
		_, err := page.New(page.Config{Templates: c.templates(read)})
		p.At("%s.templates_dir", key).If(err != nil, "contains a page that fails: %s", pageFault(err))
	}
}

// pageFault returns the cause of an error of package page.
func pageFault(err error) any {
	if err == nil {
		return nil
	}
	if text := conf.TextOf(err); text.Format != "%s" {
		return text
	}
	return strings.TrimPrefix(err.Error(), "page: ")
}

// templates reads from TemplatesDir. A missing folder is an error, a missing file leaves
// the built-in one in place.
func (c SignInConfig) templates(read func(string) ([]byte, fs.FileMode, error)) func(string) ([]byte, error) {
	if c.TemplatesDir == "" {
		return nil
	}
	return func(name string) ([]byte, error) {
		text, _, err := read(filepath.Join(c.TemplatesDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			if _, missing := os.Stat(c.TemplatesDir); missing != nil {
				return nil, conf.Errorf("opening the folder: %s", cause(missing))
			}
		}
		return text, err
	}
}

// Pages returns the settings of the pages.
func (c SignInConfig) Pages(publicURL, prefix string) (page.Config, error) {
	p := page.Config{
		Title:     page.Text(c.Title),
		Lead:      page.Text(c.Lead),
		Note:      page.Text(c.Note),
		Accent:    c.Accent,
		Contact:   page.Text(c.Contact),
		Templates: c.templates(ReadFile),
		PublicURL: publicURL,
		Prefix:    prefix,
	}
	if c.LogoFile == "" {
		return p, nil
	}
	var err error
	if p.Logo, _, err = ReadFile(c.LogoFile); err != nil {
		return p, fmt.Errorf("reading sign_in.logo_file: %w", err)
	}
	return p, nil
}
